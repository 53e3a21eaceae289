//! A map in pieces: a copy shares all pieces with the original, a change copies one of them, and two
//! copies are compared by the pieces that they do not share. So what a change costs does not grow with
//! the map.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Entries that a piece holds when a map is made of a list, about.
const FILL: usize = 32;
/// Pieces at the most.
const MOST: usize = 1024;

#[derive(Clone, Debug)]
pub struct Shards<K, V> {
    /// Their number is a power of two.
    pieces: Vec<Piece<K, V>>,
    len: usize,
}

type Piece<K, V> = Arc<HashMap<K, V>>;

impl<K, V> Default for Shards<K, V> {
    fn default() -> Self {
        Self { pieces: vec![Arc::default()], len: 0 }
    }
}

impl<K, V> Shards<K, V> {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.pieces.iter().flat_map(|p| p.iter())
    }

    /// The keys of pieces that the other does not have. What differs between two maps is among those of
    /// one beside the other and the other way round.
    pub fn keys_beside<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a K> {
        let alike = self.pieces.len() == other.pieces.len();
        let shared = move |at: usize| alike && Arc::ptr_eq(&self.pieces[at], &other.pieces[at]);
        let own = self.pieces.iter().enumerate().filter(move |(at, _)| !shared(*at));
        own.flat_map(|(_, piece)| piece.keys())
    }

    /// How many pieces both have.
    pub fn shared_with(&self, other: &Self) -> usize {
        let pairs = self.pieces.iter().zip(&other.pieces);
        pairs.filter(|(a, b)| Arc::ptr_eq(a, b)).count()
    }
}

impl<K: Hash + Eq, V> Shards<K, V> {
    pub fn get(&self, key: &K) -> Option<&V> {
        self.pieces[self.place(key)].get(key)
    }

    fn place(&self, key: &K) -> usize {
        place(key, self.pieces.len())
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Shards<K, V> {
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        if self.len >= 4 * FILL * self.pieces.len() && self.pieces.len() < MOST {
            *self = std::mem::take(self).into_iter().collect();
        }
        let at = self.place(&key);
        let old = Arc::make_mut(&mut self.pieces[at]).insert(key, value);
        self.len += usize::from(old.is_none());
        old
    }

    pub fn remove(&mut self, key: &K) -> Option<V> {
        let at = self.place(key);
        if !self.pieces[at].contains_key(key) {
            return None;
        }
        self.len -= 1;
        Arc::make_mut(&mut self.pieces[at]).remove(key)
    }

    fn into_iter(self) -> impl Iterator<Item = (K, V)> {
        self.pieces.into_iter().flat_map(Arc::unwrap_or_clone)
    }
}

impl<K: Hash + Eq, V> FromIterator<(K, V)> for Shards<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(all: I) -> Self {
        let all: Vec<(K, V)> = all.into_iter().collect();
        let count = (all.len() / FILL).next_power_of_two().min(MOST);
        let mut pieces: Vec<HashMap<K, V>> = (0..count).map(|_| HashMap::new()).collect();
        for (key, value) in all {
            pieces[place(&key, count)].insert(key, value);
        }
        let len = pieces.iter().map(HashMap::len).sum();
        Self { pieces: pieces.into_iter().map(Arc::new).collect(), len }
    }
}

/// The same in every map of as many pieces.
fn place<K: Hash>(key: &K, count: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish() as usize & (count - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Env, FixedEnv};
    use std::collections::HashSet;

    #[test]
    fn a_change_copies_one_piece_and_is_found_by_it() {
        let old: Shards<u32, u32> = (0..10_000).map(|n| (n, n)).collect();
        let mut new = old.clone();
        assert_eq!(new.keys_beside(&old).count(), 0);
        assert_eq!(new.insert(17, 0), Some(17));
        let beside: Vec<_> = new.keys_beside(&old).collect();
        assert!(beside.contains(&&17) && beside.len() < 8 * FILL, "{}", beside.len());
        assert_eq!((old.get(&17), new.get(&17)), (Some(&17), Some(&0)));
        assert_eq!(new.shared_with(&old) + 1, old.pieces.len());
    }

    #[test]
    fn it_is_a_map_whatever_is_done_and_nothing_that_differs_is_overlooked() {
        let env = FixedEnv::seeded(7);
        let (mut map, mut model) = (Shards::default(), HashMap::new());
        let mut earlier = map.clone();
        for step in 0..20_000_u64 {
            let key = env.below(3000);
            if env.below(3) == 0 {
                assert_eq!(map.remove(&key), model.remove(&key));
            } else {
                assert_eq!(map.insert(key, step), model.insert(key, step));
            }
            assert_eq!(map.len(), model.len());
            if step % 500 == 0 {
                let beside: HashSet<u64> =
                    map.keys_beside(&earlier).chain(earlier.keys_beside(&map)).copied().collect();
                let differ = (0..3000).filter(|k| map.get(k) != earlier.get(k));
                assert!(differ.into_iter().all(|k| beside.contains(&k)));
                earlier = map.clone();
            }
        }
        assert_eq!(map.iter().map(|(k, v)| (*k, *v)).collect::<HashMap<_, _>>(), model);
    }
}
