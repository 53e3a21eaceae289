//! What the filter chain of a connection is chosen by. It is kept, so that the chain can be chosen again when
//! the configuration has changed.

use crate::detect::Detected;
use crate::runtime::{ListenerRt, Place};
use policy::chain::{Seen, Spoken, choose};
use std::net::{IpAddr, SocketAddr};

#[derive(Debug)]
pub struct Facts {
    destination: SocketAddr,
    source: SocketAddr,
    /// The peer of the socket, which differs from `source` behind the PROXY protocol.
    direct_source: IpAddr,
    server_name: Option<Box<str>>,
    transport: &'static str,
    protocols: Box<[Box<str>]>,
}

impl Facts {
    pub fn of(detected: &Detected) -> Self {
        let spoken = Spoken::of(detected.protocol.as_ref());
        Self {
            destination: detected.destination,
            source: detected.source,
            direct_source: detected.accepted.remote.ip(),
            server_name: spoken.server_name.map(Box::from),
            transport: spoken.transport,
            protocols: spoken.protocols.iter().map(|p| Box::from(*p)).collect(),
        }
    }

    /// Of a connection without TLS that comes from where it goes to.
    #[cfg(test)]
    pub fn plain(at: SocketAddr) -> Self {
        Self {
            destination: at,
            source: at,
            direct_source: at.ip(),
            server_name: None,
            transport: "raw_buffer",
            protocols: Box::default(),
        }
    }

    /// The chain that a listener has for such a connection.
    pub fn place(&self, listener: &ListenerRt) -> Option<Place> {
        let protocols: Vec<&str> = self.protocols.iter().map(|p| &**p).collect();
        let seen = Seen {
            destination: self.destination,
            source: self.source,
            direct_source: self.direct_source,
            server_name: self.server_name.as_deref(),
            transport: self.transport,
            protocols: &protocols,
        };
        match choose(&listener.config.chains, &seen) {
            Some(i) => Some(Place::At(i)),
            None => listener.default_chain.as_ref().map(|_| Place::Default),
        }
    }
}
