//! The ways to change an object by a patch: JSON patch, JSON merge patch, strategic merge patch.
//! (Server-side apply, which also records who owns what, is `apply`.)

pub mod json;
pub mod strategic;

use serde_json::{Map, Value};
use thiserror::Error;

/// Why a patch cannot be applied.
#[derive(Debug, Error, PartialEq)]
pub enum PatchError {
    #[error("the patch must be a JSON array of operations, each with `op` and `path`")]
    NotOperations,
    #[error("the patch must be a JSON object")]
    NotObject,
    #[error("operation {index} ({op} {path:?}): {why}")]
    Operation { index: usize, op: String, path: String, why: String },
    #[error("{0}")]
    Directive(String),
}

/// RFC 7396: objects merge, null deletes, everything else replaces.
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else { return };
    for (key, value) in patch {
        if value.is_null() {
            target.shift_remove(key);
        } else {
            merge(target.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn merge_patch_follows_the_rfc() {
        for (target, patch, wanted) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b", "b": 1}), json!({"a": null}), json!({"b": 1})),
            (json!({"a": [1]}), json!({"a": [2, 3]}), json!({"a": [2, 3]})),
            (
                json!({"a": {"b": 1}}),
                json!({"a": {"c": {"d": null}}}),
                json!({"a": {"b": 1, "c": {}}}),
            ),
            (json!({"a": [1]}), json!({"a": {"b": 1}}), json!({"a": {"b": 1}})),
        ] {
            let mut result = target;
            merge(&mut result, &patch);
            assert_eq!(result, wanted);
        }
    }
}
