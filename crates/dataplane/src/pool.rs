//! Idle upstream connections of one worker to one cluster.

use crate::io::Io;
use crate::pick::Ends;
use crate::security;
use balance::EndpointId;
use ir::Str;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// One connection to an endpoint.
#[derive(Debug)]
pub struct Connection {
    pub io: Io,
    pub ends: Rc<Ends>,
    /// Requests it has carried.
    pub served: u32,
    pub counted: Option<Counted>,
}

/// A connection's place among those that the cluster may have; who waits for one hears when it is free.
#[derive(Debug)]
pub struct Counted {
    _permit: balance::Permit,
    // Dropped after the permit, so that there is a place when it is told.
    open: Open,
}

/// One of the connections that lead to the same, from before it is there until it is gone.
#[derive(Debug)]
struct Open {
    count: Rc<Cell<u32>>,
    changed: Rc<Notify>,
}

impl Counted {
    /// It is of HTTP/2, on which nobody waits whose request goes by HTTP/1.
    pub fn apart(&mut self) {
        let own = Rc::new(Cell::new(1));
        let shared = std::mem::replace(&mut self.open.count, own);
        shared.set(shared.get() - 1);
        self.open.changed.notify_one();
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.count.set(self.count.get() - 1);
        self.changed.notify_one();
    }
}

/// Where a connection leads: connections are shared only between requests that agree on all of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub to: To,
    /// How it is encrypted; `None` is plaintext.
    pub security: Option<Security>,
    /// Whose it is, where the endpoint is told.
    pub client: Option<(SocketAddr, SocketAddr)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum To {
    Endpoint(EndpointId),
    /// An original destination.
    Address(SocketAddr),
    /// The host of a request.
    Host(Str, u16),
}

/// The TLS of a connection to an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Security {
    pub socket: security::Place,
    /// The server that is asked for.
    pub name: Option<Str>,
    /// What the request speaks is offered by ALPN, in Istio's words.
    pub tells_protocol: bool,
    /// Which of the cluster's secrets it was begun with, by their count.
    pub secrets: u32,
}

/// Idle connections kept for one key.
const KEPT: usize = 512;

#[derive(Debug, Default)]
pub struct Pool {
    /// Told when a connection is spare or gone.
    changed: Rc<Notify>,
    /// How many lead where, spare, busy or on their way.
    open: RefCell<HashMap<Key, Rc<Cell<u32>>>>,
    idle: RefCell<HashMap<Key, Vec<(Connection, Instant)>>>,
    count: Cell<usize>,
}

impl Pool {
    /// `key`: where it leads, if requests may wait for it; those of HTTP/2 have their own way to wait.
    pub fn counted(&self, key: Option<&Key>, permit: balance::Permit) -> Counted {
        let count = match key {
            Some(key) => self.open.borrow_mut().entry(key.clone()).or_default().clone(),
            None => Rc::default(),
        };
        count.set(count.get() + 1);
        Counted { _permit: permit, open: Open { count, changed: self.changed.clone() } }
    }

    /// Waits until there may be a spare connection, or room for a new one. Other workers share the limit
    /// and are not heard, so it looks again after a while in any case.
    pub async fn change(&self) {
        const LOOK: Duration = Duration::from_millis(20);
        // Both ends of the wait mean the same.
        let _ = tokio::time::timeout(LOOK, self.changed.notified()).await;
    }

    /// Whether a connection that requests may wait for leads there, be it spare, busy or on its way.
    pub fn leads_to(&self, key: &Key) -> bool {
        self.open.borrow().get(key).is_some_and(|count| count.get() > 0)
    }

    /// The connection that was used last and still lives.
    pub fn take(&self, key: &Key) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        let list = idle.get_mut(key)?;
        while let Some((connection, _)) = list.pop() {
            self.count.set(self.count.get() - 1);
            if connection.io.is_quiet() {
                return Some(connection);
            }
        }
        None
    }

    pub fn put(&self, key: &Key, connection: Connection, now: Instant) {
        let mut idle = self.idle.borrow_mut();
        if !idle.contains_key(key) {
            idle.insert(key.clone(), Vec::new());
        }
        let Some(list) = idle.get_mut(key) else { return };
        if list.len() < KEPT {
            list.push((connection, now));
            self.count.set(self.count.get() + 1);
            self.changed.notify_one();
        }
    }

    /// Closes all that are idle.
    pub fn clear(&self) {
        self.idle.borrow_mut().clear();
        self.count.set(0);
    }

    /// Closes what has been idle since before `then`, and what the peer has closed.
    pub fn sweep(&self, then: Option<Instant>) {
        let mut idle = self.idle.borrow_mut();
        idle.retain(|_, list| {
            list.retain(|(c, since)| then.is_none_or(|then| *since >= then) && c.io.is_quiet());
            !list.is_empty()
        });
        self.count.set(idle.values().map(Vec::len).sum());
        self.open.borrow_mut().retain(|_, count| count.get() > 0);
    }

    pub fn len(&self) -> usize {
        self.count.get()
    }
}
