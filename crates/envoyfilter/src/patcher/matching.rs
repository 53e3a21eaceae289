//! The conditions of patches, one by one: with the value that is there the patch is applied, with another it
//! is not.

use super::*;
use crate::message::{descriptor, from_json};
use registry::Store;
use serde_json::{Value, json};

const MANAGER: &str = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";

const CONNECTIONS: &str = "envoy.filters.network.http_connection_manager";

/// What it is, its message and its content.
type Resource = (Resources, &'static str, Value);

fn listener() -> Resource {
    let json = json!({"name": "10.96.0.1_80", "trafficDirection": "OUTBOUND",
        "address": {"socketAddress": {"address": "10.96.0.1", "portValue": 80}},
        "listenerFilters": [{"name": "inspector"}],
        "filterChains": [{"name": "chain",
            "filterChainMatch": {"destinationPort": 8080, "serverNames": ["a.example"],
                "transportProtocol": "tls", "applicationProtocols": ["h2", "x"]},
            "filters": [{"name": "envoy.filters.network.http_connection_manager", "typedConfig": {
                "@type": MANAGER, "statPrefix": "a", "httpFilters": [{"name": "inner"}]}}]}]});
    (Resources::Listeners, "envoy.config.listener.v3.Listener", json)
}

fn cluster() -> Resource {
    let json = json!({"name": "outbound|80|v1|a.example"});
    (Resources::Clusters, "envoy.config.cluster.v3.Cluster", json)
}

fn routes() -> Resource {
    let json = json!({"name": "https.443.web.gate.here", "virtualHosts": [
        {"name": "host", "domains": ["a.example"], "routes": [
            {"name": "route", "match": {"prefix": "/"}, "route": {"cluster": "c"}}]}]});
    (Resources::Routes, "envoy.config.route.v3.RouteConfiguration", json)
}

/// Whether a patch with this condition changes anything.
fn applies(of: &Resource, to: &str, matched: &Value, gateway: bool) -> bool {
    let value = match to {
        "CLUSTER" => json!({"connect_timeout": "3s"}),
        "LISTENER" => json!({"transparent": true}),
        "LISTENER_FILTER" | "NETWORK_FILTER" | "HTTP_FILTER" => json!({"name": "new"}),
        "FILTER_CHAIN" => json!({"transport_socket_connect_timeout": "3s"}),
        "ROUTE_CONFIGURATION" => json!({"validate_clusters": true}),
        "VIRTUAL_HOST" => json!({"include_request_attempt_count": true}),
        _ => json!({"stat_prefix": "new"}),
    };
    let operation = if to.ends_with("_FILTER") { "INSERT_BEFORE" } else { "MERGE" };
    let object = json!({"apiVersion": "networking.istio.io/v1alpha3", "kind": "EnvoyFilter",
        "metadata": {"name": "it", "namespace": "default"},
        "spec": {"configPatches": [{"applyTo": to, "match": matched,
            "patch": {"operation": operation, "value": value}}]}});
    let mut store = Store::new("cluster.local", "istio-system");
    store.apply(api::Kind::EnvoyFilter, &object);
    let target = Target { namespace: "default".into(), gateway, ..Target::default() };
    let world = store.snapshot();
    let all = Patcher::default().select(&world.envoy_filters, "istio-system", &target);
    let bytes = from_json(&descriptor(of.1).unwrap(), &of.2, true).unwrap().encode_to_vec();
    all.is_some_and(|all| matches!(all.patch(of.0, &bytes), Patched::Changed(_)))
}

/// A condition at a path that ends in the value.
fn at(path: &str, value: &Value) -> Value {
    path.rsplit('.').fold(value.clone(), |inner, step| json!({ step: inner }))
}

type Row = (&'static str, Resource, &'static str, Value, Value);

fn of_listeners() -> Vec<Row> {
    vec![
        ("LISTENER", listener(), "listener.name", json!("10.96.0.1_80"), json!("x")),
        ("LISTENER", listener(), "listener.portNumber", json!(80), json!(81)),
        ("LISTENER_FILTER", listener(), "listener.listenerFilter", json!("inspector"), json!("x")),
        ("FILTER_CHAIN", listener(), "listener.filterChain.name", json!("chain"), json!("x")),
        ("FILTER_CHAIN", listener(), "listener.filterChain.sni", json!("a.example"), json!("b")),
        (
            "FILTER_CHAIN",
            listener(),
            "listener.filterChain.transportProtocol",
            json!("tls"),
            json!("x"),
        ),
        (
            "FILTER_CHAIN",
            listener(),
            "listener.filterChain.applicationProtocols",
            json!("h2,x"),
            json!("h2,y"),
        ),
        (
            "FILTER_CHAIN",
            listener(),
            "listener.filterChain.destinationPort",
            json!(8080),
            json!(80),
        ),
        (
            "NETWORK_FILTER",
            listener(),
            "listener.filterChain.filter.name",
            json!(CONNECTIONS),
            json!("x"),
        ),
    ]
}

fn of_others() -> Vec<Row> {
    vec![
        ("CLUSTER", cluster(), "cluster.name", json!("outbound|80|v1|a.example"), json!("x")),
        ("CLUSTER", cluster(), "cluster.portNumber", json!(80), json!(81)),
        ("CLUSTER", cluster(), "cluster.subset", json!("v1"), json!("v2")),
        ("CLUSTER", cluster(), "cluster.service", json!("a.example"), json!("b.example")),
        (
            "ROUTE_CONFIGURATION",
            routes(),
            "routeConfiguration.name",
            json!("https.443.web.gate.here"),
            json!("x"),
        ),
        ("ROUTE_CONFIGURATION", routes(), "routeConfiguration.portNumber", json!(443), json!(80)),
        ("ROUTE_CONFIGURATION", routes(), "routeConfiguration.portName", json!("web"), json!("x")),
        (
            "ROUTE_CONFIGURATION",
            routes(),
            "routeConfiguration.gateway",
            json!("here/gate"),
            json!("x/y"),
        ),
        ("VIRTUAL_HOST", routes(), "routeConfiguration.vhost.name", json!("host"), json!("x")),
        (
            "VIRTUAL_HOST",
            routes(),
            "routeConfiguration.vhost.domainName",
            json!("a.example"),
            json!("x"),
        ),
        ("HTTP_ROUTE", routes(), "routeConfiguration.vhost.route.name", json!("route"), json!("x")),
        (
            "HTTP_ROUTE",
            routes(),
            "routeConfiguration.vhost.route.action",
            json!("ROUTE"),
            json!("REDIRECT"),
        ),
    ]
}

#[test]
fn every_condition_counts() {
    for (to, of, path, right, wrong) in of_listeners().into_iter().chain(of_others()) {
        let gateway = matches!(of.0, Resources::Routes);
        assert!(applies(&of, to, &at(path, &right), gateway), "{path}: {right}");
        assert!(!applies(&of, to, &at(path, &wrong), gateway), "{path}: {wrong}");
    }
    let inner = |name: &str| json!({"listener": {"filterChain": {"filter": {"name": CONNECTIONS, "subFilter": {"name": name}}}}});
    assert!(applies(&listener(), "HTTP_FILTER", &inner("inner"), false));
    assert!(!applies(&listener(), "HTTP_FILTER", &inner("other"), false));
}

/// Of the Gateway API's gateways, whose pods carry their name.
#[test]
fn targets_are_gateways_by_name() {
    let selects = |reference: &Value, namespace: &str, label: &str| {
        let object = json!({"apiVersion": "networking.istio.io/v1alpha3", "kind": "EnvoyFilter",
            "metadata": {"name": "it", "namespace": namespace},
            "spec": {"targetRefs": [reference], "configPatches": [
                {"applyTo": "CLUSTER", "patch": {"operation": "REMOVE"}}]}});
        let mut store = Store::new("cluster.local", "istio-system");
        store.apply(api::Kind::EnvoyFilter, &object);
        let name = ("gateway.networking.k8s.io/gateway-name".to_owned(), label.to_owned());
        let labels = [name].into();
        let target = Target { namespace: "default".into(), labels, ..Target::default() };
        let world = store.snapshot();
        Patcher::default().select(&world.envoy_filters, "istio-system", &target).is_some()
    };
    let of = |kind: &str, name: &str| json!({"group": "gateway.networking.k8s.io", "kind": kind, "name": name});
    assert!(selects(&of("Gateway", "gate"), "default", "gate"));
    assert!(!selects(&of("Gateway", "gate"), "default", "other"));
    assert!(!selects(&of("Service", "gate"), "default", "gate"));
    assert!(!selects(&of("Gateway", "gate"), "istio-system", "gate"));
}
