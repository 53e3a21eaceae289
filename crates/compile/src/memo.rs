//! Two kinds of memory, both bounded: results that hold while what they were computed from does,
//! and a pool in which equal values are one.

use crate::endpoints::Assignment;
use ir::{Cluster, Listener, RouteConfig, VirtualHost};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Weak};

/// The two latest results for each key, with the stamps of what they were computed from: while a
/// change is held back, some proxies live in the world before it and some in the one after.
pub(crate) struct Memo<K, S, V> {
    entries: HashMap<K, Entry<S, V>>,
    round: u64,
}

struct Entry<S, V> {
    /// The newest first.
    results: Vec<(S, Arc<V>)>,
    used: u64,
}

const RESULTS: usize = 2;

/// Keys of which results are kept.
const MAX_ENTRIES: usize = 4096;

impl<K, S, V> Default for Memo<K, S, V> {
    fn default() -> Self {
        Self { entries: HashMap::new(), round: 0 }
    }
}

impl<K: Eq + Hash, S: Eq, V> Memo<K, S, V> {
    pub fn get(&mut self, key: &K, stamp: &S) -> Option<Arc<V>> {
        let entry = self.entries.get_mut(key)?;
        entry.used = self.round;
        entry.results.iter().find(|(s, _)| s == stamp).map(|(_, value)| value.clone())
    }

    /// The newest result for a key, whatever it was computed from.
    pub fn latest(&self, key: &K) -> Option<Arc<V>> {
        self.entries.get(key)?.results.first().map(|(_, value)| value.clone())
    }

    /// When it is full, the keys that nobody asked for since it was last full go.
    pub fn put(&mut self, key: K, stamp: S, value: V) -> Arc<V> {
        if self.entries.len() >= MAX_ENTRIES && !self.entries.contains_key(&key) {
            let round = self.round;
            self.entries.retain(|_, e| e.used == round);
            self.round += 1;
            if self.entries.len() >= MAX_ENTRIES {
                self.entries.clear();
            }
        }
        let value = Arc::new(value);
        let fresh = || Entry { results: Vec::new(), used: 0 };
        let entry = self.entries.entry(key).or_insert_with(fresh);
        entry.used = self.round;
        entry.results.truncate(RESULTS - 1);
        entry.results.insert(0, (stamp, value.clone()));
        value
    }
}

/// In which pieces of proxies that are not alike, but have them in common, are one.
#[derive(Default)]
pub(crate) struct Pools {
    pub clusters: Pool<Cluster>,
    pub assignments: Pool<Assignment>,
    pub listeners: Pool<Listener>,
    pub hosts: Pool<VirtualHost>,
    pub routes: Pool<RouteConfig>,
}

/// Values that somebody still holds, by name; several values may bear one name.
pub(crate) struct Pool<T> {
    by_name: HashMap<ir::Str, Vec<Weak<T>>>,
    /// The size at which the dead are swept out.
    sweep_at: usize,
}

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self { by_name: HashMap::new(), sweep_at: 1024 }
    }
}

impl<T: PartialEq> Pool<T> {
    /// Makes `value` the one that is equal to it, if there is one.
    pub fn share(&mut self, name: &ir::Str, value: &mut Arc<T>) {
        self.share_by(name, value, |a, b| a == b);
    }
}

impl<T> Pool<T> {
    /// The same, where `alike` says what is equal.
    pub fn share_by(&mut self, name: &ir::Str, value: &mut Arc<T>, alike: impl Fn(&T, &T) -> bool) {
        if self.by_name.len() >= self.sweep_at {
            self.by_name.retain(|_, held| held.iter().any(|w| w.strong_count() > 0));
            self.sweep_at = (self.by_name.len() * 2).max(1024);
        }
        let held = self.by_name.entry(name.clone()).or_default();
        held.retain(|w| w.strong_count() > 0);
        match held.iter().filter_map(Weak::upgrade).find(|h| alike(h, value)) {
            Some(same) => *value = same,
            None => held.push(Arc::downgrade(value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_become_one_while_somebody_holds_it() {
        let mut pool = Pool::default();
        let (mut a, mut b, mut c) = (Arc::new(1), Arc::new(1), Arc::new(2));
        for value in [&mut a, &mut b, &mut c] {
            pool.share(&"n".into(), value);
        }
        assert!(Arc::ptr_eq(&a, &b) && !Arc::ptr_eq(&a, &c));
    }

    #[test]
    fn a_result_holds_while_its_stamp_does_and_their_number_is_bounded() {
        let mut memo = Memo::default();
        memo.put(0, 1, "one");
        assert_eq!(memo.get(&0, &1).as_deref(), Some(&"one"));
        assert_eq!(memo.get(&0, &2), None);
        memo.put(0, 2, "two");
        assert_eq!(memo.get(&0, &1).as_deref(), Some(&"one"));
        memo.put(0, 3, "three");
        assert_eq!(memo.get(&0, &1), None);
        for key in 0..3 * MAX_ENTRIES {
            memo.put(key, 1, "x");
        }
        assert!(memo.entries.len() <= MAX_ENTRIES);
    }
}
