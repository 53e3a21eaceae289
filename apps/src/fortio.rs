//! `fortio`, as far as tutorials go: `server` (the echo servers), `load` (so many calls over so many
//! connections, each waiting for its answer, then a summary by status), `curl` (one answer, as it came).

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use crate::echo;
use crate::flags::Flags;

const USAGE: &str =
    "fortio server | load [-c N] [-qps N] [-n N | -t TIME] [-H 'k: v'] URL | curl [-H 'k: v'] URL";
const PATIENCE: Duration = Duration::from_secs(15);
const MOST_CALLS: u64 = 10_000_000;
const MOST_LINES: usize = 1000;
/// Without a number of calls it runs this long.
const USUAL_TIME: Duration = Duration::from_secs(5);

pub async fn run(args: &[String]) -> anyhow::Result<()> {
    match args.split_first() {
        None => echo::run(&Flags::parse(&[])).await,
        Some((word, rest)) => match word.as_str() {
            "server" => echo::run(&Flags::parse(rest)).await,
            "load" => LocalSet::new().run_until(load(Wish::read(rest)?)).await,
            "curl" => LocalSet::new().run_until(curl(&Wish::read(rest)?)).await,
            other => bail!("{other:?} is not known: {USAGE}"),
        },
    }
}

/// What the command line asks for.
#[derive(Debug, PartialEq)]
struct Wish {
    connections: u64,
    /// Calls a second over all connections; none: as many as there can be.
    rate: Option<f64>,
    calls: Option<u64>,
    time: Duration,
    headers: Vec<(String, String)>,
    url: Uri,
}

impl Wish {
    fn read(args: &[String]) -> anyhow::Result<Wish> {
        let mut wish = Wish {
            connections: 4,
            rate: Some(8.0),
            calls: None,
            time: USUAL_TIME,
            headers: Vec::new(),
            url: Uri::default(),
        };
        let mut args = args.iter();
        let mut url = None;
        while let Some(arg) = args.next() {
            let Some(name) = arg.strip_prefix('-') else {
                url = Some(arg);
                continue;
            };
            let name = name.trim_start_matches('-');
            if ["quiet", "k", "a", "keepalive"].contains(&name) {
                continue;
            }
            let value = args.next().with_context(|| format!("-{name} has no value"))?;
            wish.set(name, value)?;
        }
        wish.url = url.context(USAGE)?.parse().context("the URL cannot be read")?;
        ensure!(wish.url.host().is_some(), "{} names no host", wish.url);
        Ok(wish)
    }

    fn set(&mut self, name: &str, value: &str) -> anyhow::Result<()> {
        let number = || {
            let number: f64 = value.parse().with_context(|| format!("-{name} {value:?}"))?;
            ensure!(number >= 0.0, "-{name} {value:?} is below nothing");
            Ok(number)
        };
        match name {
            "c" => self.connections = (number()? as u64).clamp(1, MOST_LINES as u64),
            "qps" => self.rate = Some(number()?).filter(|rate| *rate > 0.0),
            "n" => self.calls = Some(number()? as u64).filter(|n| *n > 0),
            "t" => self.time = echo::duration(value).with_context(|| format!("-t {value:?}"))?,
            "H" => {
                let (key, value) = value.split_once(':').context("-H is `key: value`")?;
                self.headers.push((key.trim().to_owned(), value.trim().to_owned()));
            }
            "loglevel" | "timeout" | "jitter" | "p" | "uniform" | "json" => {}
            other => bail!("-{other} is not known: {USAGE}"),
        }
        Ok(())
    }

    fn authority(&self) -> String {
        let host = self.url.host().unwrap_or_default();
        format!("{host}:{}", self.url.port_u16().unwrap_or(80))
    }

    fn request(&self) -> anyhow::Result<Request<Empty<Bytes>>> {
        let path = self.url.path_and_query().map_or("/", |path| path.as_str());
        let own = |name: &str| self.headers.iter().any(|(key, _)| key.eq_ignore_ascii_case(name));
        let mut request = Request::get(path);
        if !own("host") {
            request = request.header("host", self.authority());
        }
        if !own("user-agent") {
            request = request.header("user-agent", "fortio.org/fortio-1.60");
        }
        for (key, value) in &self.headers {
            request = request.header(key, value);
        }
        Ok(request.body(Empty::new())?)
    }
}

/// One connection, made anew when it is gone.
struct Line<'a> {
    wish: &'a Wish,
    sender: Option<SendRequest<Empty<Bytes>>>,
    sockets: &'a Cell<u64>,
}

impl Line<'_> {
    async fn call(&mut self) -> anyhow::Result<Response<Incoming>> {
        let mut sender = match self.sender.take().filter(|sender| !sender.is_closed()) {
            Some(sender) => sender,
            None => self.open().await?,
        };
        sender.ready().await?;
        let response = sender.send_request(self.wish.request()?).await?;
        self.sender = Some(sender);
        Ok(response)
    }

    async fn open(&self) -> anyhow::Result<SendRequest<Empty<Bytes>>> {
        self.sockets.set(self.sockets.get() + 1);
        let stream = TcpStream::connect(self.wish.authority()).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::task::spawn_local(async move {
            // How a connection ends is seen by its requests.
            let _ = connection.await;
        });
        Ok(sender)
    }

    /// The status and size of an answer that came whole; -1 for one that did not.
    async fn measured(&mut self) -> (i32, u64) {
        let call = async {
            let response = self.call().await?;
            let status = i32::from(response.status().as_u16());
            let size = response.into_body().collect().await?.to_bytes().len() as u64;
            anyhow::Ok((status, size))
        };
        match tokio::time::timeout(PATIENCE, call).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => {
                self.sender = None;
                (-1, 0)
            }
        }
    }
}

#[derive(Default)]
struct Results {
    codes: BTreeMap<i32, u64>,
    took: Vec<f64>,
    bytes: u64,
}

async fn load(wish: Wish) -> anyhow::Result<()> {
    let wish = Rc::new(wish);
    let total = wish.calls.unwrap_or(MOST_CALLS).min(MOST_CALLS);
    let end = wish.calls.is_none().then(|| Instant::now() + wish.time);
    let rate = wish.rate.map_or("0".to_owned(), |rate| rate.to_string());
    println!("Fortio running at {rate} queries per second, for {total} calls: {}", wish.url);
    let begun = Instant::now();
    let taken = Rc::new(Cell::new(0_u64));
    let sockets = Rc::new(Cell::new(0_u64));
    let results = Rc::new(RefCell::new(Results::default()));
    let mut lines = tokio::task::JoinSet::new();
    for _ in 0..wish.connections {
        let (wish, taken) = (wish.clone(), taken.clone());
        let (sockets, results) = (sockets.clone(), results.clone());
        lines.spawn_local(async move {
            let mut line = Line { wish: &wish, sender: None, sockets: &sockets };
            loop {
                let index = taken.get();
                if index >= total || end.is_some_and(|end| Instant::now() >= end) {
                    return;
                }
                taken.set(index + 1);
                if let Some(rate) = wish.rate {
                    let due = begun + Duration::from_secs_f64(index as f64 / rate);
                    tokio::time::sleep_until(due.into()).await;
                }
                let sent = Instant::now();
                let (code, size) = line.measured().await;
                let mut results = results.borrow_mut();
                *results.codes.entry(code).or_default() += 1;
                results.took.push(sent.elapsed().as_secs_f64());
                results.bytes += size;
            }
        });
    }
    while lines.join_next().await.is_some() {}
    summary(&wish, &results.borrow(), begun.elapsed(), sockets.get());
    Ok(())
}

fn summary(wish: &Wish, results: &Results, elapsed: Duration, sockets: u64) {
    let mut took = results.took.clone();
    took.sort_by(f64::total_cmp);
    let count = took.len();
    let calls = count.max(1) as f64;
    let (sum, rate) = (took.iter().sum::<f64>(), count as f64 / elapsed.as_secs_f64());
    let percentile = |p: usize| took.get(count * p / 100).or(took.last()).copied().unwrap_or(0.0);
    println!("Ended after {elapsed:?} : {count} calls. qps={rate:.5}");
    println!(
        "Aggregated Function Time : count {count} avg {:.6} min {:.6} max {:.6} sum {sum:.6}",
        sum / calls,
        took.first().copied().unwrap_or(0.0),
        took.last().copied().unwrap_or(0.0),
    );
    for p in [50, 75, 90, 99] {
        println!("# target {p}% {:.6}", percentile(p));
    }
    println!("Sockets used: {sockets} (for perfect keepalive, would be {})", wish.connections);
    for (code, seen) in &results.codes {
        println!("Code {code:3} : {seen} ({:.1} %)", 100.0 * *seen as f64 / calls);
    }
    println!("Response Body Sizes : count {count} avg {:.1}", results.bytes as f64 / calls);
    println!(
        "All done {count} calls (plus 0 warmup) {:.3} ms avg, {rate:.1} qps",
        1000.0 * sum / calls
    );
}

/// Prints the answer's head and body.
async fn curl(wish: &Wish) -> anyhow::Result<()> {
    let sockets = Cell::new(0);
    let mut line = Line { wish, sender: None, sockets: &sockets };
    let response = tokio::time::timeout(PATIENCE, line.call()).await??;
    let status = response.status();
    println!("HTTP/1.1 {status}");
    for (name, value) in response.headers() {
        println!("{name}: {}", String::from_utf8_lossy(value.as_bytes()));
    }
    let body = response.into_body().collect().await?.to_bytes();
    println!("\n{}", String::from_utf8_lossy(&body));
    ensure!(status.is_success(), "the answer is {status}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> anyhow::Result<Wish> {
        Wish::read(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn the_tutorials_command_lines_are_read() {
        let wish = read("-c 3 -qps 0 -n 30 -loglevel Warning http://httpbin:8000/get").unwrap();
        assert_eq!((wish.connections, wish.rate, wish.calls), (3, None, Some(30)));
        assert_eq!(wish.authority(), "httpbin:8000");
        let wish = read("-quiet -H a:b http://x/").unwrap();
        assert_eq!(wish.headers, [("a".to_owned(), "b".to_owned())]);
        assert_eq!(wish.authority(), "x:80");
        for wrong in ["-c", "-n x http://x/", "-z 1 http://x/", "-c 2", "/path"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
