//! Origins: which object, field and line a piece of compiled configuration came from. They live
//! beside the configuration, outside its equality and its content hash.

use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt;

/// One Kubernetes object by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ObjectRef {
    pub kind: String,
    pub namespace: String,
    pub name: String,
}

impl ObjectRef {
    pub fn new(
        kind: impl Into<String>,
        namespace: impl Into<String>,
        name: impl Into<String>,
    ) -> Self {
        Self { kind: kind.into(), namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

/// The source of one node of configuration.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Origin {
    pub object: ObjectRef,
    /// As in `spec.http[0].route[1]`.
    pub path: String,
    /// Line in the file the object was read from, counted from 1, where a file is known.
    pub line: Option<u32>,
}

/// A number that stands for an [`Origin`]; 0 is "nobody wrote this, it is a default".
///
/// Two nodes that differ only in their origin are the same configuration, so all ids compare equal
/// and hash alike.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OriginId(pub u32);

impl OriginId {
    pub const NONE: OriginId = OriginId(0);
}

impl PartialEq for OriginId {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
impl Eq for OriginId {}
impl std::hash::Hash for OriginId {
    fn hash<H: std::hash::Hasher>(&self, _: &mut H) {}
}

/// Origins by id, each stored once.
#[derive(Clone, Debug, Default)]
pub struct OriginTable {
    list: Vec<Origin>,
    ids: HashMap<Origin, u32>,
}

impl OriginTable {
    pub fn intern(&mut self, origin: Origin) -> OriginId {
        if let Some(&id) = self.ids.get(&origin) {
            return OriginId(id);
        }
        self.list.push(origin.clone());
        let id = self.list.len() as u32;
        self.ids.insert(origin, id);
        OriginId(id)
    }

    pub fn id(&self, origin: &Origin) -> Option<OriginId> {
        self.ids.get(origin).map(|id| OriginId(*id))
    }

    pub fn get(&self, id: OriginId) -> Option<&Origin> {
        self.list.get((id.0 as usize).checked_sub(1)?)
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = (OriginId, &Origin)> {
        self.list.iter().enumerate().map(|(i, o)| (OriginId(i as u32 + 1), o))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_stored_once_and_found_by_its_id() {
        let mut table = OriginTable::default();
        let origin = Origin {
            object: ObjectRef::new("VirtualService", "default", "reviews"),
            path: "spec.http[0]".into(),
            line: Some(8),
        };
        let id = table.intern(origin.clone());
        assert_eq!(table.intern(origin.clone()).0, id.0);
        assert_eq!(table.get(id), Some(&origin));
        assert_eq!(table.get(OriginId::NONE), None);
    }
}
