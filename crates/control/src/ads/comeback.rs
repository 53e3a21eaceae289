//! A proxy that comes back brings what it was told before, and goes on by that for a moment, in which the
//! settling rule sees how configuration moves. Without it a control plane that starts, or takes a proxy over,
//! between the deletion of a rule and its return would tell the deletion, which the one before had held.

use base::Instant;
use std::time::Duration;
use xds::server::{Request, Subscription};

/// Longer than objects take that are replaced one after the other.
const MOMENT: Duration = Duration::from_millis(500);

/// Of one stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Comeback {
    /// So far nothing says that the proxy has been told anything.
    #[default]
    New,
    Until(Instant),
    Over,
}

impl Comeback {
    pub fn hear(&mut self, request: &Request, now: Instant) {
        if let (Comeback::New, Subscription::Delta { holds, .. }) = (*self, &request.subscription)
            && !holds.is_empty()
        {
            *self = Comeback::Until(now.after(MOMENT));
        }
    }

    /// Whether nothing is told yet.
    pub fn waits(&mut self, now: Instant) -> bool {
        match *self {
            Comeback::Until(end) if now < end => return true,
            Comeback::Until(_) => *self = Comeback::Over,
            Comeback::New | Comeback::Over => {}
        }
        false
    }

    /// When there may be something to tell.
    pub fn ends(&self) -> Option<Instant> {
        if let Comeback::Until(end) = *self { Some(end) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ir::Kind;

    #[test]
    fn who_brings_something_waits_a_moment_and_once() {
        let request = |holds: &[(&str, &str)]| Request {
            kind: Kind::Route,
            ack: None,
            subscription: Subscription::Delta {
                subscribe: Vec::new(),
                unsubscribe: Vec::new(),
                holds: holds.iter().map(|(n, v)| ((*n).into(), (*v).to_owned())).collect(),
            },
        };
        let start = Instant::default();
        let mut proxy = Comeback::default();
        proxy.hear(&request(&[]), start);
        assert!(!proxy.waits(start), "a new one is told at once");
        proxy.hear(&request(&[("http.80", "1")]), start);
        let end = start.after(MOMENT);
        assert!(proxy.waits(start));
        assert_eq!(proxy.ends(), Some(end));
        proxy.hear(&request(&[("http.81", "1")]), end);
        assert!(!proxy.waits(end));
        proxy.hear(&request(&[("http.82", "1")]), end);
        assert!(!proxy.waits(end) && proxy.ends().is_none(), "not a second time");
    }
}
