//! Clients that wait for the server to speak first. A port whose protocol is not declared cannot be
//! told from what the client sends if it sends nothing; so after a short silence the upstream is
//! asked: whoever speaks first decides.

use crate::buffer::Buffer;
use crate::detect::Detected;
use crate::facts::Facts;
use crate::gate;
use crate::io::Io;
use crate::runtime::{ChainRt, Place, TcpRt};
use crate::tcp::{self, Upstream};
use policy::Stream;
use policy::format::{Ends, Shown};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use wire::detect::ENOUGH;

/// An upstream connection made before the client has said anything.
#[derive(Debug)]
pub struct Early {
    pub proxy: Arc<TcpRt>,
    pub upstream: Upstream,
    pub stream: Stream,
}

/// Clients that speak first do so within this; only for others is the upstream asked.
const SILENCE: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    Client,
    Server,
}

/// Waits for the first byte from either side. When the upstream was asked, the connection to it is
/// kept in `detected`.
pub async fn first_to_speak(detected: &mut Detected) -> First {
    let heard = tokio::time::timeout(SILENCE, hear(&mut detected.prefix, &detected.accepted.io));
    if heard.await.is_ok() {
        return First::Client;
    }
    // What would serve the connection if it stays opaque.
    let chain = Facts::of(detected)
        .place(&detected.listener)
        .filter(|place| may_be_served(detected, *place))
        .and_then(|place| detected.listener.chain(place).cloned());
    if let Some(ChainRt::Tcp(proxy)) = chain {
        let (worker, view) = (&detected.accepted.worker, &detected.accepted.view);
        let mut stream = Stream::default();
        let original = detected.accepted.original;
        let upstream = tcp::dial(worker, view, &proxy, original, &mut stream).await;
        detected.early = upstream.map(|upstream| Early { proxy, upstream, stream });
    }
    let mut client = pin!(hear(&mut detected.prefix, &detected.accepted.io));
    let Some(early) = &mut detected.early else {
        client.await;
        return First::Client;
    };
    let upstream = &mut early.upstream;
    let mut server = pin!(hear(&mut upstream.prefix, &upstream.connection.io));
    poll_fn(|cx| {
        if client.as_mut().poll(cx).is_ready() {
            return Poll::Ready(First::Client);
        }
        server.as_mut().poll(cx).map(|()| First::Server)
    })
    .await
}

/// Where rules say who may connect, nobody is asked on behalf of those who may not. Who would have to show a
/// certificate first speaks first anyway.
fn may_be_served(detected: &Detected, place: Place) -> bool {
    let gates = detected.listener.gates(place);
    if gates.is_empty() {
        return true;
    }
    let (local, remote) = (detected.destination, detected.accepted.remote);
    let ends = Ends::new(Shown::new(local), Shown::new(remote));
    let stream = Stream {
        downstream: Some(Rc::new(ends)),
        remote: Some(Rc::new(Shown::new(detected.source))),
        ..Stream::default()
    };
    detected.listener.tls(place).is_none() && gate::is_free(gates, stream)
}

/// Waits for bytes or the end.
async fn hear(into: &mut Buffer, io: &Io) {
    // An error is found again by whoever reads next.
    let _ = poll_fn(|cx| into.poll_fill(io, cx, ENOUGH + 1)).await;
}
