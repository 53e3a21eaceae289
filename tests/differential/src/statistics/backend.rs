//! Upstreams that answer as they are told at the moment, and count what they do.

use crate::http::read_head;
use crate::upstream::Seen;
use std::io::{self, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

/// One upstream. It lives as long as the process.
#[derive(Clone, Debug)]
pub struct Backend {
    pub name: &'static str,
    pub address: SocketAddr,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    status: AtomicU16,
    delay: AtomicU32,
    reset: AtomicBool,
    /// Requests wait from now on, and those that do are let go.
    hold: AtomicBool,
    release: AtomicBool,
    /// Of so many requests the first is answered well, whatever else is said; zero is none.
    spared: AtomicUsize,
    arrived: AtomicUsize,
    failed: AtomicUsize,
    connections: AtomicUsize,
}

/// What one proxy has behind it: backends, a port where nobody listens, and one where nobody answers.
#[derive(Debug)]
pub struct Ground {
    pub backends: Vec<Backend>,
    /// Speaks HTTP/2, and does what `x-echo` asks for.
    pub second: SocketAddr,
    pub dead: SocketAddr,
    pub silent: SocketAddr,
    /// Keeps the silent port full.
    _full: (socket2::Socket, Vec<socket2::Socket>),
}

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

impl Ground {
    pub fn start() -> io::Result<Self> {
        let backends = NAMES.iter().map(|name| Backend::start(name)).collect::<io::Result<_>>()?;
        let dead = SocketAddr::from(([127, 0, 0, 1], crate::proxy::free_ports(1)?[0]));
        let (silent, full) = silent()?;
        let second = crate::second::start("second", Seen::default())?;
        Ok(Self { backends, second, dead, silent, _full: full })
    }

    pub fn backend(&self, name: &str) -> &Backend {
        let of = |b: &&Backend| b.name == name;
        self.backends.iter().find(of).unwrap_or(&self.backends[0])
    }

    /// An endpoint by its backend's name, with `extra` fields; `second`, `dead` and `silent` are names too.
    pub fn endpoint(&self, name: &str, extra: serde_json::Value) -> serde_json::Value {
        let address = match name {
            "second" => self.second,
            "dead" => self.dead,
            "silent" => self.silent,
            name => self.backend(name).address,
        };
        let mut endpoint = serde_json::json!({ "endpoint": { "address": { "socket_address": {
            "address": address.ip().to_string(), "port_value": address.port() } } } });
        crate::bootstrap::merge(&mut endpoint, extra);
        endpoint
    }

    pub fn heal(&self) {
        self.backends.iter().for_each(Backend::heal);
    }
}

/// A port that takes no connection: those that wait to be accepted are as many as may.
fn silent() -> io::Result<(SocketAddr, (socket2::Socket, Vec<socket2::Socket>))> {
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    listener.listen(0)?;
    let address = listener.local_addr()?;
    let mut waiting = Vec::new();
    for _ in 0..4 {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        // In progress, or there already; which it is does not matter.
        let _ = socket.connect(&address);
        waiting.push(socket);
    }
    let address = address.as_socket().ok_or(io::ErrorKind::InvalidInput)?;
    Ok((address, (listener, waiting)))
}

impl Backend {
    fn start(name: &'static str) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let backend = Self { name, address, state: Arc::default() };
        backend.heal();
        let serving = backend.clone();
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let backend = serving.clone();
                backend.state.connections.fetch_add(1, SeqCst);
                // A peer that goes away ends its connection, whichever way.
                thread::spawn(move || drop(backend.serve(connection)));
            }
        });
        Ok(backend)
    }

    pub fn heal(&self) {
        self.state.status.store(200, SeqCst);
        self.state.delay.store(0, SeqCst);
        self.state.reset.store(false, SeqCst);
        self.state.spared.store(0, SeqCst);
    }

    /// From now on this is the answer.
    pub fn answer(&self, status: u16) {
        self.state.status.store(status, SeqCst);
    }

    /// From now on this long before the answer.
    pub fn delay(&self, time: Duration) {
        self.state.delay.store(u32::try_from(time.as_millis()).unwrap_or(u32::MAX), SeqCst);
    }

    /// From now on requests are read and the connection is closed.
    pub fn reset(&self) {
        self.state.reset.store(true, SeqCst);
    }

    /// Requests that come from now on wait, until they are released.
    pub fn hold(&self) {
        self.state.release.store(false, SeqCst);
        self.state.hold.store(true, SeqCst);
    }

    /// No further request waits; those that do already go on waiting.
    pub fn hold_no_more(&self) {
        self.state.hold.store(false, SeqCst);
    }

    /// Whoever waits is answered.
    pub fn release(&self) {
        self.state.hold.store(false, SeqCst);
        self.state.release.store(true, SeqCst);
    }

    /// One request of so many is answered well all the same.
    pub fn spare_one_of(&self, n: usize) {
        self.state.spared.store(n, SeqCst);
    }

    /// Requests that came.
    pub fn arrived(&self) -> usize {
        self.state.arrived.load(SeqCst)
    }

    /// Requests that were not answered with 200.
    pub fn failed(&self) -> usize {
        self.state.failed.load(SeqCst)
    }

    /// Connections that were made.
    pub fn connections(&self) -> usize {
        self.state.connections.load(SeqCst)
    }

    fn serve(&self, connection: TcpStream) -> io::Result<()> {
        connection.set_nodelay(true)?;
        let mut from = BufReader::new(connection);
        while let Some((_, headers)) = read_head(&mut from)? {
            let n = self.state.arrived.fetch_add(1, SeqCst);
            let mut held = self.state.hold.load(SeqCst);
            let spared = self.state.spared.load(SeqCst);
            let well = spared > 0 && n.is_multiple_of(spared);
            let wish = crate::http::header(&headers, "x-wish").and_then(|w| w.parse().ok());
            let status = if well { 200 } else { wish.unwrap_or(self.state.status.load(SeqCst)) };
            let reset = self.state.reset.load(SeqCst) && !well;
            if status != 200 || reset {
                self.state.failed.fetch_add(1, SeqCst);
            }
            while held {
                held = !self.state.release.load(SeqCst);
                thread::sleep(Duration::from_millis(2));
            }
            let delay = self.state.delay.load(SeqCst);
            if delay > 0 {
                thread::sleep(Duration::from_millis(delay.into()));
            }
            if reset {
                return Ok(());
            }
            let grpc = crate::http::header(&headers, "x-grpc-wish").unwrap_or_default();
            let grpc = match grpc {
                "" => String::new(),
                status => format!("content-type: application/grpc\r\ngrpc-status: {status}\r\n"),
            };
            let name = self.name;
            let text = format!(
                "HTTP/1.1 {status} X\r\nx-upstream: {name}\r\n{grpc}content-length: 0\r\n\r\n"
            );
            from.get_mut().write_all(text.as_bytes())?;
        }
        Ok(())
    }
}
