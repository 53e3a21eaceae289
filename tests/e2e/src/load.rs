//! Open-loop load over keep-alive connections, with the time and the body of every answer, so that a
//! test can say afterwards which answers were wrong when they came.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What became of one request; times are counted from when it should have been sent.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub scheduled: Instant,
    pub took: Duration,
    /// The status and the body, or what went wrong.
    pub result: Result<(u16, String), String>,
}

#[derive(Clone)]
pub struct Target {
    /// `address:port`
    pub address: String,
    pub host: String,
    pub path: String,
    /// A new connection for every request.
    pub reconnect: bool,
}

/// Load that runs until it is stopped.
pub struct Load {
    stop: Arc<AtomicBool>,
    outcomes: Arc<Mutex<Vec<Outcome>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// `rate` requests a second, spread over `connections`.
    pub fn start(target: &Target, rate: u32, connections: u32) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let outcomes = Arc::new(Mutex::new(Vec::new()));
        let next = Arc::new(AtomicUsize::new(0));
        let begin = Instant::now();
        let threads = (0..connections)
            .map(|_| {
                let (stop, outcomes, next, target) =
                    (stop.clone(), outcomes.clone(), next.clone(), target.clone());
                std::thread::spawn(move || {
                    let mut connection = None;
                    while !stop.load(Ordering::Relaxed) {
                        let number = next.fetch_add(1, Ordering::Relaxed) as u32;
                        let scheduled = begin + Duration::from_secs(1) * number / rate;
                        std::thread::sleep(scheduled.saturating_duration_since(Instant::now()));
                        let result = request(&mut connection, &target);
                        if result.is_err() || target.reconnect {
                            connection = None;
                        }
                        let outcome = Outcome { scheduled, took: scheduled.elapsed(), result };
                        outcomes.lock().expect("no thread panics while holding it").push(outcome);
                    }
                })
            })
            .collect();
        Load { stop, outcomes, threads }
    }

    pub fn stop(self) -> Vec<Outcome> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("a load thread ended well");
        }
        std::mem::take(&mut *self.outcomes.lock().expect("all threads have ended"))
    }
}

fn request(
    connection: &mut Option<BufReader<TcpStream>>,
    target: &Target,
) -> Result<(u16, String), String> {
    let text = |e: std::io::Error| e.to_string();
    if connection.is_none() {
        let stream = TcpStream::connect(&target.address).map_err(text)?;
        stream.set_nodelay(true).map_err(text)?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).map_err(text)?;
        *connection = Some(BufReader::new(stream));
    }
    let Some(reader) = connection else { return Err("no connection".into()) };
    let close = if target.reconnect { "Connection: close\r\n" } else { "" };
    let head = format!("GET {} HTTP/1.1\r\nHost: {}\r\n{close}\r\n", target.path, target.host);
    reader.get_mut().write_all(head.as_bytes()).map_err(text)?;
    let answer = read_answer(reader).map_err(text)?;
    if answer.2 {
        *connection = None;
    }
    Ok((answer.0, answer.1))
}

/// Status, body, and whether the server closes the connection after it.
fn read_answer(reader: &mut impl BufRead) -> std::io::Result<(u16, String, bool)> {
    let bad = |what: &str| std::io::Error::other(what.to_owned());
    let (mut status, mut length, mut chunked, mut close) = (0, 0, false, false);
    for number in 0.. {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(bad("the connection was closed before an answer"));
        }
        let line = line.trim_end().to_ascii_lowercase();
        if number == 0 {
            status = line
                .split(' ')
                .nth(1)
                .and_then(|s| s.parse().ok())
                .ok_or_else(|| bad("no status line"))?;
        } else if line.is_empty() {
            break;
        } else if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(|_| bad("bad content-length"))?;
        } else if line.starts_with("transfer-encoding:") {
            chunked = line.contains("chunked");
        } else if line.starts_with("connection:") {
            close = line.contains("close");
        }
    }
    let body = if chunked { read_chunks(reader)? } else { read_bytes(reader, length)? };
    Ok((status, String::from_utf8_lossy(&body).into_owned(), close))
}

fn read_bytes(reader: &mut impl BufRead, length: usize) -> std::io::Result<Vec<u8>> {
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(body)
}

fn read_chunks(reader: &mut impl BufRead) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let size = usize::from_str_radix(line.trim(), 16).map_err(std::io::Error::other)?;
        let mut chunk = read_bytes(reader, size + 2)?;
        if size == 0 {
            return Ok(body);
        }
        chunk.truncate(size);
        body.append(&mut chunk);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_framings_are_read() {
        let mut plain = &b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"[..];
        assert_eq!(read_answer(&mut plain).unwrap(), (200, "hi".into(), false));
        let mut chunked =
            &b"HTTP/1.1 503 X\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"[..];
        assert_eq!(read_answer(&mut chunked).unwrap(), (503, "hi".into(), true));
        assert!(read_answer(&mut &b""[..]).is_err());
    }
}
