//! Clients that ask for a tunnel, and say something when they have it.

use super::{Transcript, lines};
use bytes::Bytes;
use h2::ext::Protocol;
use http::{Method, Request};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub enum Ask {
    /// The bytes of a head by HTTP/1.1.
    First(String),
    /// By HTTP/2: path, and for which protocol; without one it is plain CONNECT.
    Second(&'static str, Option<&'static str>),
}

/// How a client ends what it has to say.
#[derive(Clone, Copy, PartialEq)]
pub enum End {
    /// By a word that makes the upstream say goodbye.
    Word,
    /// By the end of its direction.
    HalfClose,
}

impl Ask {
    /// The path tells the upstream whether to grant the wish.
    pub fn all() -> Vec<(&'static str, Self)> {
        let upgrade = |path: &str, to: &str| {
            Self::First(format!(
                "GET {path} HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: {to}\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            ))
        };
        let connect =
            |to: &str| Self::First(format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n"));
        vec![
            ("an upgrade, granted", upgrade("/yes", "websocket")),
            ("an upgrade, refused", upgrade("/no", "websocket")),
            ("an upgrade to something else", upgrade("/yes", "other")),
            ("a CONNECT, granted", connect("yes.example:80")),
            ("a CONNECT, refused", connect("no.example:80")),
            ("an extended CONNECT, granted", Self::Second("/yes", Some("websocket"))),
            ("an extended CONNECT, refused", Self::Second("/no", Some("websocket"))),
            ("an extended CONNECT to something else", Self::Second("/yes", Some("other"))),
            ("a CONNECT by HTTP/2, granted", Self::Second("yes.example:80", None)),
            ("a CONNECT by HTTP/2, refused", Self::Second("no.example:80", None)),
        ]
    }

    pub fn send(self, to: SocketAddr, end: End) -> Transcript {
        match self {
            Self::First(head) => first(&head, to, end),
            Self::Second(target, protocol) => {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.unwrap().block_on(async {
                    let mut transcript = Transcript::new();
                    let went = second(target, protocol, to, end, &mut transcript);
                    if tokio::time::timeout(PATIENCE, went).await.is_err() {
                        transcript.push("and then nothing".into());
                    }
                    transcript
                })
            }
        }
    }
}

fn first(head: &str, to: SocketAddr, end: End) -> Transcript {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => answer.push(byte[0]),
            _ => return vec!["no answer".into()],
        }
    }
    let text = String::from_utf8(answer).unwrap();
    let mut parts = text.trim_end().split("\r\n");
    let status = parts.next().unwrap().to_owned();
    let granted = status.contains(" 101 ") || status.contains(" 200 ");
    let mut transcript = lines(status, parts.map(|l| l.split_once(": ").unwrap()));
    if granted {
        // The tunnel may be closed already.
        let _ = stream.write_all(b"ping");
        let mut back = [0; 5];
        match stream.read_exact(&mut back) {
            Ok(()) => transcript.push(format!("back: {}", String::from_utf8_lossy(&back))),
            Err(_) => transcript.push("nothing back".into()),
        }
        let _ = match end {
            End::Word => stream.write_all(b"end"),
            End::HalfClose => stream.shutdown(Shutdown::Write),
        };
    }
    let mut rest = Vec::new();
    let end = stream.read_to_end(&mut rest).map(drop).map_err(|e| e.kind());
    transcript.push(format!("rest: {:?} {end:?}", String::from_utf8_lossy(&rest)));
    transcript
}

async fn second(
    target: &str,
    protocol: Option<&'static str>,
    to: SocketAddr,
    end: End,
    transcript: &mut Transcript,
) {
    let stream = tokio::net::TcpStream::connect(to).await.unwrap();
    let (send, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut send = send.ready().await.unwrap();
    let mut tries = 0;
    while !send.is_extended_connect_protocol_enabled() {
        tries += 1;
        if tries > 200 {
            return transcript.push("extended CONNECT is not offered".into());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let uri = match protocol {
        Some(_) => format!("http://example.com{target}"),
        None => target.to_owned(),
    };
    let mut request = Request::builder().method(Method::CONNECT).uri(uri).body(()).unwrap();
    if let Some(protocol) = protocol {
        request.extensions_mut().insert(Protocol::from_static(protocol));
        request.headers_mut().insert("sec-websocket-version", "13".parse().unwrap());
    }
    let (response, mut out) = send.send_request(request, false).unwrap();
    let response = match response.await {
        Ok(response) => response,
        Err(error) => return transcript.push(format!("reset: {:?}", error.reason())),
    };
    let fields = response.headers().iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap()));
    transcript.extend(lines(format!("status {}", response.status().as_u16()), fields));
    let granted = response.status() == 200;
    let mut body = response.into_body();
    if granted {
        let _ = out.send_data(Bytes::from_static(b"ping"), false);
        match body.data().await {
            Some(Ok(data)) => transcript.push(format!("back: {}", String::from_utf8_lossy(&data))),
            other => transcript.push(format!("nothing back: {}", other.is_none())),
        }
        let _ = match end {
            End::Word => out.send_data(Bytes::from_static(b"end"), false),
            End::HalfClose => out.send_data(Bytes::new(), true),
        };
    }
    let mut rest = Vec::new();
    while let Some(data) = body.data().await {
        match data {
            Ok(data) => rest.extend_from_slice(&data),
            Err(error) => {
                transcript.push(format!("cut: {:?}", error.reason()));
                break;
            }
        }
    }
    transcript.push(format!("rest: {:?}", String::from_utf8_lossy(&rest)));
}
