//! Strategic merge patch: lists merge by key as the kind's shape says, and `$patch`,
//! `$retainKeys`, `$deleteFromPrimitiveList` and `$setElementOrder` direct the rest.

use serde_json::{Map, Value};

use super::PatchError;
use crate::schema::{ListMerge, Shape};

const SET_ORDER: &str = "$setElementOrder/";
const DELETE_PRIMITIVE: &str = "$deleteFromPrimitiveList/";

/// Applies `patch` to `target`.
pub fn apply(target: &Value, patch: &Value, shape: &Shape) -> Result<Value, PatchError> {
    let patch = patch.as_object().ok_or(PatchError::NotObject)?;
    let mut result = target.clone();
    merge_map(crate::meta::as_map(&mut result), patch, Some(shape))?;
    Ok(result)
}

fn merge_map(
    target: &mut Map<String, Value>,
    patch: &Map<String, Value>,
    shape: Option<&Shape>,
) -> Result<(), PatchError> {
    match patch.get("$patch").and_then(Value::as_str) {
        Some("replace") => {
            *target = without_directives(patch);
            return Ok(());
        }
        Some("delete") => {
            target.clear();
            return Ok(());
        }
        Some("merge") | None => {}
        Some(other) => return Err(unknown_directive(other)),
    }
    let server_orders = server_orders(target, patch);
    if let Some(keys) = patch.get("$retainKeys").and_then(Value::as_array) {
        target.retain(|key, _| keys.iter().any(|k| k.as_str() == Some(key)));
    }
    for (key, value) in patch.iter().filter(|(key, _)| !key.starts_with('$')) {
        let field = shape.and_then(|s| s.field(key));
        merge_field(target, key, value, field)?;
    }
    for (key, value) in patch {
        if let Some(field) = key.strip_prefix(DELETE_PRIMITIVE) {
            let unwanted = value.as_array().map(Vec::as_slice).unwrap_or_default();
            if let Some(Value::Array(list)) = target.get_mut(field) {
                list.retain(|item| !unwanted.contains(item));
            }
        }
    }
    for (key, value) in patch {
        if let (Some(field), Some(order)) = (key.strip_prefix(SET_ORDER), value.as_array()) {
            let merge_key = merge_key(shape.and_then(|s| s.field(field)));
            let before =
                server_orders.iter().find(|(f, _)| *f == field).map(|(_, list)| list.as_slice());
            if let Some(Value::Array(list)) = target.get_mut(field) {
                reorder(list, order, before.unwrap_or_default(), merge_key);
            }
        }
    }
    Ok(())
}

fn merge_field(
    target: &mut Map<String, Value>,
    key: &str,
    value: &Value,
    shape: Option<&Shape>,
) -> Result<(), PatchError> {
    match (value, shape) {
        (Value::Null, _) => {
            target.shift_remove(key);
        }
        (Value::Object(patch), _) => {
            let slot = target.entry(key.to_owned()).or_insert_with(|| Value::Object(Map::new()));
            let deletes = patch.get("$patch").and_then(Value::as_str) == Some("delete");
            merge_map(crate::meta::as_map(slot), patch, shape)?;
            if deletes {
                target.shift_remove(key);
            }
        }
        (Value::Array(patch), Some(Shape::List { of, merge: ListMerge::Keyed(keys) })) => {
            let slot = target.entry(key.to_owned()).or_insert_with(|| Value::Array(Vec::new()));
            let empty = String::new();
            merge_keyed(slot, patch, of, keys.first().unwrap_or(&empty))?;
        }
        (Value::Array(patch), Some(Shape::List { merge: ListMerge::Set, .. })) => {
            let slot = target.entry(key.to_owned()).or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(list) = slot {
                let fresh: Vec<_> = patch.iter().filter(|p| !list.contains(p)).cloned().collect();
                list.extend(fresh);
            }
        }
        (other, _) => {
            target.insert(key.to_owned(), other.clone());
        }
    }
    Ok(())
}

fn merge_keyed(slot: &mut Value, patch: &[Value], of: &Shape, key: &str) -> Result<(), PatchError> {
    if !slot.is_array() {
        *slot = Value::Array(Vec::new());
    }
    let Value::Array(list) = slot else { return Ok(()) };
    let directive = |item: &Value| item.get("$patch").and_then(Value::as_str).map(str::to_owned);
    if patch.iter().any(|item| directive(item).as_deref() == Some("replace")) {
        let keep = patch.iter().filter(|item| directive(item).is_none()).cloned();
        *list = keep.collect();
        return Ok(());
    }
    let before = list.clone();
    for item in patch {
        let Some(id) = item.get(key) else {
            let message = format!("a list item of the patch lacks its merge key {key:?}");
            return Err(PatchError::Directive(message));
        };
        let place = list.iter().position(|old| old.get(key) == Some(id));
        match (directive(item).as_deref(), place, item) {
            (Some("delete"), Some(at), _) => {
                list.remove(at);
            }
            (Some("delete"), None, _) => {}
            (Some("merge") | None, Some(at), Value::Object(patch)) => {
                merge_map(crate::meta::as_map(&mut list[at]), patch, Some(of))?;
            }
            (Some("merge") | None, None, Value::Object(patch)) => {
                let mut fresh = Map::new();
                merge_map(&mut fresh, patch, Some(of))?;
                list.push(Value::Object(fresh));
            }
            (Some(other), _, _) => return Err(unknown_directive(other)),
            (None, _, _) => return Err(PatchError::NotObject),
        }
    }
    reorder(list, patch, &before, Some(key));
    Ok(())
}

/// The lists that the patch orders, as they were.
fn server_orders<'a>(
    target: &Map<String, Value>,
    patch: &'a Map<String, Value>,
) -> Vec<(&'a str, Vec<Value>)> {
    let ordered = patch.keys().filter_map(|key| key.strip_prefix(SET_ORDER));
    ordered
        .map(|field| {
            (field, target.get(field).and_then(Value::as_array).cloned().unwrap_or_default())
        })
        .collect()
}

/// Items named in `order` come in that order, others as they were; between the two, what stood
/// before in the server's list stays before.
fn reorder(list: &mut Vec<Value>, order: &[Value], server: &[Value], key: Option<&str>) {
    let id = |item: &Value| match key {
        Some(key) => item.get(key).cloned().unwrap_or(Value::Null),
        None => item.clone(),
    };
    let place = |item: &Value, within: &[Value]| within.iter().position(|o| id(o) == id(item));
    let (mut named, mut others): (Vec<Value>, Vec<Value>) =
        list.drain(..).partition(|item| place(item, order).is_some());
    named.sort_by_key(|item| place(item, order));
    others.sort_by_key(|item| place(item, server));
    let mut named = named.into_iter().peekable();
    for other in others {
        let rank = place(&other, server);
        let stays_behind = |named: &Value| match (place(named, server), rank) {
            (Some(named), Some(other)) => named < other,
            _ => true,
        };
        while let Some(first) = named.next_if(stays_behind) {
            list.push(first);
        }
        list.push(other);
    }
    list.extend(named);
}

fn merge_key(shape: Option<&Shape>) -> Option<&str> {
    match shape {
        Some(Shape::List { merge: ListMerge::Keyed(keys), .. }) => keys.first().map(String::as_str),
        _ => None,
    }
}

fn without_directives(patch: &Map<String, Value>) -> Map<String, Value> {
    patch
        .iter()
        .filter(|(k, v)| !k.starts_with('$') && !v.is_null())
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect()
}

fn unknown_directive(name: &str) -> PatchError {
    PatchError::Directive(format!(
        "unknown $patch directive {name:?}; use replace, merge or delete"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod() -> Shape {
        crate::schema::builtin("", "v1", "Pod").unwrap()
    }

    fn containers(list: Value) -> Value {
        json!({"spec": {"containers": list}})
    }

    #[test]
    fn lists_merge_by_their_key() {
        let target = containers(json!([
            {"name": "a", "image": "a:1", "env": [{"name": "X", "value": "1"}]},
            {"name": "b", "image": "b:1"}
        ]));
        let patch = containers(json!([
            {"name": "a", "image": "a:2", "env": [{"name": "Y", "value": "2"}]},
            {"name": "b", "$patch": "delete"},
            {"name": "c", "image": "c:1", "tty": null}
        ]));
        let wanted = containers(json!([
            {"name": "a", "image": "a:2",
             "env": [{"name": "Y", "value": "2"}, {"name": "X", "value": "1"}]},
            {"name": "c", "image": "c:1"}
        ]));
        assert_eq!(apply(&target, &patch, &pod()).unwrap(), wanted);
    }

    #[test]
    fn directives_direct() {
        let target = json!({"metadata": {"finalizers": ["a", "b"], "labels": {"x": "1"}},
            "spec": {"volumes": [{"name": "v", "emptyDir": {}}], "nodeSelector": {"a": "1"}}});
        let patch = json!({
            "metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "labels": {"$patch": "replace", "y": "2"}},
            "spec": {"volumes": [{"name": "v", "$retainKeys": ["name", "secret"], "secret": {}}],
                     "nodeSelector": {"$patch": "delete"}}});
        let wanted = json!({"metadata": {"finalizers": ["b"], "labels": {"y": "2"}},
            "spec": {"volumes": [{"name": "v", "secret": {}}]}});
        assert_eq!(apply(&target, &patch, &pod()).unwrap(), wanted);
    }

    #[test]
    fn element_order_is_kept() {
        let target = containers(json!([{"name": "a"}, {"name": "x"}, {"name": "b"}]));
        let patch = json!({"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}],
            "containers": [{"name": "b", "image": "i"}]}});
        let wanted = containers(json!([{"name": "x"}, {"name": "b", "image": "i"}, {"name": "a"}]));
        assert_eq!(apply(&target, &patch, &pod()).unwrap(), wanted);
        let fresh = containers(json!([{"name": "new"}]));
        let wanted =
            containers(json!([{"name": "new"}, {"name": "a"}, {"name": "x"}, {"name": "b"}]));
        assert_eq!(apply(&target, &fresh, &pod()).unwrap(), wanted);
    }

    #[test]
    fn atomic_lists_are_replaced_and_bad_patches_refused() {
        let target = json!({"spec": {"tolerations": [{"key": "a"}]}});
        let patch = json!({"spec": {"tolerations": [{"key": "b"}]}});
        assert_eq!(apply(&target, &patch, &pod()).unwrap(), patch);
        assert!(apply(&target, &containers(json!([{"image": "x"}])), &pod()).is_err());
        assert!(apply(&target, &json!({"spec": {"$patch": "frob"}}), &pod()).is_err());
        assert!(apply(&target, &json!([]), &pod()).is_err());
    }
}
