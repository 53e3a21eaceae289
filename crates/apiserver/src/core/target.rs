//! What a request is about.

use std::sync::Arc;

use objects::kinds::{Kind, Served};

use crate::error::ApiError;
use crate::store::Key;

/// A resource of one kind; `name` is empty for a collection, `namespace` for cluster scope.
#[derive(Debug, Clone)]
pub struct Target {
    pub kind: Arc<Kind>,
    /// (group, version) that the caller speaks.
    pub version: (String, String),
    pub namespace: String,
    pub name: String,
    pub subresource: Option<String>,
}

impl Target {
    pub fn key(&self) -> Key {
        Key {
            group: self.kind.group.clone(),
            plural: self.kind.plural.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        }
    }

    pub fn named(&self, name: &str) -> Target {
        Target { name: name.to_owned(), ..self.clone() }
    }

    pub fn served(&self) -> &Served {
        self.kind.served(&self.version.0, &self.version.1).unwrap_or_else(|| self.kind.storage())
    }

    pub fn api_version(&self) -> String {
        objects::meta::join_api_version(&self.version.0, &self.version.1)
    }

    pub fn not_found(&self) -> ApiError {
        ApiError::not_found(&self.kind.group, &self.kind.plural, &self.name)
    }

    pub fn stale(&self) -> ApiError {
        ApiError::stale(&self.kind.group, &self.kind.plural, &self.name)
    }

    pub fn is(&self, group: &str, plural: &str) -> bool {
        self.kind.group == group && self.kind.plural == plural
    }
}
