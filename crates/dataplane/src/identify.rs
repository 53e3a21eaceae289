//! Step: identify. The filter chain of a connection, and who the peer is.

use crate::buffer::Buffer;
use crate::detect::Detected;
use crate::early::Early;
use crate::facts::Facts;
use crate::io::Io;
use crate::peel::{Peeled, Secured};
use crate::record::Client;
use crate::runtime::{ChainRt, ListenerRt, Place, Stamp, Way};
use crate::view::View;
use crate::worker::Worker;
use base::Env;
use ir::{Direction, Str};
use policy::format::{Ends, Identities, Peer, Shown};
use policy::{Flag, Info, Stream};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// A connection whose chain and peer are known.
#[derive(Debug)]
pub struct Identified {
    pub worker: Rc<Worker>,
    pub view: Rc<View>,
    pub io: Io,
    /// Bytes read already.
    pub prefix: Buffer,
    pub client: Client,
    pub origin: Origin,
    pub chain: ChainRt,
    pub began: base::Instant,
    /// An upstream that was asked because the client said nothing.
    pub early: Option<Early>,
    /// What the client speaks, if that was looked at.
    pub http: Option<Http>,
}

/// Which chain serves a connection, and by what another can be found in a newer configuration.
#[derive(Clone, Debug)]
pub struct Origin {
    pub listener: Str,
    pub direction: Direction,
    pub place: Place,
    pub facts: Rc<Facts>,
    pub stamp: Stamp,
    pub way: Way,
    /// Where the connection was meant for before it was redirected.
    pub original: Option<SocketAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Http {
    Http1,
    Http2,
}

/// `None`: no chain wants the connection.
pub async fn identify(mut detected: Detected) -> Option<Identified> {
    // The client may have taken its time.
    detected.accepted.view = detected.accepted.worker.view();
    let listeners = &detected.accepted.view.runtime.listeners;
    let listener = listeners.get(&detected.listener.config.name)?.clone();
    let facts = Facts::of(&detected);
    let Some(place) = facts.place(&listener) else {
        refuse(&listener, &detected);
        return None;
    };
    let config = listener.chain_config(place)?;
    let chain = listener.chain(place)?.clone();
    let Detected { accepted, prefix, protocol, source, destination, early, .. } = detected;
    let peeled = match listener.tls(place) {
        None => Peeled::plain(accepted.io, prefix, protocol.as_ref()),
        Some(made) => {
            let limit = config.handshake_timeout.unwrap_or(HANDSHAKE);
            let chain = Secured { made, worker: &accepted.worker, listener: &listener };
            match chain.shake_hands(accepted.io, prefix, limit).await {
                Ok(peeled) => peeled,
                Err(why) => {
                    let mut closed = closed(&accepted.worker, destination, accepted.remote);
                    closed.client_failure = why.into();
                    log(&listener, &accepted.worker, &accepted.view, &closed);
                    return None;
                }
            }
        }
    };
    Some(Identified {
        client: Client {
            ends: Rc::new(Ends {
                identities: peeled.peer.as_ref().and_then(identities).map(Rc::new),
                ..Ends::new(Shown::new(destination), Shown::new(accepted.remote))
            }),
            remote: Rc::new(Shown::new(source)),
            peer: peeled.peer.map(Rc::new),
        },
        origin: Origin {
            listener: listener.config.name.clone(),
            direction: listener.config.direction,
            place,
            facts: Rc::new(facts),
            stamp: listener.stamp,
            way: listener.way(place),
            original: accepted.original,
        },
        chain,
        http: peeled.http,
        began: base::Env::now(&accepted.worker.env),
        early,
        worker: accepted.worker,
        view: accepted.view,
        io: peeled.io,
        prefix: peeled.prefix,
    })
}

/// Who the client and we have proved to be.
fn identities(peer: &Peer) -> Option<Identities> {
    let (local, remote) = (peer.local_uri_san.as_deref()?, peer.uri_san.as_deref()?);
    Some(Identities { local: local.into(), remote: remote.into() })
}

/// How long a handshake may take where the chain does not say.
const HANDSHAKE: Duration = Duration::from_secs(15);

/// Closes a connection that no chain wants, and says so in the listener's log.
fn refuse(listener: &ListenerRt, detected: &Detected) {
    let accepted = &detected.accepted;
    let (worker, view) = (&accepted.worker, &accepted.view);
    worker.shard.inc(listener.stats.no_filter_chain_match);
    let mut stream = closed(worker, detected.destination, accepted.remote);
    stream.details = "filter_chain_not_found".into();
    stream.flags.set(Flag::NoRouteFound);
    log(listener, worker, view, &stream);
    accepted.io.reset_on_close();
}

/// What there is to say of a connection that came to nothing.
fn closed(worker: &Worker, local: SocketAddr, remote: SocketAddr) -> Stream {
    Stream {
        start: worker.env.wall(),
        duration: Some(Duration::ZERO),
        downstream: Some(Rc::new(Ends::new(Shown::new(local), Shown::new(remote)))),
        ..Stream::default()
    }
}

/// Into the listener's own log.
fn log(listener: &ListenerRt, worker: &Worker, view: &View, stream: &Stream) {
    let info = Info { request: None, response: None, stream };
    for (rule, sink) in &listener.logs {
        if let Some(Some(buffer)) = view.logs.get(*sink as usize) {
            buffer.append(|out| rule.write(&info, &worker.env, out));
        }
    }
}
