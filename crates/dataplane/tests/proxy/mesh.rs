//! What Istio's telemetry needs: workloads tell each other who they are, and both ends count.

use crate::support::*;
use dataplane::{Node, Options, Proxy};
use ir::{HttpFilter, HttpFilterConfig, IstioStats, NetworkFilter, PeerMetadata, Terminal, Value};
use std::collections::BTreeMap;
use std::net::SocketAddr;

fn node(workload: &str, app: &str) -> Node {
    let text = |s: &str| Value::String(s.into());
    let labels = BTreeMap::from([("app".into(), text(app)), ("version".into(), text("v1"))]);
    Node {
        id: format!("sidecar~10.0.0.1~{workload}-abc.default~default.svc.cluster.local"),
        metadata: BTreeMap::from([
            ("NAMESPACE".into(), text("default")),
            ("WORKLOAD_NAME".into(), text(workload)),
            ("LABELS".into(), Value::Struct(labels)),
        ]),
    }
}

/// One side of a call: inbound for the server's sidecar, outbound for the client's.
fn side(upstream: SocketAddr, inbound: bool) -> ir::Config {
    let filter = |name: &str, config| HttpFilter {
        name: name.into(),
        config,
        disabled: false,
        origin: ir::OriginId::NONE,
    };
    let mut m = manager(routes(vec![route("/", forward("up"))]));
    m.filters = vec![
        filter(
            "istio.metadata_exchange",
            HttpFilterConfig::PeerMetadata(PeerMetadata {
                downstream_discovery: inbound,
                downstream_propagation: inbound,
                upstream_discovery: !inbound,
                upstream_propagation: !inbound,
            }),
        ),
        filter(
            "istio.stats",
            HttpFilterConfig::IstioStats(IstioStats { destination: inbound, ..Default::default() }),
        ),
    ];
    let mut up = cluster("up", &[upstream]);
    let text = |s: &str| Value::String(s.into());
    let service = BTreeMap::from([
        ("host".into(), text("reviews.default.svc.cluster.local")),
        ("name".into(), text("reviews")),
        ("namespace".into(), text("default")),
    ]);
    let services = Value::List(vec![Value::Struct(service)]);
    let istio = Value::Struct(BTreeMap::from([("services".into(), services)]));
    up.metadata.insert("istio".into(), istio);
    http(m, vec![up])
}

fn run_as(node: Node, config: &ir::Config) -> (Proxy, SocketAddr) {
    let proxy = Proxy::start(Options { node: Some(node), ..Default::default() }).unwrap();
    assert_eq!(proxy.publish(config), []);
    let at = proxy.bound(ANY.parse().unwrap()).unwrap();
    (proxy, at)
}

/// The value of the one series of a metric whose labels contain all of `labels`.
fn metric(proxy: &Proxy, name: &str, labels: &[&str]) -> Option<f64> {
    let text = telemetry::prometheus(proxy.registry(), |_| true);
    let line = text.lines().find(|line| {
        line.starts_with(&format!("{name}{{")) && labels.iter().all(|l| line.contains(l))
    })?;
    line.rsplit(' ').next()?.parse().ok()
}

#[test]
fn both_ends_count_every_request_and_know_each_other() {
    let (app, _) = echo();
    let (server, server_at) = run_as(node("reviews-v1", "reviews"), &side(app, true));
    let (client, at) = run_as(node("productpage-v1", "productpage"), &side(server_at, false));
    let mut caller = Peer::connect(at);
    for _ in 0..7 {
        let answer = caller.get("/");
        assert!(!answer.text().contains("peer-metadata"), "{}", answer.text());
        assert_eq!(answer.header("x-envoy-peer-metadata"), None);
        assert_eq!(answer.header("x-envoy-peer-metadata-id"), None);
    }
    let ends = [
        "source_workload=\"productpage-v1\"",
        "source_app=\"productpage\"",
        "destination_workload=\"reviews-v1\"",
        "destination_canonical_service=\"reviews\"",
        "destination_version=\"v1\"",
        "destination_service=\"reviews.default.svc.cluster.local\"",
        "response_code=\"200\"",
        "request_protocol=\"http\"",
        "response_flags=\"-\"",
    ];
    for (proxy, reporter, security) in
        [(&client, "source", "unknown"), (&server, "destination", "none")]
    {
        let reporter = format!("reporter=\"{reporter}\"");
        let security = format!("connection_security_policy=\"{security}\"");
        let labels = [&ends[..], &[&reporter, &security]].concat();
        until("the count", || metric(proxy, "istio_requests_total", &labels) == Some(7.0));
    }
}

#[test]
fn connections_are_counted_with_their_bytes() {
    let (upstream, _) = upstream(|peer, _| {
        assert_eq!(peer.rest(), b"12345");
        peer.send("abc");
    });
    let tcp = ir::TcpProxy {
        stat_prefix: "t".into(),
        to: ir::TcpDestination::Cluster("up".into()),
        access_log: Vec::new(),
        idle_timeout: None,
        max_connection_duration: None,
        max_connect_attempts: None,
        hash_source_ip: false,
        tunnel: None,
    };
    let mut l = listener(Terminal::Tcp(Box::new(tcp)));
    l.chains[0].network = vec![NetworkFilter::IstioStats(IstioStats::default())];
    let mut up = cluster("up", &[upstream]);
    if let ir::Discovery::Static(groups) = &mut up.discovery {
        let workload = Value::String("tcp-echo-v1;default;tcp-echo;v1;Kubernetes".into());
        let fields = Value::Struct(BTreeMap::from([("workload".into(), workload)]));
        groups[0].endpoints[0].metadata.insert("istio".into(), fields);
    }
    let (proxy, at) = run_as(node("sleep", "sleep"), &config(l, vec![up]));
    let mut client = Peer::connect(at);
    client.send("12345");
    client.stream().shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(client.rest(), b"abc");
    let labels = ["source_workload=\"sleep\"", "destination_workload=\"tcp-echo-v1\""];
    for (name, value) in [
        ("istio_tcp_connections_opened_total", 1.0),
        ("istio_tcp_connections_closed_total", 1.0),
        ("istio_tcp_received_bytes_total", 5.0),
        ("istio_tcp_sent_bytes_total", 3.0),
    ] {
        until(name, || metric(&proxy, name, &labels) == Some(value));
    }
}
