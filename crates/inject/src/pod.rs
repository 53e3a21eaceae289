//! Reading and writing a pod held as JSON: short names for the paths that injection uses.

use serde_json::{Map, Value};

pub(crate) const PROXY: &str = "istio-proxy";
pub(crate) const INIT: &str = "istio-init";
pub(crate) const STATUS: &str = "sidecar.istio.io/status";

pub(crate) fn label<'a>(pod: &'a Value, key: &str) -> Option<&'a str> {
    pod["metadata"]["labels"][key].as_str()
}

pub(crate) fn annotation<'a>(pod: &'a Value, key: &str) -> Option<&'a str> {
    pod["metadata"]["annotations"][key].as_str()
}

/// The containers of `field` (`containers` or `initContainers`).
pub(crate) fn containers<'a>(pod: &'a Value, field: &str) -> &'a [Value] {
    pod["spec"][field].as_array().map(Vec::as_slice).unwrap_or_default()
}

pub(crate) fn list_mut<'a>(object: &'a mut Value, field: &str) -> &'a mut Vec<Value> {
    let slot = &mut object[field];
    if !slot.is_array() {
        *slot = Value::Array(Vec::new());
    }
    match slot {
        Value::Array(list) => list,
        _ => unreachable!("it was made an array above"),
    }
}

pub(crate) fn map_mut<'a>(object: &'a mut Value, field: &str) -> &'a mut Map<String, Value> {
    let slot = &mut object[field];
    if !slot.is_object() {
        *slot = Value::Object(Map::new());
    }
    match slot {
        Value::Object(map) => map,
        _ => unreachable!("it was made an object above"),
    }
}

pub(crate) fn name(container: &Value) -> &str {
    container["name"].as_str().unwrap_or_default()
}

/// Containers of the application: all but the proxy.
pub(crate) fn app_containers(pod: &Value) -> impl Iterator<Item = &Value> {
    containers(pod, "containers").iter().filter(|c| name(c) != PROXY)
}

/// A port given by number or by the name of one of the container's ports.
pub(crate) fn port_number(container: &Value, port: &Value) -> Option<u64> {
    if let Some(n) = port.as_u64() {
        return Some(n);
    }
    let wanted = port.as_str()?;
    if let Ok(n) = wanted.parse() {
        return Some(n);
    }
    let ports = container["ports"].as_array()?;
    ports.iter().find(|p| p["name"] == wanted)?["containerPort"].as_u64()
}
