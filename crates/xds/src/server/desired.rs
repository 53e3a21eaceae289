//! What a client is to hold in the end, in layers that many clients share.

use super::{Encoded, Layer};
use ir::ResourceKey;
use std::sync::Arc;

/// No key stands in two layers.
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

    pub fn len(&self) -> usize {
        self.layers.iter().map(|l| l.len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn layers(&self) -> &[Arc<Layer>] {
        &self.layers
    }

    /// Sets one resource, in its layer or else in the last.
    pub fn insert(&mut self, key: ResourceKey, encoded: Encoded) {
        if self.layers.is_empty() {
            self.layers.push(Arc::default());
        }
        let last = self.layers.len() - 1;
        let at = self.layers.iter().position(|l| l.contains_key(&key)).unwrap_or(last);
        Arc::make_mut(&mut self.layers[at]).insert(key, encoded);
    }

    /// The layers that the other does not have.
    pub(super) fn layers_beside<'a>(
        &'a self,
        other: &'a Desired,
    ) -> impl Iterator<Item = &'a Arc<Layer>> {
        let has = |layer: &Arc<Layer>| other.layers.iter().any(|l| Arc::ptr_eq(l, layer));
        self.layers.iter().filter(move |layer| !has(layer))
    }
}

impl FromIterator<(ResourceKey, Encoded)> for Desired {
    fn from_iter<I: IntoIterator<Item = (ResourceKey, Encoded)>>(all: I) -> Desired {
        Desired { layers: vec![Arc::new(all.into_iter().collect())] }
    }
}
