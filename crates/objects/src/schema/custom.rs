//! A CRD's structural schema as a shape.

use std::sync::Arc;

use serde_json::Value;

use super::{Field, ListMerge, ObjectShape, Shape};
use crate::meta::text;

/// The shape that an `openAPIV3Schema` describes. Root objects always have the type and object
/// metadata, whatever the schema says of them.
pub fn from_structural(schema: Option<&Value>, group: &str, version: &str, kind: &str) -> Shape {
    let Some(schema) = schema else { return Shape::Any };
    let mut root = object(schema);
    root.name = format!("{}.{version}.{kind}", reversed(group));
    root.gvk = Some((group.to_owned(), version.to_owned(), kind.to_owned()));
    root.fields.retain(|f| !matches!(f.name.as_str(), "apiVersion" | "kind" | "metadata"));
    let meta = super::builtin_named("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
    for (name, shape) in [
        ("apiVersion", Shape::String),
        ("kind", Shape::String),
        ("metadata", meta.unwrap_or(Shape::Any)),
    ] {
        let description = super::docs::describe_field(name).to_owned();
        root.fields.push(Field {
            name: name.to_owned(),
            required: false,
            shape,
            wire: Vec::new(),
            description,
        });
    }
    Shape::Object(Arc::new(root))
}

fn reversed(group: &str) -> String {
    let parts: Vec<&str> = group.split('.').rev().collect();
    parts.join(".")
}

fn flag(schema: &Value, key: &str) -> bool {
    schema.get(key).and_then(Value::as_bool).unwrap_or(false)
}

fn shape(schema: &Value) -> Shape {
    if flag(schema, "x-kubernetes-int-or-string") {
        return Shape::IntOrString;
    }
    match text(schema, &["type"]) {
        Some("string") => Shape::String,
        Some("integer") => Shape::Long,
        Some("number") => Shape::Number,
        Some("boolean") => Shape::Bool,
        Some("array") => list(schema),
        Some("object") => map_or_object(schema),
        _ => Shape::Any,
    }
}

fn list(schema: &Value) -> Shape {
    let of = Arc::new(schema.get("items").map_or(Shape::Any, shape));
    let merge = match text(schema, &["x-kubernetes-list-type"]) {
        Some("set") => ListMerge::Set,
        Some("map") => ListMerge::Keyed(strings(schema, "x-kubernetes-list-map-keys")),
        _ => ListMerge::Atomic,
    };
    Shape::List { of, merge }
}

fn map_or_object(schema: &Value) -> Shape {
    let atomic = text(schema, &["x-kubernetes-map-type"]) == Some("atomic");
    match schema.get("additionalProperties") {
        Some(value) if value.is_object() => Shape::Map { of: Arc::new(shape(value)), atomic },
        Some(Value::Bool(true)) => Shape::Map { of: Arc::new(Shape::Any), atomic },
        _ if atomic => Shape::AtomicObject(Arc::new(object(schema))),
        _ => Shape::Object(Arc::new(object(schema))),
    }
}

fn object(schema: &Value) -> ObjectShape {
    let required = strings(schema, "required");
    let properties = schema.get("properties").and_then(Value::as_object);
    let fields = properties.into_iter().flatten().map(|(name, of)| Field {
        name: name.clone(),
        required: required.contains(name),
        shape: shape(of),
        wire: Vec::new(),
        description: text(of, &["description"]).unwrap_or_default().to_owned(),
    });
    ObjectShape {
        name: String::new(),
        description: text(schema, &["description"]).unwrap_or_default().to_owned(),
        fields: fields.collect(),
        open: flag(schema, "x-kubernetes-preserve-unknown-fields"),
        gvk: None,
    }
}

fn strings(schema: &Value, key: &str) -> Vec<String> {
    crate::meta::items(schema, &[key]).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}
