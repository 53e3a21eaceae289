//! Ring hash: each endpoint stands many times on a circle of hashes; a request goes to the next one.

use crate::hash::xxh64;
use std::fmt::Write;

const DEFAULT_MIN: u64 = 1024;
const DEFAULT_MAX: u64 = 8 << 20;

#[derive(Debug, Default)]
pub(crate) struct Ring {
    /// Sorted by hash.
    points: Vec<(u64, u32)>,
}

impl Ring {
    /// `members`: the key that is hashed, and the share of the traffic (all add up to 1).
    pub(crate) fn new(members: &[(String, f64)], min: Option<u64>, max: Option<u64>) -> Self {
        let least = members.iter().map(|m| m.1).fold(f64::INFINITY, f64::min);
        if members.is_empty() || least <= 0.0 {
            return Self::default();
        }
        let min = min.unwrap_or(DEFAULT_MIN) as f64;
        let max = max.unwrap_or(DEFAULT_MAX).min(DEFAULT_MAX) as f64;
        let scale = ((least * min).ceil() / least).min(max);
        let mut points = Vec::with_capacity(scale.ceil() as usize);
        let mut target = 0.0;
        let mut name = String::new();
        for (member, (key, weight)) in (0u32..).zip(members) {
            target += scale * weight;
            let mut turn = 0u64;
            while (points.len() as f64) < target {
                name.clear();
                // Writing to a String cannot fail.
                let _ = write!(name, "{key}_{turn}");
                points.push((xxh64(name.as_bytes()), member));
                turn += 1;
            }
        }
        points.sort_unstable();
        Self { points }
    }

    /// The member for `hash`; `attempt` steps further round the ring.
    pub(crate) fn pick(&self, hash: u64, attempt: u32) -> Option<u32> {
        let at = self.points.partition_point(|p| p.0 < hash);
        let at = (at + attempt as usize).checked_rem(self.points.len())?;
        Some(self.points[at].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(n: usize) -> Vec<(String, f64)> {
        (0..n).map(|i| (format!("10.0.0.{i}:80"), 1.0 / n as f64)).collect()
    }

    #[test]
    fn the_size_is_at_least_the_minimum_and_fair() {
        let ring = Ring::new(&members(3), Some(1000), None);
        assert!((1000..=1003).contains(&ring.points.len()), "{}", ring.points.len());
        for member in 0..3 {
            let n = ring.points.iter().filter(|p| p.1 == member).count();
            assert!((333..=335).contains(&n), "{n}");
        }
        assert_eq!(Ring::new(&members(3), Some(1000), Some(30)).points.len(), 30);
    }

    #[test]
    fn a_lost_member_moves_only_its_own_keys() {
        // As many points each, so that nothing else changes.
        let before = Ring::new(&members(5), Some(1000), None);
        let after = Ring::new(&members(4), Some(800), None);
        let mut moved = 0;
        for key in 0..10_000u64 {
            let hash = xxh64(&key.to_le_bytes());
            let (old, new) = (before.pick(hash, 0).unwrap(), after.pick(hash, 0).unwrap());
            moved += u32::from(old != 4 && old != new);
        }
        assert_eq!(moved, 0);
    }

    #[test]
    fn an_empty_ring_has_nobody() {
        assert_eq!(Ring::new(&[], None, None).pick(1, 0), None);
    }
}
