//! What is under the encryption of a connection: its bytes, the peer, the protocol agreed on.

use crate::buffer::Buffer;
use crate::identify::Http;
use crate::io::{self, HandshakeError, Io, Session};
use crate::runtime::{ChainTls, ListenerRt};
use crate::worker::Worker;
use policy::format::Peer;
use rustls::{Connection, ProtocolVersion};
use std::time::Duration;
use wire::detect::Protocol;

/// A connection whose encryption, if any, is taken off.
#[derive(Debug)]
pub struct Peeled {
    pub io: Io,
    /// Bytes read already.
    pub prefix: Buffer,
    pub peer: Option<Peer>,
    pub http: Option<Http>,
}

/// The TLS of the chain that a connection belongs to.
pub struct Secured<'a> {
    pub made: &'a ChainTls,
    pub worker: &'a Worker,
    pub listener: &'a ListenerRt,
}

impl Peeled {
    /// Nothing is taken off: plaintext, or TLS that passes through.
    pub fn plain(io: Io, prefix: Buffer, protocol: Option<&Protocol>) -> Self {
        let server_name = match protocol {
            Some(Protocol::Tls(hello)) => hello.server_name.clone(),
            _ => None,
        };
        Self {
            io,
            prefix,
            peer: server_name.map(|name| Peer { server_name: Some(name), ..Default::default() }),
            http: match protocol {
                Some(Protocol::Http2) => Some(Http::Http2),
                Some(Protocol::Http10 | Protocol::Http11) => Some(Http::Http1),
                _ => None,
            },
        }
    }
}

impl Secured<'_> {
    /// An error is why the connection is closed, which is counted and said.
    pub async fn shake_hands(
        &self,
        io: Io,
        first: Buffer,
        limit: Duration,
    ) -> Result<Peeled, String> {
        let (shard, stats) = (&self.worker.shard, &self.listener.stats);
        let peeled = self.open(io, first, limit).await;
        shard.inc(match peeled {
            Ok(_) => stats.ssl_handshake,
            Err(_) => stats.ssl_connection_error,
        });
        peeled
    }

    async fn open(&self, io: Io, first: Buffer, limit: Duration) -> Result<Peeled, String> {
        let name = &self.listener.config.name;
        let context = self.made.context.as_ref().map_err(|why| {
            tracing::info!("listener {name}: a connection is closed: {why}");
            why.clone()
        })?;
        let Io::Plain(socket) = io else { return Err("it is encrypted already".to_owned()) };
        let handshake = tokio::time::timeout(limit, io::accept(socket, first, context)).await;
        let session = handshake.map_err(|_| format!("no handshake within {limit:?}"))?;
        let session = session.map_err(|e| {
            match e {
                HandshakeError::Tls(_) => tracing::info!("listener {name}: {e}"),
                _ => tracing::debug!("listener {name}: {e}"),
            }
            e.to_string()
        })?;
        Ok(opened(session, context.identity()))
    }
}

fn opened(session: Session, own: Option<&str>) -> Peeled {
    let peer = session.with(|tls| peer(tls, own));
    let http = session.alpn().map(|p| if p == b"h2" { Http::Http2 } else { Http::Http1 });
    let io = Io::Secure(Box::new(session));
    Peeled { io, prefix: Buffer::default(), peer: Some(peer), http }
}

fn peer(tls: &Connection, own: Option<&str>) -> Peer {
    let mut peer = Peer {
        server_name: match tls {
            Connection::Server(server) => server.server_name().map(str::to_owned),
            Connection::Client(_) => None,
        },
        local_uri_san: own.map(str::to_owned),
        tls_version: Some(match tls.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLSv1.3",
        }),
        ..Peer::default()
    };
    let leaf = tls.peer_certificates().and_then(<[_]>::first);
    if let Some((leaf, names)) = leaf.and_then(|leaf| Some((leaf, tls::Names::of(leaf)?))) {
        peer.certificate_hash = tls::hex(&tls::sha256(leaf));
        peer.certificate = leaf.to_vec();
        peer.subject = Some(names.subject);
        peer.uri_san = names.uris.into_iter().next();
        peer.dns_sans = names.dns;
    }
    peer
}
