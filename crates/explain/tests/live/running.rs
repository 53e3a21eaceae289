//! What runs: upstreams that say what they got, the data plane in this process, and a client.

use crate::requests::Request;
use dataplane::{Options, Proxy, Recent};
use differential::http::{Headers, header, read_body, read_head};
use std::collections::HashMap;
use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// Answers each request with its request line and fields. It lives as long as the process.
pub fn upstream(at: SocketAddr) {
    let listener = TcpListener::bind(at).unwrap();
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            thread::spawn(move || echo(connection));
        }
    });
}

fn echo(mut connection: TcpStream) {
    let mut from = BufReader::new(connection.try_clone().unwrap());
    while let Ok(Some((line, headers))) = read_head(&mut from) {
        let fields = headers.iter().map(|(n, v)| format!("{n}: {v}\n"));
        let body = format!("{line}\n{}", fields.collect::<String>());
        let text = if line.starts_with("HEAD ") { "" } else { &body };
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", body.len());
        if connection.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// A data plane under this configuration, whose listeners stand where clients connect to: the test does
/// without the kernel's redirection.
pub fn proxy(config: &ir::Config, seed: u64) -> Proxy {
    let mut config = config.clone();
    let captures = |l: &&Arc<ir::Listener>| !l.use_original_dst && &*l.name != "virtualInbound";
    config.listeners = config
        .listeners
        .iter()
        .filter(captures)
        .map(|l| Arc::new(ir::Listener { bind_to_port: true, ..(**l).clone() }))
        .collect();
    let proxy = Proxy::start(Options { seed: Some(seed), ..Options::default() }).unwrap();
    let findings = proxy.publish(&config);
    assert!(findings.iter().all(|f| f.level != base::Level::Error), "{findings:?}");
    proxy
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Headers,
    pub body: String,
}

/// One connection to each address, made anew when the proxy has closed it.
#[derive(Default)]
pub struct Client(HashMap<SocketAddr, BufReader<TcpStream>>);

impl Client {
    pub fn send(&mut self, request: &Request, id: usize) -> Answer {
        let asked = &request.asked;
        let own = asked.headers.iter().find(|(n, _)| n == "host").map(|(_, v)| v.clone());
        let host = own.unwrap_or_else(|| asked.authority());
        let mut head = format!("{} {} HTTP/1.1\r\nhost: {host}\r\n", asked.method, asked.path);
        for (name, value) in asked.headers.iter().filter(|(n, _)| n != "host") {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("x-test: {id}\r\n\r\n");
        let connection = self.0.entry(request.to).or_insert_with(|| {
            let stream = TcpStream::connect(request.to).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            stream.set_nodelay(true).unwrap();
            BufReader::new(stream)
        });
        connection.get_mut().write_all(head.as_bytes()).unwrap();
        let (line, headers) = read_head(connection).unwrap().unwrap();
        let status = line.split(' ').nth(1).unwrap().parse().unwrap();
        let body = match asked.method.as_str() {
            "HEAD" => Vec::new(),
            _ => read_body(connection, &headers, false).unwrap().0,
        };
        if header(&headers, "connection").is_some_and(|v| v.eq_ignore_ascii_case("close")) {
            self.0.remove(&request.to);
        }
        Answer { status, headers, body: String::from_utf8(body).unwrap() }
    }
}

/// By the number that the client gave each request.
pub fn recent(proxies: &[&Proxy]) -> HashMap<usize, Recent> {
    let all = proxies.iter().flat_map(|p| p.recent());
    let numbered = all.filter_map(|r| {
        let (_, id) = r.fields.iter().find(|(n, _)| n == "x-test")?;
        Some((id.parse().ok()?, r))
    });
    numbered.collect()
}
