//! Where clients and endpoints stand, from nodes, labels and entries of machines to the endpoint that
//! a request goes to: what is compiled is given to the balancer that the proxy runs.

mod support;

use balance::{Outcome, Picker, Want};
use base::FixedEnv;
use compile::{Compiled, Proxy, compile};
use ir::{Cluster, Endpoints, LocalityMode};
use registry::Store;
use std::collections::BTreeMap;
use std::sync::Arc;
use support::{apply, sidecar, store};

const NODES: [(&str, &str, &str); 4] =
    [("n1", "eu", "a"), ("n2", "eu", "b"), ("n3", "us", "c"), ("n4", "asia", "d")];

fn node(name: &str, region: &str, zone: &str) -> String {
    format!(
        "apiVersion: v1
kind: Node
metadata:
  name: {name}
  labels: {{topology.kubernetes.io/region: {region}, topology.kubernetes.io/zone: {zone}}}
---
"
    )
}

fn pod(name: &str, node: &str, ip: &str, labels: &str) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: default, labels: {{{labels}}}}}
spec: {{nodeName: {node}}}
status: {{phase: Running, podIP: {ip}, conditions: [{{type: Ready, status: 'True'}}]}}
---
"
    )
}

fn service(more: &str) -> String {
    format!(
        "apiVersion: v1
kind: Service
metadata: {{name: web, namespace: default}}
spec: {{clusterIP: 10.96.0.1, ports: [{{name: http, port: 80}}], selector: {{app: web}}{more}}}
---
"
    )
}

fn rule(policy: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: web, namespace: default}}
spec: {{host: web, trafficPolicy: {{{policy}}}}}
---
"
    )
}

/// Four nodes with a pod of the service `web` on each: 10.1.0.1 to 10.1.0.4.
fn world() -> Store {
    let mut store = store();
    for (at, (name, region, zone)) in NODES.into_iter().enumerate() {
        apply(&mut store, &node(name, region, zone));
        let (pod_name, ip) = (format!("web-{at}"), format!("10.1.0.{}", at + 1));
        apply(&mut store, &pod(&pod_name, name, &ip, "app: web"));
    }
    apply(&mut store, &service(""));
    let ips: Vec<String> = (1..=4).map(|n| format!("10.1.0.{n}")).collect();
    let ips: Vec<(&str, bool)> = ips.iter().map(|ip| (ip.as_str(), true)).collect();
    support::slice(&mut store, "default", "web", ("http", 80), &ips);
    apply(&mut store, &pod("client", "n1", "10.1.0.99", "app: client"));
    store
}

fn client() -> Proxy {
    sidecar("default", "client", "v1", "10.1.0.99")
}

fn web(c: &Compiled) -> (&Cluster, Arc<Endpoints>) {
    let name = "outbound|80||web.default.svc.cluster.local";
    let cluster = c.config.clusters.iter().find(|c| &*c.name == name).expect("a cluster");
    let endpoints = c.config.endpoints.iter().find(|e| &*e.cluster == name).expect("endpoints");
    (cluster, endpoints.clone())
}

/// How many of a thousand requests go to which endpoint (by the last part of its address), when
/// those named are failing.
fn shares(store: &mut Store, client: &Proxy, failing: &[&str]) -> BTreeMap<String, u32> {
    let c = compile(&store.snapshot(), client);
    let (cluster, endpoints) = web(&c);
    let env = FixedEnv::seeded(7);
    let mut picker = Picker::new(cluster, endpoints, &env);
    let last = |picker: &Picker, id| {
        let address = picker.endpoint(id).expect("an endpoint").address.to_string();
        let host = address.split(':').next().unwrap_or_default().to_owned();
        host.rsplit('.').next().unwrap_or_default().to_owned()
    };
    let fails = |id: &_| failing.contains(&last(&picker, *id).as_str());
    let ids: Vec<_> = picker.iter().map(|(id, ..)| id).filter(fails).collect();
    for id in ids {
        for _ in 0..5 {
            picker.report(id, Outcome::Status(503), &env);
        }
    }
    let mut seen = BTreeMap::new();
    for _ in 0..1000 {
        if let Some(id) = picker.pick(&Want::default(), &env) {
            *seen.entry(last(&picker, id)).or_default() += 1;
        }
    }
    seen
}

fn went(seen: &BTreeMap<String, u32>) -> String {
    seen.keys().cloned().collect::<Vec<_>>().join(" ")
}

const DETECTS: &str = "outlierDetection: {maxEjectionPercent: 100}";

#[test]
fn requests_stay_near_and_go_further_as_endpoints_fail() {
    let mut store = world();
    let went = |store: &mut Store, failing: &[&str]| went(&shares(store, &client(), failing));
    assert_eq!(went(&mut store, &[]), "1 2 3 4", "without outlier detection all are alike");
    apply(&mut store, &rule(DETECTS));
    assert_eq!(went(&mut store, &[]), "1");
    assert_eq!(went(&mut store, &["1"]), "2", "the other zone of the region");
    assert_eq!(went(&mut store, &["1", "2"]), "3 4", "the other regions");
    let stands_in = format!(
        "{DETECTS}, loadBalancer: {{localityLbSetting: {{failover: [{{from: eu, to: asia}}]}}}}"
    );
    apply(&mut store, &rule(&stands_in));
    assert_eq!(went(&mut store, &["1", "2"]), "4");
    assert_eq!(went(&mut store, &["1", "2", "4"]), "3");
    assert_eq!(went(&mut store, &["1", "2", "3", "4"]), "", "no panic unless asked for");
    let off = format!("{DETECTS}, loadBalancer: {{localityLbSetting: {{enabled: false}}}}");
    apply(&mut store, &rule(&off));
    assert_eq!(went(&mut store, &[]), "1 2 3 4");
}

#[test]
fn below_the_health_percentage_that_is_asked_for_all_are_used() {
    let mut store = world();
    let panics = "outlierDetection: {maxEjectionPercent: 100, minHealthPercent: 60}, \
                  loadBalancer: {localityLbSetting: {enabled: false}}";
    apply(&mut store, &rule(panics));
    assert_eq!(went(&shares(&mut store, &client(), &["1"])), "2 3 4");
    assert_eq!(went(&shares(&mut store, &client(), &["1", "2"])), "1 2 3 4");
}

#[test]
fn shares_by_locality() {
    let mut store = world();
    let lb = "loadBalancer: {localityLbSetting: {distribute: [\
              {from: eu/a, to: {eu/a: 70, eu/b: 20, us/*: 10}}, {from: us/*, to: {'asia/*': 100}}]}}";
    apply(&mut store, &rule(lb));
    let c = compile(&store.snapshot(), &client());
    assert_eq!(web(&c).0.lb_common.locality, LocalityMode::Weighted);
    let seen = shares(&mut store, &client(), &[]);
    let expected = [("1", 700), ("2", 200), ("3", 100)].map(|(e, n)| (e.to_owned(), n));
    assert_eq!(seen, expected.into());
    let elsewhere = client().standing_at("us", "c", "");
    assert_eq!(went(&shares(&mut store, &elsewhere, &[])), "4");
}

/// A pod's own label counts before its node's, and a proxy's word about itself before both.
#[test]
fn where_a_client_stands() {
    let mut store = world();
    apply(&mut store, &rule(DETECTS));
    let went = |store: &mut Store, p: &Proxy| went(&shares(store, p, &[]));
    assert_eq!(went(&mut store, &client()), "1");
    let labels = "app: client, istio-locality: us.c";
    apply(&mut store, &pod("client", "n1", "10.1.0.99", labels));
    assert_eq!(went(&mut store, &client()), "3");
    assert_eq!(went(&mut store, &client().standing_at("eu", "b", "")), "2");
    // A node that moves takes its pods along.
    apply(&mut store, &pod("client", "n1", "10.1.0.99", "app: client"));
    apply(&mut store, &node("n1", "asia", "d"));
    assert_eq!(went(&mut store, &client()), "1 4");
}

#[test]
fn machines_stand_where_their_entries_say() {
    let mut store = world();
    for (name, ip, locality) in [("m1", "10.2.0.7", "eu/a"), ("m2", "10.2.0.8", "us/c/rack-1")] {
        let entry = format!(
            "apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: {name}, namespace: default}}
spec: {{address: {ip}, labels: {{app: web}}, locality: {locality}}}
"
        );
        apply(&mut store, &entry);
    }
    apply(&mut store, &rule(DETECTS));
    assert_eq!(went(&shares(&mut store, &client(), &[])), "1 7");
    let rack = client().standing_at("us", "c", "rack-1");
    assert_eq!(went(&shares(&mut store, &rack, &[])), "8");
    assert_eq!(went(&shares(&mut store, &rack, &["8"])), "3");
}

/// `trafficDistribution`, the annotation in its place, and `internalTrafficPolicy`, of the service.
#[test]
fn the_service_may_keep_its_traffic_near() {
    let mut store = world();
    let went = |store: &mut Store| went(&shares(store, &client(), &[]));
    apply(&mut store, &service(", trafficDistribution: PreferClose"));
    assert_eq!(went(&mut store), "1");
    apply(&mut store, &service(", internalTrafficPolicy: Local"));
    assert_eq!(went(&mut store), "1");
    apply(&mut store, &service(""));
    assert_eq!(went(&mut store), "1 2 3 4");
    let annotated = service("").replace(
        "namespace: default}",
        "namespace: default, annotations: {networking.istio.io/traffic-distribution: PreferSameNode}}",
    );
    apply(&mut store, &annotated);
    assert_eq!(went(&mut store), "1");
    // Nothing serves on the client's own node: nobody else may.
    apply(&mut store, &pod("client", "n9", "10.1.0.99", "app: client"));
    apply(&mut store, &service(", internalTrafficPolicy: Local"));
    assert_eq!(went(&mut store), "");
}

#[test]
fn the_mesh_has_settings_for_all() {
    let mut store = world();
    let mesh = |text: &str| {
        format!(
            "apiVersion: v1
kind: ConfigMap
metadata: {{name: istio, namespace: istio-system}}
data: {{mesh: '{text}'}}
"
        )
    };
    let detects = "defaultTrafficPolicy: {outlierDetection: {maxEjectionPercent: 100}}";
    apply(&mut store, &mesh(&format!("{{{detects}}}")));
    assert_eq!(went(&shares(&mut store, &client(), &[])), "1");
    let failover = "localityLbSetting: {failover: [{from: eu, to: us}]}";
    apply(&mut store, &mesh(&format!("{{{detects}, {failover}}}")));
    assert_eq!(went(&shares(&mut store, &client(), &["1", "2"])), "3");
    apply(&mut store, &mesh(&format!("{{{detects}, localityLbSetting: {{enabled: false}}}}")));
    assert_eq!(went(&shares(&mut store, &client(), &[])), "1 2 3 4");
}

/// Subsets may be cut by where endpoints stand.
#[test]
fn subsets_by_topology() {
    let mut store = world();
    let subsets = "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: default}
spec:
  host: web
  subsets:
  - {name: eu, labels: {topology.kubernetes.io/region: eu}}
  - {name: here, labels: {topology.istio.io/cluster: Kubernetes, app: web, kubernetes.io/hostname: n4}}
";
    apply(&mut store, subsets);
    let c = compile(&store.snapshot(), &client());
    let of = |subset: &str| {
        let name = format!("outbound|80|{subset}|web.default.svc.cluster.local");
        let found = c.config.endpoints.iter().find(|e| *e.cluster == *name).expect("a subset");
        let all = found.groups.iter().flat_map(|g| &g.endpoints);
        all.map(|e| e.address.to_string()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(of("eu"), "10.1.0.1:80 10.1.0.2:80");
    assert_eq!(of("here"), "10.1.0.4:80");
}
