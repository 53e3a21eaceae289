//! Reading and writing the parts that every object shares: names, labels, owners, times.

use serde_json::{Map, Value};

/// The value at a path of object keys.
pub fn at<'a>(object: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(object, |value, key| value.get(key))
}

/// The string at a path of object keys.
pub fn text<'a>(object: &'a Value, path: &[&str]) -> Option<&'a str> {
    at(object, path).and_then(Value::as_str)
}

/// The integer at a path of object keys.
pub fn number(object: &Value, path: &[&str]) -> Option<i64> {
    at(object, path).and_then(Value::as_i64)
}

/// The list at a path of object keys; empty where there is none.
pub fn items<'a>(object: &'a Value, path: &[&str]) -> &'a [Value] {
    at(object, path).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

pub fn name(object: &Value) -> &str {
    text(object, &["metadata", "name"]).unwrap_or_default()
}

pub fn namespace(object: &Value) -> Option<&str> {
    text(object, &["metadata", "namespace"]).filter(|n| !n.is_empty())
}

pub fn uid(object: &Value) -> &str {
    text(object, &["metadata", "uid"]).unwrap_or_default()
}

pub fn api_version(object: &Value) -> &str {
    text(object, &["apiVersion"]).unwrap_or_default()
}

pub fn kind(object: &Value) -> &str {
    text(object, &["kind"]).unwrap_or_default()
}

/// `apps/v1` -> (`apps`, `v1`); `v1` -> (``, `v1`).
pub fn split_api_version(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

/// (`apps`, `v1`) -> `apps/v1`.
pub fn join_api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

pub fn resource_version(object: &Value) -> Option<u64> {
    text(object, &["metadata", "resourceVersion"]).and_then(|v| v.parse().ok())
}

pub fn labels(object: &Value) -> Option<&Map<String, Value>> {
    at(object, &["metadata", "labels"]).and_then(Value::as_object)
}

pub fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    text(object, &["metadata", "annotations", key])
}

pub fn deletion_timestamp(object: &Value) -> Option<&str> {
    text(object, &["metadata", "deletionTimestamp"])
}

pub fn finalizers(object: &Value) -> Vec<&str> {
    items(object, &["metadata", "finalizers"]).iter().filter_map(Value::as_str).collect()
}

/// Makes `value` an object if it is none and returns its map.
pub fn as_map(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("made an object above"),
    }
}

/// The object under `key`, made where it is absent.
pub fn child<'a>(value: &'a mut Value, key: &str) -> &'a mut Map<String, Value> {
    let slot = as_map(value).entry(key.to_owned()).or_insert_with(|| Value::Object(Map::new()));
    as_map(slot)
}

/// The object's metadata, made where it is absent.
pub fn metadata(value: &mut Value) -> &mut Map<String, Value> {
    child(value, "metadata")
}

/// Removes nulls of object fields at every depth: an absent field and a null one are the same.
pub fn strip_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, v| !v.is_null());
            map.values_mut().for_each(strip_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(strip_nulls),
        _ => {}
    }
}

/// Whether two objects differ in nothing but the server's bookkeeping.
pub fn same_content(a: &Value, b: &Value) -> bool {
    fn bare(value: &Value) -> Value {
        let mut value = value.clone();
        if let Some(meta) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            meta.shift_remove("resourceVersion");
            meta.shift_remove("managedFields");
            meta.shift_remove("generation");
        }
        value
    }
    bare(a) == bare(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn api_versions_split_and_join() {
        for text in ["v1", "apps/v1", "networking.istio.io/v1alpha3"] {
            let (group, version) = split_api_version(text);
            assert_eq!(join_api_version(group, version), text);
        }
    }

    #[test]
    fn bookkeeping_is_not_content() {
        let a = json!({"metadata": {"name": "a", "resourceVersion": "1"}, "spec": {"x": 1}});
        let b = json!({"metadata": {"name": "a", "resourceVersion": "2"}, "spec": {"x": 1}});
        let c = json!({"metadata": {"name": "a"}, "spec": {"x": 2}});
        assert!(same_content(&a, &b));
        assert!(!same_content(&a, &c));
    }
}
