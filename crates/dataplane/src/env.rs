//! Time and randomness of one worker, and the values that it computes once a second.

use base::{Env, Instant, WallTime};
use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

/// The real clock, and a generator seeded by the system or by hand (not for secrets).
#[derive(Debug)]
pub struct SystemEnv {
    state: Cell<u64>,
    origin: std::time::Instant,
}

impl Default for SystemEnv {
    fn default() -> Self {
        Self::seeded(RandomState::new().hash_one(std::thread::current().id()))
    }
}

impl SystemEnv {
    pub fn seeded(seed: u64) -> Self {
        Self { state: Cell::new(seed), origin: std::time::Instant::now() }
    }

    /// Where the generator stands: [`base::FixedEnv`] with this seed draws what comes next.
    pub fn state(&self) -> u64 {
        self.state.get()
    }
}

impl Env for SystemEnv {
    fn now(&self) -> Instant {
        Instant(self.origin.elapsed().as_nanos() as u64)
    }

    fn wall(&self) -> WallTime {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        WallTime(since.as_nanos() as u64)
    }

    /// SplitMix64.
    fn random(&self) -> u64 {
        let state = self.state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.state.set(state);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// The `date` header, written once a second.
#[derive(Debug)]
pub struct DateCache {
    second: Cell<u64>,
    text: Cell<[u8; 29]>,
}

impl Default for DateCache {
    fn default() -> Self {
        Self { second: Cell::new(u64::MAX), text: Cell::new([b' '; 29]) }
    }
}

impl DateCache {
    /// `Sun, 06 Nov 1994 08:49:37 GMT`
    pub fn get(&self, wall: WallTime) -> [u8; 29] {
        let second = wall.0 / 1_000_000_000;
        if self.second.get() != second {
            self.second.set(second);
            self.text.set(policy::format::http_date(wall));
        }
        self.text.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_can_be_made_again() {
        let env = SystemEnv::default();
        env.random();
        let again = base::FixedEnv::seeded(env.state());
        for _ in 0..10 {
            assert_eq!(env.random(), again.random());
        }
    }
}
