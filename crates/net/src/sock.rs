//! Single sockets: listening with the options a proxy needs, the address a captured connection
//! was really meant for, and the mark that exempts our own traffic from capture.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsFd;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// The mark that our own sockets carry where user ids cannot tell them apart; the value that
/// Istio uses too.
pub const PROXY_MARK: u32 = 1337;

/// How many connections the kernel queues for a listener (it caps this by `somaxconn`).
const BACKLOG: i32 = 4096;

/// How to listen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ListenOptions {
    /// Several sockets share the port, one for each worker.
    pub reuse_port: bool,
    /// Accept connections to addresses that are not ours (needs CAP_NET_ADMIN).
    pub transparent: bool,
    /// An IPv6 socket takes IPv4 connections as well.
    pub dual_stack: bool,
}

/// A refused bind, with what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("{0} is taken by another process; free it or choose another port")]
    Taken(SocketAddr),
    #[error(
        "{0} needs the right to bind low ports (CAP_NET_BIND_SERVICE or net.ipv4.ip_unprivileged_port_start)"
    )]
    Forbidden(SocketAddr),
    #[error("cannot listen on {address}: {source}")]
    Other { address: SocketAddr, source: io::Error },
}

impl BindError {
    fn of(address: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => BindError::Taken(address),
            io::ErrorKind::PermissionDenied => BindError::Forbidden(address),
            _ => BindError::Other { address, source },
        }
    }
}

/// Binds and listens; the socket is non-blocking and closed on exec.
pub fn bind_listener(
    address: SocketAddr,
    options: ListenOptions,
) -> Result<TcpListener, BindError> {
    listen(address, options).map_err(|e| BindError::of(address, e))
}

fn listen(address: SocketAddr, options: ListenOptions) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(options.reuse_port)?;
    if address.is_ipv6() {
        socket.set_only_v6(!options.dual_stack)?;
    }
    if options.transparent {
        match address {
            SocketAddr::V4(_) => socket.set_ip_transparent_v4(true)?,
            SocketAddr::V6(_) => socket.set_ip_transparent_v6(true)?,
        }
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Binds a non-blocking datagram socket.
pub fn bind_udp(address: SocketAddr) -> Result<UdpSocket, BindError> {
    let bind = || -> io::Result<UdpSocket> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())?;
        socket.set_nonblocking(true)?;
        Ok(socket.into())
    };
    bind().map_err(|e| BindError::of(address, e))
}

/// Where a redirected connection wanted to go, or `None` when it came here of its own accord.
pub fn original_dst(socket: &impl AsFd) -> Option<SocketAddr> {
    let socket = SockRef::from(socket);
    let local = socket.local_addr().ok()?.as_socket()?;
    let found = match local.ip() {
        IpAddr::V4(_) => socket.original_dst_v4(),
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => socket.original_dst_v4(),
        IpAddr::V6(_) => socket.original_dst_v6(),
    };
    let wanted = found.ok()?.as_socket()?;
    (wanted != canonical(local)).then_some(wanted)
}

/// An IPv4 peer of a dual-stack socket, as IPv4.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Marks a socket before it connects (needs CAP_NET_ADMIN or CAP_NET_RAW).
pub fn set_mark(socket: &impl AsFd, mark: u32) -> io::Result<()> {
    SockRef::from(socket).set_mark(mark)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[test]
    fn a_connection_that_nobody_redirected_has_no_other_destination() {
        let any = "127.0.0.1:0".parse().unwrap();
        let listener = bind_listener(any, ListenOptions::default()).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        listener.set_nonblocking(false).unwrap();
        let (server, _) = listener.accept().unwrap();
        assert_eq!(original_dst(&server), None);
    }

    #[test]
    fn a_taken_port_says_so_and_reuse_port_shares_it() {
        let any = "127.0.0.1:0".parse().unwrap();
        let shared = ListenOptions { reuse_port: true, ..Default::default() };
        let first = bind_listener(any, shared).unwrap();
        let address = first.local_addr().unwrap();
        assert!(matches!(
            bind_listener(address, ListenOptions::default()),
            Err(BindError::Taken(a)) if a == address
        ));
        bind_listener(address, shared).unwrap();
    }
}
