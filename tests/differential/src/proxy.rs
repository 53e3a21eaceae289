//! A proxy under test: a process with a bootstrap file, ready when its admin port says so.

use crate::client;
use serde_json::Value;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

#[derive(Debug)]
pub struct Proxy {
    child: Child,
    pub admin: SocketAddr,
    /// The port of each case, in order.
    pub ports: Vec<u16>,
}

impl Proxy {
    /// Starts `binary` on `bootstrap`, which is kept in `dir` together with the log.
    pub fn start(
        binary: &Path,
        name: &str,
        dir: &Path,
        bootstrap: &Value,
        admin: SocketAddr,
        ports: Vec<u16>,
    ) -> io::Result<Self> {
        let text = serde_json::to_string_pretty(bootstrap)?;
        let mut proxy = Self::start_with(binary, name, dir, &text, admin)?;
        proxy.ports = ports;
        Ok(proxy)
    }

    /// As [`Proxy::start`], from a bootstrap as text.
    pub fn start_with(
        binary: &Path,
        name: &str,
        dir: &Path,
        bootstrap: &str,
        admin: SocketAddr,
    ) -> io::Result<Self> {
        let file = dir.join(format!("{name}.json"));
        std::fs::write(&file, bootstrap)?;
        let log = std::fs::File::create(dir.join(format!("{name}.log")))?;
        let child = Command::new(binary)
            .arg("-c")
            .arg(&file)
            .args(["--concurrency", "1", "--use-dynamic-base-id", "-l", "warning"])
            .args(["--file-flush-interval-msec", "100"])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let mut proxy = Self { child, admin, ports: Vec::new() };
        proxy.wait_until_ready(name, dir)?;
        Ok(proxy)
    }

    fn wait_until_ready(&mut self, name: &str, dir: &Path) -> io::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(30);
        while client::admin(self.admin, "/ready").is_err() {
            let log = || said(&dir.join(format!("{name}.log")));
            if let Some(status) = self.child.try_wait()? {
                return Err(io::Error::other(format!("{name} ended with {status}:\n{}", log())));
            }
            if Instant::now() > deadline {
                return Err(io::Error::other(format!("{name} is not ready:\n{}", log())));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    pub fn address(&self, case: usize) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports[case]))
    }

    /// Counters and gauges by Envoy's names.
    pub fn stats(&self) -> io::Result<std::collections::BTreeMap<String, i64>> {
        let text = client::admin(self.admin, "/stats")?;
        let pair = |line: &str| {
            let (name, value) = line.split_once(": ")?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        Ok(text.lines().filter_map(pair).collect())
    }
}

/// A log without warnings of deprecated fields, which drown the reason why a proxy did not start.
fn said(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().filter(|l| !l.contains("[warning]")).collect();
    lines.join("\n")
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may have ended by itself; nothing is left to do then.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ports that nobody listens on. They lie below those that the kernel gives to outgoing connections,
/// one of which could take a port before the proxy that it is meant for.
pub fn free_ports(n: usize) -> io::Result<Vec<u16>> {
    const FIRST: u32 = 20_000;
    const COUNT: u32 = 12_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mut ports = Vec::new();
    for _ in 0..COUNT {
        if ports.len() == n {
            return Ok(ports);
        }
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        // Several test programs run at a time; each begins somewhere else.
        let offset = std::process::id().wrapping_mul(97).wrapping_add(step) % COUNT;
        let port = u16::try_from(FIRST + offset).map_err(io::Error::other)?;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            ports.push(port);
        }
    }
    Err(io::Error::other("no free ports"))
}

/// Envoy from `ENVOY`, or from the virtual environment that `cargo xtask setup` makes.
pub fn find_envoy() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("ENVOY") {
        return Some(path.into());
    }
    let lib = repository().join("target/peers/venv/lib");
    let pythons = std::fs::read_dir(lib).ok()?.flatten();
    let binary = |python: std::fs::DirEntry| python.path().join("site-packages/envoy/_bin/envoy");
    pythons.map(binary).find(|path| path.is_file())
}

/// Ours from `LATEEN_PROXY`, from the programs that `cargo xtask test` builds, or beside the test.
pub fn find_ours() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("LATEEN_PROXY") {
        return Some(path.into());
    }
    if let Some(dir) = std::env::var_os("LATEEN_BIN_DIR") {
        return Some(Path::new(&dir).join("lateen-proxy")).filter(|path| path.is_file());
    }
    let test = std::env::current_exe().ok()?;
    let path = test.parent()?.parent()?.join("lateen-proxy");
    path.is_file().then_some(path)
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
