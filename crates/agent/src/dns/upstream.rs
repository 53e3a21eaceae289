//! The name servers of the pod, for names that are not ours: asked by the same protocol as we were,
//! one after the other or all at once, each for a bounded time.

use crate::dial::Dial;
use futures::future::{Either, select_ok};
use policy::dns::Transport;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;

#[derive(Clone, Debug)]
pub struct Upstream {
    pub servers: Vec<SocketAddr>,
    /// All at once; the first answer counts (`DNS_FORWARD_PARALLEL`).
    pub parallel: bool,
    pub dial: Dial,
}

/// Istio's.
const PATIENCE: Duration = Duration::from_secs(5);
const MOST: usize = 65535;

impl Upstream {
    /// The answer as it came.
    pub async fn ask(&self, query: &[u8], transport: Transport) -> io::Result<Vec<u8>> {
        if self.parallel && self.servers.len() > 1 {
            let all = self.servers.iter().map(|s| Box::pin(self.ask_one(*s, query, transport)));
            return select_ok(all).await.map(|(answer, _)| answer);
        }
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the pod has no name server");
        for server in &self.servers {
            match self.ask_one(*server, query, transport).await {
                Ok(answer) => return Ok(answer),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn ask_one(
        &self,
        server: SocketAddr,
        query: &[u8],
        transport: Transport,
    ) -> io::Result<Vec<u8>> {
        let asked = match transport {
            Transport::Udp => Either::Left(self.by_udp(server, query)),
            Transport::Tcp => Either::Right(self.by_tcp(server, query)),
        };
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(result) => result,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, format!("{server}: no answer"))),
        }
    }

    /// From a port of its own, which the kernel chooses; what others send there is not heard.
    async fn by_udp(&self, server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
        let any: SocketAddr = match server {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any).await?;
        if let Some(mark) = self.dial.mark {
            net::set_mark(&socket, mark)?;
        }
        socket.connect(server).await?;
        socket.send(query).await?;
        let mut buffer = vec![0; MOST];
        loop {
            let length = socket.recv(&mut buffer).await?;
            if answers(query, &buffer[..length]) {
                buffer.truncate(length);
                return Ok(buffer);
            }
        }
    }

    async fn by_tcp(&self, server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
        let mut stream = self.dial.to(server, PATIENCE).await?;
        stream.write_all(&framed(query)?).await?;
        let length = stream.read_u16().await?;
        let mut answer = vec![0; usize::from(length)];
        stream.read_exact(&mut answer).await?;
        match answers(query, &answer) {
            true => Ok(answer),
            false => Err(io::Error::new(io::ErrorKind::InvalidData, "an answer to something else")),
        }
    }
}

/// As messages stand on TCP: behind their length.
pub fn framed(message: &[u8]) -> io::Result<Vec<u8>> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    Ok([&length.to_be_bytes(), message].concat())
}

/// A response under the query's id.
fn answers(query: &[u8], answer: &[u8]) -> bool {
    answer.len() >= 12 && answer.get(..2) == query.get(..2) && answer[2] & 0x80 != 0
}
