//! Step: admit. Whether a connection may be served at all, by the network filters of its chain.

use crate::gate::{self, Refusal};
use crate::identify::Identified;
use crate::runtime::{ChainRt, ListenerRt, Place};
use ir::NetworkFilter;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A connection that is served.
#[derive(Debug)]
pub struct Admitted {
    connection: Identified,
    slot: Option<Slot>,
    /// Why it is denied: it is served no further than to say so in the log.
    denied: Option<Refusal>,
}

/// One of a limited number of connections, until it is dropped.
#[derive(Debug)]
pub struct Slot(Arc<AtomicU64>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Admitted {
    pub fn chain(&self) -> ChainRt {
        self.connection.chain.clone()
    }

    /// Why it is denied, if it is; then it is not served.
    pub fn denied(&mut self) -> Option<Refusal> {
        self.denied.take()
    }

    /// The connection, and what is to be kept while it is open.
    pub fn into_parts(self) -> (Identified, Option<Slot>) {
        (self.connection, self.slot)
    }
}

/// `None`: it is refused.
pub async fn admit(connection: Identified) -> Option<Admitted> {
    let listeners = &connection.view.runtime.listeners;
    let listener = listeners.get(&connection.origin.listener)?.clone();
    let denied = gate::refusal(listener.gates(connection.origin.place), &connection).await;
    let limit = limit(&listener, connection.origin.place).filter(|_| denied.is_none());
    let Some((max, delay)) = limit else {
        return Some(Admitted { connection, slot: None, denied });
    };
    let open = listener.open.clone();
    if open.fetch_add(1, Ordering::Relaxed) < max {
        return Some(Admitted { connection, slot: Some(Slot(open)), denied });
    }
    drop(Slot(open));
    connection.worker.shard.inc(listener.stats.cx_overflow);
    if let Some(delay) = delay {
        tokio::time::sleep(delay).await;
    }
    None
}

fn limit(listener: &ListenerRt, place: Place) -> Option<(u64, Option<std::time::Duration>)> {
    listener.chain_config(place)?.network.iter().find_map(|filter| match filter {
        NetworkFilter::ConnectionLimit { max, delay } => Some((*max, *delay)),
        _ => None,
    })
}
