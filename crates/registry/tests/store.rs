//! What a change touches, and that a snapshot made from changes equals one made from scratch.

use api::Kind;
use registry::{Change, Closeness, Snapshot, Store};
use serde_json::{Value, json};
use std::sync::Arc;

fn store() -> Store {
    Store::new("cluster.local", "istio-system")
}

fn service(name: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "default"}, "spec": {
        "clusterIP": "10.0.0.1", "selector": {"app": name},
        "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}})
}

fn slice(service: &str, ips: &[&str]) -> Value {
    let endpoints: Vec<Value> = ips.iter().map(|ip| json!({"addresses": [ip]})).collect();
    json!({"metadata": {"name": format!("{service}-x"), "namespace": "default",
            "labels": {"kubernetes.io/service-name": service}},
        "endpoints": endpoints, "ports": [{"name": "http", "port": 8080}]})
}

fn pod(ip: &str, version: &str) -> Value {
    json!({"metadata": {"name": format!("pod-{ip}"), "namespace": "default",
            "labels": {"app": "a", "version": version}},
        "status": {"phase": "Running", "podIP": ip,
            "conditions": [{"type": "Ready", "status": "True"}]}})
}

/// Everything that a reader can see of the endpoints, in order.
fn endpoints(snapshot: &Snapshot) -> Vec<String> {
    let mut all: Vec<String> = snapshot
        .endpoints
        .iter()
        .flat_map(|(key, e)| e.instances.iter().map(move |i| format!("{} {i:?}", key.host)))
        .collect();
    all.sort();
    all
}

#[test]
fn a_change_that_nobody_could_notice_is_nothing() {
    let mut store = store();
    assert_eq!(store.apply(Kind::Service, &service("a")).change, Change::Configuration);
    let mut again = service("a");
    again["metadata"]["resourceVersion"] = "7".into();
    again["status"] = json!({"loadBalancer": {}});
    assert_eq!(store.apply(Kind::Service, &again).change, Change::Nothing);
    assert_eq!(
        store.apply(Kind::EndpointSlice, &slice("a", &["10.1.0.1"])).change,
        Change::Endpoints
    );
    assert_eq!(
        store.apply(Kind::EndpointSlice, &slice("a", &["10.1.0.1"])).change,
        Change::Nothing
    );
    assert_eq!(store.apply(Kind::Pod, &pod("10.1.0.1", "v1")).change, Change::Endpoints);
    assert_eq!(store.apply(Kind::Pod, &pod("10.1.0.1", "v1")).change, Change::Nothing);
    assert_eq!(store.delete(Kind::Service, "default", "other"), Change::Nothing);
    assert_eq!(store.delete(Kind::Service, "default", "a"), Change::Configuration);
}

#[test]
fn an_annotation_alone_is_a_change() {
    let mut store = store();
    let entry = |annotations: Value| {
        json!({"metadata": {"name": "a", "namespace": "default", "annotations": annotations},
            "spec": {"hosts": ["a.example"], "resolution": "STATIC",
                "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}]}})
    };
    let close = json!({"networking.istio.io/traffic-distribution": "PreferClose"});
    let closeness =
        |store: &mut Store| store.snapshot().services.iter().next().map(|s| s.closeness);
    store.apply(Kind::ServiceEntry, &entry(json!({})));
    assert_eq!(closeness(&mut store), Some(Closeness::Any));
    let changed = store.apply(Kind::ServiceEntry, &entry(close.clone()));
    assert_eq!(
        (changed.change, closeness(&mut store)),
        (Change::Configuration, Some(Closeness::SameZone))
    );
    assert_eq!(store.apply(Kind::ServiceEntry, &entry(close)).change, Change::Nothing);
}

#[test]
fn an_object_that_cannot_be_read_changes_nothing_and_says_why() {
    let mut store = store();
    let rule = |weight: Value| {
        json!({"metadata": {"name": "a", "namespace": "default"}, "spec": {"hosts": ["a"],
            "http": [{"route": [{"destination": {"host": "a"}, "weight": weight}]}]}})
    };
    store.apply(Kind::VirtualService, &rule(1.into()));
    let before = store.snapshot();
    let refused = store.apply(Kind::VirtualService, &rule("heavy".into()));
    assert_eq!(refused.change, Change::Nothing);
    let about = refused.findings[0].object.as_ref().map(ToString::to_string);
    assert_eq!(about.as_deref(), Some("VirtualService default/a"));
    assert!(Arc::ptr_eq(&before, &store.snapshot()));
}

#[test]
fn what_did_not_change_is_shared() {
    let mut store = store();
    store.apply(Kind::Service, &service("a"));
    store.apply(Kind::Service, &service("b"));
    store.apply(Kind::EndpointSlice, &slice("a", &["10.1.0.1"]));
    store.apply(Kind::EndpointSlice, &slice("b", &["10.1.0.2"]));
    let one = store.snapshot();
    store.apply(Kind::EndpointSlice, &slice("a", &["10.1.0.1", "10.1.0.3"]));
    let two = store.snapshot();
    assert!(Arc::ptr_eq(&one.services, &two.services));
    let of = |s: &Snapshot, name: &str| {
        let found = s.endpoints.iter().find(|(k, _)| k.host.as_str().starts_with(name));
        found.map(|(_, e)| e.clone()).expect("endpoints")
    };
    assert!(Arc::ptr_eq(&of(&one, "b."), &of(&two, "b.")));
    assert!(!Arc::ptr_eq(&of(&one, "a."), &of(&two, "a.")));
    assert!(of(&two, "a.").version > of(&one, "a.").version);
}

/// Any order of changes leads to the same world as the objects alone: nothing depends on history.
#[test]
fn a_snapshot_is_a_function_of_the_objects_alone() {
    let mut seed = 11u64;
    let mut random = move |below: usize| {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (seed >> 33) as usize % below
    };
    let names = ["a", "b", "c"];
    let ips = ["10.1.0.1", "10.1.0.2", "10.1.0.3"];
    let mut store = store();
    let mut objects: std::collections::BTreeMap<(Kind, String), Value> = Default::default();
    for step in 0..400 {
        let (name, ip) = (names[random(3)], ips[random(3)]);
        let some: Vec<&str> = ips.into_iter().filter(|_| random(2) == 0).collect();
        let version = ["v1", "v2"][random(2)];
        let (kind, object) = match random(5) {
            0 => (Kind::Service, service(name)),
            1 => (Kind::EndpointSlice, slice(name, &some)),
            2 => (Kind::Pod, pod(ip, version)),
            _ => (
                Kind::ServiceEntry,
                json!({"metadata": {"name": name, "namespace": "default"},
                "spec": {"hosts": [format!("{name}.example")], "resolution": "STATIC",
                    "ports": [{"name": "http", "number": 80}],
                    "workloadSelector": {"labels": {"app": "a", "version": version}}}}),
            ),
        };
        let key = (kind, object["metadata"]["name"].as_str().unwrap().to_owned());
        if random(3) == 0 {
            store.delete(kind, "default", &key.1);
            objects.remove(&key);
        } else {
            store.apply(kind, &object);
            objects.insert(key, object);
        }
        if random(3) > 0 {
            continue;
        }
        let mut fresh = self::store();
        for ((kind, _), object) in &objects {
            fresh.apply(*kind, object);
        }
        assert_eq!(endpoints(&store.snapshot()), endpoints(&fresh.snapshot()), "step {step}");
    }
}

#[test]
fn a_service_selects_machines_as_it_selects_pods() {
    let mut store = store();
    store.apply(Kind::Service, &service("a"));
    store.apply(Kind::EndpointSlice, &slice("a", &["10.1.0.1"]));
    let machine = json!({"metadata": {"name": "vm", "namespace": "default"},
        "spec": {"address": "192.0.2.7", "labels": {"app": "a"}, "ports": {"http": 9000}}});
    store.snapshot();
    store.apply(Kind::WorkloadEntry, &machine);
    let snapshot = store.snapshot();
    let all: Vec<u16> =
        snapshot.endpoints.iter().flat_map(|(_, e)| &e.instances).map(|i| i.port).collect();
    assert_eq!(all, [8080, 9000]);
}

/// Of the workload's own namespace and of the root; by labels; by name only gateways.
#[test]
fn authorization_policies_are_about_the_workloads_that_they_select() {
    let mut store = store();
    let mut policy = |namespace: &str, name: &str, spec: Value| {
        let metadata = json!({"name": name, "namespace": namespace});
        store.apply(Kind::AuthorizationPolicy, &json!({"metadata": metadata, "spec": spec}));
    };
    let app = json!({"selector": {"matchLabels": {"app": "a"}}});
    let target = json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "gw"});
    policy("istio-system", "mesh", json!({}));
    policy("istio-system", "mesh-a", app.clone());
    policy("default", "all", json!({}));
    policy("default", "only-a", app);
    policy("default", "only-gw", json!({ "targetRefs": [target] }));
    policy("other", "others", json!({}));
    let snapshot = store.snapshot();
    let of = |namespace: &str, key: &str, value: &str| -> Vec<String> {
        let labels = [(key.to_owned(), value.to_owned())].into();
        let all = snapshot.authorization_policies.of_workload(namespace, &labels);
        all.iter().map(|p| p.name().to_owned()).collect()
    };
    assert_eq!(of("default", "app", "a"), ["mesh", "mesh-a", "all", "only-a"]);
    assert_eq!(of("default", "app", "b"), ["mesh", "all"]);
    assert_eq!(of("other", "app", "a"), ["mesh", "mesh-a", "others"]);
    assert_eq!(of("istio-system", "app", "b"), ["mesh"]);
    let gateway = "gateway.networking.k8s.io/gateway-name";
    assert_eq!(of("default", gateway, "gw"), ["mesh", "all", "only-gw"]);
    let before = snapshot.authorization_policies.clone();
    store.apply(Kind::Service, &service("x"));
    assert!(Arc::ptr_eq(&before, &store.snapshot().authorization_policies));
}
