//! Service -> EndpointSlices and Endpoints. Files: `backends` (which pods answer, on which ports),
//! `slices` (EndpointSlices), `legacy` (the older Endpoints object, written for Services with a
//! selector and mirrored into slices for those without).

mod backends;
mod legacy;
mod slices;

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use crate::action::{Action, Outcome, Propagation};
use crate::key::{Key, Resource};
use crate::read;
use crate::world::World;

const SERVICE_NAME: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const HEADLESS: &str = "service.kubernetes.io/headless";
const SKIP_MIRROR: &str = "endpointslice.kubernetes.io/skip-mirror";
const OURS: &str = "endpointslice-controller.k8s.io";
const MIRRORED: &str = "endpointslicemirroring-controller.k8s.io";

pub fn reconcile(world: &World, key: &Key, _now: Timestamp) -> Outcome {
    let service = world.get(key).filter(|service| !read::deleting(service));
    let home = Key::new(Resource::NAMESPACES, "", &key.namespace);
    if service.is_some() && world.get(&home).is_some_and(|ns| read::deleting(ns)) {
        return Outcome::default(); // Nothing can be created there any more.
    }
    let mut outcome = Outcome::default();
    let wanted = match service {
        Some(service) if read::text(service, "/spec/type") == "ExternalName" => Vec::new(),
        Some(service) if has_selector(service) => {
            let backends = backends::of(world, service);
            let object = legacy::endpoints(service, &backends);
            write(world, &Resource::ENDPOINTS, object, &mut outcome);
            slices::of(service, &backends)
        }
        Some(service) => {
            let custom = world.get(&Key::new(Resource::ENDPOINTS, &key.namespace, &key.name));
            let custom = custom.filter(|endpoints| to_mirror(world, key, endpoints));
            custom.map_or_else(Vec::new, |endpoints| legacy::mirror(service, endpoints))
        }
        None => {
            remove_endpoints(world, key, &mut outcome);
            Vec::new()
        }
    };
    let stale = stale(world, key, &wanted);
    for slice in wanted {
        write(world, &Resource::ENDPOINT_SLICES, slice, &mut outcome);
    }
    // New slices stand before old ones go, so that no backend is missing in between.
    outcome.actions.extend(stale.iter().map(|slice| delete(&Resource::ENDPOINT_SLICES, slice)));
    outcome
}

/// The Service that an Endpoints object or a slice belongs to.
pub fn service_of<'a>(resource: &Resource, object: &'a Value) -> &'a str {
    if *resource == Resource::ENDPOINTS {
        return read::name(object);
    }
    read::label(object, SERVICE_NAME).unwrap_or_default()
}

fn has_selector(service: &Value) -> bool {
    service.pointer("/spec/selector").and_then(Value::as_object).is_some_and(|s| !s.is_empty())
}

/// Whoever writes slices beside the Endpoints, or says so with the label, wants no mirror of them.
fn to_mirror(world: &World, key: &Key, endpoints: &Value) -> bool {
    read::label(endpoints, SKIP_MIRROR) != Some("true") && slices_of(world, key).all(ours)
}

fn slices_of<'a>(world: &'a World, service: &'a Key) -> impl Iterator<Item = &'a Arc<Value>> {
    world
        .in_namespace(&Resource::ENDPOINT_SLICES, &service.namespace)
        .filter(|slice| read::label(slice, SERVICE_NAME) == Some(service.name.as_str()))
}

fn ours(slice: &Arc<Value>) -> bool {
    matches!(read::label(slice, MANAGED_BY), Some(OURS | MIRRORED))
}

/// Slices that we once wrote for the Service and no longer want. Others' slices are theirs.
fn stale<'a>(world: &'a World, key: &'a Key, wanted: &[Value]) -> Vec<&'a Arc<Value>> {
    slices_of(world, key)
        .filter(|slice| ours(slice) && !read::deleting(slice))
        .filter(|slice| !wanted.iter().any(|w| read::name(w) == read::name(slice)))
        .collect()
}

fn remove_endpoints(world: &World, service: &Key, outcome: &mut Outcome) {
    let key = Key::new(Resource::ENDPOINTS, &service.namespace, &service.name);
    if let Some(endpoints) = world.get(&key).filter(|e| !read::deleting(e)) {
        outcome.push(delete(&Resource::ENDPOINTS, endpoints));
    }
}

/// Creates the object, or changes the parts of it that are ours and differ.
fn write(world: &World, resource: &Resource, wanted: Value, outcome: &mut Outcome) {
    const PARTS: [&str; 5] = ["addressType", "endpoints", "ports", "subsets", "metadata"];
    let Some(current) = world.get(&Key::of(resource, &wanted)) else {
        return outcome.push(Action::Create { object: wanted, reported_on: None });
    };
    let same = PARTS.iter().all(|part| match *part {
        "metadata" => labels_of(current) == labels_of(&wanted),
        part => normal(current.get(part)) == normal(wanted.get(part)),
    });
    if same {
        return;
    }
    let mut changed = current.as_ref().clone();
    changed["metadata"]["labels"] = wanted["metadata"]["labels"].clone();
    for part in PARTS.iter().filter(|part| **part != "metadata") {
        match wanted.get(part) {
            Some(value) => changed[part] = value.clone(),
            None => drop(changed.as_object_mut().and_then(|map| map.shift_remove(*part))),
        }
    }
    outcome.push(Action::Update(changed));
}

fn labels_of(object: &Value) -> Option<&Value> {
    object.pointer("/metadata/labels")
}

/// An absent list and an empty one mean the same.
fn normal(value: Option<&Value>) -> Option<&Value> {
    value.filter(|v| !v.is_null() && v.as_array().is_none_or(|items| !items.is_empty()))
}

fn delete(resource: &Resource, object: &Value) -> Action {
    Action::Delete {
        key: Key::of(resource, object),
        uid: read::uid(object).to_owned(),
        grace_seconds: None,
        propagation: Propagation::Background,
    }
}

#[cfg(test)]
mod tests;
