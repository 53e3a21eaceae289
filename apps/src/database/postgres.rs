//! PostgreSQL: it refuses to be root, so it runs as the image's user; where a container has no user but
//! root, as that user of a user namespace of its own.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use super::{become_it, ensure_password, for_server, is_empty, run, write_secret};
use crate::flags::env;

/// The id of `postgres` in the image.
const USER: u32 = 999;
const DATA: &str = "/var/lib/postgresql/data";
const SOCKETS: &str = "/var/run/postgresql";

/// Prepares what is missing and becomes the server; returns only to say why it could not.
pub fn postgres(args: &[String]) -> anyhow::Error {
    match prepare() {
        Ok((user, data)) => {
            let mut server = user.command("postgres");
            server.arg("-D").arg(data).args(["-c", "listen_addresses=*"]);
            server.args(["-c", &format!("unix_socket_directories={SOCKETS}")]);
            server.args(for_server(args, &["postgres", "docker-entrypoint.sh"]));
            become_it(server)
        }
        Err(error) => error,
    }
}

fn prepare() -> anyhow::Result<(User, PathBuf)> {
    let data = PathBuf::from(env("PGDATA").unwrap_or_else(|| DATA.to_owned()));
    let fresh = is_empty(&data)?;
    fs::create_dir_all(SOCKETS).context("cannot create the directory of the socket")?;
    let user = User::find(&[&data, Path::new(SOCKETS)])?;
    if fresh {
        let waived = env("POSTGRES_HOST_AUTH_METHOD").is_some_and(|m| m == "trust");
        let said = waived || env("POSTGRES_PASSWORD").is_some();
        ensure_password(said, "POSTGRES_PASSWORD", "POSTGRES_HOST_AUTH_METHOD=trust")?;
        fill(&user, &data)?;
    }
    Ok((user, data))
}

/// Who the server runs as.
enum User {
    /// Whoever we are; a pod's `runAsUser` said so.
    Own,
    /// We are root and may become anybody.
    Switched,
    /// We are the only user there is, and are given another number in a namespace.
    Renamed,
}

impl User {
    /// Looks at who we are, and gives the directories to who the server will be.
    fn find(directories: &[&Path]) -> anyhow::Result<User> {
        let own = fs::metadata("/proc/self")?.uid();
        if own != 0 {
            return Ok(User::Own);
        }
        let mut users = OpenOptions::new().append(true).create(true).open("/etc/passwd")?;
        writeln!(users, "postgres:x:{USER}:{USER}:postgres:/var/lib/postgresql:/bin/sh")?;
        if directories.iter().all(|d| chown(d, Some(USER), Some(USER)).is_ok()) {
            return Ok(User::Switched);
        }
        Ok(User::Renamed)
    }

    fn command(&self, program: &str) -> Command {
        match self {
            User::Own => Command::new(program),
            User::Switched => {
                let mut command = Command::new(program);
                command.uid(USER).gid(USER);
                command
            }
            User::Renamed => {
                let mut command = Command::new("unshare");
                command.args(["--user", &format!("--map-user={USER}")]);
                command.args([&format!("--map-group={USER}"), program]);
                command
            }
        }
    }
}

fn fill(user: &User, data: &Path) -> anyhow::Result<()> {
    let name = env("POSTGRES_USER").unwrap_or_else(|| "postgres".to_owned());
    let database = env("POSTGRES_DB").unwrap_or_else(|| name.clone());
    let mut init = user.command("initdb");
    init.arg("-D").arg(data).args(["-U", &name, "--no-sync", "--encoding=UTF8", "--locale=C"]);
    init.args(["--auth=trust", "--wal-segsize=1"]);
    run(&mut init)?;
    if let Some(password) = env("POSTGRES_PASSWORD") {
        let (name, password) = (identifier(&name), literal(&password));
        alone(user, data, &format!("ALTER ROLE {name} PASSWORD {password}"))?;
    }
    if database != "postgres" {
        alone(user, data, &format!("CREATE DATABASE {}", identifier(&database)))?;
    }
    // The owner and mode stay as `initdb` made them.
    let rules = data.join("pg_hba.conf");
    let method = env("POSTGRES_HOST_AUTH_METHOD").unwrap_or_else(|| "scram-sha-256".to_owned());
    let text = fs::read_to_string(&rules)?;
    write_secret(&rules, &format!("{text}host all all all {method}\n"))
}

/// One statement on a server that serves nobody else.
fn alone(user: &User, data: &Path, statement: &str) -> anyhow::Result<()> {
    ensure!(!statement.contains('\n'), "names and passwords of the database may have no line ends");
    let mut command = user.command("postgres");
    command.args(["--single", "-j", "-D"]).arg(data).arg("postgres");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start postgres")?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(format!("{statement};\n\n").as_bytes())?;
    }
    let out = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&out.stderr);
    ensure!(out.status.success() && !said.contains("ERROR"), "postgres refused: {said}");
    Ok(())
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    // The form in which a backslash means itself whatever the settings.
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_passwords_cannot_break_out() {
        assert_eq!(identifier("a\"; DROP"), "\"a\"\"; DROP\"");
        assert_eq!(literal("it's \\"), "E'it''s \\\\'");
    }
}
