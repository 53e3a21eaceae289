//! Every verb through `kubectl`, old and new: `kubectl` of the PATH, and those that
//! `LATEEN_KUBECTLS` names (paths with `:` between). A missing kubectl is a printed skip, with
//! `LATEEN_REQUIRE_PEERS=1` a failure. `LATEEN_SUITE_KUBECONFIG` points the suite at another
//! cluster; what needs our own kubelet is left out there.

mod plain;
mod running;

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use crate::support::{Cluster, Scratch};

/// One kubectl against one cluster, in a namespace of its own.
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    namespace: String,
    home: Scratch,
    pub minor: u32,
}

pub struct Said {
    pub out: String,
    pub err: String,
    pub ok: bool,
}

fn programs() -> Vec<PathBuf> {
    let listed = std::env::var("LATEEN_KUBECTLS").unwrap_or_default();
    let mut programs: Vec<PathBuf> = vec![PathBuf::from("kubectl")];
    programs.extend(listed.split(':').filter(|p| !p.is_empty()).map(PathBuf::from));
    let works = |p: &PathBuf| {
        let version = Command::new(p)
            .args(["version", "--client"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        version.is_ok_and(|s| s.success())
    };
    programs.retain(works);
    if programs.is_empty() {
        assert!(std::env::var("LATEEN_REQUIRE_PEERS").is_err(), "kubectl is required and missing");
        println!("skipped: there is no kubectl on this machine");
    }
    programs
}

impl Kubectl {
    /// Each kubectl of this machine, in a fresh namespace.
    pub async fn each(cluster: Option<&Cluster>) -> Vec<Kubectl> {
        let elsewhere = std::env::var_os("LATEEN_SUITE_KUBECONFIG").map(PathBuf::from);
        let kubeconfig = match cluster {
            Some(cluster) => cluster.kubeconfig.clone(),
            None => elsewhere.expect("a cluster"),
        };
        let mut all = Vec::new();
        for (index, program) in programs().into_iter().enumerate() {
            let home = Scratch::new("kubectl-home");
            let namespace = format!("suite-{index}-{}", std::process::id());
            let mut one =
                Kubectl { program, kubeconfig: kubeconfig.clone(), namespace, home, minor: 0 };
            one.minor = one.version();
            one.run(&["create", "namespace", &one.namespace.clone()]);
            all.push(one);
        }
        all
    }

    fn version(&self) -> u32 {
        let said = self.run(&["version", "--client", "-o", "json"]);
        let version: serde_json::Value = serde_json::from_str(&said.out).unwrap();
        version["clientVersion"]["minor"].as_str().unwrap().trim_end_matches('+').parse().unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HOME", &self.home.0)
            .env("KUBE_EDITOR", "sed -i s/before/after/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if self.minor > 0 {
            command.args(["-n", &self.namespace]);
        }
        command
    }

    pub fn try_with_input(&self, arguments: &[&str], input: &str) -> Said {
        // Flags go before a program that is to be run.
        let place = arguments.iter().position(|a| *a == "--").unwrap_or(arguments.len());
        let mut command = self.command(&arguments[..place]);
        command.args(&arguments[place..]);
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
        Said {
            out: String::from_utf8_lossy(&stdout).into_owned(),
            err: String::from_utf8_lossy(&stderr).into_owned(),
            ok: status.success(),
        }
    }

    pub fn start(&self, arguments: &[&str]) -> std::process::Child {
        self.command(arguments).spawn().unwrap()
    }

    pub fn attempt(&self, arguments: &[&str]) -> Said {
        self.try_with_input(arguments, "")
    }

    /// Runs a command that must succeed.
    pub fn run(&self, arguments: &[&str]) -> Said {
        self.run_with_input(arguments, "")
    }

    pub fn run_with_input(&self, arguments: &[&str], input: &str) -> Said {
        let said = self.try_with_input(arguments, input);
        assert!(said.ok, "kubectl 1.{} {arguments:?}: {}{}", self.minor, said.out, said.err);
        said
    }

    /// The columns of a table and its rows.
    pub fn table(&self, arguments: &[&str]) -> (Vec<String>, Vec<Vec<String>>) {
        let said = self.run(arguments);
        let split = |line: &str| -> Vec<String> {
            let cells = line.split("  ").map(str::trim).filter(|c| !c.is_empty());
            cells.map(str::to_owned).collect()
        };
        let mut lines = said.out.lines();
        let head = split(lines.next().unwrap_or_default());
        (head, lines.map(split).collect())
    }

    pub fn json_path(&self, what: &[&str], path: &str) -> String {
        let output = format!("jsonpath={path}");
        self.run(&[&["get"], what, &["-o", &output]].concat()).out
    }

    pub fn namespace(&self) -> &str {
        &self.namespace
    }
}

/// Our own cluster, unless the suite is pointed elsewhere.
pub async fn own_cluster(name: &str) -> Option<Cluster> {
    match std::env::var_os("LATEEN_SUITE_KUBECONFIG") {
        Some(_) => None,
        None => Some(Cluster::start(name).await),
    }
}
