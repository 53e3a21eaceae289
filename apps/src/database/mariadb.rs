//! MariaDB, which also stands for MySQL: the two speak the same protocol, and the server speaks first.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{become_it, ensure_password, for_server, is_empty, run, write_secret};
use crate::flags::env;

const DATA: &str = "/var/lib/mysql";
const SOCKETS: &str = "/var/run/mysqld";
const FIRST_STATEMENTS: &str = "/tmp/.first-statements.sql";
/// A server for a handful of connections, in a root that lies in memory.
const SMALL: [&str; 3] = [
    "--innodb-log-file-size=4M",
    "--innodb-buffer-pool-size=16M",
    "--innodb-data-file-path=ibdata1:4M:autoextend",
];

/// What the image of Bookinfo's database has in it: the stars of two reviewers.
pub const RATINGS: [&str; 3] = [
    "CREATE DATABASE IF NOT EXISTS test;",
    "CREATE TABLE test.ratings (ReviewID INT NOT NULL PRIMARY KEY, Rating INT);",
    "INSERT INTO test.ratings VALUES (1, 5), (2, 4);",
];

/// Prepares what is missing, with these statements in a fresh database, and becomes the server; returns
/// only to say why it could not.
pub fn mariadb(args: &[String], statements: &[&str]) -> anyhow::Error {
    match prepare(statements) {
        Ok(mut server) => {
            let names =
                ["mariadbd", "mysqld", "mariadb", "mysql", "mysqldb", "docker-entrypoint.sh"];
            server.args(known(for_server(args, &names)));
            become_it(server)
        }
        Err(error) => error,
    }
}

/// MySQL's choice of how passwords are proved is MariaDB's only one.
fn known(args: &[String]) -> Vec<&String> {
    const CHOICE: &str = "--default-authentication-plugin";
    let mut before = "";
    let mut known = Vec::new();
    for arg in args {
        if before != CHOICE && !arg.starts_with(CHOICE) {
            known.push(arg);
        }
        before = arg;
    }
    known
}

fn prepare(statements: &[&str]) -> anyhow::Result<Command> {
    let data = PathBuf::from(DATA);
    let fresh = is_empty(&data)?;
    std::fs::create_dir_all(SOCKETS)?;
    let mut server = Command::new("mariadbd");
    server.args(["--no-defaults", "--user=root", "--bind-address=*"]).args(SMALL);
    server.arg(format!("--datadir={DATA}")).arg(format!("--socket={SOCKETS}/mysqld.sock"));
    if fresh {
        fill(&mut server, statements)?;
    }
    Ok(server)
}

fn fill(server: &mut Command, statements: &[&str]) -> anyhow::Result<()> {
    let waivers = ["MARIADB_ALLOW_EMPTY_ROOT_PASSWORD", "MYSQL_ALLOW_EMPTY_PASSWORD"];
    let said = setting("ROOT_PASSWORD").is_some() || waivers.iter().any(|w| env(w).is_some());
    ensure_password(said, "MARIADB_ROOT_PASSWORD (or MYSQL_…)", waivers[0])?;
    let mut init = Command::new("mariadb-install-db");
    init.args(["--no-defaults", "--user=root", "--skip-test-db"]).args(SMALL);
    init.args(["--auth-root-authentication-method=normal", &format!("--datadir={DATA}")]);
    run(&mut init)?;
    let wish = Wish {
        root_password: setting("ROOT_PASSWORD").unwrap_or_default(),
        database: setting("DATABASE"),
        user: setting("USER"),
        password: setting("PASSWORD").unwrap_or_default(),
    };
    let first = wish.statements() + &statements.join("\n") + "\n";
    write_secret(Path::new(FIRST_STATEMENTS), &first)?;
    server.arg(format!("--init-file={FIRST_STATEMENTS}"));
    Ok(())
}

/// The images of MariaDB and MySQL each have their own prefix.
fn setting(name: &str) -> Option<String> {
    env(&format!("MARIADB_{name}")).or_else(|| env(&format!("MYSQL_{name}")))
}

/// What the environment wants to be there.
struct Wish {
    root_password: String,
    database: Option<String>,
    user: Option<String>,
    password: String,
}

impl Wish {
    /// One statement a line, as an initial file must have them.
    fn statements(&self) -> String {
        let root = literal(&self.root_password);
        let mut lines = vec![
            format!("ALTER USER 'root'@'localhost' IDENTIFIED BY {root};"),
            format!("CREATE USER IF NOT EXISTS 'root'@'%' IDENTIFIED BY {root};"),
            "GRANT ALL ON *.* TO 'root'@'%' WITH GRANT OPTION;".to_owned(),
        ];
        let database = self.database.as_deref().map(identifier);
        lines.extend(database.iter().map(|d| format!("CREATE DATABASE IF NOT EXISTS {d};")));
        if let Some(user) = &self.user {
            let (user, password) = (literal(user), literal(&self.password));
            lines.push(format!("CREATE USER IF NOT EXISTS {user}@'%' IDENTIFIED BY {password};"));
            lines.extend(database.iter().map(|d| format!("GRANT ALL ON {d}.* TO {user}@'%';")));
        }
        lines.join("\n") + "\n"
    }
}

fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

fn literal(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('\'', "''").replace('\n', "\\n");
    format!("'{escaped}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_databases_are_made_as_the_environment_says() {
        let wish = Wish {
            root_password: "it's".to_owned(),
            database: Some("te`st".to_owned()),
            user: Some("sailor".to_owned()),
            password: "a\\b\nc".to_owned(),
        };
        let text = wish.statements();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "ALTER USER 'root'@'localhost' IDENTIFIED BY 'it''s';");
        assert_eq!(lines[3], "CREATE DATABASE IF NOT EXISTS `te``st`;");
        assert_eq!(lines[4], r"CREATE USER IF NOT EXISTS 'sailor'@'%' IDENTIFIED BY 'a\\b\nc';");
        assert_eq!(lines[5], "GRANT ALL ON `te``st`.* TO 'sailor'@'%';");
        let bare = Wish { database: None, user: None, ..wish };
        assert_eq!(bare.statements().lines().count(), 3);
    }

    #[test]
    fn what_only_mysql_knows_is_left_out() {
        let table: [(&[&str], &[&str]); 3] = [
            (&["--default-authentication-plugin", "mysql_native_password", "-v"], &["-v"]),
            (&["--default-authentication-plugin=x", "-v"], &["-v"]),
            (&["--bind-address=*"], &["--bind-address=*"]),
        ];
        for (args, expected) in table {
            let args: Vec<String> = args.iter().map(|a| (*a).to_owned()).collect();
            assert_eq!(known(&args), expected, "{args:?}");
        }
    }
}
