//! Configurations, clients and upstreams for tests.

use dataplane::{Options, Proxy};
use ir::{
    Action, Address, Cluster, Config, Destination, Discovery, Endpoint, EndpointGroup, FilterChain,
    Forward, HttpManager, Listener, OriginId, PathMatch, Route, RouteConfig, RouteMatch,
    RouteSource, Terminal, VirtualHost,
};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

pub const ANY: &str = "127.0.0.1:0";

/// How long anything may take.
pub const PATIENCE: Duration = Duration::from_secs(10);

pub fn cluster(name: &str, endpoints: &[SocketAddr]) -> Cluster {
    let endpoints = endpoints.iter().map(|a| Endpoint::at(Address::Ip(*a))).collect();
    Cluster::new(name, Discovery::Static(vec![EndpointGroup { endpoints, ..Default::default() }]))
}

pub fn forward(cluster: &str) -> Forward {
    Forward::to(Destination::Cluster(cluster.into()))
}

pub fn route(prefix: &str, forward: Forward) -> Route {
    Route {
        name: "default".into(),
        matches: RouteMatch::path(PathMatch::Prefix(prefix.into())),
        action: Action::Forward(Box::new(forward)),
        headers: Default::default(),
        decorator: "".into(),
        per_filter: Vec::new(),
        metadata: Default::default(),
        stat_prefix: "".into(),
        origin: OriginId::NONE,
    }
}

pub fn routes(routes: Vec<Route>) -> RouteConfig {
    let host =
        VirtualHost { name: "all".into(), domains: vec!["*".into()], routes, ..Default::default() };
    RouteConfig { virtual_hosts: vec![host.into()], ..Default::default() }
}

pub fn manager(table: RouteConfig) -> HttpManager {
    HttpManager::new("in", RouteSource::Inline(Arc::new(table)))
}

pub fn listener(terminal: Terminal) -> Listener {
    let chains = vec![FilterChain::new(terminal)];
    Listener { chains, ..Listener::new("l", Address::Ip(ANY.parse().unwrap())) }
}

pub fn config(listener: Listener, clusters: Vec<Cluster>) -> Config {
    Config {
        listeners: vec![Arc::new(listener)],
        clusters: clusters.into_iter().map(Arc::new).collect(),
        ..Default::default()
    }
}

/// An HTTP listener with one route to one cluster.
pub fn simple(upstream: SocketAddr) -> Config {
    let manager = manager(routes(vec![route("/", forward("up"))]));
    http(manager, vec![cluster("up", &[upstream])])
}

pub fn http(manager: HttpManager, clusters: Vec<Cluster>) -> Config {
    config(listener(Terminal::Http(Box::new(manager))), clusters)
}

/// A proxy that runs a configuration.
pub fn run(config: &Config) -> (Proxy, SocketAddr) {
    let proxy = Proxy::start(Options::default()).unwrap();
    assert_eq!(proxy.publish(config), []);
    let at = proxy.bound(ANY.parse().unwrap()).unwrap();
    (proxy, at)
}

/// An upstream that hands every connection to `serve`, with its number.
pub fn upstream(
    serve: impl Fn(&mut Peer, usize) + Send + Sync + 'static,
) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(ANY).unwrap();
    let address = listener.local_addr().unwrap();
    let (serve, count) = (Arc::new(serve), Arc::new(AtomicUsize::new(0)));
    let counter = count.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (serve, n) = (serve.clone(), counter.fetch_add(1, Ordering::SeqCst));
            std::thread::spawn(move || serve(&mut Peer::new(stream.unwrap()), n));
        }
    });
    (address, count)
}

/// An upstream that answers every request with what it was sent.
pub fn echo() -> (SocketAddr, Arc<AtomicUsize>) {
    upstream(|peer, _| {
        while let Some(request) = peer.message() {
            let body = [request.head.as_bytes(), &request.body].concat();
            peer.send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()));
            peer.send_bytes(&body);
        }
    })
}

/// One end of a connection, read message by message.
pub struct Peer {
    stream: TcpStream,
    read: Vec<u8>,
}

#[derive(Debug)]
pub struct Message {
    pub head: String,
    pub body: Vec<u8>,
}

impl Message {
    pub fn status(&self) -> u16 {
        self.head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (n, value) = line.split_once(':')?;
            n.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

impl Peer {
    pub fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, read: Vec::new() }
    }

    pub fn connect(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect(address).unwrap())
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub fn send(&mut self, text: &str) {
        self.send_bytes(text.as_bytes());
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// The next head up to its empty line, or `None` at the end.
    pub fn head(&mut self) -> Option<String> {
        loop {
            if let Some(end) = find(&self.read, b"\r\n\r\n") {
                let head = self.read.drain(..end + 4).collect();
                return Some(String::from_utf8(head).unwrap());
            }
            if !self.more() {
                return None;
            }
        }
    }

    /// The next message with its body, by length or in chunks; `None` at the end.
    pub fn message(&mut self) -> Option<Message> {
        let head = self.head()?;
        let mut message = Message { head, body: Vec::new() };
        let length = message.header("content-length").map(|n| n.parse::<usize>().unwrap());
        if message.header("transfer-encoding") == Some("chunked") {
            loop {
                let line = self.line();
                let size = usize::from_str_radix(line.split(';').next().unwrap(), 16).unwrap();
                message.body.extend(self.exactly(size));
                if size == 0 {
                    while !self.line().is_empty() {}
                    break;
                }
                self.line();
            }
        } else {
            message.body = self.exactly(length.unwrap_or(0));
        }
        Some(message)
    }

    /// Sends a request and gives the answer.
    pub fn ask(&mut self, request: &str) -> Message {
        self.send(request);
        self.message().expect("an answer")
    }

    pub fn get(&mut self, path: &str) -> Message {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: example\r\n\r\n"))
    }

    pub fn exactly(&mut self, n: usize) -> Vec<u8> {
        while self.read.len() < n {
            assert!(self.more(), "the connection ended within a message");
        }
        self.read.drain(..n).collect()
    }

    /// Everything up to the end; a reset counts as the end.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.more() {}
        std::mem::take(&mut self.read)
    }

    pub fn line(&mut self) -> String {
        loop {
            if let Some(end) = find(&self.read, b"\r\n") {
                let line: Vec<u8> = self.read.drain(..end + 2).collect();
                return String::from_utf8(line[..end].to_vec()).unwrap();
            }
            assert!(self.more(), "the connection ended within a line");
        }
    }

    fn more(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => false,
            Ok(n) => {
                self.read.extend_from_slice(&buffer[..n]);
                true
            }
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => panic!("nothing came"),
            Err(_) => false,
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|w| w == what)
}

/// Waits for a condition.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(2));
    }
}
