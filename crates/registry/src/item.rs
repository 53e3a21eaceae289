//! One configuration object as the registry holds it, and the objects of a kind, oldest first.

use crate::ExportTo;
use api::{Metadata, Object};
use base::{Host, ObjectRef};
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq)]
pub struct Item<T> {
    /// The revision at which it last changed.
    pub version: u64,
    pub object: ObjectRef,
    pub metadata: Metadata,
    pub spec: T,
    /// The hosts that it is about, resolved in its namespace.
    pub hosts: Vec<Host>,
    /// `None`: the mesh's default for the kind.
    pub export_to: Option<ExportTo>,
}

impl<T> Item<T> {
    pub fn namespace(&self) -> &str {
        &self.metadata.namespace
    }

    pub fn name(&self) -> &str {
        &self.metadata.name
    }

    pub(crate) fn new(version: u64, kind: &str, object: Object<T>) -> Item<T> {
        let reference = object.reference(kind);
        let Object { metadata, spec } = object;
        Item { version, object: reference, metadata, spec, hosts: Vec::new(), export_to: None }
    }
}

/// The objects of one kind, oldest first.
#[derive(Clone, Debug)]
pub struct Collection<T> {
    pub version: u64,
    items: Vec<Arc<Item<T>>>,
}

impl<T> Default for Collection<T> {
    fn default() -> Self {
        Self { version: 0, items: Vec::new() }
    }
}

impl<T> Collection<T> {
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Item<T>>> {
        self.items.iter()
    }

    pub fn get(&self, namespace: &str, name: &str) -> Option<&Arc<Item<T>>> {
        self.items.iter().find(|i| i.name() == name && i.namespace() == namespace)
    }

    pub fn len(&self) -> usize {
        self.items.len()
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(crate) fn of(table: &Table<Item<T>>) -> Collection<T> {
        Self::with(table, 0, &[])
    }

    /// With items that were made of objects of other kinds, at this version.
    pub(crate) fn with(
        table: &Table<Item<T>>,
        version: u64,
        more: &[Arc<Item<T>>],
    ) -> Collection<T> {
        let mut items: Vec<_> = table.map.values().chain(more).cloned().collect();
        items.sort_by(|a, b| a.metadata.age_key().cmp(&b.metadata.age_key()));
        Collection { version: table.version.max(version), items }
    }
}

/// The writer's side: values by namespace and name, and when the table last changed.
#[derive(Debug)]
pub(crate) struct Table<T> {
    pub version: u64,
    pub map: BTreeMap<(String, String), Arc<T>>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { version: 0, map: BTreeMap::new() }
    }
}

impl<T> Table<T> {
    pub fn insert(&mut self, version: u64, namespace: &str, name: &str, value: T) {
        self.version = version;
        self.map.insert((namespace.to_owned(), name.to_owned()), Arc::new(value));
    }

    pub fn remove(&mut self, version: u64, namespace: &str, name: &str) -> Option<Arc<T>> {
        let gone = self.map.remove(&(namespace.to_owned(), name.to_owned()));
        if gone.is_some() {
            self.version = version;
        }
        gone
    }

    pub fn get(&self, namespace: &str, name: &str) -> Option<&Arc<T>> {
        self.map.get(&(namespace.to_owned(), name.to_owned()))
    }
}
