//! Every verb through `kubectl`, old and new: `kubectl` of the PATH, and those that
//! `LATEEN_KUBECTLS` names (paths with `:` between). A missing kubectl is a printed skip, with
//! `LATEEN_REQUIRE_PEERS=1` a failure. `LATEEN_SUITE_KUBECONFIG` points the suite at another
//! cluster, of which it says all that differs from ours; what needs our own kubelet is left out there.

mod elsewhere;
mod plain;
mod running;

use std::cell::RefCell;
use std::fmt::{Debug, Display};
use std::io::Write;
use std::panic::Location;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use crate::support::{Cluster, Scratch};

const ELSEWHERE: &str = "LATEEN_SUITE_KUBECONFIG";

/// One kubectl against one cluster, in a namespace of its own. What is not as expected is noted, and
/// the suite goes on.
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    namespace: String,
    home: Scratch,
    pub minor: u32,
    /// Whether the cluster is our own, in which nothing runs pods.
    pub own: bool,
    last: RefCell<String>,
    differences: RefCell<Vec<String>>,
}

/// The cells of a table.
pub struct Table {
    pub head: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// A cell, or nothing where there is none.
    pub fn cell(&self, row: usize, column: usize) -> &str {
        self.rows.get(row).and_then(|r| r.get(column)).map_or("", String::as_str)
    }

    pub fn first(&self, columns: std::ops::Range<usize>) -> Vec<&str> {
        columns.map(|column| self.cell(0, column)).collect()
    }
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

/// Walks each kubectl of this machine through the steps: against our own cluster, or the one that the
/// suite is pointed at. Fails in the end with all that differed.
pub async fn walk(name: &str, steps: impl Fn(&Kubectl)) {
    let elsewhere = std::env::var_os(ELSEWHERE).map(PathBuf::from);
    let cluster = match elsewhere {
        Some(_) => None,
        None => Some(Cluster::start(&format!("kubectl-{name}")).await),
    };
    let kubeconfig = cluster.as_ref().map(|cluster| cluster.kubeconfig.clone()).or(elsewhere);
    let all = Kubectl::all(name, kubeconfig.expect("a cluster"), cluster.is_some());
    all.iter().for_each(steps);
    finish(all);
}

/// Takes the namespaces away, and says what differed.
pub fn finish(all: Vec<Kubectl>) {
    let differences: Vec<String> = all.into_iter().flat_map(Kubectl::end).collect();
    let count = differences.len();
    assert!(count == 0, "{count} differences:\n{}", differences.join("\n"));
}

impl Kubectl {
    /// Each kubectl of this machine in a fresh namespace of our own cluster.
    pub fn each(cluster: &Cluster) -> Vec<Kubectl> {
        Kubectl::all("own", cluster.kubeconfig.clone(), true)
    }

    fn all(name: &str, kubeconfig: PathBuf, own: bool) -> Vec<Kubectl> {
        let each = programs().into_iter().enumerate().map(|(index, program)| {
            let mut one = Kubectl {
                program,
                kubeconfig: kubeconfig.clone(),
                namespace: format!("suite-{name}-{index}-{}", std::process::id()),
                home: Scratch::new("kubectl-home"),
                minor: 0,
                own,
                last: RefCell::default(),
                differences: RefCell::default(),
            };
            one.minor = one.version();
            one.run(&["create", "namespace", &one.namespace.clone()]);
            one
        });
        each.collect()
    }

    fn end(self) -> Vec<String> {
        // Our own cluster goes away as a whole.
        if !self.own {
            self.run(&["delete", "namespace", &self.namespace, "--wait=false"]);
        }
        self.differences.take()
    }

    /// Notes a difference.
    #[track_caller]
    pub fn same<A: PartialEq<B> + Debug, B: Debug>(&self, seen: A, expected: B) {
        if seen != expected {
            self.note(Location::caller(), &format!("expected {expected:?}\n    seen     {seen:?}"));
        }
    }

    /// Notes what was said where it should have been otherwise.
    #[track_caller]
    pub fn holds(&self, holds: bool, said: impl Display) {
        if !holds {
            self.note(Location::caller(), &format!("not as expected: {said}"));
        }
    }

    #[track_caller]
    pub fn contains(&self, said: &str, part: &str) {
        self.holds(said.contains(part), format_args!("{part:?} is missing in {said:?}"));
    }

    fn note(&self, place: &Location, what: &str) {
        let place = format!("{}:{}", place.file(), place.line());
        let (minor, last) = (self.minor, self.last.borrow());
        let text = format!("  kubectl 1.{minor} {last} ({place})\n    {what}");
        self.differences.borrow_mut().push(text);
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
        *self.last.borrow_mut() = arguments.join(" ");
        let mut child = command.spawn().unwrap();
        // One that fails early reads nothing.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
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

    /// Runs a command that should succeed.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Said {
        self.run_with_input(arguments, "")
    }

    #[track_caller]
    pub fn run_with_input(&self, arguments: &[&str], input: &str) -> Said {
        let said = self.try_with_input(arguments, input);
        self.holds(said.ok, format_args!("{}{}", said.out, said.err));
        said
    }

    #[track_caller]
    pub fn table(&self, arguments: &[&str]) -> Table {
        let said = self.run(arguments);
        let split = |line: &str| -> Vec<String> {
            let cells = line.split("  ").map(str::trim).filter(|c| !c.is_empty());
            cells.map(str::to_owned).collect()
        };
        let mut lines = said.out.lines();
        let head = split(lines.next().unwrap_or_default());
        Table { head, rows: lines.map(split).collect() }
    }

    #[track_caller]
    pub fn json_path(&self, what: &[&str], path: &str) -> String {
        let output = format!("jsonpath={path}");
        self.run(&[&["get"], what, &["-o", &output]].concat()).out
    }

    pub fn namespace(&self) -> &str {
        &self.namespace
    }
}
