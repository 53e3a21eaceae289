//! Idle upstream connections of one worker to one cluster.

use crate::io::Io;
use crate::pick::Ends;
use crate::security;
use balance::EndpointId;
use ir::Str;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use tokio::time::Instant;

/// One connection to an endpoint.
#[derive(Debug)]
pub struct Connection {
    pub io: Io,
    pub ends: Rc<Ends>,
    /// Requests it has carried.
    pub served: u32,
    pub counted: Option<balance::Permit>,
}

/// Where a connection leads: connections are shared only between requests that agree on all of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub to: To,
    /// How it is encrypted; `None` is plaintext.
    pub security: Option<Security>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum To {
    Endpoint(EndpointId),
    /// An original destination.
    Address(std::net::SocketAddr),
    /// The host of a request.
    Host(Str, u16),
}

/// The TLS of a connection to an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Security {
    pub socket: security::Place,
    /// The server that is asked for.
    pub name: Option<Str>,
}

/// Idle connections kept for one key.
const KEPT: usize = 512;

#[derive(Debug, Default)]
pub struct Pool {
    idle: RefCell<HashMap<Key, Vec<(Connection, Instant)>>>,
    count: Cell<usize>,
}

impl Pool {
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
        }
    }

    /// Closes what has been idle since before `then`, and what the peer has closed.
    pub fn sweep(&self, then: Option<Instant>) {
        let mut idle = self.idle.borrow_mut();
        idle.retain(|_, list| {
            list.retain(|(c, since)| then.is_none_or(|then| *since >= then) && c.io.is_quiet());
            !list.is_empty()
        });
        self.count.set(idle.values().map(Vec::len).sum());
    }

    pub fn len(&self) -> usize {
        self.count.get()
    }
}
