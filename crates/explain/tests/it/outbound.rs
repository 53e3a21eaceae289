//! What is told about requests of a sidecar: each row a request and lines that its explanation holds.

use super::support;
use explain::{Explanation, Side};
use registry::Snapshot;
use std::sync::Arc;

const WORLD: &str = "
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: default}
spec:
  clusterIP: 10.96.0.4
  selector: {app: reviews}
  ports: [{name: http, port: 9080}]
---
apiVersion: v1
kind: Service
metadata: {name: ratings, namespace: default}
spec:
  clusterIP: 10.96.0.5
  ports: [{name: tcp, port: 3306}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: reviews-1, namespace: default, labels: {kubernetes.io/service-name: reviews}}
addressType: IPv4
ports: [{name: http, port: 9080}]
endpoints:
- {addresses: [10.1.0.1], conditions: {ready: true}}
- {addresses: [10.1.0.2], conditions: {ready: true}}
---
apiVersion: v1
kind: Pod
metadata: {name: reviews-v1, namespace: default, labels: {app: reviews, version: v1}}
status: {phase: Running, podIP: 10.1.0.1}
---
apiVersion: v1
kind: Pod
metadata: {name: reviews-v2, namespace: default, labels: {app: reviews, version: v2}}
status: {phase: Running, podIP: 10.1.0.2}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews, namespace: default}
spec:
  host: reviews
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: default}
spec:
  hosts: [reviews]
  http:
  - match:
    - uri: {prefix: /reviews}
      headers: {end-user: {exact: jason}}
    timeout: 2s
    route:
    - destination: {host: reviews, subset: v2}
  - match:
    - uri: {prefix: /old}
    redirect: {uri: /new}
  - match:
    - uri: {prefix: /reviews}
    route:
    - {destination: {host: reviews, subset: v1}, weight: 75}
    - {destination: {host: reviews, subset: v2}, weight: 25}
  - match:
    - uri: {prefix: /gone}
    directResponse: {status: 410}
  - match:
    - uri: {prefix: /lost}
    route:
    - destination: {host: reviews, subset: v9}
";

fn world() -> Arc<Snapshot> {
    support::world(WORLD)
}

fn ask(world: &Snapshot, url: &str, headers: &[&str]) -> Explanation {
    support::ask(world, Side::Client(support::workload("default", &[])), "GET", url, headers)
}

#[test]
fn requests_are_traced_to_the_field_that_routes_them() {
    let world = world();
    let rows: [(&str, &[&str], &[&str]); 7] = [
        (
            "http://reviews:9080/reviews/1",
            &["end-user: jason"],
            &[
                "destination   reviews.default.svc.cluster.local at 10.96.0.4   Service default/reviews",
                "VirtualService default/reviews spec.http[0]",
                "cluster       outbound|9080|v2|reviews.default.svc.cluster.local",
                "  endpoint    10.1.0.2:9080 reviews-v2.default weight 1",
                "timeout       2s   VirtualService default/reviews spec.http[0].timeout",
            ],
        ),
        (
            "http://reviews.default:9080/reviews/1",
            &[],
            &[
                "header end-user is not exact \"jason\" (it is absent)   VirtualService default/reviews spec.http[0]",
                "VirtualService default/reviews spec.http[2]",
                "outbound|9080|v1|reviews.default.svc.cluster.local 75%",
                "outbound|9080|v2|reviews.default.svc.cluster.local 25%",
            ],
        ),
        (
            "http://reviews:9080/old/x",
            &[],
            &["verdict       301 to http://reviews:9080/new", "spec.http[1]"],
        ),
        ("http://reviews:9080/gone", &[], &["verdict       410: the route answers directly"]),
        (
            "http://reviews:9080/lost",
            &[],
            &[
                "verdict       503: nothing defines cluster outbound|9080|v9|",
                "DestinationRule default/reviews for reviews.default.svc.cluster.local has no subset v9, but v1, v2",
            ],
        ),
        ("http://reviews:9080/", &[], &["verdict       404: no route matches", "nearest miss  "]),
        ("http://ratings:3306/", &[], &["forwarded as bytes", "outbound|3306||ratings"]),
    ];
    for (url, headers, lines) in rows {
        support::says(&ask(&world, url, headers), lines);
    }
}

#[test]
fn what_nobody_describes_passes_through() {
    let told = ask(&world(), "http://www.example.com/", &[]);
    assert_eq!(told.verdict.picks()[0].cluster.name, "PassthroughCluster");
    assert!(told.text(|_| None).contains("are passed through (ALLOW_ANY)"));
}

#[test]
fn the_nearest_miss_is_a_route_of_the_same_path() {
    let told = ask(&world(), "http://reviews:9080/reviews/1", &[]);
    let miss = told.nearest_miss().unwrap();
    assert!(miss.because.starts_with("header end-user"), "{}", miss.because);
    let place = |o: &base::Origin| Some(format!("a.yaml:{}", o.path.len()));
    let json = told.json(place);
    assert_eq!(json["skipped"][0]["near"], true);
    assert_eq!(json["route"]["object"], "VirtualService default/reviews");
    assert!(json["route"]["reference"].as_str().unwrap().starts_with("a.yaml:"));
    assert_eq!(json["verdict"]["picks"][0]["percent"], 75.0);
}
