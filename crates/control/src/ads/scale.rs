//! A large mesh: what a change costs from the object to what its proxies are told. Counters in every
//! build; times where the compiler optimises (`cargo test --profile demo -p control scale -- --nocapture`).

use super::plan::{Credentials, Planner};
use crate::settle::Settle;
use crate::world::{Loader, World, resource_of};
use api::Kind;
use base::Instant;
use compile::Proxy;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::Duration;
use xds::server::{Ack, Desired, Dialect, Request, Session, Subscription};

const SERVICES: usize = 5000;
const ENDPOINTS: usize = 10;
const RULES: usize = 500;
/// All in the way of the change: none has a Sidecar that keeps most of the mesh from it.
const PROXIES: usize = 10;
const ROUNDS: usize = 20;

fn meta(at: usize) -> Value {
    json!({"name": format!("s{at}"), "namespace": format!("n{}", at % 50)})
}

struct Mesh {
    loader: Loader,
}

impl Mesh {
    /// Services of one HTTP port in 50 namespaces, each tenth of which has rules.
    fn new() -> Mesh {
        let mut mesh = Mesh { loader: Loader::new("cluster.local", "istio-system", &[]) };
        for at in 0..SERVICES {
            let ip = format!("10.{}.{}.{}", 96 + at / 62500, at / 250 % 250, at % 250 + 1);
            let spec = json!({"clusterIP": ip, "selector": {"app": format!("s{at}")},
                "ports": [{"name": "http", "port": 80}]});
            mesh.apply(Kind::Service, json!({"metadata": meta(at), "spec": spec}));
            mesh.slice(at, ENDPOINTS);
            if at % (SERVICES / RULES) == 0 {
                let subsets = ["v1", "v2"].map(|v| json!({"name": v, "labels": {"version": v}}));
                let spec = json!({"host": format!("s{at}"), "subsets": subsets});
                mesh.apply(Kind::DestinationRule, json!({"metadata": meta(at), "spec": spec}));
                mesh.route(at, "v1");
            }
        }
        mesh
    }

    fn apply(&mut self, kind: Kind, object: Value) {
        self.loader.take(k8s::Change::Apply { resource: resource_of(kind), object });
    }

    fn slice(&mut self, at: usize, endpoints: usize) {
        let mut meta = meta(at);
        meta["labels"] = json!({"kubernetes.io/service-name": meta["name"]});
        let one = |n| json!({"addresses": [format!("11.{}.{}.{n}", at / 250, at % 250)]});
        let endpoints: Vec<Value> = (0..endpoints).map(one).collect();
        let ports = json!([{"name": "http", "port": 80}]);
        self.apply(
            Kind::EndpointSlice,
            json!({"metadata": meta, "endpoints": endpoints, "ports": ports}),
        );
    }

    fn route(&mut self, at: usize, subset: &str) {
        let host = format!("s{at}");
        let to = json!([{"destination": {"host": host, "subset": subset}}]);
        let spec = json!({"hosts": [host], "http": [{"route": to}]});
        self.apply(Kind::VirtualService, json!({"metadata": meta(at), "spec": spec}));
    }
}

/// A proxy that takes whatever it is told.
struct Client {
    proxy: Proxy,
    settle: Settle,
    session: Session,
}

impl Client {
    fn new(at: usize) -> Client {
        let id = format!("sidecar~10.9.0.{at}~p-{at}.n0~n0.svc.cluster.local");
        let proxy = Proxy::parse(&id, &Value::Null).unwrap();
        Client { proxy, settle: Settle::default(), session: Session::new(Dialect::Delta) }
    }

    fn plan(&mut self, planner: &Planner, world: &World) {
        let now = Instant(1);
        let patience = Duration::from_secs(5);
        let plan =
            planner.plan(world, &self.proxy, Credentials::None, &mut self.settle, patience, now);
        assert_eq!(plan.held_until, None);
        self.session.set_desired(plan.resources);
    }

    /// Asks for all that there is to ask for.
    fn subscribe(&mut self, planner: &Planner, world: &World) {
        let (mut settle, now) = (Settle::default(), Instant(1));
        let plan =
            planner.plan(world, &self.proxy, Credentials::None, &mut settle, Duration::ZERO, now);
        let mut names: HashMap<ir::Kind, Vec<ir::Str>> = HashMap::new();
        let desired: &Desired = &plan.resources;
        for key in desired.keys() {
            names.entry(key.kind).or_default().push(key.name.clone());
        }
        for kind in [ir::Kind::Cluster, ir::Kind::Listener, ir::Kind::Endpoints, ir::Kind::Route] {
            let whole = matches!(kind, ir::Kind::Cluster | ir::Kind::Listener);
            let subscribe =
                if whole { Vec::new() } else { names.remove(&kind).unwrap_or_default() };
            self.say(kind, None, subscribe);
        }
    }

    fn say(&mut self, kind: ir::Kind, ack: Option<Ack>, subscribe: Vec<ir::Str>) {
        let subscription =
            Subscription::Delta { subscribe, unsubscribe: Vec::new(), holds: HashMap::new() };
        self.session.receive(Request { kind, ack, subscription });
    }

    /// What it is told until it is told nothing more: resources and bytes.
    fn hear(&mut self) -> (usize, usize) {
        let (mut resources, mut bytes) = (0, 0);
        while let Some(push) = self.session.poll() {
            resources += push.resources.len();
            bytes += push.resources.iter().map(|(_, e)| e.bytes.len()).sum::<usize>();
            let ack = Ack { nonce: push.nonce.clone(), error: None };
            self.say(push.kind, Some(ack), Vec::new());
        }
        (resources, bytes)
    }
}

/// CPU time of this thread.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let first = text.split(' ').next().and_then(|n| n.parse().ok());
    Duration::from_nanos(first.unwrap_or(0))
}

/// The clock's time where it is less: the kernel counts CPU time in steps of some milliseconds.
fn timed<T>(f: impl FnOnce() -> T) -> (T, Duration) {
    let (before, began) = (cpu(), std::time::Instant::now());
    let out = f();
    (out, cpu().saturating_sub(before).min(began.elapsed()))
}

fn show(what: &str, spent: Duration) {
    println!("{what:<52}{:>9.2} ms", spent.as_secs_f64() * 1e3);
}

/// Measures something that is done once.
fn once<T>(what: &str, f: impl FnOnce() -> T) -> T {
    let (out, spent) = timed(f);
    show(what, spent);
    out
}

/// Kilobytes that this process has in memory.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find(|l| l.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0)
}

#[test]
fn one_rule_of_a_large_mesh_changes() {
    let empty = resident();
    let mut mesh = Mesh::new();
    let world = once("a world of 5,000 services from nothing", || mesh.loader.world());
    let stored = resident();
    let planner = Planner::default();
    let mut clients: Vec<Client> = (1..=PROXIES).map(Client::new).collect();
    once("the first proxy's plan", || clients[0].plan(&planner, &world));
    once("the second's, which is alike", || clients[1].plan(&planner, &world));
    for client in &mut clients {
        client.plan(&planner, &world);
        client.subscribe(&planner, &world);
        client.hear();
    }
    let planned = resident();
    let per_service = |kb: usize| kb * 1024 / SERVICES;
    println!(
        "memory per service of 10 endpoints: {} bytes as objects, {} more as configuration of {PROXIES} proxies",
        per_service(stored.saturating_sub(empty)),
        per_service(planned.saturating_sub(stored))
    );

    let (before, mut spent) = (planner.work(), [Duration::ZERO; 5]);
    for round in 0..ROUNDS {
        // Another rule each time, so that no earlier answer fits.
        mesh.route(100 + 10 * round, "v2");
        let (world, making) = timed(|| mesh.loader.world());
        let (_, planning) = timed(|| clients[0].plan(&planner, &world));
        let (told, telling) = timed(|| clients[0].hear());
        let (_, others) = timed(|| clients[1..].iter_mut().for_each(|c| c.plan(&planner, &world)));
        let (_, hearing) = timed(|| clients[1..].iter_mut().for_each(|c| _ = c.hear()));
        assert_eq!(told.0, 1, "one route configuration");
        for (sum, one) in spent.iter_mut().zip([making, planning, telling, others, hearing]) {
            *sum += one;
        }
    }
    assert_eq!(planner.work().virtual_hosts - before.virtual_hosts, ROUNDS as u64);
    let [making, planning, telling, others, hearing] = spent.map(|s| s / ROUNDS as u32);
    show("one VirtualService changes: the world", making);
    show("the first proxy's plan", planning);
    show("what it is told", telling);
    show("the nine others' plans", others);
    show("what they are told", hearing);

    mesh.slice(100, ENDPOINTS + 1);
    let world = once("one endpoint more: the world", || mesh.loader.world());
    once("the first proxy's plan", || clients[0].plan(&planner, &world));
    let told = once("what it is told", || clients[0].hear());
    assert_eq!(told.0, 1, "the endpoints of the service; its subsets have none");
    once("another's plan", || clients[1].plan(&planner, &world));

    if !cfg!(debug_assertions) {
        let recomputed = making + planning;
        // Measured 8.7 ms with the encoding, where 5 are wanted.
        assert!(recomputed < Duration::from_millis(20), "{recomputed:?}");
        let all = recomputed + telling + others + hearing;
        assert!(all < Duration::from_millis(100), "{all:?} for {PROXIES} proxies");
    }
}
