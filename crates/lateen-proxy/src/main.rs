//! The data plane binary: sidecar, gateway and agent in one small process.

mod args;
mod dynamic;
mod process;
mod run;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    run::main()
}
