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
    /// `None`: the connection is closed; the counters and the log say why.
    pub async fn shake_hands(&self, io: Io, first: Buffer, limit: Duration) -> Option<Peeled> {
        let (shard, stats) = (&self.worker.shard, &self.listener.stats);
        let name = &self.listener.config.name;
        let context = match &self.made.context {
            Ok(context) => context,
            Err(why) => {
                shard.inc(stats.ssl_connection_error);
                tracing::info!("listener {name}: a connection is closed: {why}");
                return None;
            }
        };
        let Io::Plain(socket) = io else { return None };
        let handshake = tokio::time::timeout(limit, io::accept(socket, first, context)).await;
        let session = match handshake {
            Ok(Ok(session)) => session,
            Ok(Err(e)) => {
                shard.inc(stats.ssl_connection_error);
                match e {
                    HandshakeError::Tls(_) => tracing::info!("listener {name}: {e}"),
                    e => tracing::debug!("listener {name}: {e}"),
                }
                return None;
            }
            Err(_) => {
                shard.inc(stats.ssl_connection_error);
                return None;
            }
        };
        shard.inc(stats.ssl_handshake);
        Some(opened(session, context.identity()))
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
        peer.certificate_hash = tls::sha256(leaf).iter().map(|b| format!("{b:02x}")).collect();
        peer.certificate = leaf.to_vec();
        peer.subject = Some(names.subject);
        peer.uri_san = names.uris.into_iter().next();
        peer.dns_sans = names.dns;
    }
    peer
}
