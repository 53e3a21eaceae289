//! A mesh for tests: brought up in a state directory of its own, talked to with kubectl and curl as a
//! user would, and taken down again whatever happens.

pub mod api;
pub mod authority;
pub mod flips;
pub mod load;
pub mod machine;
pub mod script;
pub mod secure;

use serde_json::Value;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A running mesh; dropping it takes it down and leaves nothing.
pub struct Mesh {
    bin: PathBuf,
    state: PathBuf,
    ingress: String,
    _turn: MutexGuard<'static, ()>,
}

/// One mesh at a time: two would share the machine, and each test's patience is for one.
static TURN: Mutex<()> = Mutex::new(());

/// Waits until no other test of this program has a mesh.
pub fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What came back for one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// Where the programs lie, or `None` with a line that says why the test is skipped.
pub fn programs() -> Option<PathBuf> {
    let dir = std::env::var_os("LATEEN_BIN_DIR").map(PathBuf::from);
    if dir.is_none() {
        assert!(std::env::var_os("LATEEN_REQUIRE_PEERS").is_none(), "LATEEN_BIN_DIR is not set");
        println!("skip: LATEEN_BIN_DIR is not set; `cargo xtask test` sets it");
    }
    dir
}

/// Real Envoy, or `None` with a line that says why the test is skipped.
pub fn envoy() -> Option<PathBuf> {
    let path = std::env::var_os("ENVOY").map(PathBuf::from).filter(|p| p.is_file());
    if path.is_none() {
        assert!(std::env::var_os("LATEEN_REQUIRE_PEERS").is_none(), "ENVOY names no file");
        println!("skip: ENVOY names no file; `cargo xtask test` sets it");
    }
    path
}

/// The released samples, or `None` with a line that says why the test is skipped.
pub fn released_samples() -> Option<PathBuf> {
    released::folder("a_samples")
}

pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Asks again and again until the answer is yes; panics with `what` after `patience`.
pub fn eventually(what: &str, patience: Duration, mut ask: impl FnMut() -> Result<(), String>) {
    let deadline = Instant::now() + patience;
    loop {
        match ask() {
            Ok(()) => return,
            Err(why) if Instant::now() >= deadline => {
                panic!("{what}: still not after {patience:?}: {why}")
            }
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

impl Mesh {
    /// Brings a mesh up; `None` where the programs are not to be had.
    pub fn up(name: &str, flags: &[&str]) -> Option<Mesh> {
        let bin = programs()?;
        let state = std::env::temp_dir().join(format!("lateen-e2e-{name}-{}", std::process::id()));
        let mut mesh = Mesh { bin, state, ingress: String::new(), _turn: turn() };
        mesh.lateen(&[&["up"], flags].concat());
        let status: Value =
            serde_json::from_str(&mesh.lateen(&["status", "-o", "json"])).expect("status is JSON");
        assert_eq!(status["state"], "running", "{status}");
        // A profile may have none.
        mesh.ingress = status["ingress"]["http"].as_str().unwrap_or_default().to_owned();
        Some(mesh)
    }

    pub fn state(&self) -> &Path {
        &self.state
    }

    pub fn ingress(&self) -> &str {
        &self.ingress
    }

    /// Where the ingress gateway listens, as `address:port`.
    pub fn ingress_address(&self) -> String {
        let address = self.ingress.trim_start_matches("http://");
        if address.contains(':') { address.to_owned() } else { format!("{address}:80") }
    }

    pub fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    /// Standard output of a `lateen` command that must succeed.
    pub fn lateen(&self, args: &[&str]) -> String {
        stdout(self.command("lateen").args(args))
    }

    /// Standard output of a kubectl command that must succeed.
    pub fn kubectl(&self, args: &[&str]) -> String {
        stdout(self.kubectl_command().args(args))
    }

    pub fn kubectl_command(&self) -> Command {
        let kubectl =
            std::env::var_os("LATEEN_KUBECTL_132").map_or("kubectl".into(), PathBuf::from);
        let mut command = Command::new(kubectl);
        command.env("KUBECONFIG", self.state.join("kubeconfig"));
        command
    }

    /// Open-loop load from the host; prints a summary as JSON.
    pub fn load(&self) -> Command {
        let mut command = Command::new(self.program("lateen-apps"));
        command.arg("load");
        command
    }

    /// `kubectl apply` of a text.
    pub fn apply_text(&self, text: &str) -> String {
        with_input(self.kubectl_command().args(["apply", "-f", "-"]), text)
    }

    pub fn apply(&self, file: &Path) -> String {
        self.kubectl(&["apply", "-f", &file.display().to_string()])
    }

    pub fn get(&self, what: &[&str]) -> Value {
        let text = self.kubectl(&[&["get", "-o", "json"], what].concat());
        serde_json::from_str(&text).expect("kubectl prints JSON")
    }

    /// Waits until every Deployment of the namespace is rolled out.
    pub fn wait_for_deployments(&self, namespace: &str) {
        self.kubectl(&[
            "-n",
            namespace,
            "wait",
            "--for=condition=Available",
            "--timeout=60s",
            "deployment",
            "--all",
        ]);
    }

    /// One request from the host through the ingress gateway.
    pub fn curl(&self, path: &str, args: &[&str]) -> Answer {
        curl(&format!("{}{path}", self.ingress), args)
    }

    /// A command in a container, which must succeed.
    pub fn exec(&self, pod: &str, container: &str, command: &[&str]) -> String {
        self.kubectl(&[&["exec", pod, "-c", container, "--"], command].concat())
    }

    /// What the proxy of a pod says at a path of its admin port, as tutorials ask it.
    pub fn proxy_says(&self, namespace: &str, pod: &str, path: &str) -> String {
        let ask = ["--", "pilot-agent", "request", "GET", path];
        self.kubectl(&[&["-n", namespace, "exec", pod, "-c", "istio-proxy"], &ask[..]].concat())
    }

    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command.env("LATEEN_STATE", &self.state).env_remove("KUBECONFIG");
        if let Some(envoy) = std::env::var_os("ENVOY") {
            command.env("LATEEN_ENVOY", envoy);
        }
        command
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        if std::thread::panicking() {
            keep_logs(&self.state);
        }
        let down = self.command("lateen").args(["down", "--purge"]).output();
        if !std::thread::panicking() {
            let down = down.expect("lateen down starts");
            assert!(down.status.success(), "{}", String::from_utf8_lossy(&down.stderr));
            assert!(!self.state.exists(), "{} is left", self.state.display());
        }
    }
}

/// The last lines of each log, so that a failure can be understood from the test's output alone.
fn keep_logs(state: &Path) {
    let Ok(entries) = std::fs::read_dir(state) else { return };
    let logs = entries.flatten().filter(|e| e.path().extension().is_some_and(|x| x == "log"));
    for entry in logs {
        let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let last = &lines[lines.len().saturating_sub(40)..];
        eprintln!("--- {}\n{}", entry.path().display(), last.join("\n"));
    }
}

/// One request with curl; `args` go before the URL. A request that got no answer has status 0.
pub fn curl(url: &str, args: &[&str]) -> Answer {
    let out = Command::new("curl")
        .args(["-s", "-i", "--max-time", "20"])
        .args(args)
        .arg(url)
        .output()
        .expect("curl");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    // Informational responses come as heads of their own.
    let mut rest = text.as_str();
    while let Some((head, body)) = rest.split_once("\r\n\r\n") {
        let status = head.split_whitespace().nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
        if (100..200).contains(&status) && status != 101 {
            rest = body;
            continue;
        }
        return Answer { status, head: head.to_owned(), body: body.to_owned() };
    }
    Answer::default()
}

/// A text to a server of plain TCP, and all that it answers.
pub fn say(address: &str, text: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(text.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn stdout(command: &mut Command) -> String {
    finished(command.output().unwrap_or_else(|e| panic!("{command:?}: {e}")), command)
}

fn with_input(command: &mut Command, text: &str) -> String {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    child.stdin.take().expect("piped").write_all(text.as_bytes()).expect("reads its input");
    finished(child.wait_with_output().expect("ends"), command)
}

fn finished(out: Output, command: &Command) -> String {
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{command:?} ended with {}\n{text}{errors}", out.status);
    text
}

/// The sum of one Prometheus counter over all series whose labels hold all of `labels`.
pub fn counter(text: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    let has = |line: &str| labels.iter().all(|(k, v)| line.contains(&format!("{k}=\"{v}\"")));
    text.lines()
        .filter(|l| l.strip_prefix(name).is_some_and(|rest| rest.starts_with('{')) && has(l))
        .filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_summed_by_label() {
        let text =
            "a_total{x=\"1\",y=\"2\"} 3\na_total{x=\"1\",y=\"3\"} 4\na_total_other{x=\"1\"} 9\n";
        assert_eq!(counter(text, "a_total", &[("x", "1")]), 7.0);
        assert_eq!(counter(text, "a_total", &[("y", "3")]), 4.0);
    }
}
