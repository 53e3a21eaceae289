//! Comparing an object with its kind's shape: unknown fields, wrong types, pruning.

use serde_json::{Map, Value};

use crate::schema::{ObjectShape, Shape};

/// Findings of one object beyond which no more are collected.
const MAX_FINDINGS: usize = 64;

/// Paths of fields that the kind does not have, such as `spec.replicsa`.
pub fn unknown_fields(shape: &Shape, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    walk(shape, value, "", &mut |path, object, map| {
        for key in map.keys().filter(|k| object.field(k).is_none()) {
            found.push(join(path, key));
        }
    });
    found.truncate(MAX_FINDINGS);
    found
}

/// Removes fields that the kind does not have.
pub fn prune(shape: &Shape, value: &mut Value) {
    match (shape, value) {
        (Shape::Object(object) | Shape::AtomicObject(object), Value::Object(map)) => {
            if !object.open {
                map.retain(|key, _| object.field(key).is_some());
            }
            for (key, value) in map.iter_mut() {
                if let Some(field) = object.field(key) {
                    prune(&field.shape, value);
                }
            }
        }
        (Shape::Map { of, .. }, Value::Object(map)) => {
            map.values_mut().for_each(|v| prune(of, v));
        }
        (Shape::List { of, .. }, Value::Array(list)) => list.iter_mut().for_each(|v| prune(of, v)),
        _ => {}
    }
}

/// The first value that is not of its field's type. `null` is an absent value and always fits.
pub fn wrong_type(shape: &Shape, value: &Value) -> Option<String> {
    check(shape, value, "")
}

fn check(shape: &Shape, value: &Value, path: &str) -> Option<String> {
    let wanted = match (shape, value) {
        (_, Value::Null) | (Shape::Any, _) => return None,
        (Shape::Object(object) | Shape::AtomicObject(object), Value::Object(map)) => {
            return map.iter().find_map(|(key, v)| {
                object.field(key).and_then(|f| check(&f.shape, v, &join(path, key)))
            });
        }
        (Shape::Map { of, .. }, Value::Object(map)) => {
            return map.iter().find_map(|(key, v)| check(of, v, &join(path, key)));
        }
        (Shape::List { of, .. }, Value::Array(list)) => {
            let mut indexed = list.iter().enumerate();
            return indexed.find_map(|(i, v)| check(of, v, &format!("{path}[{i}]")));
        }
        (Shape::String | Shape::Bytes, Value::String(_)) => return None,
        (Shape::Time | Shape::MicroTime, Value::String(text)) => {
            let fits = text.parse::<jiff::Timestamp>().is_ok();
            return (!fits)
                .then(|| format!("{path}: {text:?} is not a time like 2006-01-02T15:04:05Z"));
        }
        (Shape::Int, Value::Number(n)) => {
            let fits = n.as_i64().is_some_and(|n| i32::try_from(n).is_ok());
            return (!fits).then(|| format!("{path}: {n} is not a 32-bit integer"));
        }
        (Shape::Long, Value::Number(n)) => {
            let fits = n.is_i64() || n.as_f64().is_some_and(|f| f.fract() == 0.0);
            return (!fits).then(|| format!("{path}: {n} is not an integer"));
        }
        (Shape::Number, Value::Number(_)) | (Shape::Bool, Value::Bool(_)) => return None,
        (Shape::IntOrString, Value::String(_) | Value::Number(_)) => return None,
        (Shape::Quantity, Value::Number(_)) => return None,
        (Shape::Quantity, Value::String(text)) => {
            return (!is_quantity(text))
                .then(|| format!("{path}: {text:?} is not a quantity such as 100m, 0.5 or 1Gi"));
        }
        (shape, _) => type_name(shape),
    };
    Some(format!("{path}: {} where {wanted} is expected", describe(value)))
}

/// A number with an optional decimal exponent or unit.
fn is_quantity(text: &str) -> bool {
    const UNITS: &[&str] =
        &["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    let unsigned = text.trim_start_matches(['+', '-']);
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, unit) = unsigned.split_at(end);
    let exponent = unit.strip_prefix(['e', 'E']).is_some_and(|e| e.parse::<i32>().is_ok());
    text.len() - unsigned.len() <= 1
        && number.parse::<f64>().is_ok()
        && (exponent || UNITS.contains(&unit))
}

fn type_name(shape: &Shape) -> &'static str {
    match shape {
        Shape::String | Shape::Bytes | Shape::Time | Shape::MicroTime => "a string",
        Shape::Int | Shape::Long => "an integer",
        Shape::Number => "a number",
        Shape::Bool => "a boolean",
        Shape::IntOrString => "an integer or a string",
        Shape::Quantity => "a quantity such as 100m or 1Gi",
        Shape::List { .. } => "a list",
        Shape::Map { .. } | Shape::Object(_) | Shape::AtomicObject(_) => "an object",
        Shape::Any => "anything",
    }
}

fn describe(value: &Value) -> String {
    match value {
        Value::Object(_) => "an object".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        other => other.to_string(),
    }
}

fn walk(
    shape: &Shape,
    value: &Value,
    path: &str,
    visit: &mut impl FnMut(&str, &ObjectShape, &Map<String, Value>),
) {
    match (shape, value) {
        (Shape::Object(object) | Shape::AtomicObject(object), Value::Object(map)) => {
            if !object.open {
                visit(path, object, map);
            }
            for (key, value) in map {
                if let Some(field) = object.field(key) {
                    walk(&field.shape, value, &join(path, key), visit);
                }
            }
        }
        (Shape::Map { of, .. }, Value::Object(map)) => {
            for (key, value) in map {
                walk(of, value, &join(path, key), visit);
            }
        }
        (Shape::List { of, .. }, Value::Array(list)) => {
            for (index, value) in list.iter().enumerate() {
                walk(of, value, &format!("{path}[{index}]"), visit);
            }
        }
        _ => {}
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn unknown_fields_are_named_and_pruned() {
        let shape = crate::schema::builtin("apps", "v1", "Deployment").unwrap();
        let mut object = json!({"metadata": {"labels": {"any": "x"}},
            "spec": {"replicsa": 1, "template": {"spec": {"containers": [{"name": "a", "imagee": "b"}]}}}});
        assert_eq!(
            unknown_fields(&shape, &object),
            ["spec.replicsa", "spec.template.spec.containers[0].imagee"]
        );
        prune(&shape, &mut object);
        assert!(unknown_fields(&shape, &object).is_empty());
        assert_eq!(object["metadata"]["labels"]["any"], "x");
    }

    #[test]
    fn quantities() {
        for good in ["1", "0.5", "100m", "1Gi", "-3k", "1e3", "12E", "2.5Mi"] {
            assert!(is_quantity(good), "{good}");
        }
        for bad in ["", "Gi", "1gi", "1 Gi", "--1", "1e", "1.2.3", "12xyz"] {
            assert!(!is_quantity(bad), "{bad}");
        }
    }

    #[test]
    fn wrong_types_are_named() {
        let shape = crate::schema::builtin("", "v1", "Service").unwrap();
        for (object, wanted) in [
            (
                json!({"spec": {"ports": [{"port": "80"}]}}),
                Some("spec.ports[0].port: \"80\" where an integer is expected"),
            ),
            (json!({"spec": []}), Some("spec: a list where an object is expected")),
            (
                json!({"spec": {"ports": [{"port": 80, "targetPort": "http"}], "selector": null}}),
                None,
            ),
            (
                json!({"metadata": {"creationTimestamp": "x"}}),
                Some("metadata.creationTimestamp: \"x\" is not a time like 2006-01-02T15:04:05Z"),
            ),
        ] {
            assert_eq!(wrong_type(&shape, &object).as_deref(), wanted);
        }
    }
}
