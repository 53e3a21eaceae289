//! A list of resources that clients share. What a layer changes of the one before it is looked for once,
//! however many clients go from the one to the other.

use super::Encoded;
use ir::ResourceKey;
use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError, Weak};

#[derive(Debug, Default)]
pub struct Layer {
    resources: HashMap<ResourceKey, Encoded>,
    /// Of earlier layers, which are held so that their addresses cannot come to mean others.
    changes: Mutex<Vec<(Weak<Layer>, Arc<[ResourceKey]>)>>,
}

/// Earlier layers that a layer is compared with; most clients come from the one before.
const MAX_CHANGES: usize = 4;

impl Layer {
    /// The keys under which it holds something else than `old`, or only one of them anything.
    pub(super) fn changes_since(&self, old: &Arc<Layer>) -> Arc<[ResourceKey]> {
        // Nothing here panics while it holds the lock, so it cannot be poisoned.
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = changes.iter().find(|(o, _)| o.as_ptr() == Arc::as_ptr(old)) {
            return known.clone();
        }
        let version = |layer: &Layer, key: &ResourceKey| layer.get(key).map(|e| e.version);
        let changed = old.iter().filter(|(key, was)| version(self, key) != Some(was.version));
        let added = self.keys().filter(|key| !old.contains_key(key));
        let all: Arc<[ResourceKey]> = changed.map(|(key, _)| key).chain(added).cloned().collect();
        let too_many = changes.len().saturating_sub(MAX_CHANGES - 1);
        changes.drain(..too_many);
        changes.push((Arc::downgrade(old), all.clone()));
        all
    }

    pub(super) fn insert(&mut self, key: ResourceKey, encoded: Encoded) {
        self.changes = Mutex::default();
        self.resources.insert(key, encoded);
    }
}

/// The resources alone.
impl Clone for Layer {
    fn clone(&self) -> Layer {
        Layer { resources: self.resources.clone(), changes: Mutex::default() }
    }
}

impl Deref for Layer {
    type Target = HashMap<ResourceKey, Encoded>;

    fn deref(&self) -> &Self::Target {
        &self.resources
    }
}

impl FromIterator<(ResourceKey, Encoded)> for Layer {
    fn from_iter<I: IntoIterator<Item = (ResourceKey, Encoded)>>(all: I) -> Layer {
        Layer { resources: all.into_iter().collect(), changes: Mutex::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use ir::Kind;

    fn layer(resources: &[(&str, u64)]) -> Arc<Layer> {
        let one = |(name, version): &(&str, u64)| {
            let encoded = Encoded { version: *version, bytes: Bytes::new(), needs: Arc::default() };
            (ResourceKey::new(Kind::Cluster, *name), encoded)
        };
        Arc::new(resources.iter().map(one).collect())
    }

    fn names(changes: &[ResourceKey]) -> Vec<&str> {
        let mut names: Vec<&str> = changes.iter().map(|key| &*key.name).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn what_a_layer_changes_is_looked_for_once_and_told_right() {
        let old = layer(&[("same", 1), ("other", 1), ("gone", 1)]);
        let new = layer(&[("same", 1), ("other", 2), ("new", 1)]);
        let first = new.changes_since(&old);
        assert_eq!(names(&first), ["gone", "new", "other"]);
        assert!(Arc::ptr_eq(&first, &new.changes_since(&old)), "for all clients");
        // From other layers, also where one stands in the place of one that is gone.
        for round in 0..3 * MAX_CHANGES as u64 {
            let before = layer(&[("same", 1), ("other", 2 + round % 2)]);
            let wanted: &[&str] = if round % 2 == 0 { &["new"] } else { &["new", "other"] };
            assert_eq!(names(&new.changes_since(&before)), wanted);
            drop(before);
        }
        assert!(new.changes.lock().unwrap().len() <= MAX_CHANGES);
    }
}
