//! The sockets around [`answer`]: UDP and TCP, bounded, forwarding unknown names byte for byte.

use crate::{Reply, Zone, answer};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Queries that may wait for an upstream at the same time.
const FORWARDED_MAX: usize = 256;
const TCP_CONNECTIONS_MAX: usize = 64;
const UPSTREAM_PATIENCE: Duration = Duration::from_secs(5);
const TCP_IDLE: Duration = Duration::from_secs(10);

/// Who is asked for names of other domains, in order. Nobody: such names do not resolve.
pub type Upstreams = Vec<SocketAddr>;

/// A DNS server whose table can be exchanged while it runs.
#[derive(Clone)]
pub struct Server(Arc<Shared>);

struct Shared {
    zone: RwLock<Arc<Zone>>,
    upstreams: Upstreams,
    turn: AtomicUsize,
    forwarding: Semaphore,
    connections: Arc<Semaphore>,
}

impl Server {
    pub fn new(zone: Zone, upstreams: Upstreams) -> Server {
        Server(Arc::new(Shared {
            zone: RwLock::new(Arc::new(zone)),
            upstreams,
            turn: AtomicUsize::new(0),
            forwarding: Semaphore::new(FORWARDED_MAX),
            connections: Arc::new(Semaphore::new(TCP_CONNECTIONS_MAX)),
        }))
    }

    /// From the next query on the new table answers.
    pub fn replace(&self, zone: Zone) {
        let mut slot = self.0.zone.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        *slot = Arc::new(zone);
    }

    /// Answers until a socket fails for good.
    pub async fn serve(self, udp: UdpSocket, tcp: TcpListener) -> io::Result<()> {
        tokio::try_join!(self.serve_udp(Arc::new(udp)), self.serve_tcp(tcp))?;
        Ok(())
    }

    async fn serve_udp(&self, socket: Arc<UdpSocket>) -> io::Result<()> {
        let mut buffer = vec![0; 4096];
        loop {
            // A client that has gone makes the next receive fail; that is its problem alone.
            let Ok((n, client)) = socket.recv_from(&mut buffer).await else { continue };
            match self.look_up(&buffer[..n], true) {
                Reply::Answer(bytes) => drop(socket.send_to(&bytes, client).await),
                Reply::Ignore => {}
                Reply::Forward => {
                    let (server, socket, query) =
                        (self.clone(), socket.clone(), buffer[..n].to_vec());
                    tokio::spawn(async move {
                        if let Some(bytes) = server.forward(&query, true).await {
                            drop(socket.send_to(&bytes, client).await);
                        }
                    });
                }
            }
        }
    }

    async fn serve_tcp(&self, listener: TcpListener) -> io::Result<()> {
        loop {
            let Ok(permit) = self.0.connections.clone().acquire_owned().await else {
                return Ok(());
            };
            let (stream, _) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(e) => {
                    tracing::warn!("DNS over TCP: {e}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let server = self.clone();
            tokio::spawn(async move {
                let _permit = permit;
                // The client went away in the middle: there is nobody to tell.
                drop(server.converse(stream).await);
            });
        }
    }

    async fn converse(&self, mut stream: TcpStream) -> io::Result<()> {
        loop {
            let Ok(length) = timeout(TCP_IDLE, stream.read_u16()).await else { return Ok(()) };
            let mut query = vec![0; usize::from(length?)];
            let Ok(read) = timeout(TCP_IDLE, stream.read_exact(&mut query)).await else {
                return Ok(());
            };
            read?;
            let bytes = match self.look_up(&query, false) {
                Reply::Answer(bytes) => bytes,
                Reply::Forward => match self.forward(&query, false).await {
                    Some(bytes) => bytes,
                    None => return Ok(()),
                },
                Reply::Ignore => return Ok(()),
            };
            stream.write_all(&framed(&bytes)).await?;
        }
    }

    fn look_up(&self, query: &[u8], datagram: bool) -> Reply {
        let zone = self.0.zone.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        answer(query, &zone, self.0.turn.fetch_add(1, Ordering::Relaxed), datagram)
    }

    /// The first upstream that answers decides; if none does, the client hears SERVFAIL at once
    /// instead of waiting for its own timeout.
    async fn forward(&self, query: &[u8], datagram: bool) -> Option<Vec<u8>> {
        let _permit = self.0.forwarding.try_acquire().ok()?;
        for upstream in &self.0.upstreams {
            let asked = async {
                if datagram {
                    ask_udp(*upstream, query).await
                } else {
                    ask_tcp(*upstream, query).await
                }
            };
            if let Ok(Ok(bytes)) = timeout(UPSTREAM_PATIENCE, asked).await {
                return Some(bytes);
            }
        }
        failure(query)
    }
}

fn framed(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes()[..], &bytes[..usize::from(length)]].concat()
}

async fn ask_udp(upstream: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let any = if upstream.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(upstream).await?;
    socket.send(query).await?;
    let mut buffer = vec![0; 4096];
    loop {
        let n = socket.recv(&mut buffer).await?;
        // Only an answer to this very query counts.
        if buffer[..n].get(..2) == query.get(..2) {
            return Ok(buffer[..n].to_vec());
        }
    }
}

async fn ask_tcp(upstream: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(upstream).await?;
    stream.write_all(&framed(query)).await?;
    let mut bytes = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// The query as an answer with SERVFAIL: response bit set, code 2 (RFC 1035, section 4.1.1).
fn failure(query: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = query.to_vec();
    *bytes.get_mut(2)? |= 0x80;
    let flags = bytes.get_mut(3)?;
    *flags = (*flags & 0xf0) | 0x82;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Record;
    use hickory_proto::op::{Message, Query, ResponseCode};
    use hickory_proto::rr::{Name, RecordType};

    fn query(name: &str) -> Vec<u8> {
        let mut query = Message::query();
        query.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
        query.to_vec().unwrap()
    }

    async fn start(upstreams: Upstreams, ip: &str) -> (Server, SocketAddr) {
        let mut zone = Zone::new("cluster.local");
        zone.names.insert("a.cluster.local".into(), Record::addresses([ip.parse().unwrap()]));
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tcp.local_addr().unwrap();
        let udp = UdpSocket::bind(address).await.unwrap();
        let server = Server::new(zone, upstreams);
        tokio::spawn(server.clone().serve(udp, tcp));
        (server, address)
    }

    async fn ask(address: SocketAddr, name: &str, tcp: bool) -> Message {
        let query = query(name);
        let bytes =
            if tcp { ask_tcp(address, &query).await } else { ask_udp(address, &query).await };
        Message::from_vec(&bytes.unwrap()).unwrap()
    }

    #[tokio::test]
    async fn both_transports_answer_and_the_table_can_be_exchanged() {
        let (server, address) = start(Vec::new(), "10.0.0.1").await;
        for tcp in [false, true] {
            assert_eq!(
                ask(address, "a.cluster.local.", tcp).await.answers[0].data.to_string(),
                "10.0.0.1"
            );
        }
        server.replace(Zone::new("cluster.local"));
        assert_eq!(
            ask(address, "a.cluster.local.", false).await.metadata.response_code,
            ResponseCode::NXDomain
        );
    }

    #[tokio::test]
    async fn other_names_are_forwarded_or_fail_at_once() {
        let mut elsewhere = Zone::new("com");
        elsewhere
            .names
            .insert("example.com".into(), Record::addresses(["1.2.3.4".parse().unwrap()]));
        let (upstream, upstream_address) = start(Vec::new(), "10.0.0.1").await;
        upstream.replace(elsewhere);
        let (_, address) = start(vec![upstream_address], "10.0.0.1").await;
        for tcp in [false, true] {
            assert_eq!(
                ask(address, "example.com.", tcp).await.answers[0].data.to_string(),
                "1.2.3.4"
            );
            assert_eq!(
                ask(address, "example.org.", tcp).await.metadata.response_code,
                ResponseCode::ServFail
            );
        }
    }
}
