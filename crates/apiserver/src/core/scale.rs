//! The scale subresource: a workload's replica count as an object of its own.

use objects::meta;
use serde_json::{Value, json};

use super::Target;
use crate::error::ApiError;

/// The `Scale` of a stored object.
pub fn scale_of(target: &Target, object: &Value) -> Result<Value, ApiError> {
    let paths = target.kind.scale.as_ref().ok_or_else(ApiError::no_such_path)?;
    let number = |path: &[String]| at(object, path).and_then(Value::as_i64).unwrap_or(0);
    let selector = at(object, &paths.selector).map(selector_text).unwrap_or_default();
    Ok(json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": meta::name(object), "namespace": meta::namespace(object),
            "uid": meta::uid(object),
            "resourceVersion": object.pointer("/metadata/resourceVersion"),
            "creationTimestamp": object.pointer("/metadata/creationTimestamp"),
        },
        "spec": {"replicas": number(&paths.replicas)},
        "status": {"replicas": number(&paths.status_replicas), "selector": selector},
    }))
}

/// A stored object with the replica count of a `Scale`.
pub fn with_scale(target: &Target, object: &Value, scale: &Value) -> Result<Value, ApiError> {
    let paths = target.kind.scale.as_ref().ok_or_else(ApiError::no_such_path)?;
    let replicas = scale.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(0);
    if replicas < 0 {
        let cause = objects::validate::Cause::invalid(
            "spec.replicas",
            &json!(replicas),
            "must be greater than or equal to 0",
        );
        return Err(ApiError::invalid("autoscaling", "Scale", meta::name(object), &[cause]));
    }
    let mut object = object.clone();
    let mut slot = &mut object;
    for key in &paths.replicas {
        slot = meta::as_map(slot).entry(key.clone()).or_insert(Value::Null);
    }
    *slot = json!(replicas);
    if let Some(version) = meta::text(scale, &["metadata", "resourceVersion"]) {
        meta::metadata(&mut object).insert("resourceVersion".to_owned(), version.into());
    }
    Ok(object)
}

fn at<'a>(object: &'a Value, path: &[String]) -> Option<&'a Value> {
    if path.is_empty() {
        return None;
    }
    path.iter().try_fold(object, |value, key| value.get(key))
}

/// A selector as text: `a=b,c in (d,e)`.
pub fn selector_text(selector: &Value) -> String {
    if let Some(text) = selector.as_str() {
        return text.to_owned();
    }
    let pairs = selector.get("matchLabels").unwrap_or(selector).as_object().into_iter().flatten();
    let mut terms: Vec<String> =
        pairs.filter_map(|(k, v)| Some(format!("{k}={}", v.as_str()?))).collect();
    for expression in meta::items(selector, &["matchExpressions"]) {
        let key = meta::text(expression, &["key"]).unwrap_or_default();
        let values: Vec<&str> =
            meta::items(expression, &["values"]).iter().filter_map(Value::as_str).collect();
        terms.push(match meta::text(expression, &["operator"]).unwrap_or_default() {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    terms.join(",")
}
