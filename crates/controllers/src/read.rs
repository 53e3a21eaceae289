//! Reading Kubernetes objects kept as JSON: the few accessors that all reconcilers share.
//! A missing or mistyped field reads as its zero value; validation is the API server's part.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

pub fn int(object: &Value, pointer: &str) -> Option<i64> {
    object.pointer(pointer).and_then(Value::as_i64)
}

pub fn flag(object: &Value, pointer: &str) -> bool {
    object.pointer(pointer).and_then(Value::as_bool).unwrap_or_default()
}

pub fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The object's text under `metadata.labels` or `metadata.annotations` and the like; keys may hold slashes.
pub fn entry<'a>(object: &'a Value, pointer: &str, key: &str) -> Option<&'a str> {
    object.pointer(pointer)?.get(key)?.as_str()
}

pub fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    entry(object, "/metadata/annotations", key)
}

pub fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    entry(object, "/metadata/labels", key)
}

pub fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

pub fn namespace(object: &Value) -> &str {
    text(object, "/metadata/namespace")
}

pub fn uid(object: &Value) -> &str {
    text(object, "/metadata/uid")
}

pub fn revision(object: &Value) -> u64 {
    text(object, "/metadata/resourceVersion").parse().unwrap_or_default()
}

pub fn generation(object: &Value) -> i64 {
    int(object, "/metadata/generation").unwrap_or_default()
}

pub fn deleting(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some_and(|v| !v.is_null())
}

pub fn time(object: &Value, pointer: &str) -> Option<Timestamp> {
    text(object, pointer).parse().ok()
}

pub fn created(object: &Value) -> Timestamp {
    time(object, "/metadata/creationTimestamp").unwrap_or(Timestamp::UNIX_EPOCH)
}

/// A time as Kubernetes writes it: UTC, whole seconds.
pub fn stamp(now: Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `spec.replicas`, which defaults to one.
pub fn replicas(object: &Value) -> i64 {
    int(object, "/spec/replicas").unwrap_or(1).max(0)
}

/// The owner reference whose `controller` is true.
pub fn controller(object: &Value) -> Option<&Value> {
    list(object, "/metadata/ownerReferences").iter().find(|owner| flag(owner, "/controller"))
}

/// An owner reference that makes `owner` the controller.
pub fn controller_reference(owner: &Value) -> Value {
    json!({
        "apiVersion": text(owner, "/apiVersion"),
        "kind": text(owner, "/kind"),
        "name": name(owner),
        "uid": uid(owner),
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

/// An int-or-percent field (`2`, `"25%"`) against a total; `None` when absent or unreadable.
pub fn scaled(value: Option<&Value>, total: i64, round_up: bool) -> Option<i64> {
    match value? {
        Value::Number(n) => n.as_i64().map(|n| n.max(0)),
        Value::String(s) => {
            let Some(percent) = s.strip_suffix('%') else { return s.parse().ok() };
            let product = percent.parse::<i64>().ok()?.max(0).saturating_mul(total);
            Some(if round_up { (product.saturating_add(99)) / 100 } else { product / 100 })
        }
        _ => None,
    }
}

/// The object with another status, or `None` when the status would not change.
pub fn with_status(object: &Value, status: Value) -> Option<Value> {
    if object.get("status") == Some(&status) {
        return None;
    }
    let mut changed = object.clone();
    changed["status"] = status;
    Some(changed)
}

/// A label map out of an object, empty when absent.
pub fn labels_at(object: &Value, pointer: &str) -> Map<String, Value> {
    object.pointer(pointer).and_then(Value::as_object).cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_round_as_asked() {
        let table = [
            (json!("25%"), 4, true, Some(1)),
            (json!("25%"), 3, true, Some(1)),
            (json!("25%"), 3, false, Some(0)),
            (json!(2), 3, false, Some(2)),
            (json!("3"), 9, false, Some(3)),
            (json!("x%"), 9, false, None),
            (json!(null), 9, false, None),
        ];
        for (value, total, up, expected) in table {
            assert_eq!(scaled(Some(&value), total, up), expected, "{value} of {total}");
        }
        assert_eq!(scaled(None, 5, true), None);
    }

    #[test]
    fn an_unchanged_status_is_no_change() {
        let object = json!({"status": {"replicas": 1}});
        assert_eq!(with_status(&object, json!({"replicas": 1})), None);
        assert_eq!(with_status(&object, json!({"replicas": 2})).unwrap()["status"]["replicas"], 2);
    }
}
