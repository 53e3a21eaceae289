//! Who is served which patch, where several kinds of proxies have one planner.

use super::super::plan::{Credentials, Planner};
use crate::settle::Settle;
use crate::world::{Loader, World, resource_of};
use base::Instant;
use compile::Proxy;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use xds::server::{Desired, Layer};

fn apply(loader: &mut Loader, kind: api::Kind, object: Value) {
    loader.take(k8s::Change::Apply { resource: resource_of(kind), object });
}

fn loader(filters: &[Value]) -> Loader {
    let mut loader = Loader::new("cluster.local", "istio-system", &[]);
    let mut apply = |kind, object: Value| apply(&mut loader, kind, object);
    let service = json!({"metadata": {"name": "a", "namespace": "shop"}, "spec": {
        "clusterIP": "10.96.0.9", "ports": [{"name": "http", "port": 80}]}});
    apply(api::Kind::Service, service);
    let named = |spec: Value| json!({"metadata": {"name": "a", "namespace": "shop"}, "spec": spec});
    let port = json!({"number": 80, "name": "http", "protocol": "HTTP"});
    let servers = json!([{"port": port, "hosts": ["*"]}]);
    apply(api::Kind::Gateway, named(json!({"selector": {}, "servers": servers})));
    let to = json!([{"route": [{"destination": {"host": "a"}}]}]);
    apply(api::Kind::VirtualService, named(json!({"hosts": ["*"], "gateways": ["a"], "http": to})));
    for (at, patches) in filters.iter().enumerate() {
        let metadata = json!({"name": format!("f{at}"), "namespace": "istio-system"});
        let object = json!({"metadata": metadata, "spec": {"configPatches": patches}});
        apply(api::Kind::EnvoyFilter, object);
    }
    loader
}

/// Sets the connect timeout of all clusters.
fn timeout(seconds: u32, when: Value) -> Value {
    json!({"applyTo": "CLUSTER", "match": when,
        "patch": {"operation": "MERGE", "value": {"connect_timeout": format!("{seconds}s")}}})
}

fn proxy(kind: &str, metadata: Value) -> Proxy {
    let id = format!("{kind}~10.0.0.1~a-1.shop~shop.svc.cluster.local");
    Proxy::parse(&id, &metadata).unwrap()
}

fn plan(planner: &Planner, world: &World, proxy: &Proxy) -> Arc<Desired> {
    let (mut settle, now) = (Settle::default(), Instant::default());
    let none = Credentials::None;
    planner.plan(world, proxy, none, &mut settle, Duration::ZERO, now).resources
}

/// The seconds of the service's cluster, as it is served.
fn seconds(planner: &Planner, world: &World, proxy: &Proxy) -> u64 {
    let desired = plan(planner, world, proxy);
    let key = ir::ResourceKey::new(ir::Kind::Cluster, "outbound|80||a.shop.svc.cluster.local");
    let bytes = &desired.get(&key).expect("the cluster").bytes;
    let of = xds::type_url_of(ir::Kind::Cluster);
    let Ok((ir::Resource::Cluster(cluster), _)) = xds::decode(&of, bytes) else {
        panic!("a cluster")
    };
    cluster.connect_timeout.unwrap_or_default().as_secs()
}

/// The cluster is the same for all of them; whoever comes first does not decide for the others.
#[test]
fn each_proxy_is_served_the_patches_that_are_for_it() {
    let patches = json!([
        timeout(1, json!({"context": "GATEWAY"})),
        timeout(2, json!({"context": "SIDECAR_OUTBOUND"})),
        timeout(3, json!({"proxy": {"proxyVersion": "^1\\.9.*"}})),
        timeout(4, json!({"proxy": {"metadata": {"TIER": "slow"}}})),
    ]);
    let world = loader(&[patches]).world();
    let proxies = [
        (proxy("sidecar", json!({"ISTIO_VERSION": "1.28.0"})), 2),
        (proxy("router", json!({"ISTIO_VERSION": "1.28.0"})), 1),
        (proxy("sidecar", json!({"ISTIO_VERSION": "1.9.1"})), 3),
        (proxy("sidecar", json!({"ISTIO_VERSION": "1.28.0", "TIER": "slow"})), 4),
    ];
    for first in 0..proxies.len() {
        let planner = Planner::default();
        for (proxy, wanted) in proxies[first..].iter().chain(&proxies[..first]) {
            assert_eq!(seconds(&planner, &world, proxy), *wanted, "{proxy:?}");
        }
    }
}

fn service(name: &str, port: u16) -> Value {
    json!({"metadata": {"name": name, "namespace": "shop"}, "spec": {
        "clusterIP": "10.96.0.10", "ports": [{"name": "http", "port": port}]}})
}

/// What is alike stays alike when it is patched: proxies have it in common, and so have two worlds.
#[test]
fn what_is_patched_is_shared_like_what_is_not() {
    let mut loader = loader(&[json!([timeout(2, json!({}))])]);
    let planner = Planner::default();
    let metadata = json!({"ISTIO_VERSION": "1.28.0"});
    let (one, other) = (proxy("sidecar", metadata.clone()), {
        let id = "sidecar~10.0.0.2~b-1.shop~shop.svc.cluster.local";
        Proxy::parse(id, &metadata).unwrap()
    });
    let world = loader.world();
    let before = plan(&planner, &world, &one);
    assert!(Arc::ptr_eq(&before, &plan(&planner, &world, &other)), "both are alike");

    apply(&mut loader, api::Kind::Service, service("b", 81));
    let world = loader.world();
    let after = plan(&planner, &world, &one);
    assert!(Arc::ptr_eq(&after, &plan(&planner, &world, &other)), "and stay so");
    let cluster = |desired: &Desired, name: &str| {
        let name = format!("outbound|{name}.shop.svc.cluster.local");
        let found = desired.get(&ir::ResourceKey::new(ir::Kind::Cluster, name.as_str()));
        found.expect("a cluster").bytes.clone()
    };
    let kept = (cluster(&before, "80||a"), cluster(&after, "80||a"));
    assert_eq!(kept.0.as_ptr(), kept.1.as_ptr(), "what is the same is not patched again");

    // Endpoints are not patched, and what is patched does not change with them.
    let slice = json!({"metadata": {"name": "a-1", "namespace": "shop",
            "labels": {"kubernetes.io/service-name": "a"}},
        "addressType": "IPv4", "ports": [{"name": "http", "port": 80}],
        "endpoints": [{"addresses": ["10.0.0.9"]}]});
    apply(&mut loader, api::Kind::EndpointSlice, slice);
    let later = plan(&planner, &loader.world(), &one);
    let is_new = |l: &&Arc<Layer>| !after.layers().iter().any(|known| Arc::ptr_eq(known, l));
    let new: Vec<&Arc<Layer>> = later.layers().iter().filter(is_new).collect();
    let [of_endpoints] = new[..] else { panic!("{} layers are new", new.len()) };
    assert!(of_endpoints.keys().all(|k| k.kind == ir::Kind::Endpoints));
}

/// A patch with something that our proxy cannot do, which adds a cluster of this name.
fn adding(name: &str) -> Value {
    json!({"applyTo": "CLUSTER", "patch": {"operation": "ADD", "value": {"name": name,
        "type": "STATIC", "connection_pool_per_downstream_connection": true}}})
}

#[test]
fn what_is_added_is_told_of_only_where_it_is_served() {
    let there = "outbound|80||a.shop.svc.cluster.local";
    for (name, served) in [(there, false), ("mine", true)] {
        let world = loader(&[json!([adding(name), adding(name)])]).world();
        let (mut settle, now) = (Settle::default(), Instant::default());
        let (planner, proxy) = (Planner::default(), proxy("sidecar", json!({})));
        let none = Credentials::None;
        let plan = planner.plan(&world, &proxy, none, &mut settle, Duration::ZERO, now);
        let said = plan.findings.iter().filter(|f| f.message.contains("cannot carry this out"));
        assert_eq!(said.count(), usize::from(served), "{name}: {:?}", plan.findings);
        let key = ir::ResourceKey::new(ir::Kind::Cluster, name);
        let own = plan.resources.get(&key).expect("the cluster");
        let decoded = xds::decode(&xds::type_url_of(ir::Kind::Cluster), &own.bytes);
        assert_eq!(decoded.is_err(), served, "{name}: what is there already stays");
    }
}

/// The labels of a pod may change after its proxy has connected.
#[test]
fn the_labels_of_the_pod_count_and_not_those_of_its_start() {
    let mut loader = loader(&[]);
    let object = json!({"metadata": {"name": "f", "namespace": "shop"}, "spec": {
        "workloadSelector": {"labels": {"tier": "slow"}}, "configPatches": [timeout(7, json!({}))]}});
    apply(&mut loader, api::Kind::EnvoyFilter, object);
    let (planner, proxy) = (Planner::default(), proxy("sidecar", json!({})));
    for (tier, wanted) in [("fast", 10), ("slow", 7), ("fast", 10)] {
        let pod = json!({"metadata": {"name": "a-1", "namespace": "shop", "labels": {"tier": tier}},
            "spec": {}, "status": {"phase": "Running", "podIP": "10.0.0.1",
                "podIPs": [{"ip": "10.0.0.1"}]}});
        apply(&mut loader, api::Kind::Pod, pod);
        assert_eq!(seconds(&planner, &loader.world(), &proxy), wanted, "{tier}");
    }
}
