//! CustomResourceDefinition of apiextensions.k8s.io/v1beta1: one schema for all versions there,
//! one per version here.

use serde_json::{Map, Value, json};

use super::string;
use crate::meta::{as_map, at, child};

pub fn to_v1(object: &mut Value) {
    if at(object, &["spec"]).is_none() {
        return;
    }
    let spec = child(object, "spec");
    let schema = spec.shift_remove("validation");
    let subresources = spec.shift_remove("subresources");
    let columns = spec.shift_remove("additionalPrinterColumns").map(columns_to_v1);
    let single = spec.shift_remove("version");
    let preserve = spec.shift_remove("preserveUnknownFields") != Some(Value::Bool(false));
    if spec.get("versions").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        let version = json!({"name": single.unwrap_or_default(), "served": true, "storage": true});
        spec.insert("versions".to_owned(), json!([version]));
    }
    let Some(Value::Array(versions)) = spec.get_mut("versions") else { return };
    for version in versions {
        let version = as_map(version);
        let own_columns = version.shift_remove("additionalPrinterColumns").map(columns_to_v1);
        set(version, "additionalPrinterColumns", own_columns.or_else(|| columns.clone()));
        if !version.contains_key("subresources") {
            set(version, "subresources", subresources.clone());
        }
        let own = version.shift_remove("schema");
        let mut schema = own.or_else(|| schema.clone()).unwrap_or_else(|| json!({}));
        let root = child(&mut schema, "openAPIV3Schema");
        root.entry("type").or_insert_with(|| "object".into());
        if preserve {
            root.insert("x-kubernetes-preserve-unknown-fields".to_owned(), true.into());
        }
        version.insert("schema".to_owned(), schema);
    }
}

pub fn from_v1(object: &mut Value) {
    if at(object, &["spec"]).is_none() {
        return;
    }
    let spec = child(object, "spec");
    let first = spec.get("versions").and_then(|v| v.get(0)).and_then(|v| string(v, "name"));
    set(spec, "version", first.map(Value::String));
    let Some(Value::Array(versions)) = spec.get_mut("versions") else { return };
    for version in versions {
        let version = as_map(version);
        if let Some(Value::Array(columns)) = version.get_mut("additionalPrinterColumns") {
            columns.iter_mut().for_each(|c| super::take(as_map(c), "jsonPath", "JSONPath"));
        }
    }
}

fn columns_to_v1(mut columns: Value) -> Value {
    for column in columns.as_array_mut().into_iter().flatten() {
        super::take(as_map(column), "JSONPath", "jsonPath");
    }
    columns
}

fn set(map: &mut Map<String, Value>, key: &str, value: Option<Value>) {
    if let Some(value) = value {
        map.insert(key.to_owned(), value);
    }
}
