//! The sockets of the DNS proxy: UDP and TCP on the pod's loopback. Known names are answered at once;
//! what is passed on waits in tasks, of which there is a bounded number.

use super::counters::Counters;
use super::upstream::{Upstream, framed};
use ir::NameTable;
use policy::directory::Directory;
use policy::dns::{Outcome, Transport, answer, failure};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;

/// What is answered, for whoever learns it and whoever shows it.
#[derive(Clone, Debug)]
pub struct Names(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    directory: RwLock<Option<Arc<Directory>>>,
    namespace: String,
    search: String,
    counters: Counters,
    turn: AtomicUsize,
}

/// Queries that wait for a name server; more are told to come again.
const WAITING: usize = 512;
const CONNECTIONS: usize = 64;
/// A client that says nothing on its connection.
const IDLE: Duration = Duration::from_secs(10);
/// After an error of a socket, lest it be asked without end.
const PAUSE: Duration = Duration::from_millis(50);
/// Longer queries are no queries.
const MOST: usize = 4096;

impl Names {
    /// For an application in `namespace` whose resolver tries `search` first.
    pub fn new(namespace: &str, search: &str) -> Names {
        Names(Arc::new(Inner {
            directory: RwLock::default(),
            namespace: namespace.to_owned(),
            search: search.to_owned(),
            counters: Counters::default(),
            turn: AtomicUsize::new(0),
        }))
    }

    /// Replaces what is known.
    pub fn set(&self, table: &Arc<NameTable>) {
        let new = Directory::new(table.clone(), &self.0.namespace, &self.0.search);
        *self.0.directory.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(new));
    }

    pub fn get(&self) -> Option<Arc<Directory>> {
        self.0.directory.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn metrics(&self) -> String {
        self.0.counters.page()
    }

    fn answer(&self, query: &[u8], transport: Transport) -> Outcome {
        Counters::add(&self.0.counters.requests);
        let turn = self.0.turn.fetch_add(1, Ordering::Relaxed);
        answer(self.get().as_deref(), query, transport, turn)
    }
}

/// Opens the sockets on both loopback addresses (that of IPv6 where there is one), and serves.
pub async fn start(names: &Names, upstream: Upstream, port: u16) -> io::Result<SocketAddr> {
    let server = Server {
        names: names.clone(),
        upstream: Arc::new(upstream),
        waiting: Arc::new(Semaphore::new(WAITING)),
    };
    let at = server.open((Ipv4Addr::LOCALHOST, port).into()).await?;
    if let Err(error) = server.open((Ipv6Addr::LOCALHOST, at.port()).into()).await {
        tracing::debug!(%error, "DNS is not served on ::1");
    }
    Ok(at)
}

#[derive(Clone)]
struct Server {
    names: Names,
    upstream: Arc<Upstream>,
    waiting: Arc<Semaphore>,
}

impl Server {
    async fn open(&self, address: SocketAddr) -> io::Result<SocketAddr> {
        let udp = UdpSocket::bind(address).await?;
        // Where capture knows us by mark, answers must carry it to be tracked with their queries.
        if let Some(mark) = self.upstream.dial.mark {
            net::set_mark(&udp, mark)?;
        }
        let at = udp.local_addr()?;
        let tcp = TcpListener::bind(at).await?;
        tokio::spawn(self.clone().serve_udp(Arc::new(udp)));
        tokio::spawn(self.clone().serve_tcp(tcp));
        Ok(at)
    }

    async fn serve_udp(self, socket: Arc<UdpSocket>) {
        let mut buffer = vec![0; MOST];
        loop {
            let Ok((length, client)) = socket.recv_from(&mut buffer).await else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let query = &buffer[..length];
            match self.names.answer(query, Transport::Udp) {
                Outcome::Ignore => {}
                Outcome::Reply(reply) => drop(socket.send_to(&reply, client).await),
                Outcome::Forward => {
                    let (server, socket, query) = (self.clone(), socket.clone(), query.to_vec());
                    tokio::spawn(async move {
                        if let Some(reply) = server.forward(&query, Transport::Udp).await {
                            let _ = socket.send_to(&reply, client).await;
                        }
                    });
                }
            }
        }
    }

    async fn serve_tcp(self, listener: TcpListener) {
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok(permit) = room.clone().acquire_owned().await else { return };
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let server = self.clone();
            tokio::spawn(async move {
                let _ = server.converse(stream).await;
                drop(permit);
            });
        }
    }

    /// One query after the other, until the client has no more.
    async fn converse(&self, mut stream: TcpStream) -> io::Result<()> {
        loop {
            let query =
                tokio::time::timeout(IDLE, read(&mut stream)).await.map_err(io::Error::other)??;
            let reply = match self.names.answer(&query, Transport::Tcp) {
                Outcome::Ignore => return Ok(()),
                Outcome::Reply(reply) => Some(reply),
                Outcome::Forward => self.forward(&query, Transport::Tcp).await,
            };
            let Some(reply) = reply else { return Ok(()) };
            let reply = framed(&reply)?;
            let written = tokio::time::timeout(IDLE, stream.write_all(&reply));
            written.await.map_err(io::Error::other)??;
        }
    }

    /// The name servers' answer, or that there is none.
    async fn forward(&self, query: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let counters = &self.names.0.counters;
        Counters::add(&counters.forwarded);
        let begun = Instant::now();
        let answer = match self.waiting.try_acquire() {
            Ok(_permit) => self.upstream.ask(query, transport).await,
            Err(_) => Err(io::Error::other("too many queries wait for an answer")),
        };
        match answer {
            Ok(answer) => {
                counters.took(begun.elapsed());
                Some(answer)
            }
            Err(error) => {
                tracing::debug!(%error, "a DNS query has no answer");
                Counters::add(&counters.failures);
                match failure(query, transport) {
                    Outcome::Reply(reply) => Some(reply),
                    Outcome::Forward | Outcome::Ignore => None,
                }
            }
        }
    }
}

async fn read(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = usize::from(stream.read_u16().await?);
    if length > MOST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "too long for a query"));
    }
    let mut query = vec![0; length];
    stream.read_exact(&mut query).await?;
    Ok(query)
}

#[cfg(test)]
mod tests;
