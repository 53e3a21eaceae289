//! A socket to an endpoint, by whatever its address is.

use super::Ends;
use crate::io::Socket;
use crate::view::ClusterState;
use crate::worker::Worker;
use ir::Address;
use policy::format::Shown;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpSocket, UnixStream};

/// Opens a socket to the endpoint, and says which its ends are.
pub(super) async fn open(
    worker: &Worker,
    cluster: &ClusterState,
    address: &Address,
) -> std::io::Result<(Socket, Ends)> {
    match address {
        Address::Ip(address) => open_tcp(worker, cluster, *address).await,
        Address::Pipe(path) => {
            let path = match path.strip_prefix('@') {
                Some(name) => format!("\0{name}"),
                None => path.to_string(),
            };
            let stream = UnixStream::connect(&path).await?;
            Ok((Socket::Unix(stream), Ends::new(Shown::pipe(""), Shown::pipe(&path))))
        }
        Address::Name(name, port) => {
            let mut last = std::io::ErrorKind::NotFound.into();
            let cache = match &cluster.config.discovery {
                ir::Discovery::ByHost(cache) => Some(cache),
                _ => None,
            };
            let resolver = &worker.shared.resolver;
            for address in worker.hosts.look_up(resolver, name, *port, cache).await? {
                match open_tcp(worker, cluster, address).await {
                    Err(e) => last = e,
                    opened => return opened,
                }
            }
            Err(last)
        }
    }
}

async fn open_tcp(
    worker: &Worker,
    cluster: &ClusterState,
    address: SocketAddr,
) -> std::io::Result<(Socket, Ends)> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(mark) = worker.shared.mark {
        net::set_mark(&socket, mark)?;
    }
    let of_family = |s: &&IpAddr| s.is_ipv4() == address.is_ipv4();
    if let Some(source) = cluster.config.bind_sources.iter().find(of_family) {
        socket.bind(SocketAddr::new(*source, 0))?;
    }
    socket.set_nodelay(true)?;
    keepalive(&socket, &cluster.config)?;
    let stream = socket.connect(address).await?;
    let local = stream.local_addr()?;
    Ok((Socket::Tcp(stream), Ends::new(Shown::new(local), Shown::new(address))))
}

fn keepalive(socket: &TcpSocket, config: &ir::Cluster) -> std::io::Result<()> {
    let Some(wanted) = config.tcp_keepalive else { return Ok(()) };
    let mut options = socket2::TcpKeepalive::new();
    let seconds = |n: u32| Duration::from_secs(u64::from(n));
    if let Some(n) = wanted.time {
        options = options.with_time(seconds(n));
    }
    if let Some(n) = wanted.interval {
        options = options.with_interval(seconds(n));
    }
    if let Some(n) = wanted.probes {
        options = options.with_retries(n);
    }
    socket2::SockRef::from(socket).set_tcp_keepalive(&options)
}
