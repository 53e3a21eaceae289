//! `lateen-node`: the processes of the embedded cluster that stay small, the holder and the shim of
//! each pod. They are a program of their own because a process pays for what its program could do
//! (tables of pointers are written at start); `lateen` itself can stand in where it stands alone.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};

const PROGRAM: &str = "lateen-node";
const BIG_PROGRAM: &str = "lateen";

/// Called with `--state DIR holder` or `--state DIR shim POD_DIRECTORY`, with one thread.
pub fn main() -> ExitCode {
    let args: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    match answer(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn answer(args: &[PathBuf]) -> anyhow::Result<()> {
    let words: Vec<&str> = args.iter().map(|a| a.to_str().unwrap_or_default()).collect();
    match words.as_slice() {
        ["--state", _, "holder"] => crate::holder::run(&args[1]),
        ["--state", _, "shim", _] => Ok(runner::shim::main(&args[3])?),
        _ => bail!("this program is started by `lateen up`, not by hand"),
    }
}

/// The command for one of these processes.
pub fn command(args: &[&str], dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let exe = std::env::current_exe().context("finding this program")?;
    let small = exe.with_file_name(PROGRAM);
    Ok(words(if small.exists() { small } else { exe }, args, dir))
}

/// The command for the cluster process, which needs everything that `lateen` is.
pub fn big_command(args: &[&str], dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let exe = std::env::current_exe().context("finding this program")?;
    Ok(words(exe.with_file_name(BIG_PROGRAM), args, dir))
}

fn words(program: PathBuf, args: &[&str], dir: &Path) -> Vec<PathBuf> {
    let mut command = vec![program, "--state".into(), dir.to_owned()];
    command.extend(args.iter().map(PathBuf::from));
    command
}
