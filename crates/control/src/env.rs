//! The real clock and a real source of randomness, for the pure parts.

use base::{Env, Instant, WallTime};
use std::hash::{BuildHasher, Hasher};

#[derive(Clone, Copy, Debug)]
pub(crate) struct SystemEnv {
    start: std::time::Instant,
}

impl Default for SystemEnv {
    fn default() -> Self {
        static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
        Self { start: *START.get_or_init(std::time::Instant::now) }
    }
}

impl Env for SystemEnv {
    fn now(&self) -> Instant {
        Instant(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    fn wall(&self) -> WallTime {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        WallTime(since.map_or(0, |d| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// The hasher's keys come from the kernel; good for jitter, not for secrets.
    fn random(&self) -> u64 {
        let mut hasher = std::hash::RandomState::new().build_hasher();
        hasher.write_u64(self.now().0);
        hasher.finish()
    }
}
