//! How much of something each client holds, so that none takes all: streams by identity, connections by
//! address.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is held, by whom.
#[derive(Debug)]
pub(crate) struct Shares<K> {
    most: usize,
    held: Mutex<HashMap<K, usize>>,
}

/// One of a client's; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Share<K: Eq + Hash> {
    of: Arc<Shares<K>>,
    holder: K,
}

impl<K: Clone + Eq + Hash> Shares<K> {
    /// Nobody holds more than `most`.
    pub fn of(most: usize) -> Arc<Self> {
        Arc::new(Self { most, held: Mutex::default() })
    }

    /// `None` for a client that holds as many as it may.
    pub fn take(self: &Arc<Self>, holder: &K) -> Option<Share<K>> {
        let mut held = self.lock();
        match held.get_mut(holder) {
            Some(count) if *count >= self.most => return None,
            Some(count) => *count += 1,
            None => drop(held.insert(holder.clone(), 1)),
        }
        Some(Share { of: self.clone(), holder: holder.clone() })
    }
}

impl<K> Shares<K> {
    fn lock(&self) -> MutexGuard<'_, HashMap<K, usize>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> Drop for Share<K> {
    fn drop(&mut self) {
        let mut held = self.of.lock();
        if let Some(count) = held.get_mut(&self.holder) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.holder);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_share_and_gives_it_back() {
        let shares = Shares::of(2);
        let one = shares.take(&"a").unwrap();
        let two = shares.take(&"a").unwrap();
        assert!(shares.take(&"a").is_none());
        let other = shares.take(&"b").unwrap();
        drop(one);
        let again = shares.take(&"a").unwrap();
        assert!(shares.take(&"a").is_none());
        drop((two, other, again));
        assert!(shares.lock().is_empty(), "nobody who holds nothing is remembered");
    }
}
