//! Get and list, in the version that the caller speaks.

use std::sync::Arc;

use objects::convert;
use objects::selector::{FieldSelector, LabelSelector};
use serde_json::Value;

use super::{Core, Target};
use crate::error::ApiError;

/// What part of a collection is wanted.
#[derive(Debug, Clone, Default)]
pub struct ListOptions {
    pub labels: LabelSelector,
    pub fields: FieldSelector,
    pub limit: Option<usize>,
    /// (namespace, name) of the last object of the page before.
    pub after: Option<(String, String)>,
}

pub struct Page {
    pub revision: u64,
    /// In the stored version.
    pub items: Vec<Arc<Value>>,
    /// Where the next page begins, and how many objects follow.
    pub next: Option<((String, String), usize)>,
}

impl Core {
    /// The object in its stored version.
    pub fn get(&self, target: &Target) -> Result<Arc<Value>, ApiError> {
        self.store.get(&target.key()).ok_or_else(|| target.not_found())
    }

    pub fn list(&self, target: &Target, options: &ListOptions) -> Page {
        let namespace = Some(target.namespace.as_str()).filter(|ns| !ns.is_empty());
        let kind = &target.kind;
        let listing = self.store.list(&kind.group, &kind.plural, namespace, options.after.as_ref());
        let mut items: Vec<Arc<Value>> =
            listing.objects.into_iter().filter(|o| options.selects(o)).collect();
        let limit = options.limit.unwrap_or(usize::MAX);
        let rest = items.len().saturating_sub(limit);
        items.truncate(limit);
        let last = items.last().filter(|_| rest > 0);
        let next = last.map(|o| {
            let namespace = objects::meta::namespace(o).unwrap_or_default();
            ((namespace.to_owned(), objects::meta::name(o).to_owned()), rest)
        });
        Page { revision: listing.revision, items, next }
    }

    /// A stored object as the caller wants to see it.
    pub fn present(&self, target: &Target, object: &Value) -> Value {
        convert::from_storage(&target.kind, target.served(), object)
    }
}

impl ListOptions {
    pub fn selects(&self, object: &Value) -> bool {
        self.labels.matches(objects::meta::labels(object)) && self.fields.matches(object)
    }
}
