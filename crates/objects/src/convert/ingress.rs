//! Ingress of extensions/v1beta1 and networking.k8s.io/v1beta1.

use serde_json::{Map, Value, json};

use super::take;
use crate::meta::{as_map, at, child};

pub fn to_v1(object: &mut Value) {
    if at(object, &["spec"]).is_none() {
        return;
    }
    let spec = child(object, "spec");
    take(spec, "backend", "defaultBackend");
    if let Some(backend) = spec.get_mut("defaultBackend") {
        backend_to_v1(as_map(backend));
    }
    for_each_path(spec, |path| {
        path.entry("pathType").or_insert_with(|| "ImplementationSpecific".into());
        if let Some(backend) = path.get_mut("backend") {
            backend_to_v1(as_map(backend));
        }
    });
}

pub fn from_v1(object: &mut Value) {
    if at(object, &["spec"]).is_none() {
        return;
    }
    let spec = child(object, "spec");
    take(spec, "defaultBackend", "backend");
    if let Some(backend) = spec.get_mut("backend") {
        backend_from_v1(as_map(backend));
    }
    for_each_path(spec, |path| {
        if let Some(backend) = path.get_mut("backend") {
            backend_from_v1(as_map(backend));
        }
    });
}

fn for_each_path(spec: &mut Map<String, Value>, mut each: impl FnMut(&mut Map<String, Value>)) {
    let Some(Value::Array(rules)) = spec.get_mut("rules") else { return };
    for rule in rules {
        if let Some(Value::Array(paths)) = rule.pointer_mut("/http/paths") {
            paths.iter_mut().for_each(|path| each(as_map(path)));
        }
    }
}

fn backend_to_v1(backend: &mut Map<String, Value>) {
    let name = backend.shift_remove("serviceName");
    let port = backend.shift_remove("servicePort");
    if name.is_none() && port.is_none() {
        return;
    }
    let port = match port {
        Some(Value::String(name)) => json!({"name": name}),
        Some(number) => json!({"number": number}),
        None => json!({}),
    };
    backend.insert("service".to_owned(), json!({"name": name.unwrap_or_default(), "port": port}));
}

fn backend_from_v1(backend: &mut Map<String, Value>) {
    let Some(service) = backend.shift_remove("service") else { return };
    if let Some(name) = service.get("name") {
        backend.insert("serviceName".to_owned(), name.clone());
    }
    let port = service.pointer("/port/number").or_else(|| service.pointer("/port/name"));
    if let Some(port) = port {
        backend.insert("servicePort".to_owned(), port.clone());
    }
}
