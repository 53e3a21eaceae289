//! When to publish: at once after a quiet time, gathered under churn, never later than a limit.
//! Endpoint changes do not wait. Pure; the loop around it owns the clock.

use base::Instant;
use registry::Change;
use std::time::Duration;

/// A change is part of churn when another one came this shortly before, and churn is over after this
/// much silence.
const QUIET: Duration = Duration::from_millis(100);
/// Nothing waits longer than this.
const LONGEST: Duration = Duration::from_secs(10);

/// The changes that wait to be published.
#[derive(Debug, Default)]
pub(crate) struct Debounce {
    waiting: Option<Waiting>,
    last_change: Option<Instant>,
}

#[derive(Debug)]
struct Waiting {
    since: Instant,
    due: Instant,
}

impl Debounce {
    pub fn note(&mut self, change: Change, now: Instant) {
        let delay = match change {
            Change::Nothing => return,
            Change::Endpoints => Duration::ZERO,
            Change::Configuration => {
                let last = self.last_change.replace(now);
                if last.is_some_and(|last| now.since(last) < QUIET) {
                    QUIET
                } else {
                    Duration::ZERO
                }
            }
        };
        let waiting = self.waiting.get_or_insert(Waiting { since: now, due: now.after(delay) });
        // More configuration moves the time on; endpoints bring it forward.
        waiting.due = now.after(delay).min(waiting.since.after(LONGEST));
    }

    /// When to publish; `None` when there is nothing to.
    pub fn due(&self) -> Option<Instant> {
        self.waiting.as_ref().map(|w| w.due)
    }

    pub fn published(&mut self) {
        self.waiting = None;
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
        d.published();
        d.note(Change::Configuration, at(1500));
        assert_eq!(d.due(), Some(at(1500)));
    }

    #[test]
    fn churn_is_gathered_but_not_for_ever() {
        let mut d = Debounce::default();
        d.note(Change::Configuration, at(0));
        d.published();
        let mut published = 0;
        for ms in (50..=15_000).step_by(50) {
            if d.due().is_some_and(|due| due <= at(ms)) {
                published += 1;
                d.published();
            }
            d.note(Change::Configuration, at(ms));
        }
        assert_eq!(published, 1, "after ten seconds of churn");
        assert_eq!(d.due(), Some(at(15_100)));
    }

    #[test]
    fn endpoints_do_not_wait() {
        let mut d = Debounce::default();
        d.note(Change::Configuration, at(0));
        d.published();
        d.note(Change::Configuration, at(10));
        assert_eq!(d.due(), Some(at(110)));
        d.note(Change::Endpoints, at(20));
        assert_eq!(d.due(), Some(at(20)));
    }
}
