//! What an open connection goes by as configurations come and go. For each it is asked anew which chain the
//! connection would get if it came now, and that chain's rules hold from then on. A connection that no chain
//! would take any more, or only with other TLS, is over: by HTTP once it is idle, as TCP at once if it is an
//! inbound one, else after the time that Istio gives listeners to drain.

use crate::alarm::Alarm;
use crate::gate;
use crate::identify::{Identified, Origin};
use crate::record::Client;
use crate::runtime::{ChainRt, ListenerRt, ManagerRt, Place, Stamp, Way};
use crate::view::View;
use crate::worker::Worker;
use ir::Direction;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;
use tokio::time::Instant;

/// What is left to a connection that is over, where nobody's rules are at stake.
pub const LEAVE: Duration = Duration::from_secs(45);

/// The chain of a connection, followed over configurations.
#[derive(Debug)]
struct Followed {
    version: u64,
    stamp: Stamp,
    way: Way,
    place: Place,
}

/// What a newer configuration has for a connection.
enum Today {
    Same(Place),
    /// It still fits, but new connections would agree on something else in their handshake.
    Last(Place),
    None,
}

impl Followed {
    fn new(origin: &Origin, version: u64) -> Self {
        Self { version, stamp: origin.stamp, way: origin.way, place: origin.place }
    }

    /// `None`: nothing is new.
    fn look<'v>(
        &mut self,
        origin: &Origin,
        client: &Client,
        view: &'v View,
    ) -> Option<(Today, Option<&'v ListenerRt>)> {
        if view.version == self.version {
            return None;
        }
        self.version = view.version;
        let Some(listener) = view.runtime.listeners.get(&origin.listener) else {
            return Some((Today::None, None));
        };
        if listener.stamp == self.stamp {
            return Some((Today::Same(self.place), Some(listener)));
        }
        self.stamp = listener.stamp;
        let Some(place) = origin.facts.place(listener) else {
            return Some((Today::None, Some(listener)));
        };
        self.place = place;
        if gate::forbid(listener.gates(place), client) {
            return Some((Today::None, Some(listener)));
        }
        let today = match listener.way(place) {
            way if way == self.way => Today::Same(place),
            // Who has to show a certificate by other rules has shown none by these.
            _ if listener.wants_certificate(place) => Today::None,
            way if way.is_plain() == self.way.is_plain() => Today::Last(place),
            _ => Today::None,
        };
        Some((today, Some(listener)))
    }
}

/// The course of an HTTP connection: its connection manager, renewed with every configuration.
#[derive(Debug)]
pub struct Course {
    followed: Followed,
    manager: Arc<ManagerRt>,
    leaving: bool,
    over: bool,
}

impl Course {
    pub fn new(origin: &Origin, view: &View, manager: Arc<ManagerRt>) -> Self {
        let followed = Followed::new(origin, view.version);
        Self { followed, manager, leaving: false, over: false }
    }

    pub fn manager(&self) -> &Arc<ManagerRt> {
        &self.manager
    }

    /// The connection is to end when it can.
    pub fn is_leaving(&self) -> bool {
        self.leaving || self.over
    }

    /// Takes the newest configuration. False: the connection takes no further request.
    pub fn refresh(&mut self, origin: &Origin, client: &Client, view: &View) -> bool {
        let Some((today, listener)) = self.followed.look(origin, client, view) else {
            return !self.over;
        };
        let (place, last) = match today {
            Today::Same(place) => (Some(place), false),
            Today::Last(place) => (Some(place), true),
            Today::None => (None, true),
        };
        match place.and_then(|place| listener?.chain(place)) {
            Some(ChainRt::Http(manager)) => self.manager = manager.clone(),
            _ => self.over = true,
        }
        self.leaving |= last;
        !self.over
    }
}

/// The course of a TCP connection: whether it may go on.
#[derive(Debug)]
pub struct Leave {
    worker: Rc<Worker>,
    followed: Followed,
    alarm: Alarm,
    end: Option<Instant>,
}

impl Leave {
    pub fn new(connection: &Identified) -> Self {
        let followed = Followed::new(&connection.origin, connection.view.version);
        let worker = connection.worker.clone();
        Self { worker, followed, alarm: Alarm::default(), end: None }
    }

    /// Asked before bytes are passed on. Rules that have changed are asked once more; services are not.
    pub fn is_over(&mut self, cx: &mut Context<'_>, connection: &Identified) -> bool {
        let view = self.worker.view();
        let origin = &connection.origin;
        if let Some((today, listener)) = self.followed.look(origin, &connection.client, &view) {
            let place = match today {
                Today::Same(place) | Today::Last(place) => Some(place),
                Today::None => None,
            };
            match place.and_then(|place| listener?.chain(place)) {
                Some(ChainRt::Tcp(_)) => self.end = None,
                _ if origin.direction == Direction::Inbound => return true,
                _ if listener.is_some_and(|l| forbidden(l, &self.followed, &connection.client)) => {
                    return true;
                }
                _ => self.end = self.end.or(Some(Instant::now() + LEAVE)),
            }
        }
        self.alarm.poll(cx, self.end).is_ready()
    }
}

fn forbidden(listener: &ListenerRt, followed: &Followed, client: &Client) -> bool {
    gate::forbid(listener.gates(followed.place), client)
}
