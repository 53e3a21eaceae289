//! The paths that people and tools use, on a made-up process.

use super::*;
use ir::{Address, Cluster, Discovery, Endpoint, EndpointGroup, Listener};
use std::sync::Mutex;
use telemetry::ClusterStats;

struct Fake {
    state: State,
    config: Arc<Config>,
    registry: Registry,
    done: Mutex<Vec<&'static str>>,
}

impl Process for Fake {
    fn state(&self) -> State {
        self.state
    }
    fn version(&self) -> String {
        "1.2.3".into()
    }
    fn uptime(&self) -> Duration {
        Duration::from_secs(5)
    }
    fn concurrency(&self) -> usize {
        2
    }
    fn node(&self) -> Value {
        json!({ "id": "sidecar~1" })
    }
    fn bootstrap(&self) -> Value {
        json!({ "node": self.node() })
    }
    fn config(&self) -> Arc<Config> {
        self.config.clone()
    }
    fn usage(&self, _: &str) -> Option<Arc<Usage>> {
        None
    }
    fn is_static(&self, _: ir::Kind, name: &str) -> bool {
        name == "fixed"
    }
    fn registry(&self) -> &Registry {
        &self.registry
    }
    fn log_level(&self, set: Option<&str>) -> Result<String, String> {
        match set {
            Some("loud") => Err("unknown level".into()),
            set => Ok(set.unwrap_or("info").into()),
        }
    }
    fn drain(&self) {
        self.done.lock().unwrap().push("drain");
    }
    fn quit(&self) {
        self.done.lock().unwrap().push("quit");
    }
    fn reopen_logs(&self) {
        self.done.lock().unwrap().push("reopen");
    }
    fn recent(&self) -> Vec<crate::Recent> {
        let of = |id: &str| crate::Recent {
            id: id.into(),
            path: "/reviews".into(),
            fields: vec![
                ("Cookie".into(), "session=secret".into()),
                ("end-user".into(), "jason".into()),
            ],
            status: 503,
            ..crate::Recent::default()
        };
        vec![of("one"), of("two")]
    }
}

fn fake(state: State) -> Fake {
    let endpoint = Endpoint::at(Address::Ip(([10, 0, 0, 1], 80).into()));
    let group = EndpointGroup { endpoints: vec![endpoint], ..EndpointGroup::default() };
    let cluster = |name: &str| Arc::new(Cluster::new(name, Discovery::Static(vec![group.clone()])));
    let config =
        Config { clusters: vec![cluster("fixed"), cluster("dynamic")], ..Config::default() };
    Fake { state, config: Arc::new(config), registry: Registry::default(), done: Mutex::default() }
}

fn listener() -> Listener {
    let address = Address::Ip(([0, 0, 0, 0], 15006).into());
    Listener { direction: ir::Direction::Inbound, ..Listener::new("in", address) }
}

fn get(fake: &Fake, target: &str) -> (u16, String) {
    let reply = answer(fake, "GET", target);
    (reply.status, String::from_utf8(reply.body.to_vec()).unwrap())
}

#[test]
fn ready_only_when_live() {
    assert_eq!(get(&fake(State::Live), "/ready"), (200, "LIVE\n".into()));
    assert_eq!(get(&fake(State::Initializing), "/ready"), (503, "INITIALIZING\n".into()));
}

#[test]
fn stats_in_three_formats_and_filtered() {
    let fake = fake(State::Live);
    let shard = fake.registry.shard();
    shard.add(ClusterStats::new(&fake.registry, "c").rq_total, 7);
    let (_, text) = get(&fake, "/stats?filter=r.c.*rq_total%24");
    assert_eq!(text, "cluster.c.upstream_rq_total: 7\n");
    assert!(get(&fake, "/stats?format=json&filter=r.c.*rq_total").1.contains("\"value\":7"));
    let (_, prometheus) = get(&fake, "/stats/prometheus");
    assert!(prometheus.contains("envoy_cluster_upstream_rq_total{envoy_cluster_name=\"c\"} 7"));
    let (_, members) = get(&fake, "/stats?filter=fixed.*membership");
    assert_eq!(members, "cluster.fixed.membership_healthy: 1\ncluster.fixed.membership_total: 1\n");
    for _ in 0..2 {
        assert_eq!(
            get(&fake, "/stats?filter=^server.(live|uptime)").1,
            "server.live: 1\nserver.uptime: 5\n"
        );
    }
    assert_eq!(get(&fake, "/stats?filter=(").0, 400);
}

#[test]
fn config_dump_is_by_section_and_by_resource() {
    let fake = fake(State::Live);
    let dump: Value = serde_json::from_str(&get(&fake, "/config_dump").1).unwrap();
    let clusters = &dump["configs"][1];
    assert_eq!(clusters["@type"], "type.googleapis.com/envoy.admin.v3.ClustersConfigDump");
    assert_eq!(clusters["static_clusters"][0]["cluster"]["name"], "fixed");
    assert_eq!(clusters["dynamic_active_clusters"][0]["cluster"]["name"], "dynamic");
    let one: Value =
        serde_json::from_str(&get(&fake, "/config_dump?resource=static_clusters").1).unwrap();
    assert_eq!(one["configs"][0]["cluster"]["name"], "fixed");
    assert_eq!(get(&fake, "/config_dump?resource=nothing").0, 404);
    assert!(!get(&fake, "/config_dump?name_regex=^fix").1.contains("\"dynamic\""));
}

#[test]
fn clusters_and_listeners() {
    let mut fake = fake(State::Live);
    let (_, text) = get(&fake, "/clusters");
    assert!(text.contains("fixed::10.0.0.1:80::health_flags::healthy\n"), "{text}");
    assert!(text.contains("dynamic::added_via_api::true\n"));
    let json: Value = serde_json::from_str(&get(&fake, "/clusters?format=json").1).unwrap();
    let host = &json["cluster_statuses"][0]["host_statuses"][0];
    assert_eq!(host["address"]["socket_address"]["port_value"], 80);
    assert_eq!(host["health_status"]["eds_health_status"], "HEALTHY");
    fake.config = Arc::new(Config { listeners: vec![Arc::new(listener())], ..Config::default() });
    assert_eq!(get(&fake, "/listeners").1, "in::0.0.0.0:15006\n");
}

#[test]
fn what_changes_something_needs_a_post() {
    let fake = fake(State::Live);
    for path in ["/quitquitquit", "/drain_listeners", "/reopen_logs", "/logging?level=debug"] {
        assert_eq!(get(&fake, path).0, 400, "{path}");
        assert_eq!(answer(&fake, "POST", path).status, 200, "{path}");
    }
    assert_eq!(*fake.done.lock().unwrap(), ["quit", "drain", "reopen"]);
    assert_eq!(answer(&fake, "POST", "/logging?level=loud").status, 400);
    assert_eq!(get(&fake, "/nothing").0, 404);
}

#[test]
fn private_keys_are_not_shown() {
    let mut fake = fake(State::Live);
    let source = |text: &'static str| ir::DataSource::Bytes(text.into());
    let certificate = ir::Certificate { chain: source("THE CHAIN"), key: source("THE KEY") };
    let common = ir::TlsCommon {
        certificates: vec![ir::CertificateSource::Inline(certificate)],
        ..Default::default()
    };
    let tls = Some(ir::UpstreamTls { common, ..Default::default() });
    let cluster = Cluster { tls, ..Cluster::new("c", Discovery::Static(vec![])) };
    let own = ir::Certificate { chain: source("SHOWN"), key: source("THE KEY") };
    let own = ir::Secret { name: "default".into(), value: ir::SecretValue::Certificate(own) };
    fake.config = Arc::new(Config {
        clusters: vec![Arc::new(cluster)],
        secrets: vec![Arc::new(own)],
        ..Config::default()
    });
    let (_, text) = get(&fake, "/config_dump");
    assert!(text.contains("private_key"), "{text}");
    assert!(text.contains("U0hPV04="), "certificates of secrets are: {text}");
    // Bytes are shown in base64.
    for secret in ["THE KEY", "VEhFIEtFWQ"] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[test]
fn recent_requests_are_told_by_id_and_without_secrets() {
    let process = fake(State::Live);
    let told = |target: &str| {
        let reply = answer(&process, "GET", target);
        assert_eq!(reply.status, 200);
        let text = String::from_utf8(reply.body.to_vec()).unwrap();
        assert!(!text.contains("secret"), "{text}");
        serde_json::from_str::<Value>(&text).unwrap()["requests"].clone()
    };
    assert_eq!(told("/recent_requests").as_array().unwrap().len(), 2);
    let two = told("/recent_requests?id=two");
    assert_eq!(two[0]["path"], "/reviews");
    assert_eq!(two[0]["headers"], json!([["end-user", "jason"]]));
    assert_eq!(two[0]["hidden"], json!(["Cookie"]));
    assert_eq!(told("/recent_requests?id=three"), json!([]));
}
