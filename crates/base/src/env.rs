//! Time and randomness as values passed in, so that every decision is a pure function and can be
//! replayed, simulated and explained.

use std::cell::Cell;

/// Nanoseconds of a monotonic clock; only differences have a meaning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(pub u64);

impl Instant {
    /// The time between `earlier` and `self`; zero when `earlier` is later.
    pub fn since(self, earlier: Instant) -> std::time::Duration {
        std::time::Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The instant `d` after this one.
    pub fn after(self, d: std::time::Duration) -> Instant {
        Instant(self.0.saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(pub u64);

/// Where a decision takes its time and its random numbers from.
pub trait Env {
    /// The monotonic clock.
    fn now(&self) -> Instant;
    /// The wall clock, for logs and certificates.
    fn wall(&self) -> WallTime;
    /// A uniformly distributed number.
    fn random(&self) -> u64;

    /// A uniformly distributed number below `bound`; 0 when `bound` is 0.
    fn below(&self, bound: u64) -> u64 {
        // Multiply-shift instead of modulo: no division, and a bias below 2^-64 * bound.
        ((u128::from(self.random()) * u128::from(bound)) >> 64) as u64
    }
}

/// A reproducible environment: the clock stands where it is put, the numbers follow from the seed.
#[derive(Debug, Default)]
pub struct FixedEnv {
    pub now: Cell<Instant>,
    pub wall: Cell<WallTime>,
    seed: Cell<u64>,
}

impl FixedEnv {
    pub fn seeded(seed: u64) -> Self {
        Self { seed: Cell::new(seed), ..Self::default() }
    }
}

impl Env for FixedEnv {
    fn now(&self) -> Instant {
        self.now.get()
    }

    fn wall(&self) -> WallTime {
        self.wall.get()
    }

    /// SplitMix64 (Steele, Lea, Flood 2014): one addition and three mixing steps.
    fn random(&self) -> u64 {
        let state = self.seed.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.seed.set(state);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_below_a_bound_are_spread_evenly() {
        let env = FixedEnv::seeded(7);
        let mut seen = [0u32; 10];
        for _ in 0..10_000 {
            seen[env.below(10) as usize] += 1;
        }
        assert!(seen.iter().all(|&n| (850..1150).contains(&n)), "{seen:?}");
    }

    #[test]
    fn nothing_is_below_zero() {
        assert_eq!(FixedEnv::seeded(1).below(0), 0);
    }
}
