//! What an open connection goes by as configurations come and go. For each it is asked anew which chain the
//! connection would get if it came now, and that chain's rules hold from then on. A connection that no chain
//! would take any more is over: by HTTP once it is idle, as TCP at once if it is an inbound one or one whose
//! client is refused, else after the time that Istio gives listeners to drain. One that would only be taken
//! with another handshake serves one more request, and says that it closes.

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
    /// Of the listener that `today` was found in; `None` if it was gone.
    stamp: Option<Stamp>,
    way: Way,
    today: Today,
}

/// What the newest configuration has for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Today {
    Goes(Place),
    /// It still fits, but new connections would agree on something else in their handshake.
    Last(Place),
    /// The chain that it would get refuses its client.
    Forbidden,
    Nowhere,
}

impl Today {
    fn of(origin: &Origin, client: &Client, way: Way, listener: &ListenerRt) -> Self {
        let Some(place) = origin.facts.place(listener) else {
            return Self::Nowhere;
        };
        if gate::forbid(listener.gates(place), client) {
            return Self::Forbidden;
        }
        match listener.way(place) {
            today if today == way => Self::Goes(place),
            // Who has to show a certificate by other rules has shown none by these.
            _ if listener.wants_certificate(place) => Self::Nowhere,
            today if today.is_plain() == way.is_plain() => Self::Last(place),
            _ => Self::Nowhere,
        }
    }

    fn place(self) -> Option<Place> {
        match self {
            Self::Goes(place) | Self::Last(place) => Some(place),
            Self::Forbidden | Self::Nowhere => None,
        }
    }
}

impl Followed {
    fn new(origin: &Origin, version: u64) -> Self {
        let today = Today::Goes(origin.place);
        Self { version, stamp: Some(origin.stamp), way: origin.way, today }
    }

    /// What holds today, and the chain if there is one; `None`: nothing is new.
    fn look<'v>(
        &mut self,
        origin: &Origin,
        client: &Client,
        view: &'v View,
    ) -> Option<(Today, Option<&'v ChainRt>)> {
        if view.version == self.version {
            return None;
        }
        self.version = view.version;
        let listener = view.runtime.listeners.get(&origin.listener);
        // The same listener has the same answer, also if that was a refusal.
        let stamp = listener.map(|l| l.stamp);
        if stamp != self.stamp || stamp.is_none() {
            self.stamp = stamp;
            self.today =
                listener.map_or(Today::Nowhere, |l| Today::of(origin, client, self.way, l));
        }
        Some((self.today, self.today.place().and_then(|place| listener?.chain(place))))
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
        let Some((today, chain)) = self.followed.look(origin, client, view) else {
            return !self.over;
        };
        match chain {
            Some(ChainRt::Http(manager)) => self.manager = manager.clone(),
            _ => self.over = true,
        }
        self.leaving |= !matches!(today, Today::Goes(_));
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
        if let Some((today, chain)) = self.followed.look(origin, &connection.client, &view) {
            match chain {
                Some(ChainRt::Tcp(_)) => self.end = None,
                _ if origin.direction == Direction::Inbound || today == Today::Forbidden => {
                    return true;
                }
                _ => self.end = self.end.or_else(|| Some(Instant::now() + LEAVE)),
            }
        }
        self.alarm.poll(cx, self.end).is_ready()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Facts;
    use crate::runtime::Runtime;
    use ir::{Address, ChainMatch, FilterChain, Listener, Terminal};
    use policy::format::{Ends, Shown};
    use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

    const AT: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 80));

    /// A listener whose only chain takes one port.
    fn taking(port: u16) -> Arc<Listener> {
        let matches = ChainMatch { destination_port: Some(port), ..ChainMatch::default() };
        let chain = FilterChain { matches, ..FilterChain::new(Terminal::Close) };
        Arc::new(Listener {
            chains: vec![chain],
            direction: Direction::Outbound,
            ..Listener::new("l", Address::Ip(AT))
        })
    }

    /// One configuration after another, as a connection to [`AT`] sees them.
    struct Story {
        view: View,
        origin: Origin,
        followed: Followed,
    }

    impl Story {
        fn begin(listener: Arc<Listener>) -> Self {
            let view = next(None, Some(listener));
            let l = &view.runtime.listeners["l"];
            let facts = Rc::new(Facts::plain(AT));
            let place = facts.place(l).unwrap();
            let origin = Origin {
                listener: "l".into(),
                direction: Direction::Outbound,
                place,
                facts,
                stamp: l.stamp,
                way: l.way(place),
                original: None,
            };
            Self { followed: Followed::new(&origin, view.version), view, origin }
        }

        fn then(&mut self, listener: Option<Arc<Listener>>) -> Option<Today> {
            self.view = next(Some(&self.view), listener);
            self.look()
        }

        fn look(&mut self) -> Option<Today> {
            let at = Shown::new(AT);
            let ends = Rc::new(Ends::new(at.clone(), at.clone()));
            let client = Client { ends, remote: Rc::new(at), peer: None };
            self.followed.look(&self.origin, &client, &self.view).map(|(today, _)| today)
        }
    }

    fn next(previous: Option<&View>, listener: Option<Arc<Listener>>) -> View {
        let config = ir::Config { listeners: listener.into_iter().collect(), ..Default::default() };
        let previous_runtime = previous.map(|v| &*v.runtime);
        let registry = telemetry::Registry::default();
        let runtime = Arc::new(Runtime::new(&config, previous_runtime, &registry));
        let version = previous.map_or(1, |v| v.version + 1);
        View { version, runtime, clusters: Vec::new(), logs: Vec::new() }
    }

    #[test]
    fn who_has_nowhere_to_go_stays_so_until_the_listener_changes_again() {
        let here = Some(Today::Goes(Place::At(0)));
        let mut story = Story::begin(taking(80));
        assert_eq!(story.look(), None, "nothing is new");
        assert_eq!(story.then(Some(taking(80))), here);
        assert_eq!(story.then(Some(taking(81))), Some(Today::Nowhere));
        // Something else has changed, the listener has not.
        assert_eq!(story.then(Some(taking(81))), Some(Today::Nowhere));
        assert_eq!(story.then(Some(taking(80))), here);
        assert_eq!(story.then(None), Some(Today::Nowhere));
        assert_eq!(story.then(None), Some(Today::Nowhere));
        assert_eq!(story.then(Some(taking(80))), here);
    }
}
