//! When nothing fits: who keeps a host away, what came nearest, what a cluster lacks.

use super::support;
use super::support::{ask, says, workload};
use explain::Side;

const SERVICES: &str = "
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: default}
spec: {clusterIP: 10.96.0.4, ports: [{name: http, port: 9080}]}
---
apiVersion: v1
kind: Service
metadata:
  name: private
  namespace: other
  annotations: {networking.istio.io/exportTo: '.'}
spec: {clusterIP: 10.96.0.5, ports: [{name: http, port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: at-gateway, namespace: default}
spec:
  hosts: [reviews]
  gateways: [edge]
  http: [{route: [{destination: {host: reviews}}]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: not-for-you, namespace: other}
spec:
  hosts: [reviews.default.svc.cluster.local]
  exportTo: ['.']
  http: [{route: [{destination: {host: reviews.default.svc.cluster.local}}]}]
";

const SIDECAR: &str = "
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: narrow, namespace: default}
spec:
  outboundTrafficPolicy: {mode: REGISTRY_ONLY}
  egress: [{hosts: ['istio-system/*']}]
";

fn client() -> Side {
    Side::Client(workload("default", &[]))
}

#[test]
fn hosts_that_are_kept_away_are_told_with_who_keeps_them() {
    let open = support::world(SERVICES);
    let narrow = support::world(&format!("{SERVICES}{SIDECAR}"));
    let url = "http://reviews:9080/";
    says(
        &ask(&narrow, client(), "GET", url, &[]),
        &[
            "reviews.default.svc.cluster.local exists, but Sidecar default/narrow does not import it",
            "Sidecar default/narrow spec.egress",
            "refused (REGISTRY_ONLY)   Sidecar default/narrow spec.outboundTrafficPolicy",
        ],
    );
    says(
        &ask(&open, client(), "GET", "http://private.other/", &[]),
        &[
            "private.other.svc.cluster.local exists, but is not exported to default   Service other/private",
        ],
    );
    says(
        &ask(&open, client(), "GET", "http://reviews:9081/", &[]),
        &["reviews.default.svc.cluster.local has no port 9081, but 9080"],
    );
    says(
        &ask(&open, client(), "GET", "http://review:9080/", &[]),
        &["no service has the host review; did you mean reviews.default.svc.cluster.local?"],
    );
}

#[test]
fn rules_that_do_not_apply_are_told_with_the_reason() {
    let world = support::world(SERVICES);
    says(
        &ask(&world, client(), "GET", "http://reviews:9080/", &[]),
        &[
            "route         default   Service default/reviews",
            "VirtualService default/at-gateway is for reviews.default.svc.cluster.local, but binds to edge, not to mesh",
            "VirtualService other/not-for-you is for reviews.default.svc.cluster.local, but is not exported to default",
            "has no endpoint: the proxy answers 503",
        ],
    );
}

#[test]
fn a_subset_without_a_rule_is_told() {
    let rule = "
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: v1, namespace: default}
spec:
  hosts: [reviews]
  http: [{route: [{destination: {host: reviews, subset: v1}}]}]
";
    let world = support::world(&format!("{SERVICES}{rule}"));
    says(
        &ask(&world, client(), "GET", "http://reviews:9080/", &[]),
        &[
            "verdict       503: nothing defines cluster outbound|9080|v1|",
            "no DestinationRule for reviews.default.svc.cluster.local is visible here, so it has no subset v1",
        ],
    );
}

#[test]
fn a_field_that_a_delegate_inherits_is_told_where_it_stands() {
    let rules = "
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: root, namespace: default, creationTimestamp: '2020-01-01T00:00:00Z'}
spec:
  hosts: [reviews]
  http:
  - match: [{uri: {prefix: /a}}]
    timeout: 3s
    delegate: {name: part}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: part, namespace: default}
spec:
  http: [{retries: {attempts: 7}, route: [{destination: {host: reviews}}]}]
";
    let world = support::world(&format!("{SERVICES}{rules}"));
    says(
        &ask(&world, client(), "GET", "http://reviews:9080/a", &[]),
        &[
            "route         number 0   VirtualService default/part spec.http[0]",
            "timeout       3s   VirtualService default/root spec.http[0].timeout",
            "retries       7 on",
            "VirtualService default/part spec.http[0].retries",
        ],
    );
}

#[test]
fn a_patch_is_named_and_not_passed_over() {
    let patch = "
---
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: limits, namespace: default}
spec:
  configPatches:
  - applyTo: HTTP_ROUTE
    match: {context: SIDECAR_OUTBOUND}
    patch: {operation: MERGE, value: {route: {timeout: 1s}}}
";
    let world = support::world(&format!("{SERVICES}{patch}"));
    says(
        &ask(&world, client(), "GET", "http://reviews:9080/", &[]),
        &[
            "EnvoyFilter default/limits patches this proxy",
            "EnvoyFilter default/limits spec.configPatches",
        ],
    );
}
