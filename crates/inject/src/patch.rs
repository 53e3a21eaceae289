//! The difference of two documents as a JSON patch (RFC 6902), and its application.

use serde::Serialize;
use serde_json::Value;

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum JsonPatchOp {
    Add { path: String, value: Value },
    Replace { path: String, value: Value },
    Remove { path: String },
}

/// What turns `old` into `new`. Objects are compared field by field; a list that differs is replaced
/// whole, or extended when it only grew at its end.
pub fn difference(old: &Value, new: &Value) -> Vec<JsonPatchOp> {
    let mut ops = Vec::new();
    compare(old, new, String::new(), &mut ops);
    ops
}

fn compare(old: &Value, new: &Value, path: String, ops: &mut Vec<JsonPatchOp>) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            for key in old.keys().filter(|k| !new.contains_key(*k)) {
                ops.push(JsonPatchOp::Remove { path: child(&path, key) });
            }
            for (key, value) in new {
                let path = child(&path, key);
                match old.get(key) {
                    Some(before) => compare(before, value, path, ops),
                    None => ops.push(JsonPatchOp::Add { path, value: value.clone() }),
                }
            }
        }
        (Value::Array(old), Value::Array(new)) if new.starts_with(old) => {
            for value in &new[old.len()..] {
                ops.push(JsonPatchOp::Add { path: format!("{path}/-"), value: value.clone() });
            }
        }
        _ if old != new => ops.push(JsonPatchOp::Replace { path, value: new.clone() }),
        _ => {}
    }
}

fn child(path: &str, key: &str) -> String {
    format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// Applies operations that [`difference`] made; `None` when they do not fit the document.
pub fn apply(document: &Value, ops: &[JsonPatchOp]) -> Option<Value> {
    let mut result = document.clone();
    for op in ops {
        let (path, value) = match op {
            JsonPatchOp::Add { path, value } | JsonPatchOp::Replace { path, value } => {
                (path, Some(value))
            }
            JsonPatchOp::Remove { path } => (path, None),
        };
        let (parent, last) = path.rsplit_once('/')?;
        let last = last.replace("~1", "/").replace("~0", "~");
        match (result.pointer_mut(parent)?, value) {
            (Value::Object(map), Some(value)) => drop(map.insert(last, value.clone())),
            (Value::Object(map), None) => drop(map.remove(&last)?),
            (Value::Array(list), Some(value)) if last == "-" => list.push(value.clone()),
            (Value::Array(list), Some(value)) => {
                *list.get_mut(last.parse::<usize>().ok()?)? = value.clone()
            }
            _ => return None,
        }
    }
    Some(result)
}
