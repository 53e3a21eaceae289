//! The small processes of the embedded cluster; see `small.rs`.

fn main() -> std::process::ExitCode {
    lateen::small::main()
}
