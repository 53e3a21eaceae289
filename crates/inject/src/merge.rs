//! A user's own container `istio-proxy` laid over ours: the few list merges that Kubernetes knows by
//! key, objects field by field, the rest replaced.

use serde_json::Value;

/// Lays `over` onto `base`. An image of `auto` means ours.
pub(crate) fn container(base: Value, over: &Value) -> Value {
    let mut over = over.clone();
    if over["image"] == "auto"
        && let Some(fields) = over.as_object_mut()
    {
        fields.remove("image");
    }
    merge(base, over, None)
}

fn merge(base: Value, over: Value, field: Option<&str>) -> Value {
    match (base, over) {
        (Value::Object(mut base), Value::Object(over)) => {
            for (key, value) in over {
                let merged = match base.remove(&key) {
                    Some(old) => merge(old, value, Some(&key)),
                    None => value,
                };
                base.insert(key, merged);
            }
            Value::Object(base)
        }
        (Value::Array(base), Value::Array(over)) => match field.and_then(merge_key) {
            Some(key) => Value::Array(merge_by(base, over, key)),
            None => Value::Array(over),
        },
        (base, Value::Null) => base,
        (_, over) => over,
    }
}

fn merge_key(field: &str) -> Option<&'static str> {
    match field {
        "env" => Some("name"),
        "ports" => Some("containerPort"),
        "volumeMounts" => Some("mountPath"),
        _ => None,
    }
}

fn merge_by(mut base: Vec<Value>, over: Vec<Value>, key: &str) -> Vec<Value> {
    for item in over {
        match base.iter().position(|b| b[key] == item[key]) {
            Some(i) => base[i] = item,
            None => base.push(item),
        }
    }
    base
}
