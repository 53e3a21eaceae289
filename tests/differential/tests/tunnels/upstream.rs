//! Upstreams that grant tunnels, by HTTP/1.1 and by HTTP/2: what comes goes back behind a `>`, and after the
//! end of it, or the word `end`, they say goodbye.

use super::{Transcript, lines};
use bytes::Bytes;
use h2::ext::Protocol;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// The heads that came.
#[derive(Clone, Default)]
pub struct Heard(Arc<Mutex<Transcript>>);

impl Heard {
    pub fn take(&self) -> Transcript {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    fn note(&self, head: Transcript) {
        self.0.lock().unwrap().extend(head);
    }
}

pub fn http1(heard: &Heard) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let heard = heard.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let heard = heard.clone();
            std::thread::spawn(move || serve1(stream, &heard));
        }
    });
    address
}

fn serve1(mut stream: TcpStream, heard: &Heard) -> Option<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let mut parts = text.trim_end().split("\r\n");
    let line = parts.next()?.to_owned();
    let upgrade = parts.clone().find_map(|l| l.strip_prefix("upgrade: ").map(str::to_owned));
    let refused = line.contains("no");
    heard.note(lines(line, parts.filter_map(|l| l.split_once(": "))));
    let answer = match upgrade {
        _ if refused => "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno".to_owned(),
        Some(to) => format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {to}\r\nX-Up: 1\r\n\r\n"
        ),
        None => "HTTP/1.1 200 OK\r\nX-Up: 1\r\n\r\n".to_owned(),
    };
    stream.write_all(answer.as_bytes()).ok()?;
    let mut bytes = [0; 100];
    loop {
        match stream.read(&mut bytes) {
            Ok(n) if n > 0 && &bytes[..n] != b"end" => {
                stream.write_all(&[b">", &bytes[..n]].concat()).ok()?
            }
            _ => break,
        }
    }
    stream.write_all(b"bye").ok()?;
    stream.shutdown(Shutdown::Write).ok()
}

pub fn http2(heard: &Heard) -> SocketAddr {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let heard = heard.clone();
    std::thread::spawn(move || {
        runtime.block_on(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve2(stream, heard.clone()));
            }
        });
    });
    address
}

async fn serve2(stream: tokio::net::TcpStream, heard: Heard) -> Option<()> {
    let mut builder = h2::server::Builder::new();
    builder.enable_connect_protocol();
    let mut connection = builder.handshake::<_, Bytes>(stream).await.ok()?;
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::spawn(answer2(request, respond, heard.clone()));
    }
    None
}

async fn answer2(
    request: http::Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
    heard: Heard,
) -> Option<()> {
    let (head, mut body) = request.into_parts();
    let protocol = head.extensions.get::<Protocol>().map(|p| p.as_str().to_owned());
    let fields = head.headers.iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap()));
    heard.note(lines(format!("{} {} {protocol:?}", head.method, head.uri), fields));
    if head.uri.to_string().contains("no") {
        let refusal = http::Response::builder().status(403).body(()).ok()?;
        return respond.send_response(refusal, false).ok()?.send_data("no".into(), true).ok();
    }
    let answer = http::Response::builder().header("x-up", "1").body(()).ok()?;
    let mut out = respond.send_response(answer, false).ok()?;
    while let Some(Ok(data)) = body.data().await {
        body.flow_control().release_capacity(data.len()).ok()?;
        if &data[..] == b"end" {
            break;
        }
        if !data.is_empty() {
            out.send_data([b">", &data[..]].concat().into(), false).ok()?;
        }
    }
    out.send_data("bye".into(), true).ok()
}
