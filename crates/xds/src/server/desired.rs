//! What a client is to hold in the end, in layers that many clients share.

use super::{Encoded, Layer};
use ir::{Kind, ResourceKey};
use std::sync::Arc;

/// Where a key stands in two layers, the first counts.
#[derive(Clone, Debug, Default)]
pub struct Desired {
    layers: Vec<Arc<Layer>>,
}

impl Desired {
    pub fn new() -> Desired {
        Desired::default()
    }

    pub fn of(layers: Vec<Arc<Layer>>) -> Desired {
        Desired { layers }
    }

    /// With one layer more.
    pub fn with(&self, layer: Arc<Layer>) -> Desired {
        Desired { layers: self.layers.iter().cloned().chain([layer]).collect() }
    }

    pub fn layers(&self) -> &[Arc<Layer>] {
        &self.layers
    }

    pub fn get(&self, key: &ResourceKey) -> Option<&Encoded> {
        self.layers.iter().find_map(|l| l.get(key))
    }

    pub fn contains_key(&self, key: &ResourceKey) -> bool {
        self.get(key).is_some()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&ResourceKey, &Encoded)> {
        self.layers.iter().flat_map(|l| l.iter())
    }

    pub fn keys(&self) -> impl Iterator<Item = &ResourceKey> {
        self.iter().map(|(key, _)| key)
    }

    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &ResourceKey> {
        let with = self.layers.iter().filter(move |l| l.may_have(kind));
        with.flat_map(|l| l.iter()).map(|(key, _)| key).filter(move |key| key.kind == kind)
    }

    pub fn len(&self) -> usize {
        self.layers.iter().map(|l| l.len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sets one resource, in its layer or else in the last.
    pub fn insert(&mut self, key: ResourceKey, encoded: Encoded) {
        if self.layers.is_empty() {
            self.layers.push(Arc::default());
        }
        let last = self.layers.len() - 1;
        let at = self.layers.iter().position(|l| l.get(&key).is_some()).unwrap_or(last);
        Arc::make_mut(&mut self.layers[at]).insert(key, encoded);
    }

    /// All keys of which it may hold something else than the other: those of layers that the other has
    /// not, or of such layers what differs from the most alike of the other's.
    pub(super) fn keys_beside<'a>(
        &'a self,
        other: &'a Desired,
    ) -> impl Iterator<Item = &'a ResourceKey> {
        let theirs: Vec<&Arc<Layer>> = other.layers_beside(self).collect();
        let own: Vec<_> = self.layers_beside(other).collect();
        own.into_iter().flat_map(move |layer| {
            let alike = |l: &&&Arc<Layer>| l.shared_with(layer);
            let nearest = theirs.iter().max_by_key(alike).filter(|l| alike(l) > 0);
            let keys: Box<dyn Iterator<Item = &'a ResourceKey>> = match nearest {
                Some(l) => Box::new(layer.keys_beside(l)),
                None => Box::new(layer.keys()),
            };
            keys
        })
    }

    /// The layers that the other does not have.
    fn layers_beside<'a>(&'a self, other: &'a Desired) -> impl Iterator<Item = &'a Arc<Layer>> {
        let has = |layer: &Arc<Layer>| other.layers.iter().any(|l| Arc::ptr_eq(l, layer));
        self.layers.iter().filter(move |layer| !has(layer))
    }
}

impl FromIterator<(ResourceKey, Encoded)> for Desired {
    fn from_iter<I: IntoIterator<Item = (ResourceKey, Encoded)>>(all: I) -> Desired {
        Desired { layers: vec![Arc::new(all.into_iter().collect())] }
    }
}
