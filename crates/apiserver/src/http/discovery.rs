//! Which groups, versions and resources there are, in the classic and the aggregated form.

use std::sync::Arc;

use hyper::Response;
use objects::kinds::{Kind, Registry, Served};
use serde_json::{Value, json};

use super::Context;
use super::answer::{self, Body};
use crate::error::ApiError;

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
const AGGREGATED_BETA: &str =
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
const VERBS: [&str; 8] =
    ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

pub fn root(context: &Context) -> Response<Body> {
    let mut paths = vec!["/api".to_owned(), "/api/v1".to_owned(), "/apis".to_owned()];
    for (group, versions) in context.core.registry().groups().iter().filter(|(g, _)| !g.is_empty())
    {
        paths.push(format!("/apis/{group}"));
        paths.extend(versions.iter().map(|v| format!("/apis/{group}/{v}")));
    }
    paths.extend(
        ["/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"]
            .map(str::to_owned),
    );
    answer::json(200, &json!({"paths": paths}))
}

/// The aggregated form that the caller prefers to the classic one.
fn aggregated(context: &Context) -> Option<&'static str> {
    context.accept.split(',').find_map(|media| {
        let has = |part: &str| media.split(';').any(|p| p.trim() == part);
        match has("g=apidiscovery.k8s.io") && has("as=APIGroupDiscoveryList") {
            true if has("v=v2") => Some(AGGREGATED),
            true if has("v=v2beta1") => Some(AGGREGATED_BETA),
            _ => None,
        }
    })
}

pub fn api(context: &Context) -> Response<Body> {
    if let Some(media) = aggregated(context) {
        return aggregated_list(context, media, |group| group.is_empty());
    }
    let list = json!({"kind": "APIVersions", "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": ""}]});
    answer::json(200, &list)
}

pub fn apis(context: &Context) -> Response<Body> {
    if let Some(media) = aggregated(context) {
        return aggregated_list(context, media, |group| !group.is_empty());
    }
    let registry = context.core.registry();
    let groups: Vec<Value> = registry
        .groups()
        .iter()
        .filter(|(group, _)| !group.is_empty())
        .map(|(group, versions)| describe_group(group, versions))
        .collect();
    answer::json(200, &json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
}

pub fn group(context: &Context, group: &str) -> Result<Response<Body>, ApiError> {
    let registry = context.core.registry();
    let groups = registry.groups();
    let (group, versions) =
        groups.iter().find(|(g, _)| g == group).ok_or_else(ApiError::no_such_path)?;
    let mut body = describe_group(group, versions);
    let map = objects::meta::as_map(&mut body);
    map.insert("kind".to_owned(), "APIGroup".into());
    map.insert("apiVersion".to_owned(), "v1".into());
    Ok(answer::json(200, &body))
}

fn describe_group(group: &str, versions: &[String]) -> Value {
    let describe = |v: &String| json!({"groupVersion": format!("{group}/{v}"), "version": v});
    let all: Vec<Value> = versions.iter().map(describe).collect();
    json!({"name": group, "versions": all, "preferredVersion": all.first()})
}

/// Kinds that a group and version serves.
fn served<'a>(
    registry: &'a Registry,
    group: &'a str,
    version: &'a str,
) -> impl Iterator<Item = (&'a Arc<Kind>, &'a Served)> {
    registry.all().iter().filter_map(move |k| Some((k, k.served(group, version)?)))
}

/// Only the kind's own group carries short names and categories, so that `get all` shows an
/// object once.
fn names(kind: &Kind, group: &str) -> (Vec<String>, Vec<String>) {
    if kind.group == group {
        (kind.short_names.clone(), kind.categories.clone())
    } else {
        Default::default()
    }
}

fn verbs(kind: &Kind) -> Vec<&'static str> {
    if kind.stored { VERBS.to_vec() } else { vec!["create"] }
}

struct Sub {
    name: &'static str,
    gvk: (&'static str, &'static str, &'static str),
    verbs: &'static [&'static str],
}

fn subresources(kind: &Kind) -> Vec<Sub> {
    const OWN: (&str, &str, &str) = ("", "", "");
    const CHANGE: &[&str] = &["get", "patch", "update"];
    let mut subs = Vec::new();
    if kind.status {
        subs.push(Sub { name: "status", gvk: OWN, verbs: CHANGE });
    }
    if kind.scale.is_some() {
        subs.push(Sub { name: "scale", gvk: ("autoscaling", "v1", "Scale"), verbs: CHANGE });
    }
    match (kind.group.as_str(), kind.plural.as_str()) {
        ("", "pods") => {
            subs.push(Sub {
                name: "attach",
                gvk: ("", "v1", "PodAttachOptions"),
                verbs: &["create", "get"],
            });
            subs.push(Sub { name: "binding", gvk: ("", "v1", "Binding"), verbs: &["create"] });
            subs.push(Sub {
                name: "eviction",
                gvk: ("policy", "v1", "Eviction"),
                verbs: &["create"],
            });
            subs.push(Sub {
                name: "exec",
                gvk: ("", "v1", "PodExecOptions"),
                verbs: &["create", "get"],
            });
            subs.push(Sub { name: "log", gvk: OWN, verbs: &["get"] });
            subs.push(Sub {
                name: "portforward",
                gvk: ("", "v1", "PodPortForwardOptions"),
                verbs: &["create", "get"],
            });
        }
        ("", "serviceaccounts") => subs.push(Sub {
            name: "token",
            gvk: ("authentication.k8s.io", "v1", "TokenRequest"),
            verbs: &["create"],
        }),
        ("", "namespaces") => {
            subs.push(Sub { name: "finalize", gvk: OWN, verbs: &["update"] });
        }
        _ => {}
    }
    subs
}

pub fn resources(
    context: &Context,
    group: &str,
    version: &str,
) -> Result<Response<Body>, ApiError> {
    let registry = context.core.registry();
    let mut list = Vec::new();
    for (kind, _) in served(&registry, group, version) {
        let (short, categories) = names(kind, group);
        list.push(json!({"name": kind.plural, "singularName": kind.singular,
            "namespaced": kind.namespaced, "kind": kind.kind, "verbs": verbs(kind),
            "shortNames": short, "categories": categories}));
        for sub in subresources(kind) {
            let (g, v, k) = sub.gvk;
            let name = format!("{}/{}", kind.plural, sub.name);
            let mut entry = json!({"name": name, "singularName": "", "namespaced": kind.namespaced,
                "kind": if k.is_empty() { kind.kind.as_str() } else { k }, "verbs": sub.verbs});
            if !k.is_empty() && (g, v) != (group, version) {
                let map = objects::meta::as_map(&mut entry);
                map.insert("group".to_owned(), g.into());
                map.insert("version".to_owned(), v.into());
            }
            list.push(entry);
        }
    }
    if list.is_empty() {
        return Err(ApiError::no_such_path());
    }
    let group_version = objects::meta::join_api_version(group, version);
    Ok(answer::json(
        200,
        &json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": list}),
    ))
}

fn aggregated_list(
    context: &Context,
    media: &str,
    wanted: impl Fn(&str) -> bool,
) -> Response<Body> {
    let registry = context.core.registry();
    let groups: Vec<Value> = registry
        .groups()
        .iter()
        .filter(|(group, _)| wanted(group))
        .map(|(group, versions)| {
            let versions: Vec<Value> = versions
                .iter()
                .map(|version| {
                    let list: Vec<Value> = served(&registry, group, version)
                        .map(|(kind, _)| aggregated_resource(kind, group, version))
                        .collect();
                    json!({"version": version, "freshness": "Current", "resources": list})
                })
                .collect();
            json!({"metadata": {"name": group, "creationTimestamp": null}, "versions": versions})
        })
        .collect();
    let api =
        if media == AGGREGATED { "apidiscovery.k8s.io/v2" } else { "apidiscovery.k8s.io/v2beta1" };
    let body = json!({"kind": "APIGroupDiscoveryList", "apiVersion": api, "metadata": {}, "items": groups});
    answer::typed(200, media, &body)
}

fn aggregated_resource(kind: &Kind, group: &str, version: &str) -> Value {
    let (short, categories) = names(kind, group);
    let subs: Vec<Value> = subresources(kind)
        .iter()
        .map(|sub| {
            let (g, v, k) = match sub.gvk {
                ("", "", "") => (group, version, kind.kind.as_str()),
                gvk => gvk,
            };
            json!({"subresource": sub.name, "verbs": sub.verbs,
                "responseKind": {"group": g, "version": v, "kind": k}})
        })
        .collect();
    json!({
        "resource": kind.plural, "singularResource": kind.singular,
        "responseKind": {"group": group, "version": version, "kind": kind.kind},
        "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
        "verbs": verbs(kind), "shortNames": short, "categories": categories, "subresources": subs,
    })
}
