//! One proxy with its backends, and many requests through it.

use super::backend::Ground;
use super::scene::{Scene, bootstrap};
use crate::client;
use crate::http::{header, read_body, read_head};
use crate::proxy::{Proxy, free_ports};
use std::collections::BTreeMap;
use std::io::{self, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// Envoy and ours, on the same scenes.
pub struct Both {
    pub envoy: Side,
    pub ours: Side,
}

pub struct Side {
    pub name: &'static str,
    pub ground: Ground,
    proxy: Proxy,
    scenes: Vec<&'static str>,
    logs: Vec<String>,
}

/// Requests to send.
#[derive(Clone, Debug)]
pub struct Load {
    pub requests: usize,
    /// How many at a time; each caller keeps its connection.
    pub callers: usize,
    /// Requests a second in all, whether the answers come or not; `None` is as fast as they come.
    pub rate: Option<u32>,
    /// Further lines of the head.
    pub headers: String,
}

/// What became of one request.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// Zero: none came.
    pub status: u16,
    pub upstream: String,
    pub overloaded: bool,
    pub took: Duration,
    /// When it was sent, from the begin of the load.
    pub at: Duration,
}

impl Load {
    pub fn of(requests: usize) -> Self {
        Self { requests, callers: 4, rate: None, headers: String::new() }
    }

    pub fn callers(self, callers: usize) -> Self {
        Self { callers, ..self }
    }

    pub fn rate(self, per_second: u32) -> Self {
        Self { rate: Some(per_second), ..self }
    }

    pub fn with(self, line: &str) -> Self {
        Self { headers: format!("{}{line}\r\n", self.headers), ..self }
    }
}

impl Both {
    /// Starts both on the scenes that `make` gives for the ground that each has for itself.
    pub fn start(
        (envoy, ours): (PathBuf, PathBuf),
        dir: &Path,
        make: impl Fn(&Ground) -> Vec<Scene>,
    ) -> io::Result<Self> {
        let envoy = Side::start("envoy", &envoy, dir, &make)?;
        Ok(Self { envoy, ours: Side::start("ours", &ours, dir, &make)? })
    }

    /// Does the same with both, at the same time.
    pub fn each<T: Send>(&self, run: impl Fn(&Side) -> T + Sync) -> [T; 2] {
        std::thread::scope(|scope| {
            let ours = scope.spawn(|| run(&self.ours));
            let envoy = run(&self.envoy);
            let ours = ours.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            [envoy, ours]
        })
    }
}

impl Side {
    fn start(
        name: &'static str,
        binary: &Path,
        dir: &Path,
        make: &impl Fn(&Ground) -> Vec<Scene>,
    ) -> io::Result<Self> {
        let ground = Ground::start()?;
        let scenes = make(&ground);
        let mut ports = free_ports(scenes.len() + 1)?;
        let admin = SocketAddr::from(([127, 0, 0, 1], ports.pop().unwrap_or_default()));
        let logs: Vec<String> = scenes
            .iter()
            .map(|s| dir.join(format!("{name}-{}.access", s.name)).display().to_string())
            .collect();
        let config = bootstrap(&scenes, admin, &ports, &logs);
        let proxy = Proxy::start(binary, name, dir, &config, admin, ports)?;
        Ok(Self { name, ground, proxy, scenes: scenes.iter().map(|s| s.name).collect(), logs })
    }

    fn place(&self, scene: &str) -> usize {
        let place = self.scenes.iter().position(|s| *s == scene);
        place.unwrap_or_else(|| panic!("no scene {scene}"))
    }

    pub fn stats(&self) -> io::Result<BTreeMap<String, i64>> {
        self.proxy.stats()
    }

    /// One counter or gauge of a scene's cluster; what is not there is zero.
    pub fn count(&self, scene: &str, name: &str) -> i64 {
        let all = self.stats().unwrap_or_default();
        all.get(&format!("cluster.{scene}.{name}")).copied().unwrap_or(0)
    }

    /// The endpoints that are ejected now.
    pub fn ejected(&self, scene: &str) -> usize {
        let text = client::admin(self.proxy.admin, "/clusters").unwrap_or_default();
        let of =
            |l: &&str| l.starts_with(&format!("{scene}::")) && l.contains("failed_outlier_check");
        text.lines().filter(of).count()
    }

    /// Sends them all, and gives the answers in the order of their sending.
    pub fn send(&self, scene: &str, load: &Load) -> Vec<Answer> {
        let to = self.proxy.address(self.place(scene));
        let (next, began) = (AtomicUsize::new(0), Instant::now());
        let callers: Vec<Vec<(usize, Answer)>> = std::thread::scope(|scope| {
            let one = || scope.spawn(|| call(to, load, &next, began));
            let all: Vec<_> = (0..load.callers.min(load.requests)).map(|_| one()).collect();
            let done = |t: std::thread::ScopedJoinHandle<'_, _>| {
                t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            all.into_iter().map(done).collect()
        });
        let mut answers: Vec<(usize, Answer)> = callers.into_iter().flatten().collect();
        answers.sort_by_key(|(n, _)| *n);
        answers.into_iter().map(|(_, answer)| answer).collect()
    }

    /// One request alone.
    pub fn one(&self, scene: &str) -> Answer {
        self.send(scene, &Load::of(1)).pop().unwrap_or_default()
    }

    /// What a scene's log says, as counts of equal lines, once it has `n` lines.
    pub fn log(&self, scene: &str, n: usize) -> BTreeMap<String, usize> {
        let path = &self.logs[self.place(scene)];
        let deadline = Instant::now() + Duration::from_secs(12);
        loop {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            if text.lines().count() >= n || Instant::now() > deadline {
                let mut counts = BTreeMap::new();
                text.lines().for_each(|l| *counts.entry(l.to_owned()).or_default() += 1);
                return counts;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// One caller: takes the next request until there are no more.
fn call(to: SocketAddr, load: &Load, next: &AtomicUsize, began: Instant) -> Vec<(usize, Answer)> {
    let text = format!("GET / HTTP/1.1\r\nhost: any\r\n{}\r\n", load.headers);
    let mut connection = None;
    let mut answers = Vec::new();
    loop {
        let n = next.fetch_add(1, SeqCst);
        if n >= load.requests {
            return answers;
        }
        if let Some(rate) = load.rate {
            let due = began + Duration::from_secs_f64(n as f64 / f64::from(rate));
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        let sent = Instant::now();
        // Whatever goes wrong is an answer with status 0.
        let mut answer = exchange(to, &mut connection, &text).unwrap_or_default();
        answer.took = sent.elapsed();
        answer.at = sent.duration_since(began);
        answers.push((n, answer));
    }
}

fn exchange(
    to: SocketAddr,
    connection: &mut Option<BufReader<TcpStream>>,
    text: &str,
) -> io::Result<Answer> {
    let mut open = match connection.take() {
        Some(open) => open,
        None => {
            let stream = TcpStream::connect(to)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(Duration::from_secs(10)))?;
            BufReader::new(stream)
        }
    };
    open.get_mut().write_all(text.as_bytes())?;
    let (line, headers) = read_head(&mut open)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let status = line.split(' ').nth(1).and_then(|s| s.parse().ok());
    let _body = read_body(&mut open, &headers, false)?;
    if header(&headers, "connection") != Some("close") {
        *connection = Some(open);
    }
    Ok(Answer {
        status: status.ok_or(io::ErrorKind::InvalidData)?,
        upstream: header(&headers, "x-upstream").unwrap_or_default().to_owned(),
        overloaded: header(&headers, "x-envoy-overloaded") == Some("true"),
        ..Answer::default()
    })
}
