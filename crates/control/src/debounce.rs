//! When to publish: at once, but under churn no more often than a proxy has use for. Endpoint changes
//! do not wait. Pure; the loop around it owns the clock.
//!
//! Waiting for silence instead would gather more, but a mesh in which something is written all the
//! time would then run behind by as long as that goes on. Half of a change that is published does no
//! harm: the settling rule holds it.

use base::Instant;
use registry::Change;
use std::time::Duration;

/// From one publication to the next, if only configuration changed. A proxy is told of the newest
/// world only, so one that takes longer than this to follow skips those between.
const SPACING: Duration = Duration::from_millis(50);

/// The changes that wait to be published.
#[derive(Debug, Default)]
pub(crate) struct Debounce {
    due: Option<Instant>,
    published: Option<Instant>,
}

impl Debounce {
    pub fn note(&mut self, change: Change, now: Instant) {
        let earliest = self.published.map_or(now, |p| p.after(SPACING));
        let due = match change {
            Change::Nothing => return,
            Change::Endpoints => now,
            Change::Configuration => earliest.max(now),
        };
        self.due = Some(self.due.map_or(due, |known| known.min(due)));
    }

    /// When to publish; `None` when there is nothing to.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    pub fn published(&mut self, now: Instant) {
        self.due = None;
        self.published = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant(ms * 1_000_000)
    }

    #[test]
    fn a_single_change_goes_out_at_once() {
        let mut d = Debounce::default();
        assert_eq!(d.due(), None);
        d.note(Change::Nothing, at(0));
        assert_eq!(d.due(), None);
        d.note(Change::Configuration, at(1000));
        assert_eq!(d.due(), Some(at(1000)));
        d.published(at(1000));
        d.note(Change::Configuration, at(1500));
        assert_eq!(d.due(), Some(at(1500)));
    }

    /// However long it lasts, nothing waits longer than from one publication to the next.
    #[test]
    fn churn_is_gathered() {
        let mut d = Debounce::default();
        let mut published = 0;
        for ms in 0..10_000 {
            d.note(Change::Configuration, at(ms));
            if d.due().is_some_and(|due| due <= at(ms)) {
                published += 1;
                d.published(at(ms));
            }
        }
        assert_eq!(published, 200);
    }

    #[test]
    fn endpoints_do_not_wait() {
        let mut d = Debounce::default();
        d.note(Change::Configuration, at(0));
        d.published(at(0));
        d.note(Change::Configuration, at(10));
        assert_eq!(d.due(), Some(at(50)));
        d.note(Change::Endpoints, at(20));
        assert_eq!(d.due(), Some(at(20)));
        d.note(Change::Configuration, at(21));
        assert_eq!(d.due(), Some(at(20)));
    }
}
