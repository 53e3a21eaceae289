//! What an open connection goes by as configurations come and go. New rules hold for it, too; one whose
//! filter chain is gone, or wants other connections by now (mutual TLS, say), ends: by HTTP after its next
//! request, as TCP after the time that Istio gives listeners to drain.

use crate::gate;
use crate::identify::{Identified, Origin};
use crate::runtime::{ChainRt, ListenerRt, ManagerRt, Place};
use crate::view::View;
use crate::worker::Worker;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What is left to a connection whose chain is gone.
pub const LEAVE: Duration = Duration::from_secs(45);

/// The course of an HTTP connection: its connection manager, renewed with every configuration.

#[derive(Debug)]
pub struct Course {
    version: u64,
    place: Place,
    manager: Arc<ManagerRt>,
    leaving: bool,
}

impl Course {
    pub fn new(origin: &Origin, view: &View, manager: Arc<ManagerRt>) -> Self {
        Self { version: view.version, place: origin.place, manager, leaving: false }
    }

    pub fn manager(&self) -> &Arc<ManagerRt> {
        &self.manager
    }

    /// The connection is to end when it can.
    pub fn is_leaving(&self) -> bool {
        self.leaving
    }

    /// Takes the newest configuration.
    pub fn refresh(&mut self, origin: &Origin, view: &View) {
        if view.version == self.version {
            return;
        }
        self.version = view.version;
        let listener = view.runtime.listeners.get(&origin.listener);
        let heir = listener.and_then(|l| heir(l, origin, self.place));
        if let Some((place, ChainRt::Http(manager))) = heir {
            (self.place, self.manager) = (place, manager.clone());
            return;
        }
        self.leaving = true;
        // What comes before the end is judged by today's rules all the same.
        if let Some(manager) = listener.and_then(|l| l.namesake(&origin.chain)) {
            self.manager = manager.clone();
        }
    }
}

/// The chain that connections of this origin get today, most likely at `place`.
fn heir<'a>(
    listener: &'a ListenerRt,
    origin: &Origin,
    place: Place,
) -> Option<(Place, &'a ChainRt)> {
    let place = listener.heir(origin.lineage, place)?;
    Some((place, listener.chain(place)?))
}

/// The course of a TCP connection: whether it may go on.
#[derive(Debug)]
pub struct Leave {
    worker: Rc<Worker>,
    version: u64,
    place: Place,
    /// Its chain is gone.
    end: Option<Instant>,
}

impl Leave {
    pub fn new(connection: &Identified) -> Self {
        let (version, place) = (connection.view.version, connection.origin.place);
        Self { worker: connection.worker.clone(), version, place, end: None }
    }

    /// Asked before bytes are passed on. Rules that have changed are asked once more; services are not.
    pub fn is_over(&mut self, connection: &Identified) -> bool {
        let view = self.worker.view();
        if view.version != self.version {
            self.version = view.version;
            let listener = view.runtime.listeners.get(&connection.origin.listener);
            let heir = listener.and_then(|l| Some((l, heir(l, &connection.origin, self.place)?.0)));
            match heir {
                Some((listener, place)) => {
                    if gate::forbid(listener.gates(place), connection) {
                        return true;
                    }
                    (self.place, self.end) = (place, None);
                }
                None => self.end = self.end.or(Some(Instant::now() + LEAVE)),
            }
        }
        self.end.is_some_and(|end| end <= Instant::now())
    }
}
