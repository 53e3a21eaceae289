//! The database images: what their entry points do before the host's own server takes over. A fresh data
//! directory is filled, the users and databases that the environment asks for are made, and the server
//! replaces this process. `postgres` and `mariadb` hold what is particular to each; `mongodb` is a small
//! server of our own, and it and `mysql` are how `ratings` asks.

pub mod bson;
mod mariadb;
pub mod mongodb;
pub mod mysql;
mod postgres;

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};

pub use mariadb::{RATINGS, mariadb};
pub use postgres::postgres;

/// Runs a step of the preparation to its end; what it says goes to the log if it fails.
fn run(command: &mut Command) -> anyhow::Result<()> {
    let program = command.get_program().to_owned();
    let out = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", program.display()))?;
    if !out.status.success() {
        let said = [out.stdout, out.stderr].concat();
        bail!(
            "{} ended with {}\n{}",
            program.display(),
            out.status,
            String::from_utf8_lossy(&said)
        );
    }
    Ok(())
}

/// Becomes the server.
fn become_it(mut command: Command) -> anyhow::Error {
    let error = command.exec();
    anyhow::Error::from(error).context(format!("cannot start {}", command.get_program().display()))
}

/// The arguments for the server: images are given them with or without the server's own name before.
fn for_server<'a>(args: &'a [String], names: &[&str]) -> &'a [String] {
    match args.split_first() {
        Some((first, rest)) if names.contains(&first.as_str()) => rest,
        _ => args,
    }
}

/// Whether a server has already written into this directory.
fn is_empty(directory: &Path) -> anyhow::Result<bool> {
    std::fs::create_dir_all(directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    Ok(std::fs::read_dir(directory)?.next().is_none())
}

/// A file for our eyes only, since there are passwords in it.
fn write_secret(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// Nobody gets a database open to everybody without having said so.
fn ensure_password(said: bool, password: &str, waiver: &str) -> anyhow::Result<()> {
    ensure!(said, "the database is new and has no password: set {password}, or {waiver} for none");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_own_name_is_no_argument() {
        let args = ["postgres", "-c", "fsync=off"].map(str::to_owned);
        assert_eq!(for_server(&args, &["postgres"]), &args[1..]);
        assert_eq!(for_server(&args[1..], &["postgres"]), &args[1..]);
        assert!(for_server(&[], &["postgres"]).is_empty());
    }
}
