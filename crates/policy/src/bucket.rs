//! A token bucket that several workers take from without a lock: it fills continuously, and its whole
//! state is the time at which it was last empty.

use base::Instant;
use ir::TokenBucket;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

#[derive(Debug)]
pub struct Bucket {
    max: u32,
    /// Nanoseconds that one token takes.
    each: i64,
    empty_at: AtomicI64,
}

/// Nobody has taken anything yet.
const FULL: i64 = i64::MIN;

/// What is left in a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    pub limit: u32,
    pub remaining: u32,
    /// Until there is a token again; zero while there is one.
    pub reset: Duration,
}

impl Bucket {
    pub fn new(from: &TokenBucket) -> Self {
        let each = from.interval.as_nanos() / u128::from(from.per_fill.max(1));
        let each = i64::try_from(each).unwrap_or(i64::MAX / 4).max(1);
        Self { max: from.max, each, empty_at: AtomicI64::new(FULL) }
    }

    /// Whether there was a token, which is then taken.
    pub fn take(&self, now: Instant) -> bool {
        let now = nanoseconds(now);
        let taken = self.empty_at.fetch_update(Ordering::AcqRel, Ordering::Acquire, |at| {
            let at = self.since(at, now);
            (now - at >= self.each).then_some(at + self.each)
        });
        self.max > 0 && taken.is_ok()
    }

    pub fn left(&self, now: Instant) -> Left {
        let now = nanoseconds(now);
        let filled = now - self.since(self.empty_at.load(Ordering::Acquire), now);
        let remaining = u32::try_from(filled / self.each).unwrap_or(self.max).min(self.max);
        let wait = if remaining > 0 { 0 } else { (self.each - filled).max(0) };
        Left { limit: self.max, remaining, reset: Duration::from_nanos(wait.unsigned_abs()) }
    }

    /// How fast it fills; slower buckets are asked first.
    pub fn pace(&self) -> i64 {
        self.each
    }

    /// When it was empty, if it is full since then.
    fn since(&self, at: i64, now: i64) -> i64 {
        let whole = self.each.saturating_mul(i64::from(self.max)).min(i64::MAX / 4);
        at.max(now - whole)
    }
}

fn nanoseconds(now: Instant) -> i64 {
    i64::try_from(now.0).unwrap_or(i64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant(seconds * 1_000_000_000)
    }

    fn bucket(max: u32, per_fill: u32, seconds: u64) -> Bucket {
        Bucket::new(&TokenBucket { max, per_fill, interval: Duration::from_secs(seconds) })
    }

    #[test]
    fn it_begins_full_and_fills_steadily_up_to_its_size() {
        // Also right after the clock began.
        for start in [0, 5, 1_000_000] {
            let b = bucket(2, 2, 60);
            assert_eq!(b.left(at(start)).remaining, 2);
            assert!(b.take(at(start)) && b.take(at(start)) && !b.take(at(start)));
            let left = b.left(at(start));
            assert_eq!(left, Left { limit: 2, remaining: 0, reset: Duration::from_secs(30) });
            assert!(!b.take(at(start + 29)) && b.take(at(start + 30)) && !b.take(at(start + 31)));
            assert_eq!(b.left(at(start + 10_000)).remaining, 2);
            assert!(!bucket(0, 1, 1).take(at(start)));
        }
    }

    #[test]
    fn no_token_is_given_twice() {
        let b = bucket(1000, 1, 3600);
        let taken = std::thread::scope(|s| {
            let take = || (0..1000).filter(|_| b.take(at(9))).count();
            let threads: Vec<_> = (0..4).map(|_| s.spawn(take)).collect();
            threads.into_iter().map(|t| t.join().unwrap()).sum::<usize>()
        });
        assert_eq!(taken, 1000);
    }
}
