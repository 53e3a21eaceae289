//! What every object has: `metadata`, and the object as metadata plus the kind's own part.

use base::{Labels, ObjectRef};
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    pub name: String,
    pub namespace: String,
    pub uid: String,
    pub resource_version: String,
    pub generation: i64,
    /// RFC 3339 in UTC with whole seconds, as Kubernetes writes it, so that text order is time order.
    pub creation_timestamp: String,
    pub deletion_timestamp: Option<String>,
    pub labels: Labels,
    pub annotations: BTreeMap<String, String>,
    pub owner_references: Vec<OwnerReference>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OwnerReference {
    pub kind: String,
    pub name: String,
    pub controller: bool,
}

impl Metadata {
    /// Oldest first, then by name and namespace: the order in which conflicts are settled.
    pub fn age_key(&self) -> (&str, &str, &str) {
        (&self.creation_timestamp, &self.name, &self.namespace)
    }
}

/// A kind with a `spec`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(bound = "T: Default + serde::de::DeserializeOwned", default)]
pub struct Object<T> {
    pub metadata: Metadata,
    pub spec: T,
}

impl<T> Object<T> {
    pub fn reference(&self, kind: &str) -> ObjectRef {
        ObjectRef::new(kind, &self.metadata.namespace, &self.metadata.name)
    }
}
