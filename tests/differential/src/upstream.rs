//! The upstreams: answer with a description of the request, and misbehave when `x-echo` asks for it.

use crate::http::{Headers, header, read_body, read_head};
use serde_json::json;
use std::collections::HashMap;
use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// What arrived, by the client's `x-id`: the upstream's name and the request line.
#[derive(Clone, Debug, Default)]
pub struct Seen(Arc<Mutex<HashMap<String, Vec<String>>>>);

impl Seen {
    pub fn of(&self, id: &str) -> Vec<String> {
        self.lock().get(id).cloned().unwrap_or_default()
    }

    /// Notes an arrival; gives how many there were before it.
    pub(crate) fn note(&self, id: &str, what: String) -> usize {
        let mut seen = self.lock();
        let list = seen.entry(id.to_owned()).or_default();
        list.push(what);
        list.len() - 1
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Vec<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts an upstream on a free port of 127.0.0.1; it lives as long as the process.
pub fn start(name: &'static str, seen: Seen) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let seen = seen.clone();
            thread::spawn(move || serve(name, connection, &seen));
        }
    });
    Ok(address)
}

/// What `x-echo` asks for: `status=503;delay=300;fail=2;chunked;close;reset;garble;…`.
#[derive(Debug, Default)]
pub(crate) struct Wish {
    pub status: Option<u16>,
    pub delay: Option<Duration>,
    /// Only for the first attempts.
    pub fail: Option<usize>,
    pub chunked: bool,
    pub close: bool,
    pub reset: bool,
    /// The beginning of an answer, and then nothing.
    pub garble: bool,
    pub trailer: bool,
    pub empty: bool,
    pub early_hints: bool,
    pub body: Option<usize>,
    /// Messages of gRPC with so many bytes.
    pub frames: Vec<u32>,
    pub add: Vec<(String, String)>,
}

impl Wish {
    pub(crate) fn parse(text: &str) -> Self {
        let mut wish = Self::default();
        for part in text.split(';') {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            match name.trim() {
                "status" => wish.status = value.parse().ok(),
                "delay" => wish.delay = value.parse().ok().map(Duration::from_millis),
                "fail" => wish.fail = value.parse().ok(),
                "frames" => wish.frames = value.split(',').filter_map(|n| n.parse().ok()).collect(),
                "body" => wish.body = value.parse().ok(),
                "chunked" => wish.chunked = true,
                "close" => wish.close = true,
                "reset" => wish.reset = true,
                "garble" => wish.garble = true,
                "empty" => wish.empty = true,
                "early-hints" => wish.early_hints = true,
                "trailer" => (wish.chunked, wish.trailer) = (true, true),
                "add" => {
                    let (name, value) = value.split_once(':').unwrap_or((value, ""));
                    wish.add.push((name.to_owned(), value.to_owned()));
                }
                _ => {}
            }
        }
        wish
    }

    /// The body that is asked for.
    pub fn content(&self) -> Option<Vec<u8>> {
        if !self.frames.is_empty() {
            let frame = |n: &u32| {
                let body = vec![b'r'; *n as usize];
                [&[0], &n.to_be_bytes()[..], &body].concat()
            };
            return Some(self.frames.iter().flat_map(frame).collect());
        }
        self.body.map(|n| vec![b'x'; n])
    }

    /// Past the failing attempts nothing is wished for.
    pub(crate) fn at(self, attempt: usize) -> Self {
        if self.fail.is_some_and(|n| attempt >= n) { Self::default() } else { self }
    }
}

pub(crate) fn serve<S: Read + Write>(name: &str, connection: S, seen: &Seen) {
    let mut from = BufReader::new(connection);
    // The peer went away, or sent what is no request: either way the connection is over.
    while let Ok(true) = answer(name, &mut from, seen) {}
}

fn answer<S: Read + Write>(name: &str, from: &mut BufReader<S>, seen: &Seen) -> io::Result<bool> {
    let Some((line, headers)) = read_head(from)? else { return Ok(false) };
    if header(&headers, "expect").is_some_and(|e| e.eq_ignore_ascii_case("100-continue")) {
        from.get_mut().write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let (body, trailers) = read_body(from, &headers, false)?;
    let id = header(&headers, "x-id").unwrap_or_default();
    let attempt = seen.note(id, format!("{name} {line}"));
    let wish = Wish::parse(header(&headers, "x-echo").unwrap_or_default()).at(attempt);
    if let Some(delay) = wish.delay {
        thread::sleep(delay);
    }
    let out = from.get_mut();
    if wish.reset || wish.garble {
        let part: &[u8] = if wish.garble { b"HTTP/1.1 " } else { b"" };
        out.write_all(part)?;
        return Ok(false);
    }
    if wish.early_hints {
        out.write_all(b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n")?;
    }
    let text = describe(name, &line, &headers, &body, &trailers);
    let text = match wish.content() {
        Some(content) => content,
        None if wish.empty => Vec::new(),
        // Nobody sees it, so its length shall not depend on how headers are written.
        None if line.starts_with("HEAD ") => vec![b'h'; 321],
        None => text,
    };
    out.write_all(&response(&line, &wish, &text))?;
    out.flush()?;
    Ok(!wish.close)
}

pub(crate) fn describe(
    name: &str,
    line: &str,
    headers: &Headers,
    body: &[u8],
    trailers: &Headers,
) -> Vec<u8> {
    let mut text = json!({
        "upstream": name,
        "line": line,
        "headers": headers,
        "body": { "length": body.len(), "hash": format!("{:016x}", balance::xxh64(body)) },
        "trailers": trailers,
    })
    .to_string();
    text.push('\n');
    text.into_bytes()
}

fn response(line: &str, wish: &Wish, text: &[u8]) -> Vec<u8> {
    let status = wish.status.unwrap_or(200);
    let mut head = format!("HTTP/1.1 {status} Status\r\n");
    if !wish.add.iter().any(|(name, _)| name == "content-type") {
        head += "content-type: application/json\r\n";
    }
    for (name, value) in &wish.add {
        head += &format!("{name}: {value}\r\n");
    }
    if wish.close {
        head += "connection: close\r\n";
    }
    let bodiless = line.starts_with("HEAD ") || matches!(status, 204 | 304);
    let mut out = head.into_bytes();
    if wish.chunked && !bodiless {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
        for piece in text.chunks(100) {
            out.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            out.extend_from_slice(piece);
            out.extend_from_slice(b"\r\n");
        }
        let trailer = if wish.trailer { "x-trailer: t\r\n" } else { "" };
        out.extend_from_slice(format!("0\r\n{trailer}\r\n").as_bytes());
        return out;
    }
    if !matches!(status, 204 | 304) {
        out.extend_from_slice(format!("content-length: {}\r\n", text.len()).as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    if !bodiless {
        out.extend_from_slice(text);
    }
    out
}
