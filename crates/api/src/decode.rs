//! From JSON to a kind's type. Null means absent, as in Kubernetes.

use base::Finding;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// What was read, and what there is to say about how it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded<T> {
    pub object: T,
    pub findings: Vec<Finding>,
}

/// Reads an object; an error finding says why it cannot be read at all.
pub fn decode<T: DeserializeOwned>(value: &Value) -> Result<Decoded<T>, Box<Finding>> {
    let mut value = value.clone();
    prune_nulls(&mut value);
    let object = serde_json::from_value(value)
        .map_err(|e| Box::new(Finding::error("", format!("cannot be read: {e}"))))?;
    Ok(Decoded { object, findings: Vec::new() })
}

/// Removes every field whose value is null.
pub(crate) fn prune_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, v| !v.is_null());
            fields.values_mut().for_each(prune_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(prune_nulls),
        _ => {}
    }
}
