//! OpenAPI documents of the served kinds, as far as `kubectl` reads them: schemas with merge
//! keys, and the paths from which it learns what a server supports.

mod protobuf;

use serde_json::{Map, Value, json};

use crate::kinds::{Kind, Registry, Served};
use crate::meta::join_api_version;
use crate::schema::{ListMerge, ObjectShape, Shape, all_builtin};

pub use protobuf::encode as encode_v2;

const V2: &str = "#/definitions/";
const V3: &str = "#/components/schemas/";

/// The whole API as a Swagger 2.0 document.
pub fn v2(registry: &Registry) -> Value {
    let mut definitions = Map::new();
    for object in all_builtin() {
        definitions.insert(object.name.clone(), definition(object, V2));
    }
    let mut paths = Map::new();
    for kind in registry.all() {
        for served in &kind.served {
            add_own_schema(kind, served, V2, &mut definitions);
            add_paths(kind, served, false, &mut paths);
        }
    }
    json!({"swagger": "2.0", "info": {"title": "Kubernetes", "version": "v1.32.0"},
        "paths": paths, "definitions": definitions})
}

/// One group and version as an OpenAPI 3.0 document; none if it serves nothing.
pub fn v3(registry: &Registry, group: &str, version: &str) -> Option<Value> {
    let mut schemas = Map::new();
    let mut paths = Map::new();
    let mut wanted = Vec::new();
    for kind in registry.all() {
        let Some(served) = kind.served(group, version) else { continue };
        add_own_schema(kind, served, V3, &mut schemas);
        add_paths(kind, served, true, &mut paths);
        wanted.push(served);
    }
    if wanted.is_empty() {
        return None;
    }
    for shape in wanted.into_iter().filter(|s| own_shape(s).is_some()).map(|s| &s.shape) {
        add_referenced(shape, &mut schemas);
    }
    Some(json!({"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "v1.32.0"},
        "paths": paths, "components": {"schemas": schemas}}))
}

fn is_builtin(object: &ObjectShape) -> bool {
    object.name.starts_with("io.k8s.") && crate::schema::builtin_named(&object.name).is_some()
}

/// The object schema of a kind's version. A legacy version that borrows the current shape has
/// none, since it requires less: clients then leave the checking to the server.
fn own_shape(served: &Served) -> Option<&ObjectShape> {
    let Shape::Object(object) = &served.shape else { return None };
    let (group, version, _) = object.gvk.as_ref()?;
    ((group, version) == (&served.group, &served.version)).then_some(object)
}

fn add_own_schema(kind: &Kind, served: &Served, prefix: &str, into: &mut Map<String, Value>) {
    let Some(object) = own_shape(served) else { return };
    let mut schema = definition(object, prefix);
    let gvk = json!([{"group": served.group, "version": served.version, "kind": kind.kind}]);
    crate::meta::as_map(&mut schema).insert("x-kubernetes-group-version-kind".to_owned(), gvk);
    into.insert(object.name.clone(), schema);
}

/// Built-in types that a shape refers to, and those that they refer to.
fn add_referenced(shape: &Shape, into: &mut Map<String, Value>) {
    match shape {
        Shape::Map { of, .. } | Shape::List { of, .. } => add_referenced(of, into),
        Shape::Object(object) | Shape::AtomicObject(object) => {
            if is_builtin(object) {
                if into.contains_key(&object.name) && object.gvk.is_none() {
                    return;
                }
                into.entry(object.name.clone()).or_insert_with(|| definition(object, V3));
            }
            object.fields.iter().for_each(|f| add_referenced(&f.shape, into));
        }
        _ => {}
    }
}

fn definition(object: &ObjectShape, prefix: &str) -> Value {
    let mut schema = Map::new();
    if !object.description.is_empty() {
        schema.insert("description".to_owned(), object.description.clone().into());
    }
    schema.insert("type".to_owned(), "object".into());
    let mut properties = Map::new();
    for field in &object.fields {
        let mut property = property(&field.shape, prefix);
        if !field.description.is_empty() {
            let map = crate::meta::as_map(&mut property);
            map.insert("description".to_owned(), field.description.clone().into());
        }
        properties.insert(field.name.clone(), property);
    }
    let required: Vec<&str> = object
        .fields
        .iter()
        // The server fills in metadata; a client must not insist on it.
        .filter(|f| f.required && f.name != "metadata")
        .map(|f| f.name.as_str())
        .collect();
    if !required.is_empty() {
        schema.insert("required".to_owned(), json!(required));
    }
    if !properties.is_empty() {
        schema.insert("properties".to_owned(), Value::Object(properties));
    }
    if object.open {
        schema.insert("x-kubernetes-preserve-unknown-fields".to_owned(), true.into());
    }
    if let Some((group, version, kind)) = &object.gvk {
        let gvk = json!([{"group": group, "version": version, "kind": kind}]);
        schema.insert("x-kubernetes-group-version-kind".to_owned(), gvk);
    }
    Value::Object(schema)
}

fn property(shape: &Shape, prefix: &str) -> Value {
    match shape {
        Shape::String | Shape::Quantity => json!({"type": "string"}),
        Shape::Int => json!({"type": "integer", "format": "int32"}),
        Shape::Long => json!({"type": "integer", "format": "int64"}),
        Shape::Number => json!({"type": "number", "format": "double"}),
        Shape::Bool => json!({"type": "boolean"}),
        Shape::IntOrString => int_or_string(prefix),
        Shape::Time | Shape::MicroTime => json!({"type": "string", "format": "date-time"}),
        Shape::Bytes => json!({"type": "string", "format": "byte"}),
        Shape::Any => json!({"x-kubernetes-preserve-unknown-fields": true}),
        Shape::Map { of, atomic } => {
            let mut schema =
                json!({"type": "object", "additionalProperties": property(of, prefix)});
            if *atomic {
                let map = crate::meta::as_map(&mut schema);
                map.insert("x-kubernetes-map-type".to_owned(), "atomic".into());
            }
            schema
        }
        Shape::List { of, merge } => list(of, merge, prefix),
        Shape::Object(object) if is_builtin(object) => reference(object, prefix),
        Shape::AtomicObject(object) if is_builtin(object) => {
            let mut schema = reference(object, prefix);
            let map = crate::meta::as_map(&mut schema);
            map.insert("x-kubernetes-map-type".to_owned(), "atomic".into());
            schema
        }
        Shape::Object(object) | Shape::AtomicObject(object) => definition(object, prefix),
    }
}

/// OpenAPI 3.0 ignores what stands beside a `$ref`, so it goes into an `allOf` there.
fn reference(object: &ObjectShape, prefix: &str) -> Value {
    let reference = json!({"$ref": format!("{prefix}{}", object.name)});
    if prefix == V3 { json!({"allOf": [reference], "default": {}}) } else { reference }
}

fn int_or_string(prefix: &str) -> Value {
    if prefix == V3 {
        json!({"oneOf": [{"type": "integer"}, {"type": "string"}], "format": "int-or-string"})
    } else {
        json!({"type": "string", "format": "int-or-string"})
    }
}

fn list(of: &Shape, merge: &ListMerge, prefix: &str) -> Value {
    let mut schema = json!({"type": "array", "items": property(of, prefix)});
    let map = crate::meta::as_map(&mut schema);
    let mut set = |key: &str, value: Value| map.insert(format!("x-kubernetes-{key}"), value);
    match merge {
        ListMerge::Atomic => {
            set("list-type", "atomic".into());
        }
        ListMerge::Set => {
            set("list-type", "set".into());
            set("patch-strategy", "merge".into());
        }
        ListMerge::Keyed(keys) => {
            set("list-type", "map".into());
            set("list-map-keys", json!(keys));
            set("patch-strategy", "merge".into());
            set("patch-merge-key", json!(keys.first()));
        }
    }
    schema
}

fn add_paths(kind: &Kind, served: &Served, v3: bool, paths: &mut Map<String, Value>) {
    let root = match served.group.as_str() {
        "" => "/api/v1".to_owned(),
        group => format!("/apis/{}", join_api_version(group, &served.version)),
    };
    let scope = if kind.namespaced { "/namespaces/{namespace}" } else { "" };
    let collection = format!("{root}{scope}/{}", kind.plural);
    let gvk = json!({"group": served.group, "version": served.version, "kind": kind.kind});
    let operation = |verb: &str| operation(kind, verb, &gvk, v3);
    let mut all = json!({"post": operation("post")});
    if kind.stored {
        let map = crate::meta::as_map(&mut all);
        map.insert("get".to_owned(), operation("list"));
        map.insert("delete".to_owned(), operation("deletecollection"));
        let one = json!({"get": operation("get"), "put": operation("put"),
            "patch": operation("patch"), "delete": operation("delete")});
        paths.insert(format!("{collection}/{{name}}"), one);
    }
    paths.insert(collection, all);
}

fn operation(kind: &Kind, verb: &str, gvk: &Value, v3: bool) -> Value {
    let names: &[&str] = match verb {
        "post" | "put" => &["dryRun", "fieldManager", "fieldValidation"],
        "patch" => &["dryRun", "fieldManager", "fieldValidation", "force"],
        "delete" => &["dryRun", "gracePeriodSeconds", "propagationPolicy"],
        _ => &[],
    };
    let parameters: Vec<Value> = names
        .iter()
        .map(|name| match v3 {
            true => json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}}),
            false => json!({"name": name, "in": "query", "type": "string", "uniqueItems": true}),
        })
        .collect();
    json!({
        "operationId": format!("{verb}{}", kind.kind),
        "parameters": parameters,
        "responses": {"200": {"description": "OK"}},
        "x-kubernetes-action": verb,
        "x-kubernetes-group-version-kind": gvk,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_resolves() {
        fn references(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(map) => {
                    if let Some(Value::String(target)) = map.get("$ref") {
                        found.push(target.rsplit('/').next().unwrap().to_owned());
                    }
                    map.values().for_each(|v| references(v, found));
                }
                Value::Array(list) => list.iter().for_each(|v| references(v, found)),
                _ => {}
            }
        }
        let registry = Registry::builtin();
        let mut documents = vec![(v2(&registry), "definitions")];
        for (group, versions) in registry.groups() {
            documents
                .extend(versions.iter().map(|v| (v3(&registry, &group, v).unwrap(), "components")));
        }
        for (document, place) in documents {
            let mut found = Vec::new();
            references(&document, &mut found);
            let known = if place == "definitions" {
                &document["definitions"]
            } else {
                &document["components"]["schemas"]
            };
            for name in found {
                assert!(known.get(&name).is_some(), "{name}");
            }
        }
    }

    #[test]
    fn merge_keys_are_told() {
        let document = v2(&Registry::builtin());
        let containers =
            &document["definitions"]["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
        assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
        let patch = &document["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]["patch"];
        assert_eq!(patch["x-kubernetes-group-version-kind"]["kind"], "Pod");
    }
}
