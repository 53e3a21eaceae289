//! The cluster's name server: answers from the table that the cluster process sends, and asks the
//! host's name servers for the rest.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;

use super::outside::Outside;
use super::{DNS_V4, HolderError, While};
use crate::dns::{Answered, Table, answer};

const PORT: u16 = 53;
/// Queries that are answered at the same time; more wait in the socket.
const MOST_QUERIES: usize = 512;
const MOST_BYTES: usize = 4096;
const PATIENCE: Duration = Duration::from_secs(3);
const IDLE: Duration = Duration::from_secs(10);
const AFTER_ERROR: Duration = Duration::from_millis(20);

/// The table that is in force.
#[derive(Clone, Default)]
pub struct Names(Rc<RefCell<Rc<Table>>>);

impl Names {
    pub fn set(&self, table: Table) {
        *self.0.borrow_mut() = Rc::new(table);
    }

    fn get(&self) -> Rc<Table> {
        self.0.borrow().clone()
    }
}

struct Server {
    names: Names,
    outside: Outside,
    room: Arc<Semaphore>,
}

/// Serves over UDP and TCP on the cluster's DNS address.
pub async fn serve(names: Names, outside: Outside) -> Result<(), HolderError> {
    let here = SocketAddr::new(IpAddr::V4(DNS_V4), PORT);
    let udp = UdpSocket::bind(here).await.or_while("listening for DNS")?;
    let tcp = TcpListener::bind(here).await.or_while("listening for DNS")?;
    let room = Arc::new(Semaphore::new(MOST_QUERIES));
    let server = Rc::new(Server { names, outside, room });
    tokio::task::spawn_local(server.clone().over_udp(Rc::new(udp)));
    tokio::task::spawn_local(server.over_tcp(tcp));
    Ok(())
}

impl Server {
    async fn over_udp(self: Rc<Self>, socket: Rc<UdpSocket>) {
        let mut buffer = vec![0; MOST_BYTES];
        loop {
            let Ok((count, from)) = socket.recv_from(&mut buffer).await else {
                tokio::time::sleep(AFTER_ERROR).await;
                continue;
            };
            let query = buffer[..count].to_vec();
            match answer(&self.names.get(), &query, false) {
                // An answer that cannot be sent will be asked for again.
                Answered::Here(bytes) => drop(socket.send_to(&bytes, from).await),
                Answered::Nonsense => {}
                Answered::Outside => {
                    let Ok(place) = self.room.clone().acquire_owned().await else { return };
                    let (server, socket) = (self.clone(), socket.clone());
                    tokio::task::spawn_local(async move {
                        let _place = place;
                        let bytes = server.ask_outside(&query).await;
                        let _ = socket.send_to(&bytes, from).await;
                    });
                }
            }
        }
    }

    async fn over_tcp(self: Rc<Self>, listener: TcpListener) {
        loop {
            let Ok(place) = self.room.clone().acquire_owned().await else { return };
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(AFTER_ERROR).await;
                continue;
            };
            let server = self.clone();
            tokio::task::spawn_local(async move {
                let _place = place;
                // A client that breaks off asks again or does not care.
                let _ = tokio::time::timeout(IDLE, server.connection(stream)).await;
            });
        }
    }

    async fn connection(&self, mut stream: TcpStream) -> io::Result<()> {
        loop {
            let length = stream.read_u16().await?;
            let mut query = vec![0; usize::from(length)];
            stream.read_exact(&mut query).await?;
            let bytes = match answer(&self.names.get(), &query, true) {
                Answered::Here(bytes) => bytes,
                Answered::Outside => self.ask_outside(&query).await,
                Answered::Nonsense => return Ok(()),
            };
            stream.write_u16(u16::try_from(bytes.len()).unwrap_or(0)).await?;
            stream.write_all(&bytes).await?;
        }
    }

    /// The first answer of the host's name servers, else "server failure".
    async fn ask_outside(&self, query: &[u8]) -> Vec<u8> {
        for server in host_servers() {
            if let Ok(Ok(bytes)) = tokio::time::timeout(PATIENCE, self.ask(server, query)).await {
                return bytes;
            }
        }
        failure(query)
    }

    async fn ask(&self, server: IpAddr, query: &[u8]) -> io::Result<Vec<u8>> {
        let socket = UdpSocket::from_std(self.outside.datagram().await?)?;
        socket.connect(SocketAddr::new(server, PORT)).await?;
        socket.send(query).await?;
        let mut buffer = vec![0; MOST_BYTES];
        loop {
            let count = socket.recv(&mut buffer).await?;
            // An answer carries the query's number.
            if buffer.get(..2) == query.get(..2) && count > 2 {
                buffer.truncate(count);
                return Ok(buffer);
            }
        }
    }
}

fn host_servers() -> Vec<IpAddr> {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let listed = text.lines().filter_map(|l| l.strip_prefix("nameserver")?.trim().parse().ok());
    listed.filter(IpAddr::is_ipv4).take(3).collect()
}

/// The query as its own answer, with the code for "server failure".
fn failure(query: &[u8]) -> Vec<u8> {
    let mut bytes = query.to_vec();
    if let Some(flags) = bytes.get_mut(2..4) {
        flags[0] |= 0x80;
        flags[1] = 0x82;
    }
    bytes
}
