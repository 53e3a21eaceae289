//! Who is served which patch, where several kinds of proxies have one planner.

use super::super::plan::{Credentials, Planner};
use crate::settle::Settle;
use crate::world::{Loader, World, resource_of};
use base::Instant;
use compile::Proxy;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use xds::server::Desired;

fn world(filters: &[Value]) -> World {
    let mut loader = Loader::new("cluster.local", "istio-system", &[]);
    let mut apply = |kind, object: Value| {
        loader.take(k8s::Change::Apply { resource: resource_of(kind), object });
    };
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
    loader.world()
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
    let world = world(&[patches]);
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
