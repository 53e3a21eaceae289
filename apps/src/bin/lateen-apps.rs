//! The sample applications as one program; the first argument, or the name it is called by, says which.

fn main() -> std::process::ExitCode {
    apps::main(std::env::args().collect())
}
