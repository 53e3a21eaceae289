//! Step: detect. Where a connection was meant for, and what it speaks, as far as the listener wants
//! to know. Ports with a declared protocol never wait.

use crate::accept::Accepted;
use crate::buffer::Buffer;
use crate::early::{Early, First, first_to_speak};
use crate::runtime::ListenerRt;
use policy::chain;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use wire::detect::{ENOUGH, Protocol, Wanted};
use wire::proxy_protocol::{self, Preamble, Refused};

/// A connection whose first bytes were looked at; they are in `prefix`.
#[derive(Debug)]
pub struct Detected {
    pub accepted: Accepted,
    /// The listener of the original destination, where there is one.
    pub listener: Arc<ListenerRt>,
    pub prefix: Buffer,
    /// `None`: it was not looked for, or the client was silent for too long.
    pub protocol: Option<Protocol>,
    /// The client and the destination, behind redirection and the PROXY protocol.
    pub source: SocketAddr,
    pub destination: SocketAddr,
    /// An upstream that was asked because the client said nothing.
    pub early: Option<Early>,
}

const TIMEOUT: Duration = Duration::from_secs(15);

/// `None`: the connection is closed.
pub async fn detect(accepted: Accepted) -> Option<Detected> {
    let destination = accepted.original.unwrap_or(accepted.local);
    let mut detected = Detected {
        listener: listener_of(&accepted, destination),
        prefix: Buffer::default(),
        protocol: None,
        source: accepted.remote,
        destination,
        early: None,
        accepted,
    };
    let filters = detected.listener.config.filters.clone();
    let port = destination.port();
    let wanted = chain::wanted(&filters, port);
    if filters.proxy_protocol.is_none() && !wanted.tls && !wanted.http {
        return Some(detected);
    }
    let look = async {
        if let Some(wanted) = filters.proxy_protocol {
            preamble(&mut detected, wanted).await?;
        }
        if wanted.tls || wanted.http {
            detected.protocol = first_bytes(&mut detected, wanted).await?;
        }
        Some(())
    };
    let timeout = filters.timeout.unwrap_or(TIMEOUT);
    let seen = if timeout.is_zero() {
        look.await
    } else {
        match tokio::time::timeout(timeout, look).await {
            Ok(seen) => seen,
            Err(_) => filters.continue_on_timeout.then_some(()),
        }
    };
    seen.map(|()| detected)
}

/// The listener that a redirected connection belongs to: that of its destination, or else the one
/// that accepted it.
fn listener_of(accepted: &Accepted, destination: SocketAddr) -> Arc<ListenerRt> {
    let own = &accepted.listener;
    if !own.config.use_original_dst || accepted.original.is_none() {
        return own.clone();
    }
    let listeners = &accepted.view.runtime.by_address;
    let found = chain::addresses(destination).iter().find_map(|a| listeners.get(a));
    found.unwrap_or(own).clone()
}

async fn preamble(detected: &mut Detected, wanted: ir::Preamble) -> Option<()> {
    loop {
        match proxy_protocol::parse(detected.prefix.unread()) {
            Ok(Some((preamble, len))) => {
                detected.prefix.consume(len);
                if let Preamble::Proxied { source, destination } = preamble {
                    detected.source = source;
                    detected.destination = destination;
                }
                return Some(());
            }
            Ok(None) => read_more(detected).await?,
            // The bytes that were looked at are the client's own.
            Err(Refused::Absent) if wanted.optional => return Some(()),
            Err(e) => {
                tracing::debug!("{}: {e}", detected.source);
                return None;
            }
        }
    }
}

/// `Some(None)`: the server has spoken first. `None`: the client is gone.
async fn first_bytes(detected: &mut Detected, wanted: Wanted) -> Option<Option<Protocol>> {
    if detected.prefix.is_empty() && first_to_speak(detected).await == First::Server {
        return Some(None);
    }
    loop {
        if let Some(protocol) = wire::detect::detect(detected.prefix.unread(), wanted) {
            return Some(Some(protocol));
        }
        if detected.prefix.unread().len() >= ENOUGH {
            return Some(Some(Protocol::Other));
        }
        if read_more(detected).await.is_none() {
            // The client has said all it has to say.
            return (!detected.prefix.is_empty()).then_some(Some(Protocol::Other));
        }
    }
}

/// `None` at the end.
async fn read_more(detected: &mut Detected) -> Option<()> {
    let (io, prefix) = (&detected.accepted.io, &mut detected.prefix);
    let read = poll_fn(|cx| prefix.poll_fill(io, cx, ENOUGH + 1)).await;
    matches!(read, Ok(n) if n > 0).then_some(())
}
