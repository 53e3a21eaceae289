//! The shape of a kind's objects: fields, types and how lists merge. One model serves built-in
//! kinds (`schema/builtin.types`) and custom ones (from their CRD), for unknown-field reports,
//! strategic merge, server-side apply and the OpenAPI documents.

mod builtin;
mod custom;
mod docs;

use std::sync::Arc;

pub use builtin::{all_builtin, builtin, builtin_named};
pub use custom::from_structural;

/// What a value may be.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    String,
    Int,
    Long,
    Number,
    Bool,
    IntOrString,
    Quantity,
    Time,
    MicroTime,
    Bytes,
    /// Anything; kept as it is, merged as a tree.
    Any,
    Map {
        of: Arc<Shape>,
        atomic: bool,
    },
    List {
        of: Arc<Shape>,
        merge: ListMerge,
    },
    Object(Arc<ObjectShape>),
    /// An object replaced as a whole.
    AtomicObject(Arc<ObjectShape>),
}

/// How two versions of a list become one.
#[derive(Debug, Clone, PartialEq)]
pub enum ListMerge {
    Atomic,
    Set,
    /// Items are the same item when these fields agree; the first one is strategic merge's key.
    Keyed(Vec<String>),
}

/// An object with known fields.
#[derive(Debug, Clone, PartialEq)]
pub struct ObjectShape {
    /// The OpenAPI definition's name, such as `io.k8s.api.core.v1.Pod`; empty for anonymous ones.
    pub name: String,
    pub description: String,
    pub fields: Vec<Field>,
    /// Unknown fields are kept and not reported.
    pub open: bool,
    /// (group, version, kind) for root types.
    pub gvk: Option<(String, String, String)>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    pub name: String,
    pub required: bool,
    pub shape: Shape,
    /// Where the field is in the protobuf form of a built-in type; empty where there is none.
    pub wire: Vec<u32>,
    pub description: String,
}

impl ObjectShape {
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|f| f.name == name)
    }
}

static ANY: Shape = Shape::Any;

impl Shape {
    /// The shape of a field or of a map's value.
    pub fn field(&self, name: &str) -> Option<&Shape> {
        match self {
            Shape::Any => Some(&ANY),
            Shape::Map { of, .. } => Some(of),
            Shape::Object(o) | Shape::AtomicObject(o) => match o.field(name) {
                Some(field) => Some(&field.shape),
                None if o.open => Some(&ANY),
                None => None,
            },
            _ => None,
        }
    }

    /// Whether the value is replaced as a whole by whoever sets it.
    pub fn is_atomic(&self) -> bool {
        match self {
            Shape::Map { atomic, .. } => *atomic,
            Shape::List { merge, .. } => *merge == ListMerge::Atomic,
            Shape::AtomicObject(_) => true,
            _ => false,
        }
    }
}
