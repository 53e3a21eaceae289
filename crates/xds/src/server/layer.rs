//! A list of resources that clients share. A layer that differs little from another is made from it and
//! shares with it what is the same, so that what one changes of the other is soon found.

use super::Encoded;
use base::Shards;
use ir::{Kind, ResourceKey};

#[derive(Clone, Debug, Default)]
pub struct Layer {
    resources: Shards<ResourceKey, Encoded>,
    /// A bit for each kind of resource that ever was in it.
    kinds: u8,
}

/// Of a kind, in a set of kinds.
fn bit(kind: Kind) -> u8 {
    1 << kind as u8
}

impl Layer {
    pub fn len(&self) -> usize {
        self.resources.len()
    }

    pub fn is_empty(&self) -> bool {
        self.resources.is_empty()
    }

    pub(super) fn may_have(&self, kind: Kind) -> bool {
        self.kinds & bit(kind) != 0
    }

    pub fn get(&self, key: &ResourceKey) -> Option<&Encoded> {
        if self.may_have(key.kind) { self.resources.get(key) } else { None }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&ResourceKey, &Encoded)> {
        self.resources.iter()
    }

    pub fn keys(&self) -> impl Iterator<Item = &ResourceKey> {
        self.iter().map(|(key, _)| key)
    }

    /// How much of it is the other's, about.
    pub fn shared_with(&self, other: &Layer) -> usize {
        self.resources.shared_with(&other.resources)
    }

    /// Whatever it has that is not as in the other, and perhaps more.
    pub fn keys_beside<'a>(&'a self, other: &'a Layer) -> impl Iterator<Item = &'a ResourceKey> {
        self.resources.keys_beside(&other.resources)
    }

    pub fn insert(&mut self, key: ResourceKey, encoded: Encoded) {
        self.kinds |= bit(key.kind);
        self.resources.insert(key, encoded);
    }

    pub fn remove(&mut self, key: &ResourceKey) -> Option<Encoded> {
        self.resources.remove(key)
    }
}

impl FromIterator<(ResourceKey, Encoded)> for Layer {
    fn from_iter<I: IntoIterator<Item = (ResourceKey, Encoded)>>(all: I) -> Layer {
        let mut kinds = 0;
        let noted = all.into_iter().inspect(|(key, _)| kinds |= bit(key.kind));
        Layer { resources: noted.collect(), kinds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::Needs;
    use bytes::Bytes;
    use std::collections::BTreeSet;

    fn encoded(version: u64) -> Encoded {
        Encoded { version, bytes: Bytes::new(), needs: Needs::default() }
    }

    fn key(n: usize) -> ResourceKey {
        ResourceKey::new(Kind::Cluster, format!("c{n}"))
    }

    #[test]
    fn what_a_layer_changes_is_found_without_looking_at_all_of_it() {
        let old: Layer = (0..5000).map(|n| (key(n), encoded(1))).collect();
        let mut new = old.clone();
        new.insert(key(17), encoded(2));
        new.insert(key(9000), encoded(1));
        assert!(new.remove(&key(42)).is_some());
        let found: BTreeSet<_> = new.keys_beside(&old).chain(old.keys_beside(&new)).collect();
        assert!([17, 42, 9000].iter().all(|n| found.contains(&key(*n))));
        assert!(found.len() < 500, "{}", found.len());
        assert_eq!((new.len(), old.len()), (5000, 5000));
        assert!(
            !new.may_have(Kind::Route) && new.get(&ResourceKey::new(Kind::Route, "c1")).is_none()
        );
    }
}
