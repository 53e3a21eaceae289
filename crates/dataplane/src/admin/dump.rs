//! `/config_dump`: what runs, as the resources that it came as.

use super::{Process, Query, Reply};
use ir::{Address, Kind, Resource};
use serde_json::{Value, json};
use std::sync::Arc;

const ADMIN: &str = "type.googleapis.com/envoy.admin.v3.";

pub(super) fn answer(process: &dyn Process, query: &Query<'_>) -> Reply {
    let names = match query.get("name_regex").map(|r| regex::Regex::new(&r)).transpose() {
        Ok(names) => names,
        Err(error) => return Reply::text(format!("Invalid regex: {error}\n")).status(400),
    };
    let wanted = |name: &str| names.as_ref().is_none_or(|r| r.is_match(name));
    let sections = sections(process, query.has("include_eds"), &wanted);
    let Some(only) = query.get("resource") else {
        return Reply::json(&json!({ "configs": sections }));
    };
    let found: Vec<&Value> =
        sections.iter().filter_map(|s| s.get(&only)?.as_array()).flatten().collect();
    if found.is_empty() && !sections.iter().any(|s| s.get(&only).is_some()) {
        return Reply::text(format!("{only} not found in config dump\n")).status(404);
    }
    Reply::json(&json!({ "configs": found }))
}

fn sections(process: &dyn Process, eds: bool, wanted: &dyn Fn(&str) -> bool) -> Vec<Value> {
    let config = process.config();
    let gather = |kind, list: Vec<Resource>| gather(process, kind, list, wanted);
    let clusters =
        gather(Kind::Cluster, config.clusters.iter().cloned().map(Resource::Cluster).collect());
    let listeners =
        gather(Kind::Listener, config.listeners.iter().cloned().map(Resource::Listener).collect());
    let routes = gather(Kind::Route, config.routes.iter().cloned().map(Resource::Route).collect());
    let mut out = vec![
        json!({ "@type": format!("{ADMIN}BootstrapConfigDump"), "bootstrap": process.bootstrap() }),
        json!({
            "@type": format!("{ADMIN}ClustersConfigDump"),
            "static_clusters": wrapped("cluster", &clusters.fixed),
            "dynamic_active_clusters": wrapped("cluster", &clusters.dynamic),
        }),
    ];
    if eds {
        let endpoints = config.endpoints.iter().cloned().map(Resource::Endpoints).collect();
        let endpoints = gather(Kind::Endpoints, endpoints);
        out.push(json!({
            "@type": format!("{ADMIN}EndpointsConfigDump"),
            "static_endpoint_configs": wrapped("endpoint_config", &endpoints.fixed),
            "dynamic_endpoint_configs": wrapped("endpoint_config", &endpoints.dynamic),
        }));
    }
    out.push(json!({
        "@type": format!("{ADMIN}ListenersConfigDump"),
        "static_listeners": wrapped("listener", &listeners.fixed),
        "dynamic_listeners": listeners.dynamic.iter().map(active_listener).collect::<Vec<_>>(),
    }));
    out.push(json!({
        "@type": format!("{ADMIN}RoutesConfigDump"),
        "static_route_configs": wrapped("route_config", &routes.fixed),
        "dynamic_route_configs": wrapped("route_config", &routes.dynamic),
    }));
    out.push(secrets(&config));
    out
}

/// Resources of one kind as JSON, by where they came from.
struct Gathered {
    fixed: Vec<Value>,
    dynamic: Vec<Value>,
}

fn gather(
    process: &dyn Process,
    kind: Kind,
    list: Vec<Resource>,
    wanted: &dyn Fn(&str) -> bool,
) -> Gathered {
    let mut out = Gathered { fixed: Vec::new(), dynamic: Vec::new() };
    for resource in list {
        let key = resource.key();
        if !wanted(&key.name) {
            continue;
        }
        let value = shown(&resource);
        let of = if process.is_static(kind, &key.name) { &mut out.fixed } else { &mut out.dynamic };
        of.push(value);
    }
    out
}

fn shown(resource: &Resource) -> Value {
    let type_url = xds::type_url_of(resource.key().kind);
    let mut value = xds::to_json(&type_url, &xds::encode(resource)).unwrap_or_default();
    hide_keys(&mut value);
    if let Value::Object(map) = &mut value {
        map.insert("@type".into(), type_url.into());
    }
    value
}

/// Private keys that stand in the configuration itself are not shown to anybody.
fn hide_keys(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                let key =
                    matches!(name.as_str(), "private_key" | "password" | "private_key_provider");
                match value.as_object_mut().filter(|_| key) {
                    Some(source) => source.retain(|how, _| how == "filename"),
                    None => hide_keys(value),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(hide_keys),
        _ => {}
    }
}

fn wrapped(name: &str, list: &[Value]) -> Vec<Value> {
    list.iter().map(|value| json!({ name: value })).collect()
}

fn active_listener(listener: &Value) -> Value {
    json!({ "name": listener["name"], "active_state": { "listener": listener } })
}

/// Certificates and roots, which everybody may see; keys never leave the process.
fn secrets(config: &Arc<ir::Config>) -> Value {
    let entry = |s: &Arc<ir::Secret>| json!({ "name": &*s.name, "secret": shown(&Resource::Secret(s.clone())) });
    let list: Vec<Value> = config.secrets.iter().map(entry).collect();
    json!({ "@type": format!("{ADMIN}SecretsConfigDump"), "dynamic_active_secrets": list })
}

/// An address as `core.v3.Address` in JSON.
pub(super) fn address(address: &Address) -> Value {
    match address {
        Address::Ip(a) => json!({
            "socket_address": { "address": a.ip().to_string(), "port_value": a.port() }
        }),
        Address::Name(name, port) => json!({
            "socket_address": { "address": &**name, "port_value": port }
        }),
        Address::Pipe(path) => json!({ "pipe": { "path": &**path } }),
    }
}
