//! How fast requests of one stream are read. Their sizes are limited where they are decoded (`grpc`), names where
//! they are kept (`xds::server`), streams by identity (`ads`), connections where they are accepted (`listen`).

use std::time::Duration;
use tokio::time::Instant;

/// Requests that may come at once, as they do when a proxy under many services reconnects.
const BURST: u32 = 1_000;
/// Every further one is read after this time.
const APART: Duration = Duration::from_millis(5);

/// How fast the requests of one stream are read. Whoever sends more waits, in its own connection.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When all requests so far would have come, one after the other.
    due: Option<Instant>,
}

impl Pace {
    /// Notes a request at `now`.
    pub fn count(&mut self, now: Instant) {
        self.due = Some(self.due.map_or(now, |due| due.max(now)) + APART);
    }

    /// When the next one may be read; `None` for at once.
    pub fn opens(&self) -> Option<Instant> {
        self.due.and_then(|due| due.checked_sub(APART * BURST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_beyond_a_burst_are_read_one_after_the_other() {
        let mut pace = Pace::default();
        let begun = Instant::now();
        for _ in 0..BURST {
            assert!(pace.opens().is_none_or(|time| time <= begun));
            pace.count(begun);
        }
        pace.count(begun);
        assert_eq!(pace.opens(), Some(begun + APART));
        pace.count(begun + APART);
        assert_eq!(pace.opens(), Some(begun + APART * 2));
        let rested = begun + APART * (BURST + 2);
        pace.count(rested);
        assert!(pace.opens().is_none_or(|time| time <= begun + APART * 3));
    }
}
