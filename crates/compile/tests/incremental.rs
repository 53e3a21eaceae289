//! Compiling only what changed: the result is the one that compiling everything gives, and what is
//! computed anew is what depends on the change.

mod support;

use base::{Env, FixedEnv};
use compile::{Compiled, Compiler, Proxy, Work, compile};
use ir::Config;
use registry::Store;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use support::{sidecar, store};

/// A few of each kind, so that changes meet.
struct Changes {
    env: FixedEnv,
    count: u64,
}

impl Changes {
    fn below(&self, n: u64) -> u64 {
        self.env.below(n)
    }

    fn one<'a>(&self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len() as u64) as usize]
    }

    fn namespace(&self) -> &'static str {
        self.one(&["default", "other"])
    }

    fn host(&self) -> String {
        let name = self.one(&["a", "b", "c", "gone", "x"]);
        match name {
            "x" => "x.example".to_owned(),
            _ => format!("{name}.{}.svc.cluster.local", self.namespace()),
        }
    }

    fn apply(&mut self, store: &mut Store) {
        self.count += 1;
        let (kind, object) = match self.below(12) {
            0..=4 => (api::Kind::VirtualService, self.virtual_service()),
            5..=6 => (api::Kind::DestinationRule, self.destination_rule()),
            7 => (api::Kind::Service, self.service()),
            8 => (api::Kind::EndpointSlice, self.slice()),
            9 => (api::Kind::ServiceEntry, self.service_entry()),
            10 => (api::Kind::Sidecar, self.sidecar()),
            _ => (api::Kind::ConfigMap, self.mesh()),
        };
        let meta = &object["metadata"];
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        if self.below(4) == 0 {
            store.delete(kind, &text(&meta["namespace"]), &text(&meta["name"]));
        } else {
            store.apply(kind, &object);
        }
    }

    fn named(&self, name: &str, spec: Value) -> Value {
        let created = format!("2026-01-{:02}T00:00:00Z", 1 + self.count % 28);
        json!({"metadata": {"name": name, "namespace": self.namespace(), "creationTimestamp": created},
            "spec": spec})
    }

    fn virtual_service(&self) -> Value {
        let route =
            json!([{"destination": {"host": self.host(), "subset": self.one(&["", "v1", "v2"])}}]);
        let rule = match self.below(5) {
            0 => json!({"directResponse": {"status": 200 + self.below(50)}}),
            1 => json!({"delegate": {"name": "delegate", "namespace": self.namespace()}}),
            2 => {
                json!({"match": [{"sourceNamespace": "default", "uri": {"prefix": "/x"}}], "route": route})
            }
            3 => json!({"match": [{"sourceLabels": {"app": "client"}}], "route": route}),
            _ => json!({"route": route}),
        };
        match self.below(6) {
            0 => self.named("delegate", json!({"http": [{"route": route}]})),
            1 => self.named(
                "tcp",
                json!({"hosts": [self.host()], "tcp": [{"route": [{"destination": {"host": self.host()}}]}]}),
            ),
            2 => self.named("wide", json!({"hosts": ["*.cluster.local"], "http": [rule]})),
            3 => self.named("two", json!({"hosts": [self.host(), "y.example"], "http": [rule]})),
            n => self.named(if n == 4 { "p" } else { "q" }, json!({"hosts": [self.host()], "http": [rule]})),
        }
    }

    fn destination_rule(&self) -> Value {
        let hash = json!({"loadBalancer": {"consistentHash": {"httpHeaderName": "x-user"}}});
        let detects = json!({"outlierDetection": {"interval": "3s"}});
        let policy = if self.below(2) == 0 { hash } else { detects };
        let subsets = match self.below(3) {
            0 => json!([]),
            1 => json!([{"name": "v1", "labels": {"version": "v1"}}]),
            _ => json!([{"name": "v2", "labels": {"version": "v2"}, "trafficPolicy": policy}]),
        };
        let name = self.one(&["d", "e"]);
        self.named(name, json!({"host": self.host(), "trafficPolicy": policy, "subsets": subsets}))
    }

    fn service(&self) -> Value {
        let name = self.one(&["a", "b", "c"]);
        let ports = match self.below(3) {
            0 => json!([{"name": "http", "port": 80}]),
            1 => json!([{"name": "http", "port": 80}, {"name": "tcp", "port": 9000}]),
            _ => json!([{"name": "x", "port": 80}]),
        };
        let ip = match self.below(4) {
            0 => "None".to_owned(),
            n => format!("10.96.{n}.{}", name.as_bytes()[0]),
        };
        self.named(name, json!({"clusterIP": ip, "selector": {"app": name}, "ports": ports}))
    }

    fn slice(&self) -> Value {
        let name = self.one(&["a", "b", "c"]);
        let ip = format!("10.1.0.{}", 1 + self.below(5));
        let mut slice = self.named(name, json!(null));
        slice["metadata"]["labels"] = json!({"kubernetes.io/service-name": name});
        slice["endpoints"] = json!([{"addresses": [ip]}]);
        slice["ports"] = json!([{"name": "http", "port": 80}, {"name": "tcp", "port": 9000}]);
        slice
    }

    fn service_entry(&self) -> Value {
        let resolution = self.one(&["DNS", "NONE", "STATIC"]);
        let endpoints =
            if resolution == "STATIC" { json!([{"address": "203.0.113.1"}]) } else { json!([]) };
        let name = self.one(&["s", "t"]);
        self.named(
            name,
            json!({"hosts": ["x.example"], "resolution": resolution, "endpoints": endpoints,
                "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}]}),
        )
    }

    fn sidecar(&self) -> Value {
        let hosts = self.one(&["./*", "*/*", "other/a.other.svc.cluster.local"]);
        self.named("s", json!({"egress": [{"hosts": [hosts]}]}))
    }

    fn mesh(&self) -> Value {
        let mode = self.one(&["ALLOW_ANY", "REGISTRY_ONLY"]);
        json!({"metadata": {"name": "istio", "namespace": "istio-system"},
            "data": {"mesh": format!("outboundTrafficPolicy: {{mode: {mode}}}")}})
    }
}

/// All that a proxy and its operators see. Numbers of origins count what was ever seen, and are equal.
fn seen(c: &Compiled) -> (Config, BTreeSet<String>, BTreeSet<String>) {
    let mut config = Config::clone(&c.config);
    config.clusters.sort_by(|a, b| a.name.cmp(&b.name));
    config.listeners.sort_by(|a, b| a.name.cmp(&b.name));
    config.routes.sort_by(|a, b| a.name.cmp(&b.name));
    config.endpoints.sort_by(|a, b| a.cluster.cmp(&b.cluster));
    let findings = c.findings.iter().map(ToString::to_string).collect();
    (config, findings, c.missing.iter().map(|m| format!("{m:?}")).collect())
}

/// Fails with the first that is not alike.
fn differ<T: PartialEq + std::fmt::Debug>(kept: &[T], fresh: &[T], about: &str) {
    if let Some((a, b)) = kept.iter().zip(fresh).find(|(a, b)| a != b) {
        panic!("{about}: kept {a:#?}\nbut fresh {b:#?}");
    }
    assert_eq!(kept.len(), fresh.len(), "{about}");
}

#[test]
fn what_is_taken_over_is_what_would_be_computed() {
    let proxies: [Proxy; 3] = [
        sidecar("default", "client", "v1", "10.9.0.1"),
        sidecar("other", "client", "v1", "10.9.0.2"),
        sidecar("default", "server", "v1", "10.9.0.3"),
    ];
    for seed in 0..12 {
        let (mut store, mut compiler) = (store(), Compiler::new());
        let mut changes = Changes { env: FixedEnv::seeded(seed), count: 0 };
        for step in 0..60 {
            changes.apply(&mut store);
            let world = store.snapshot();
            for proxy in &proxies {
                let (kept, fresh) = (compiler.compile(&world, proxy), compile(&world, proxy));
                let about = format!("seed {seed} step {step} {}", proxy.name);
                let (a, b) = (seen(&kept), seen(&fresh));
                differ(&a.0.clusters, &b.0.clusters, &about);
                differ(&a.0.listeners, &b.0.listeners, &about);
                differ(&a.0.routes, &b.0.routes, &about);
                differ(&a.0.endpoints, &b.0.endpoints, &about);
                assert_eq!((a.1, a.2), (b.1, b.2), "{about}");
                assert!(a.0 == b.0, "{about}");
                assert_eq!(kept.served, fresh.served, "{about}");
                let hosts =
                    |c: &Compiled| c.dependencies.hosts.iter().cloned().collect::<BTreeSet<_>>();
                assert_eq!(hosts(&kept), hosts(&fresh), "{about}");
            }
        }
    }
}

const SERVICES: usize = 5000;
const RULES: usize = 500;

/// Services of one HTTP port in 50 namespaces, 10 endpoints each, and rules for every tenth.
fn large() -> Store {
    let mut store = store();
    for at in 0..SERVICES {
        let (name, namespace) = (format!("s{at}"), format!("n{}", at % 50));
        let ip = format!("10.{}.{}.{}", 96 + at / 62500, at / 250 % 250, at % 250 + 1);
        let meta = json!({"name": name, "namespace": namespace});
        let service = json!({"metadata": meta, "spec": {"clusterIP": ip, "selector": {"app": name},
            "ports": [{"name": "http", "port": 80}]}});
        store.apply(api::Kind::Service, &service);
        slice(&mut store, at, 10);
        if at % (SERVICES / RULES) == 0 {
            let rule = json!({"metadata": meta, "spec": {"host": name, "subsets": [
                {"name": "v1", "labels": {"version": "v1"}}, {"name": "v2", "labels": {"version": "v2"}}]}});
            store.apply(api::Kind::DestinationRule, &rule);
            route(&mut store, at, "v1");
        }
    }
    store
}

fn slice(store: &mut Store, at: usize, endpoints: usize) {
    let (name, namespace) = (format!("s{at}"), format!("n{}", at % 50));
    let endpoints: Vec<Value> = (0..endpoints)
        .map(|n| json!({"addresses": [format!("11.{}.{}.{n}", at / 250, at % 250)]}))
        .collect();
    let slice = json!({"metadata": {"name": name, "namespace": namespace,
            "labels": {"kubernetes.io/service-name": name}},
        "endpoints": endpoints, "ports": [{"name": "http", "port": 80}]});
    store.apply(api::Kind::EndpointSlice, &slice);
}

fn route(store: &mut Store, at: usize, subset: &str) {
    let (name, namespace) = (format!("s{at}"), format!("n{}", at % 50));
    let rule = json!({"metadata": {"name": name, "namespace": namespace}, "spec": {"hosts": [name],
        "http": [{"route": [{"destination": {"host": name, "subset": subset}}]}]}});
    store.apply(api::Kind::VirtualService, &rule);
}

/// What compiling for these proxies computes after a change.
fn work(compiler: &mut Compiler, store: &mut Store, proxies: &[Proxy]) -> Work {
    let before = compiler.work();
    let world = store.snapshot();
    for proxy in proxies {
        compiler.compile(&world, proxy);
    }
    let after = compiler.work();
    Work {
        reached: after.reached - before.reached,
        clusters: after.clusters - before.clusters,
        endpoints: after.endpoints - before.endpoints,
        listeners: after.listeners - before.listeners,
        virtual_hosts: after.virtual_hosts - before.virtual_hosts,
    }
}

#[test]
fn a_change_costs_what_depends_on_it() {
    let mut store = large();
    let mut compiler = Compiler::new();
    // Two that are alike, and one of another namespace, which gets virtual hosts of its own.
    let proxies = [
        sidecar("n0", "s0", "v1", "10.9.0.1"),
        sidecar("n0", "s50", "v1", "10.9.0.2"),
        sidecar("n1", "s1", "v1", "10.9.0.3"),
    ];
    let (services, n) = (SERVICES as u64, |n: u64| 2 * n);
    let first = work(&mut compiler, &mut store, &proxies);
    let all = Work {
        reached: n(services),
        clusters: n(services),
        endpoints: n(services + 2 * RULES as u64),
        listeners: n(2),
        virtual_hosts: n(services),
    };
    assert_eq!(first, all);
    assert_eq!(work(&mut compiler, &mut store, &proxies), Work::default());

    route(&mut store, 100, "v2");
    let rule = work(&mut compiler, &mut store, &proxies);
    assert_eq!(rule, Work { virtual_hosts: n(1), ..Work::default() }, "one VirtualService");

    slice(&mut store, 100, 11);
    let endpoints = work(&mut compiler, &mut store, &proxies);
    let told = Work { endpoints: n(3), ..Work::default() };
    assert_eq!(endpoints, told, "those of the service and of its two subsets, nothing else");

    let policy = json!({"metadata": {"name": "s1", "namespace": "n1"},
        "spec": {"host": "s1", "trafficPolicy": {"loadBalancer": {"simple": "RANDOM"}}}});
    store.apply(api::Kind::DestinationRule, &policy);
    let policy = work(&mut compiler, &mut store, &proxies);
    assert_eq!((policy.reached, policy.clusters), (n(services), n(1)), "one DestinationRule");
    assert_eq!(policy.virtual_hosts, n(RULES as u64 + 1), "and the routes that may lead there");
}

/// What proxies of one kind share must not depend on which of them came first.
#[test]
fn the_pods_of_a_headless_service_all_listen_for_all_of_them() {
    let mut store = store();
    let meta = json!({"name": "db", "namespace": "default"});
    let service = json!({"metadata": meta, "spec": {"clusterIP": "None", "selector": {"app": "db"},
        "ports": [{"name": "tcp", "port": 6379}]}});
    store.apply(api::Kind::Service, &service);
    support::slice(
        &mut store,
        "default",
        "db",
        ("tcp", 6379),
        &[("10.1.0.1", true), ("10.1.0.2", true)],
    );
    let mut compiler = Compiler::new();
    for own in ["10.1.0.1", "10.1.0.2"] {
        let c = compiler.compile(&store.snapshot(), &sidecar("default", "db", "v1", own));
        for ip in ["10.1.0.1", "10.1.0.2"] {
            let name = format!("{ip}_6379");
            assert!(c.config.listeners.iter().any(|l| *l.name == *name), "{own} for {ip}");
        }
    }
}

fn object(kind: &str, name: &str, spec: Value) -> String {
    json!({"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": {"name": name},
        "spec": spec})
    .to_string()
}

fn web(name: &str, port: u16) -> Value {
    json!({"metadata": {"name": name, "namespace": "default"}, "spec": {"clusterIP": "10.96.0.1",
        "ports": [{"name": "http", "port": port}]}})
}

/// Endpoints that stand in clusters end sharing only where their order depends on who asks.
#[test]
fn what_dns_finds_is_compiled_anew_only_for_those_who_prefer_others() {
    let outside = json!({"hosts": ["x.example"], "resolution": "DNS",
        "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}],
        "endpoints": [{"address": "a.example", "locality": "r/one"},
            {"address": "b.example", "locality": "r/two"}]});
    let proxies = ["one", "two", "one"].iter().zip(1..).map(|(zone, at)| {
        let proxy = sidecar("default", &format!("app{at}"), "v1", &format!("10.9.0.{at}"));
        Proxy { node: format!("node{at}"), ..proxy.standing_at("r", zone, "") }
    });
    let proxies: Vec<Proxy> = proxies.collect();
    let mut store = store();
    support::apply(&mut store, &object("ServiceEntry", "x", outside));
    let mut compiler = Compiler::new();
    assert_eq!(work(&mut compiler, &mut store, &proxies).clusters, 1, "all are alike");

    let detects =
        json!({"host": "x.example", "trafficPolicy": {"outlierDetection": {"interval": "3s"}}});
    support::apply(&mut store, &object("DestinationRule", "x", detects));
    assert_eq!(work(&mut compiler, &mut store, &proxies).clusters, 2, "one for each zone");
    for proxy in &proxies {
        let (kept, fresh) =
            (compiler.compile(&store.snapshot(), proxy), compile(&store.snapshot(), proxy));
        assert!(kept.config == fresh.config, "{}", proxy.name);
    }
}

#[test]
fn clients_of_two_namespaces_have_the_routes_in_common_that_are_the_same() {
    let mut store = store();
    store.apply(api::Kind::Service, &web("a", 80));
    let rule = json!({"hosts": ["only.example"], "http": [{"route": [
        {"destination": {"host": "a.default.svc.cluster.local"}}]}]});
    support::apply(&mut store, &object("VirtualService", "only", rule));
    let world = store.snapshot();
    let mut compiler = Compiler::new();
    let mut routes = |namespace: &str| {
        let c = compiler.compile(&world, &sidecar(namespace, "client", "v1", "10.9.0.1"));
        c.config.routes.iter().find(|r| &*r.name == "80").cloned().expect("routes")
    };
    let (one, other) = (routes("one"), routes("other"));
    assert_eq!(one.virtual_hosts.len(), 3, "of the service, of the rule, and all others");
    assert!(std::sync::Arc::ptr_eq(&one, &other), "they are encoded once");
}

/// Its port is known when it appears, which changes no host that is described.
#[test]
fn other_hosts_go_to_the_egress_proxy_as_soon_as_it_is_there() {
    let mut store = store();
    store.apply(api::Kind::Service, &web("a", 80));
    let sidecar_spec = json!({"egress": [{"hosts": ["./a.default.svc.cluster.local"]}],
        "outboundTrafficPolicy": {"mode": "ALLOW_ANY",
            "egressProxy": {"host": "way.default.svc.cluster.local"}}});
    support::apply(&mut store, &object("Sidecar", "s", sidecar_spec));
    let proxy = sidecar("default", "client", "v1", "10.9.0.1");
    let mut compiler = Compiler::new();
    compiler.compile(&store.snapshot(), &proxy);
    store.apply(api::Kind::Service, &web("way", 8080));
    let world = store.snapshot();
    let (kept, fresh) = (compiler.compile(&world, &proxy), compile(&world, &proxy));
    differ(&seen(&kept).0.routes, &seen(&fresh).0.routes, "with the proxy");
    let to = format!("{:?}", kept.config.routes);
    assert!(to.contains("outbound|8080||way.default.svc.cluster.local"), "{to}");
}
