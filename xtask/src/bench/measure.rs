//! Starting what is measured, loading it, and reading what it cost from /proc.

use super::config::{Body, Protocol};
use crate::shell;
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// What one cell of one repetition measured.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub cpu_us: f64,
    pub requests_per_second: f64,
    pub errors: u64,
    pub rss_kib: u64,
}

/// A running program; it and its children end when this is dropped.
pub struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        for pid in self.tree().into_iter().rev() {
            let _ = std::process::Command::new("kill")
                .args(["-9", &pid.to_string()])
                .stderr(Stdio::null())
                .status();
        }
        let _ = self.0.wait();
    }
}

impl Process {
    /// Time on a processor of all threads of the program and of its children.
    pub fn cpu_ns(&self) -> u64 {
        let of_thread = |entry: fs::DirEntry| -> Option<u64> {
            let text = fs::read_to_string(entry.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse().ok()
        };
        let of_process = |pid: &u32| -> u64 {
            fs::read_dir(format!("/proc/{pid}/task"))
                .into_iter()
                .flatten()
                .flatten()
                .filter_map(of_thread)
                .sum()
        };
        self.tree().iter().map(of_process).sum()
    }

    /// Resident memory, of the program and of its children.
    pub fn rss_kib(&self) -> u64 {
        self.tree().iter().map(|pid| status_kib(*pid, "VmRSS:")).sum()
    }

    /// Resident memory that is not file pages.
    pub fn anonymous_kib(&self) -> u64 {
        self.tree().iter().map(|pid| status_kib(*pid, "RssAnon:")).sum()
    }

    pub fn descriptors(&self) -> usize {
        let count = |pid: &u32| fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
        self.tree().iter().map(count).sum()
    }

    fn tree(&self) -> Vec<u32> {
        let mut found = vec![self.0.id()];
        let mut next = 0;
        while let Some(&pid) = found.get(next) {
            let children =
                fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|c| c.parse::<u32>().ok()));
            next += 1;
        }
        found
    }
}

fn status_kib(pid: u32, field: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix(field)).unwrap_or_default();
    line.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// Starts a program on one processor, its output in a file of `dir`.
pub fn start(argv: &[&str], cpu: &str, dir: &Path) -> Result<Process> {
    let program = Path::new(argv.first().copied().unwrap_or_default());
    let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let log = File::options().append(true).create(true).open(dir.join(format!("{name}.log")))?;
    let child = super::pinned(cpu, argv)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("cannot start {name}"))?;
    Ok(Process(child))
}

pub fn wait_for_port(port: u16) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(15);
    while Instant::now() < deadline {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    bail!("nothing listens on port {port} after 15 s")
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    pub requests: u64,
    pub errors: u64,
}

/// As many requests as go through in `seconds`.
pub fn load(
    protocol: Protocol,
    port: u16,
    body: Body,
    connections: u32,
    seconds: u64,
) -> Result<Load> {
    let url = format!("http://127.0.0.1:{port}/{}", body.name());
    let (connections, duration) = (connections.to_string(), seconds.to_string());
    let text = match protocol {
        Protocol::Http1 | Protocol::Tcp | Protocol::Mutual => shell::output(&mut super::pinned(
            "1",
            &[
                "wrk",
                "-t1",
                "-c",
                &connections,
                "-d",
                &duration,
                "-H",
                super::config::HOST_HEADER,
                &url,
            ],
        ))?,
        Protocol::Http2 => shell::output(&mut super::pinned(
            "1",
            &[
                "h2load",
                "-t1",
                "-c",
                &connections,
                "-m32",
                "-D",
                &duration,
                "-H",
                "content-type: application/grpc",
                &url,
            ],
        ))?,
    };
    parse(&text).with_context(|| format!("the load generator said:\n{text}"))
}

/// Reads the summary of `wrk` or `h2load`.
fn parse(text: &str) -> Option<Load> {
    let number_before = |line: &str, word: &str| -> Option<u64> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let at = words.iter().position(|w| w.trim_end_matches(',') == word)?;
        words.get(at.checked_sub(1)?)?.parse().ok()
    };
    if let Some(line) = text.lines().find(|l| l.contains(" requests in ")) {
        let bad = text.lines().find_map(|l| l.trim().strip_prefix("Non-2xx or 3xx responses: "));
        let errors = bad.and_then(|n| n.trim().parse().ok()).unwrap_or(0);
        return Some(Load { requests: number_before(line, "requests")?, errors });
    }
    let line = text.lines().find(|l| l.starts_with("requests: "))?;
    Some(Load {
        requests: number_before(line, "succeeded")?,
        errors: number_before(line, "failed")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_summaries_are_read() {
        let wrk = "  123 requests in 2.00s, 1.2MB read\n  Non-2xx or 3xx responses: 4\n";
        assert_eq!(parse(wrk), Some(Load { requests: 123, errors: 4 }));
        let h2 = "requests: 50 total, 50 started, 49 done, 48 succeeded, 1 failed, 0 errored, 0 timeout\n";
        assert_eq!(parse(h2), Some(Load { requests: 48, errors: 1 }));
        assert_eq!(parse("nonsense"), None);
    }
}
