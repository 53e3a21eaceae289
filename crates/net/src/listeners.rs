//! The listening sockets of one program: bound once, handed to a successor, emptied before exit.
//!
//! A successor process inherits the very sockets, so connections that wait in the accept queue
//! survive an upgrade; a program that stops takes what still waits before it closes.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};

use crate::sock::{BindError, ListenOptions, bind_listener};

/// Listening sockets by the address they were asked for.
#[derive(Debug, Default)]
pub struct ListenerSet {
    sockets: BTreeMap<SocketAddr, Vec<TcpListener>>,
}

impl ListenerSet {
    pub fn new() -> Self {
        Self::default()
    }

    /// Sockets that another program (or an earlier self) opened, with the addresses they serve.
    pub fn inherit(sockets: impl IntoIterator<Item = (SocketAddr, TcpListener)>) -> Self {
        let mut set = Self::new();
        for (address, socket) in sockets {
            set.sockets.entry(address).or_default().push(socket);
        }
        set
    }

    /// The socket for an address: an inherited or earlier one, else a new one. With
    /// `reuse_port` every call opens one more socket on the same port.
    pub fn bind(
        &mut self,
        address: SocketAddr,
        options: ListenOptions,
    ) -> Result<TcpListener, BindError> {
        let held = self.sockets.entry(address).or_default();
        if held.is_empty() || options.reuse_port {
            held.push(bind_listener(address, options)?);
        }
        let newest = &held[held.len() - 1];
        newest.try_clone().map_err(|source| BindError::Other { address, source })
    }

    /// What a successor needs, to be passed as descriptors in this order.
    pub fn export(&self) -> Vec<(SocketAddr, BorrowedFd<'_>)> {
        let pairs = self.sockets.iter().flat_map(|(a, held)| held.iter().map(|s| (*a, s.as_fd())));
        pairs.collect()
    }

    /// Stops listening on an address and returns the connections that were already waiting.
    pub fn drain(&mut self, address: SocketAddr) -> io::Result<Vec<TcpStream>> {
        let mut waiting = Vec::new();
        for socket in self.sockets.remove(&address).unwrap_or_default() {
            socket.set_nonblocking(true)?;
            while let Some(stream) = accept_waiting(&socket)? {
                waiting.push(stream);
            }
        }
        Ok(waiting)
    }
}

fn accept_waiting(socket: &TcpListener) -> io::Result<Option<TcpStream>> {
    loop {
        match socket.accept() {
            Ok((stream, _)) => return Ok(Some(stream)),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(e) => return Err(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_that_wait_survive_the_end_of_listening() {
        let mut set = ListenerSet::new();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let address = set.bind(any, ListenOptions::default()).unwrap().local_addr().unwrap();
        let _first = TcpStream::connect(address).unwrap();
        let _second = TcpStream::connect(address).unwrap();
        assert_eq!(set.drain(any).unwrap().len(), 2);
        assert!(TcpStream::connect(address).is_err());
    }

    #[test]
    fn a_successor_accepts_on_the_inherited_socket() {
        let mut old = ListenerSet::new();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let address = old.bind(any, ListenOptions::default()).unwrap().local_addr().unwrap();
        let copies: Vec<_> = old
            .export()
            .into_iter()
            .map(|(a, fd)| (a, TcpListener::from(fd.try_clone_to_owned().unwrap())))
            .collect();
        let _client = TcpStream::connect(address).unwrap();
        drop(old);
        let mut new = ListenerSet::inherit(copies);
        assert_eq!(new.bind(any, ListenOptions::default()).unwrap().local_addr().unwrap(), address);
        assert_eq!(new.drain(any).unwrap().len(), 1);
    }
}
