//! From a table of fields to a structural OpenAPI schema.

use super::{Field, Shape, spec_of};
use serde_json::{Map, Value, json};

/// The schema of a kind: its `spec`, and a `status` that whoever writes it may extend.
pub(super) fn of(kind: &str, spec_required: bool) -> Value {
    let spec = match spec_of(kind) {
        Some(shape) => of_shape(shape, &[]),
        None => open(),
    };
    let mut schema = json!({
        "type": "object",
        "properties": {"spec": spec, "status": open()},
    });
    if spec_required {
        schema["required"] = json!(["spec"]);
    }
    schema
}

fn open() -> Value {
    json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

fn of_shape(shape: &Shape, limits: &[(&str, &str)]) -> Value {
    match shape {
        Shape::Text => limited("string", limits),
        Shape::Integer => limited("integer", limits),
        Shape::Number => limited("number", limits),
        Shape::Boolean => json!({"type": "boolean"}),
        Shape::Any => open(),
        Shape::List(inner) => json!({"type": "array", "items": of_shape(inner, limits)}),
        Shape::Map(inner) => {
            json!({"type": "object", "additionalProperties": of_shape(inner, limits)})
        }
        Shape::Object(fields) => of_object(fields),
    }
}

fn of_object(fields: &[Field]) -> Value {
    let mut properties = Map::new();
    for field in fields {
        properties.insert(field.name.to_owned(), of_shape(&field.shape, &field.limits));
    }
    let required: Vec<&str> = fields.iter().filter(|f| f.required).map(|f| f.name).collect();
    let mut object = json!({"type": "object", "properties": properties});
    if !required.is_empty() {
        object["required"] = json!(required);
    }
    object
}

fn limited(kind: &str, limits: &[(&str, &str)]) -> Value {
    let mut schema = json!({"type": kind});
    for (name, value) in limits {
        let (key, value) = match *name {
            "enum" => ("enum", json!(value.split('|').collect::<Vec<_>>())),
            "format" => ("format", json!(value)),
            "pattern" => ("pattern", json!(value)),
            "min" => ("minimum", number(value)),
            "max" => ("maximum", number(value)),
            "minLength" => ("minLength", number(value)),
            "maxLength" => ("maxLength", number(value)),
            _ => continue,
        };
        schema[key] = value;
    }
    schema
}

fn number(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or(Value::Null)
}
