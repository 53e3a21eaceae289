//! Fields of DestinationRules and VirtualServices, one by one, and the fields of the configuration
//! that they become. The larger ones are in the golden files and in the simulated cases.

mod support;

use compile::{Compiled, compile};
use ir::{Action, Cluster, Forward, HashSource, LoadBalancer, Route, SlowStart, UpstreamProtocol};
use std::sync::Arc;
use std::time::Duration;
use support::{apply, sidecar, store};

const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: a, namespace: default}
spec: {clusterIP: 10.96.0.1, ports: [{name: http, port: 80}, {name: x, port: 81}], selector: {app: a}}
---
";

fn compiled(kind: &str, spec: &str, mesh: &str) -> Compiled {
    let mut store = store();
    apply(&mut store, SERVICE);
    let object = format!(
        "apiVersion: networking.istio.io/v1
kind: {kind}
metadata: {{name: a, namespace: default}}
spec: {spec}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: istio, namespace: istio-system}}
data: {{mesh: '{mesh}'}}
"
    );
    apply(&mut store, &object);
    compile(&store.snapshot(), &sidecar("default", "client", "v1", "10.1.0.99"))
}

fn named(c: &Compiled, port: u16) -> Arc<Cluster> {
    let name = format!("outbound|{port}||a.default.svc.cluster.local");
    c.config.clusters.iter().find(|c| *c.name == *name).expect("a cluster").clone()
}

fn cluster(policy: &str) -> Arc<Cluster> {
    cluster_in(policy, "{}", 80)
}

fn cluster_in(policy: &str, mesh: &str, port: u16) -> Arc<Cluster> {
    let spec = format!("{{host: a, trafficPolicy: {policy}}}");
    named(&compiled("DestinationRule", &spec, mesh), port)
}

/// The first route of the service.
fn route(rule: &str) -> Route {
    let spec = format!("{{hosts: [a], http: [{rule}]}}");
    let c = compiled("VirtualService", &spec, "{}");
    let config = c.config.routes.iter().find(|r| &*r.name == "80").expect("routes");
    let host = config.virtual_hosts.iter().find(|h| h.name.starts_with("a.default")).expect("a");
    host.routes[0].clone()
}

fn forward(rule: &str) -> Forward {
    match route(&format!("{{route: [{{destination: {{host: a}}}}], {rule}}}")).action {
        Action::Forward(forward) => *forward,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_protocol_that_is_spoken_to_a_destination() {
    let up = "{connectionPool: {http: {h2UpgradePolicy: UPGRADE}}}";
    let not = "{connectionPool: {http: {h2UpgradePolicy: DO_NOT_UPGRADE}}}";
    let same = "{connectionPool: {http: {h2UpgradePolicy: UPGRADE, useClientProtocol: true}}}";
    let none = "{loadBalancer: {simple: RANDOM}}";
    let mesh = "{h2UpgradePolicy: UPGRADE}";
    use UpstreamProtocol::{Downstream, Http1, Http2};
    let table = [
        (none, "{}", Http1, Downstream),
        (none, mesh, Http2, Downstream),
        (up, "{}", Http2, Http2),
        (not, mesh, Http1, Downstream),
        (same, mesh, Downstream, Downstream),
    ];
    for (policy, mesh, declared, detected) in table {
        let got = [80, 81].map(|port| cluster_in(policy, mesh, port).protocol);
        assert_eq!(got, [declared, detected], "{policy} in {mesh}");
    }
}

#[test]
fn load_balancers() {
    let ring = |n| LoadBalancer::RingHash { min_size: Some(n), max_size: None };
    let slow = |aggression, percent| SlowStart {
        window: Duration::from_secs(9),
        aggression,
        min_weight_percent: percent,
    };
    let least = |slow_start| LoadBalancer::LeastRequest { choices: None, bias: None, slow_start };
    let hash =
        |more: &str| format!("{{loadBalancer: {{consistentHash: {{useSourceIp: true{more}}}}}}}");
    let warm = |text: &str| format!("{{loadBalancer: {{{text}}}}}");
    let table = [
        (warm("simple: LEAST_CONN"), least(None)),
        (warm("simple: UNSPECIFIED"), least(None)),
        (warm("simple: RANDOM"), LoadBalancer::Random),
        (warm("warmupDurationSecs: 9s"), least(Some(slow(None, None)))),
        (warm("warmup: {duration: 9s}"), least(Some(slow(Some(1.0), Some(10.0))))),
        (
            warm("warmup: {duration: 9s, minimumPercent: 30, aggression: 2}"),
            least(Some(slow(Some(2.0), Some(30.0)))),
        ),
        (hash(""), ring(1024)),
        (hash(", minimumRingSize: 99"), ring(99)),
        (hash(", ringHash: {minimumRingSize: 77}"), ring(77)),
        (hash(", maglev: {tableSize: 65537}"), LoadBalancer::Maglev { table_size: Some(65537) }),
        (hash(", maglev: {}"), LoadBalancer::Maglev { table_size: None }),
    ];
    for (policy, expected) in table {
        assert_eq!(cluster(&policy).lb, expected, "{policy}");
    }
}

#[test]
fn what_requests_are_hashed_by() {
    let table = [
        ("httpQueryParameterName: user", HashSource::Query("user".into())),
        ("httpHeaderName: X-User", HashSource::Header("x-user".into())),
        ("useSourceIp: true", HashSource::SourceIp),
    ];
    for (written, expected) in table {
        let spec = format!(
            "{{host: a, trafficPolicy: {{loadBalancer: {{consistentHash: {{{written}}}}}}}}}"
        );
        let c = compiled("DestinationRule", &spec, "{}");
        let config = c.config.routes.iter().find(|r| &*r.name == "80").expect("routes");
        let host = config.virtual_hosts.iter().find(|h| h.name.starts_with("a.default"));
        let Action::Forward(forward) = &host.expect("a").routes[0].action else { panic!() };
        assert_eq!(forward.hash[0].source, expected);
    }
}

#[test]
fn connections_and_outliers() {
    let idle = |policy: &str| cluster(policy).common.idle_timeout.map(|d| d.as_secs());
    assert_eq!(idle("{connectionPool: {tcp: {idleTimeout: 7s}}}"), Some(7));
    assert_eq!(
        idle("{connectionPool: {tcp: {idleTimeout: 7s}, http: {idleTimeout: 8s}}}"),
        Some(8)
    );
    let mesh = "{tcpKeepalive: {time: 60s}}";
    let keepalive = |policy: &str| cluster_in(policy, mesh, 80).tcp_keepalive.and_then(|k| k.time);
    assert_eq!(keepalive("{connectionPool: {tcp: {maxConnections: 1}}}"), Some(60));
    assert_eq!(keepalive("{connectionPool: {tcp: {tcpKeepalive: {time: 5s}}}}"), Some(5));
    let outliers = cluster("{outlierDetection: {consecutiveErrors: 4}}").outliers.clone();
    let outliers = outliers.expect("detection");
    assert_eq!(outliers.consecutive_gateway_failure, Some(4));
    assert_eq!(outliers.enforcing_success_rate, Some(0));
    let panic = |policy: &str| cluster(policy).lb_common.panic_threshold;
    assert_eq!(panic("{outlierDetection: {minHealthPercent: 30}}"), Some(30.0));
    assert_eq!(panic("{outlierDetection: {interval: 3s}}"), Some(0.0));
    assert_eq!(panic("{loadBalancer: {simple: RANDOM}}"), None);
    let budget = cluster("{retryBudget: {}}").breakers.retry_budget.expect("a budget");
    assert_eq!((budget.percent_milli, budget.min_concurrency), (Some(20_000), Some(3)));
}

#[test]
fn retries() {
    let of = |retries: &str| forward(&format!("retries: {retries}")).retry;
    let plain = of("{attempts: 3, perTryTimeout: 2s, backoff: 40ms}").expect("retries");
    assert_eq!((plain.num_retries, plain.avoid_previous_hosts), (Some(3), true));
    assert_eq!(plain.host_selection_max_attempts, 5);
    assert_eq!(plain.per_try_timeout, Some(Duration::from_secs(2)));
    assert_eq!(plain.backoff.map(|b| b.base), Some(Duration::from_millis(40)));
    assert_eq!(plain.previous_priorities, None);
    let again = of("{attempts: 1, retryIgnorePreviousHosts: false}").expect("retries");
    assert!(!again.avoid_previous_hosts);
    let far = of("{attempts: 1, retryRemoteLocalities: true}").expect("retries");
    assert_eq!(far.previous_priorities, Some(2));
    assert_eq!(of("{attempts: 0}"), None);
}

#[test]
fn the_rest_of_a_rule() {
    let r = route(
        "{name: r, match: [{name: m, uri: {prefix: /a}, ignoreUriCase: true, statPrefix: s}], route: [{destination: {host: a}}]}",
    );
    assert_eq!((&*r.name, &*r.stat_prefix, r.matches.ignore_case), ("r.m", "s", true));
    let mirrors = |text: &str| forward(text).mirrors.len();
    assert_eq!(mirrors("mirror: {host: a}"), 1);
    assert_eq!(mirrors("mirror: {host: a}, mirrorPercentage: {value: 0}"), 0);
    assert_eq!(
        mirrors(
            "mirrors: [{destination: {host: a}, percentage: {value: 0}}, {destination: {host: a}, percentage: {value: 5}}]"
        ),
        1
    );
    assert_eq!(forward("timeout: 3s").timeout, Some(Duration::from_secs(3)));
    assert_eq!(forward("name: x").timeout, Some(Duration::ZERO), "none unless written");
}
