//! Bookinfo as its tutorial configures it, compiled for its sidecars and for the ingress gateway.

mod support;

use compile::{Compiled, Compiler, compile};
use ir::{Action, Destination, RouteConfig};
use std::sync::Arc;
use support::{apply, bookinfo, golden, ingress, sidecar, text};

const SUBSETS: &str = include_str!("inputs/subsets.yaml");
const GATEWAY: &str = include_str!("inputs/gateway.yaml");

fn route<'a>(compiled: &'a Compiled, name: &str) -> &'a Arc<RouteConfig> {
    let found = compiled.config.routes.iter().find(|r| &*r.name == name);
    found.unwrap_or_else(|| panic!("no route configuration {name}"))
}

fn productpage() -> compile::Proxy {
    sidecar("default", "productpage", "v1", "10.1.0.1")
}

#[test]
fn a_sidecar_of_productpage() {
    let compiled = compile(&bookinfo().snapshot(), &productpage());
    let listeners = compiled.config.listeners.iter();
    let (inbound, outbound): (Vec<_>, Vec<_>) =
        listeners.partition(|l| l.direction == ir::Direction::Inbound);
    golden("outbound/golden/listeners.txt", &text(&outbound));
    golden("inbound/golden/listener.txt", &text(&inbound));
    golden("outbound/golden/routes.txt", &text(&compiled.config.routes));
    golden("cluster/golden/bookinfo.txt", &text(&compiled.config.clusters));
    golden("cluster/golden/bookinfo-endpoints.txt", &text(&compiled.config.endpoints));
    assert!(compiled.findings.is_empty(), "{:?}", compiled.findings);
}

#[test]
fn the_ingress_gateway_listens_on_the_port_behind_its_service() {
    let mut store = bookinfo();
    apply(&mut store, GATEWAY);
    let compiled = compile(&store.snapshot(), &ingress());
    let names: Vec<&str> = compiled.config.listeners.iter().map(|l| &*l.name).collect();
    assert_eq!(names, ["0.0.0.0_8080"]);
    golden("gateway/golden/bookinfo.txt", &text(&compiled.config));
}

/// Each of the tutorial's VirtualServices for reviews, and what its route becomes.
#[test]
fn routes_of_the_tutorial() {
    let cases = [
        ("all-v1", "- {route: [{destination: {host: reviews, subset: v1}}]}"),
        (
            "test-v2",
            "- match: [{headers: {end-user: {exact: jason}}}]
  route: [{destination: {host: reviews, subset: v2}}]
- {route: [{destination: {host: reviews, subset: v1}}]}",
        ),
        (
            "50-v3",
            "- route:
  - {destination: {host: reviews, subset: v1}, weight: 50}
  - {destination: {host: reviews, subset: v3}, weight: 50}",
        ),
        (
            "delay",
            "- match: [{headers: {end-user: {exact: jason}}}]
  fault: {delay: {percentage: {value: 100.0}, fixedDelay: 7s}}
  route: [{destination: {host: reviews, subset: v1}}]
- {route: [{destination: {host: reviews, subset: v1}}]}",
        ),
        (
            "abort",
            "- match: [{headers: {end-user: {exact: jason}}}]
  fault: {abort: {percentage: {value: 100.0}, httpStatus: 500}}
  route: [{destination: {host: reviews, subset: v1}}]
- {route: [{destination: {host: reviews, subset: v1}}]}",
        ),
        (
            "timeout",
            "- {timeout: 0.5s, retries: {attempts: 3, perTryTimeout: 2s}, route: [{destination: {host: reviews, subset: v2}}]}",
        ),
        (
            "mirror",
            "- route: [{destination: {host: reviews, subset: v1}}]
  mirror: {host: reviews, subset: v2}
  mirrorPercentage: {value: 12.5}",
        ),
        (
            "rest",
            "- match: [{uri: {prefix: /old}, method: {exact: GET}, queryParams: {a: {exact: b}}}]
  redirect: {uri: /new, redirectCode: 308}
- match: [{uri: {exact: /fixed}}]
  directResponse: {status: 418, body: {string: teapot}}
- match: [{uri: {prefix: /a/}}]
  rewrite: {uri: /, authority: other.example}
  corsPolicy: {allowOrigins: [{exact: https://x.org}], allowMethods: [GET, POST], maxAge: 24h}
  headers: {request: {set: {x-a: '1'}, remove: [x-b]}, response: {add: {x-c: '2'}}}
  route:
  - destination: {host: reviews, subset: v1}
    headers: {request: {add: {x-d: '3'}}}
- {route: [{destination: {host: reviews}}]}",
        ),
    ];
    for (name, http) in cases {
        let mut store = bookinfo();
        apply(&mut store, SUBSETS);
        apply(&mut store, &virtual_service("reviews", http));
        let compiled = compile(&store.snapshot(), &productpage());
        assert!(compiled.findings.is_empty(), "{name}: {:?}", compiled.findings);
        let config = route(&compiled, "9080");
        let host = config.virtual_hosts.iter().find(|h| h.name.starts_with("reviews."));
        golden(&format!("route/golden/{name}.txt"), &text(host.expect("reviews")));
    }
}

fn virtual_service(host: &str, http: &str) -> String {
    let http = http.replace('\n', "\n  ");
    format!(
        "apiVersion: networking.istio.io/v1alpha3
kind: VirtualService
metadata: {{name: {host}}}
spec:
  hosts: [{host}]
  http:
  {http}
"
    )
}

#[test]
fn a_missing_subset_is_said_and_answered_503_until_it_comes() {
    let mut store = bookinfo();
    let http = "- {route: [{destination: {host: reviews, subset: v4}}]}";
    apply(&mut store, &virtual_service("reviews", http));
    let compiled = compile(&store.snapshot(), &productpage());
    let missing: Vec<_> =
        compiled.missing.iter().map(|m| (m.host.as_str(), m.subset.as_deref())).collect();
    assert_eq!(missing, [("reviews.default.svc.cluster.local", Some("v4"))]);
    assert_eq!(compiled.findings[0].path, "spec.http[0].route[0].destination");
    let name = "outbound|9080|v4|reviews.default.svc.cluster.local";
    assert!(!compiled.config.clusters.iter().any(|c| &*c.name == name));
    let routes = &route(&compiled, "9080").virtual_hosts;
    let reviews = routes.iter().find(|h| h.name.starts_with("reviews.")).expect("reviews");
    let Action::Forward(forward) = &reviews.routes[0].action else { panic!("not forwarded") };
    assert_eq!(forward.to, Destination::Cluster(name.into()));
}

#[test]
fn an_origin_leads_back_to_the_rule() {
    let mut store = bookinfo();
    apply(&mut store, SUBSETS);
    let http = "- {route: [{destination: {host: reviews, subset: v1}}]}";
    apply(&mut store, &virtual_service("reviews", http));
    let compiled = compile(&store.snapshot(), &productpage());
    let hosts = &route(&compiled, "9080").virtual_hosts;
    let reviews = hosts.iter().find(|h| h.name.starts_with("reviews.")).expect("reviews");
    let origin = compiled.origins.get(reviews.routes[0].origin).expect("an origin");
    assert_eq!(origin.object.to_string(), "VirtualService default/reviews");
    assert_eq!(origin.path, "spec.http[0]");
}

/// What did not change is not made anew, and proxies that are alike share it.
#[test]
fn unchanged_pieces_are_the_same() {
    let mut store = bookinfo();
    apply(&mut store, SUBSETS);
    let mut compiler = Compiler::new();
    let first = compiler.compile(&store.snapshot(), &productpage());
    let other = sidecar("default", "details", "v1", "10.1.0.2");
    let beside = compiler.compile(&store.snapshot(), &other);
    let cluster = |c: &Compiled, name: &str| {
        c.config.clusters.iter().find(|c| &*c.name == name).cloned().expect("a cluster")
    };
    let reviews = "outbound|9080|v1|reviews.default.svc.cluster.local";
    assert!(Arc::ptr_eq(&cluster(&first, reviews), &cluster(&beside, reviews)));
    assert!(Arc::ptr_eq(route(&first, "9080"), route(&beside, "9080")));

    let http = "- {route: [{destination: {host: reviews, subset: v1}}]}";
    apply(&mut store, &virtual_service("reviews", http));
    let second = compiler.compile(&store.snapshot(), &productpage());
    assert!(Arc::ptr_eq(&cluster(&first, reviews), &cluster(&second, reviews)));
    assert!(!Arc::ptr_eq(route(&first, "9080"), route(&second, "9080")));

    support::slice(&mut store, "default", "reviews", ("http", 9080), &[("10.1.0.4", true)]);
    let third = compiler.compile(&store.snapshot(), &productpage());
    assert!(Arc::ptr_eq(route(&second, "9080"), route(&third, "9080")));
    let of = |c: &Compiled, name: &str| {
        c.config.endpoints.iter().find(|e| &*e.cluster == name).cloned().expect("endpoints")
    };
    let ratings = "outbound|9080||ratings.default.svc.cluster.local";
    assert!(Arc::ptr_eq(&of(&second, ratings), &of(&third, ratings)));
    assert_eq!(of(&third, "outbound|9080|v2|reviews.default.svc.cluster.local").groups, []);
}

#[test]
fn stock_envoy_gets_nothing_that_it_does_not_know() {
    let snapshot = bookinfo().snapshot();
    let mut proxy = productpage();
    assert!(text(&compile(&snapshot, &proxy).config).contains("istio.stats"));
    proxy.stock_envoy = true;
    let config = text(&compile(&snapshot, &proxy).config);
    for name in ["istio.stats", "istio.alpn", "istio.metadata_exchange", "IstioStats"] {
        assert!(!config.contains(name), "{name}");
    }
}
