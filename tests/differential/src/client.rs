//! One request, byte for byte as the case says, and everything that came back.

use crate::http::{Headers, header, read_body, read_head};
use crate::second;
use crate::way::Way;
use rustls::{ClientConnection, StreamOwned};
use std::io::{self, BufReader, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

/// A request of a case. `x-id` is added when it is sent.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub version: &'static str,
    /// Without it no host header is sent.
    pub host: Option<String>,
    pub headers: Headers,
    pub body: Body,
}

#[derive(Clone, Debug)]
pub enum Body {
    None,
    Length(Vec<u8>),
    Chunked(Vec<u8>),
    /// With a trailer behind it.
    Trailed(Vec<u8>),
}

/// The trailer of [`Body::Trailed`].
pub(crate) const TRAILER: (&str, &str) = ("x-request-trailer", "1");

impl std::fmt::Display for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let host = self.host.as_deref().unwrap_or("(none)");
        write!(f, "{} {} {} host {host} {:?}", self.method, self.target, self.version, self.headers)
    }
}

impl Request {
    pub fn get(target: impl Into<String>) -> Self {
        Self {
            method: "GET".into(),
            target: target.into(),
            version: "HTTP/1.1",
            host: Some("example.com".into()),
            headers: Headers::new(),
            body: Body::None,
        }
    }

    pub fn method(mut self, method: &str) -> Self {
        self.method = method.into();
        self
    }

    pub fn host(mut self, host: &str) -> Self {
        self.host = Some(host.into());
        self
    }

    pub fn no_host(mut self) -> Self {
        self.host = None;
        self
    }

    pub fn version(mut self, version: &'static str) -> Self {
        self.version = version;
        self
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// What the upstream is asked to do.
    pub fn echo(self, wish: &str) -> Self {
        self.with("x-echo", wish)
    }

    pub fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }

    fn bytes(&self, id: &str) -> Vec<u8> {
        let mut head = format!("{} {} {}\r\n", self.method, self.target, self.version);
        if let Some(host) = &self.host {
            head += &format!("Host: {host}\r\n");
        }
        head += &format!("x-id: {id}\r\n");
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        let body = match &self.body {
            Body::None => Vec::new(),
            Body::Length(body) => {
                head += &format!("content-length: {}\r\n", body.len());
                body.clone()
            }
            Body::Chunked(body) => {
                head += "transfer-encoding: chunked\r\n";
                chunked(body, "")
            }
            Body::Trailed(body) => {
                head += "transfer-encoding: chunked\r\n";
                chunked(body, &format!("{}: {}\r\n", TRAILER.0, TRAILER.1))
            }
        };
        head += "\r\n";
        [head.into_bytes(), body].concat()
    }
}

fn chunked(body: &[u8], trailer: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in body.chunks(1000) {
        out.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        out.extend_from_slice(piece);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(format!("0\r\n{trailer}\r\n").as_bytes());
    out
}

/// What the client saw.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Response {
    pub interim: Vec<String>,
    pub status: u16,
    pub headers: Headers,
    pub body: Vec<u8>,
    pub trailers: Headers,
    /// How reading failed, if it did.
    pub failure: Option<String>,
}

/// Sends the request on a connection of its own.
pub fn send(to: SocketAddr, request: &Request, id: &str) -> Response {
    send_by(&Way::plain(to), request, id)
}

/// As [`send`], by a way that may have TLS and an address of its own.
pub fn send_by(way: &Way, request: &Request, id: &str) -> Response {
    if request.version == "HTTP/2" {
        return second::send(way, request, id);
    }
    let mut response = Response::default();
    if let Err(error) = connected(way, request, id, &mut response) {
        response.failure = Some(match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::InvalidData => "closed".into(),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "timed out".into(),
            io::ErrorKind::ConnectionRefused => "refused".into(),
            _ => error.to_string(),
        });
    }
    response
}

fn connected(way: &Way, request: &Request, id: &str, response: &mut Response) -> io::Result<()> {
    let stream = way.open()?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    match way.tls(b"http/1.1")? {
        None => exchange(stream, request, id, response),
        Some((config, name)) => {
            let session = ClientConnection::new(config, name).map_err(io::Error::other)?;
            let mut tls = StreamOwned::new(session, stream);
            while tls.conn.is_handshaking() {
                let StreamOwned { conn, sock } = &mut tls;
                conn.complete_io(sock)?;
            }
            exchange(tls, request, id, response)
        }
    }
}

fn exchange<S: Read + Write>(
    mut stream: S,
    request: &Request,
    id: &str,
    response: &mut Response,
) -> io::Result<()> {
    // The proxy may answer and close before it has read everything.
    let written = stream.write_all(&request.bytes(id)).and_then(|()| stream.flush());
    let mut from = BufReader::new(stream);
    loop {
        let Some((line, headers)) = read_head(&mut from)? else {
            written?;
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let status = line.split(' ').nth(1).and_then(|s| s.parse().ok());
        let status: u16 = status.ok_or(io::ErrorKind::InvalidData)?;
        if (100..200).contains(&status) && status != 101 {
            response.interim.push(format!("{status} {headers:?}"));
            continue;
        }
        (response.status, response.headers) = (status, headers);
        let bodiless = request.method == "HEAD" || matches!(status, 101 | 204 | 304);
        if !bodiless {
            let until_close = header(&response.headers, "content-length").is_none();
            let read = read_body(&mut from, &response.headers, until_close)?;
            (response.body, response.trailers) = read;
        }
        return Ok(());
    }
}

/// A GET to an admin port; the body.
pub fn admin(to: SocketAddr, path: &str) -> io::Result<String> {
    let response = send(to, &Request::get(path).with("connection", "close"), "admin");
    match (response.status, response.failure) {
        (200, None) => Ok(String::from_utf8_lossy(&response.body).into_owned()),
        (status, failure) => {
            Err(io::Error::other(format!("admin {path}: status {status} {failure:?}")))
        }
    }
}
