//! What an explanation costs in a mesh of 1,000 services.

use super::support;
use explain::{Side, Verdict};
use std::fmt::Write;
use std::time::Duration;

/// CPU time of this thread, as the kernel counts it.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

#[test]
fn a_thousand_services_are_explained_within_the_bound() {
    let mut yaml = String::new();
    for n in 0..1000 {
        let (high, low) = (n / 250, n % 250 + 1);
        write!(
            yaml,
            "
---
apiVersion: v1
kind: Service
metadata: {{name: s{n}, namespace: default}}
spec: {{clusterIP: 10.96.{high}.{low}, selector: {{app: s{n}}}, ports: [{{name: http, port: 80}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: s{n}-1, namespace: default, labels: {{kubernetes.io/service-name: s{n}}}}}
addressType: IPv4
ports: [{{name: http, port: 80}}]
endpoints: [{{addresses: [10.1.{high}.{low}], conditions: {{ready: true}}}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: s{n}, namespace: default}}
spec:
  hosts: [s{n}]
  http:
  - {{match: [{{uri: {{prefix: /a}}}}], redirect: {{uri: /b}}}}
  - {{timeout: 2s, route: [{{destination: {{host: s{n}}}}}]}}"
        )
        .unwrap();
    }
    let world = support::world(yaml.trim_start_matches("\n---"));
    let before = cpu();
    let client = support::workload("default", &[]);
    let told = support::ask(&world, Side::Client(client), "GET", "http://s777/", &[]);
    let text = told.text(|_| None);
    let took = cpu() - before;
    assert!(matches!(told.verdict, Verdict::Forwarded { .. }), "{text}");
    eprintln!("an explanation in a mesh of 1000 services took {took:?} of CPU");
    // What is not optimized takes several times as long.
    let bound = Duration::from_millis(if cfg!(debug_assertions) { 500 } else { 100 });
    assert!(took < bound, "{took:?}");
}
