//! Connections of the agent's own: exempt from capture, bounded in time.

use crate::dns::Own;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};

/// How sockets of the proxy itself are made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dial {
    /// Set where capture tells our traffic apart by mark.
    pub mark: Option<u32>,
}

/// An address from which connections to the pod itself are not captured.
const UNCAPTURED_SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 6));

impl Dial {
    /// Connects to `host:port`, trying each address of the name.
    pub async fn by_name(&self, authority: &str, timeout: Duration) -> io::Result<TcpStream> {
        let attempt = async {
            let mut last =
                io::Error::new(io::ErrorKind::NotFound, format!("{authority}: no address"));
            for address in self.look_up(authority).await? {
                match self.connect(address, None).await {
                    Ok(stream) => return Ok(stream),
                    Err(e) => last = e,
                }
            }
            Err(last)
        };
        within(timeout, attempt).await
    }

    /// Connects to an address.
    pub async fn to(&self, address: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
        within(timeout, self.connect(address, None)).await
    }

    async fn look_up(&self, authority: &str) -> io::Result<Vec<SocketAddr>> {
        let Some(mark) = self.mark else {
            return Ok(tokio::net::lookup_host(authority).await?.collect());
        };
        let split = authority.rsplit_once(':').and_then(|(h, p)| Some((h, p.parse().ok()?)));
        let (host, port): (&str, u16) = split.ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("{authority}: no port"))
        })?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let own = move || Own::new(mark).look_up(&host, port);
        tokio::task::spawn_blocking(own).await.map_err(io::Error::other)?
    }

    /// Connects to the application in our own pod as the node would.
    pub async fn to_own_pod(
        &self,
        address: SocketAddr,
        timeout: Duration,
    ) -> io::Result<TcpStream> {
        let source = address.is_ipv4().then_some(UNCAPTURED_SOURCE);
        within(timeout, self.connect(address, source)).await
    }

    async fn connect(&self, address: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        if let Some(mark) = self.mark {
            net::set_mark(&socket, mark)?;
        }
        if let Some(source) = source {
            socket.bind(SocketAddr::new(source, 0))?;
        }
        let stream = socket.connect(address).await?;
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }
}

async fn within<T>(
    timeout: Duration,
    future: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    match tokio::time::timeout(timeout, future).await {
        Ok(result) => result,
        Err(_) => {
            Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {timeout:?}")))
        }
    }
}
