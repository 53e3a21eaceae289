//! What becomes of resources, patch by patch, and in which order objects count.

use super::*;
use crate::message::{descriptor, from_json};
use registry::Store;
use serde_json::{Value, json};

const LISTENER: &str = "envoy.config.listener.v3.Listener";
const CLUSTER: &str = "envoy.config.cluster.v3.Cluster";
const ROUTES: &str = "envoy.config.route.v3.RouteConfiguration";
const MANAGER: &str = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";

fn bytes(of: &str, json: &Value) -> Vec<u8> {
    from_json(&descriptor(of).unwrap(), json, true).unwrap().encode_to_vec()
}

fn filters(yaml: &[&str]) -> std::sync::Arc<registry::Snapshot> {
    let mut store = Store::new("cluster.local", "istio-system");
    for text in yaml {
        let object: Value = serde_yaml_ng::from_str(text).unwrap();
        let applied = store.apply(api::Kind::EnvoyFilter, &object);
        assert!(applied.findings.is_empty(), "{:?}", applied.findings);
    }
    store.snapshot()
}

fn target() -> Target {
    let labels = [("app".to_owned(), "a".to_owned())].into();
    Target { namespace: "default".into(), labels, version: "1.28.0".into(), ..Target::default() }
}

fn object(namespace: &str, name: &str, rest: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\n\
         metadata: {{ name: {name}, namespace: {namespace} }}\nspec:\n{rest}"
    )
}

fn selected(yaml: &[&str], target: &Target) -> Option<Selected> {
    let world = filters(yaml);
    let selected = Patcher::default().select(&world.envoy_filters, "istio-system", target);
    if let Some(selected) = &selected {
        assert_eq!(selected.findings().collect::<Vec<_>>(), Vec::<&Finding>::new());
    }
    selected
}

/// One patch, of whatever is in `of`.
fn patched(patch: &str, of: Resources, name: &str, before: &Value, target: &Target) -> Patched {
    let all =
        selected(&[&object("default", "a", &format!("  configPatches:\n  - {patch}\n"))], target);
    all.unwrap().patch(of, &bytes(name, before))
}

fn becomes(patch: &str, of: Resources, name: &str, before: &Value, after: &Value) {
    let wanted = Patched::Changed(bytes(name, after).into());
    assert_eq!(patched(patch, of, name, before, &target()), wanted, "{patch}");
}

fn inbound(filters: &Value, routes: &Value) -> Value {
    json!({"name": "virtualInbound", "trafficDirection": "INBOUND",
        "address": {"socketAddress": {"address": "0.0.0.0", "portValue": 15006}},
        "filterChains": [{"name": "80", "filterChainMatch": {"destinationPort": 80}, "filters": [
            {"name": "envoy.filters.network.http_connection_manager", "typedConfig": {
                "@type": MANAGER, "statPrefix": "a", "httpFilters": filters,
                "routeConfig": {"name": "inbound|80||", "virtualHosts": [
                    {"name": "inbound|http|80", "domains": ["*"], "routes": routes}]}}}]}]})
}

fn named(names: &[&str]) -> Value {
    names.iter().map(|n| json!({"name": n})).collect()
}

fn insertion(operation: &str, sub_filter: &str) -> String {
    let sub = if sub_filter.is_empty() {
        String::new()
    } else {
        format!(", subFilter: {{ name: {sub_filter} }}")
    };
    format!(
        "applyTo: HTTP_FILTER\n    match: {{ context: SIDECAR_INBOUND, listener: {{ portNumber: 80, filterChain: \
         {{ filter: {{ name: envoy.filters.network.http_connection_manager{sub} }} }} }} }}\n    \
         patch: {{ operation: {operation}, value: {{ name: new }} }}"
    )
}

#[test]
fn http_filters_are_put_where_the_patch_says() {
    let before = inbound(&named(&["fault", "router"]), &json!([]));
    for (operation, sub, after) in [
        ("INSERT_FIRST", "", vec!["new", "fault", "router"]),
        ("INSERT_BEFORE", "router", vec!["fault", "new", "router"]),
        ("INSERT_BEFORE", "", vec!["new", "fault", "router"]),
        ("INSERT_AFTER", "fault", vec!["fault", "new", "router"]),
        ("INSERT_AFTER", "", vec!["fault", "router", "new"]),
        ("ADD", "", vec!["fault", "router", "new"]),
        ("REPLACE", "fault", vec!["new", "router"]),
        ("REMOVE", "fault", vec!["router"]),
    ] {
        let after = inbound(&named(&after), &json!([]));
        becomes(&insertion(operation, sub), Resources::Listeners, LISTENER, &before, &after);
    }
    // Nothing has this name: nothing is put beside it.
    let nowhere = insertion("INSERT_BEFORE", "nobody");
    assert_eq!(
        patched(&nowhere, Resources::Listeners, LISTENER, &before, &target()),
        Patched::Same
    );
    let other_port = insertion("INSERT_FIRST", "").replace("portNumber: 80", "portNumber: 81");
    assert_eq!(
        patched(&other_port, Resources::Listeners, LISTENER, &before, &target()),
        Patched::Same
    );
    let other_side = insertion("INSERT_FIRST", "").replace("SIDECAR_INBOUND", "GATEWAY");
    assert_eq!(
        patched(&other_side, Resources::Listeners, LISTENER, &before, &target()),
        Patched::Same
    );
}

#[test]
fn inline_routes_are_patched_like_those_that_are_discovered() {
    let route = |rest: Value| {
        let mut all = json!({"match": {"prefix": "/"}, "route": {"cluster": "c"}});
        all["route"].as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        json!([all])
    };
    let patch = "applyTo: HTTP_ROUTE\n    match: { context: SIDECAR_INBOUND, routeConfiguration: { vhost: { name: \
         'inbound|http|80', route: { action: ANY } } } }\n    patch: { operation: MERGE, value: { route: { timeout: 2s } } }";
    let (before, after) = (
        inbound(&json!([]), &route(json!({}))),
        inbound(&json!([]), &route(json!({"timeout": "2s"}))),
    );
    becomes(patch, Resources::Listeners, LISTENER, &before, &after);
    let table = |rest: Value| {
        json!({"name": "9080", "virtualHosts": [
        {"name": "inbound|http|80", "domains": ["a"], "routes": route(rest)}]})
    };
    let outbound = patch.replace("SIDECAR_INBOUND", "SIDECAR_OUTBOUND");
    becomes(
        &outbound,
        Resources::Routes,
        ROUTES,
        &table(json!({})),
        &table(json!({"timeout": "2s"})),
    );
    let redirects = outbound.replace("ANY", "REDIRECT");
    let same = patched(&redirects, Resources::Routes, ROUTES, &table(json!({})), &target());
    assert_eq!(same, Patched::Same);
}

#[test]
fn clusters_are_merged_removed_and_added() {
    let name = "outbound|80||a.default.svc.cluster.local";
    let merge = "applyTo: CLUSTER\n    match: { cluster: { service: a.default.svc.cluster.local } }\n    \
                 patch: { operation: MERGE, value: { connect_timeout: 3s } }";
    let before = json!({"name": name, "connectTimeout": "10s"});
    let after = json!({"name": name, "connectTimeout": "3s"});
    becomes(merge, Resources::Clusters, CLUSTER, &before, &after);
    let remove = merge.replace("MERGE", "REMOVE");
    let gone = patched(&remove, Resources::Clusters, CLUSTER, &before, &target());
    assert_eq!(gone, Patched::Removed);
    let other = json!({"name": "outbound|80||b.default.svc.cluster.local"});
    let same = patched(&remove, Resources::Clusters, CLUSTER, &other, &target());
    assert_eq!(same, Patched::Same);
    let add = "  configPatches:\n  - applyTo: CLUSTER\n    patch: { operation: ADD, value: { name: new } }\n";
    let added =
        selected(&[&object("default", "a", add)], &target()).unwrap().added(Resources::Clusters);
    assert_eq!(added, [("new".to_owned(), Bytes::from(bytes(CLUSTER, &json!({"name": "new"}))))]);
}

/// Later patches win: those of the proxy's namespace over the root's, higher priority over lower.
#[test]
fn objects_count_in_their_order() {
    let timeout = |seconds: u32| {
        format!(
            "  configPatches:\n  - applyTo: CLUSTER\n    patch: {{ operation: MERGE, value: {{ connect_timeout: \
             {seconds}s }} }}\n"
        )
    };
    let root = object("istio-system", "z", &timeout(1));
    let late = object("default", "b", &format!("  priority: 10\n{}", timeout(2)));
    let early = object("default", "c", &format!("  priority: -10\n{}", timeout(3)));
    let elsewhere = object("other", "d", &timeout(4));
    let all: [&str; 4] = [&late, &root, &early, &elsewhere];
    let patched = selected(&all, &target()).unwrap();
    let got = patched.patch(Resources::Clusters, &bytes(CLUSTER, &json!({"name": "x"})));
    let wanted = bytes(CLUSTER, &json!({"name": "x", "connectTimeout": "2s"}));
    assert_eq!(got, Patched::Changed(wanted.into()));
}

#[test]
fn proxies_are_told_by_label_version_and_metadata() {
    let rest = |selector: &str, proxy: &str| {
        object(
            "default",
            "a",
            &format!(
                "  workloadSelector: {{ labels: {{ {selector} }} }}\n  configPatches:\n  - applyTo: CLUSTER\n    \
             match: {{ proxy: {{ {proxy} }} }}\n    patch: {{ operation: REMOVE }}\n"
            ),
        )
    };
    let cluster = bytes(CLUSTER, &json!({"name": "x"}));
    let removes = |text: &str| {
        let all = selected(&[text], &target());
        all.is_some_and(|s| s.patch(Resources::Clusters, &cluster) == Patched::Removed)
    };
    assert!(removes(&rest("app: a", "")));
    assert!(!removes(&rest("app: b", "")));
    assert!(removes(&rest("app: a", "proxyVersion: '^1\\.2.*'")));
    assert!(!removes(&rest("app: a", "proxyVersion: '^1\\.3.*'")));
    assert!(!removes(&rest("app: a", "metadata: { A: b }")));
}
