//! The arithmetic of a rolling update, over plain numbers: how large each ReplicaSet may be now.
//! Never more than `desired + surge` pods, never fewer than `desired - unavailable` available.

use serde_json::Value;

use crate::read;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    pub desired: i64,
    pub surge: i64,
    pub unavailable: i64,
}

/// A ReplicaSet's size: what it was told, and how many of its pods are available
/// (no more than it was told to have).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Size {
    pub told: i64,
    pub available: i64,
}

impl Limits {
    pub fn of(deployment: &Value) -> Limits {
        let desired = read::replicas(deployment);
        let rolling =
            |field: &str| deployment.pointer(&format!("/spec/strategy/rollingUpdate/{field}"));
        let surge = read::scaled(rolling("maxSurge"), desired, true);
        let unavailable = read::scaled(rolling("maxUnavailable"), desired, false);
        let quarter = Value::from("25%");
        let surge = surge.or_else(|| read::scaled(Some(&quarter), desired, true)).unwrap_or(1);
        let unavailable =
            unavailable.or_else(|| read::scaled(Some(&quarter), desired, false)).unwrap_or(0);
        // With neither, nothing could ever move.
        let unavailable = if surge == 0 && unavailable == 0 { 1 } else { unavailable };
        Limits { desired, surge, unavailable: unavailable.min(desired) }
    }

    fn least_available(&self) -> i64 {
        self.desired - self.unavailable
    }

    /// The new ReplicaSet's next size, `total` being what all ReplicaSets together were told.
    pub fn new_size(&self, new: Size, total: i64) -> i64 {
        if new.told >= self.desired {
            return self.desired;
        }
        let room = (self.desired + self.surge - total).max(0);
        new.told + room.min(self.desired - new.told)
    }

    /// The old ReplicaSets' next sizes, oldest first: unhealthy pods go first since nobody misses
    /// them, then healthy ones as far as the new ReplicaSet has replaced them.
    pub fn old_sizes(&self, new: Size, old: &[Size]) -> Vec<i64> {
        let mut next: Vec<i64> = old.iter().map(|size| size.told).collect();
        let total = new.told + next.iter().sum::<i64>();
        let new_unavailable = (new.told - new.available).max(0);
        let mut budget = total - self.least_available() - new_unavailable;
        if budget <= 0 {
            return next;
        }
        for (next, size) in next.iter_mut().zip(old) {
            let unhealthy = (size.told - size.available).clamp(0, budget);
            *next -= unhealthy;
            budget -= unhealthy;
        }
        let available = new.available + old.iter().map(|s| s.available).sum::<i64>();
        let mut spare = (available - self.least_available()).max(0);
        for next in &mut next {
            let removed = spare.min(*next);
            *next -= removed;
            spare -= removed;
        }
        next
    }
}

/// Spreads a new total over ReplicaSets in proportion to their sizes (a Deployment scaled in the
/// middle of a roll-out, or while paused). Largest remainders get the rounding.
pub fn proportional(sizes: &[i64], total: i64) -> Vec<i64> {
    let sum: i64 = sizes.iter().sum();
    if sum == 0 {
        return sizes.to_vec();
    }
    let mut next: Vec<i64> = sizes.iter().map(|size| size * total / sum).collect();
    let mut order: Vec<usize> = (0..sizes.len()).filter(|i| sizes[*i] > 0).collect();
    order.sort_by_key(|i| std::cmp::Reverse((sizes[*i] * total % sum, sizes[*i])));
    let missing = usize::try_from(total - next.iter().sum::<i64>()).unwrap_or_default();
    for index in order.into_iter().cycle().take(missing) {
        next[index] += 1;
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn size(told: i64, available: i64) -> Size {
        Size { told, available }
    }

    #[test]
    fn limits_come_from_the_strategy() {
        let limits =
            |strategy: Value| Limits::of(&json!({"spec": {"replicas": 10, "strategy": strategy}}));
        let got = |s, u| Limits { desired: 10, surge: s, unavailable: u };
        assert_eq!(limits(json!({})), got(3, 2));
        assert_eq!(
            limits(json!({"rollingUpdate": {"maxSurge": "50%", "maxUnavailable": 0}})),
            got(5, 0)
        );
        assert_eq!(
            limits(json!({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}})),
            got(0, 1)
        );
    }

    #[test]
    fn growing_keeps_within_the_surge() {
        let limits = Limits { desired: 4, surge: 1, unavailable: 1 };
        assert_eq!(limits.new_size(size(0, 0), 4), 1);
        assert_eq!(limits.new_size(size(1, 0), 5), 1);
        assert_eq!(limits.new_size(size(2, 2), 4), 3);
        assert_eq!(limits.new_size(size(0, 0), 0), 4);
        assert_eq!(limits.new_size(size(6, 6), 6), 4);
    }

    #[test]
    fn shrinking_keeps_the_least_available() {
        let limits = Limits { desired: 4, surge: 1, unavailable: 1 };
        // One may go at once; none more until the new one is available.
        assert_eq!(limits.old_sizes(size(0, 0), &[size(4, 4)]), [3]);
        assert_eq!(limits.old_sizes(size(1, 0), &[size(3, 3)]), [3]);
        assert_eq!(limits.old_sizes(size(1, 1), &[size(3, 3)]), [2]);
        // Unhealthy old pods go first, whichever ReplicaSet has them.
        assert_eq!(limits.old_sizes(size(0, 0), &[size(2, 2), size(2, 1)]), [2, 1]);
        // A failing new version takes nothing away from the old.
        assert_eq!(limits.old_sizes(size(2, 0), &[size(3, 3)]), [3]);
    }

    #[test]
    fn spreading_keeps_the_total() {
        for (sizes, total) in [(vec![3, 1], 8), (vec![5, 5, 1], 3), (vec![1, 2, 3], 100)] {
            let next = proportional(&sizes, total);
            assert_eq!(next.iter().sum::<i64>(), total, "{sizes:?} to {total}: {next:?}");
        }
        assert_eq!(proportional(&[6, 2], 4), [3, 1]);
        assert_eq!(proportional(&[0, 0], 4), [0, 0]);
    }
}
