//! What a resource refers to. A route configuration may refer to thousands of clusters, so the list is in
//! parts that one version shares with the next.

use ir::ResourceKey;
use std::sync::Arc;

/// A key may stand in several parts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Needs(Arc<[Arc<[ResourceKey]>]>);

impl Needs {
    pub fn iter(&self) -> impl Iterator<Item = &ResourceKey> + Clone {
        self.0.iter().flat_map(|part| part.iter())
    }

    pub fn contains(&self, key: &ResourceKey) -> bool {
        self.iter().any(|k| k == key)
    }

    pub(super) fn parts(&self) -> &[Arc<[ResourceKey]>] {
        &self.0
    }

    pub(super) fn of_parts(parts: impl IntoIterator<Item = Arc<[ResourceKey]>>) -> Needs {
        Needs(parts.into_iter().collect())
    }
}

impl From<Vec<ResourceKey>> for Needs {
    fn from(keys: Vec<ResourceKey>) -> Needs {
        if keys.is_empty() { Needs::default() } else { Needs([keys.into()].into()) }
    }
}

impl From<&[ResourceKey]> for Needs {
    fn from(keys: &[ResourceKey]) -> Needs {
        keys.to_vec().into()
    }
}
