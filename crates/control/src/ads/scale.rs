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
const ROUNDS: usize = 40;

/// Namespaces that the services are in.
pub(crate) const NAMESPACES: usize = 50;

fn meta(at: usize) -> Value {
    json!({"name": format!("s{at}"), "namespace": format!("n{}", at % NAMESPACES)})
}

/// Services of one HTTP port, each tenth of which has rules.
pub(crate) fn objects() -> impl Iterator<Item = (Kind, Value)> {
    (0..SERVICES).flat_map(|at| {
        let ip = format!("10.{}.{}.{}", 96 + at / 62500, at / 250 % 250, at % 250 + 1);
        let spec = json!({"clusterIP": ip, "selector": {"app": format!("s{at}")},
            "ports": [{"name": "http", "port": 80}]});
        let mut all = vec![
            (Kind::Service, json!({"metadata": meta(at), "spec": spec})),
            slice(at, ENDPOINTS),
        ];
        if at % (SERVICES / RULES) == 0 {
            let subsets = ["v1", "v2"].map(|v| json!({"name": v, "labels": {"version": v}}));
            let spec = json!({"host": format!("s{at}"), "subsets": subsets});
            all.push((Kind::DestinationRule, json!({"metadata": meta(at), "spec": spec})));
            all.push(route(at, "v1"));
        }
        all
    })
}

fn slice(at: usize, endpoints: usize) -> (Kind, Value) {
    let mut meta = meta(at);
    meta["labels"] = json!({"kubernetes.io/service-name": meta["name"]});
    let one = |n| json!({"addresses": [format!("11.{}.{}.{n}", at / 250, at % 250)]});
    let endpoints: Vec<Value> = (0..endpoints).map(one).collect();
    let ports = json!([{"name": "http", "port": 80}]);
    (Kind::EndpointSlice, json!({"metadata": meta, "endpoints": endpoints, "ports": ports}))
}

/// The rule of a service.
pub(crate) fn route(at: usize, subset: &str) -> (Kind, Value) {
    let host = format!("s{at}");
    let to = json!([{"destination": {"host": host, "subset": subset}}]);
    let spec = json!({"hosts": [host], "http": [{"route": to}]});
    (Kind::VirtualService, json!({"metadata": meta(at), "spec": spec}))
}

struct Mesh {
    loader: Loader,
}

impl Mesh {
    fn new() -> Mesh {
        let mut mesh = Mesh { loader: Loader::new("cluster.local", "istio-system", &[]) };
        objects().for_each(|object| mesh.apply(object));
        mesh
    }

    fn apply(&mut self, (kind, object): (Kind, Value)) {
        self.loader.take(k8s::Change::Apply { resource: resource_of(kind), object });
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

/// CPU time of this thread; the kernel counts it in steps of some milliseconds.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let first = text.split(' ').next().and_then(|n| n.parse().ok());
    Duration::from_nanos(first.unwrap_or(0))
}

/// By the clock, which counts what is short.
fn timed<T>(f: impl FnOnce() -> T) -> (T, Duration) {
    let began = std::time::Instant::now();
    let out = f();
    (out, began.elapsed())
}

/// What a quarter of the rounds stayed under: nothing here waits, so what is longer waited for a
/// processor.
fn typical(mut rounds: Vec<Duration>) -> Duration {
    rounds.sort_unstable();
    rounds[rounds.len() / 4]
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
    let mut joined = Vec::new();
    for client in &mut clients {
        client.plan(&planner, &world);
        client.subscribe(&planner, &world);
        client.hear();
        joined.push(resident());
    }
    let planned = joined[0];
    let per_proxy = joined[PROXIES - 1].saturating_sub(planned) * 1024 / (PROXIES - 1);
    let per_service = |kb: usize| kb * 1024 / SERVICES;
    println!(
        "memory per service of 10 endpoints: {} bytes as objects, {} more as configuration; per proxy that \
         holds them all: {per_proxy}",
        per_service(stored.saturating_sub(empty)),
        per_service(planned.saturating_sub(stored))
    );

    let (before, began) = (planner.work(), cpu());
    let mut spent: [Vec<Duration>; 5] = Default::default();
    for round in 0..ROUNDS {
        // Another rule each time, so that no earlier answer fits.
        let (world, making) = timed(|| {
            mesh.apply(route(100 + 10 * round, "v2"));
            mesh.loader.world()
        });
        let (_, planning) = timed(|| clients[0].plan(&planner, &world));
        let (told, telling) = timed(|| clients[0].hear());
        let (_, others) = timed(|| clients[1..].iter_mut().for_each(|c| c.plan(&planner, &world)));
        let (_, hearing) = timed(|| clients[1..].iter_mut().for_each(|c| _ = c.hear()));
        assert_eq!(told.0, 1, "one route configuration");
        for (all, one) in spent.iter_mut().zip([making, planning, telling, others, hearing]) {
            all.push(one);
        }
    }
    let (worked, all) = (planner.work(), (cpu() - began) / ROUNDS as u32);
    assert_eq!(worked.virtual_hosts - before.virtual_hosts, ROUNDS as u64);
    let of_others = |w: compile::Work| (w.reached, w.clusters, w.endpoints, w.listeners);
    assert_eq!(of_others(worked), of_others(before), "nothing else is computed");
    let [making, planning, telling, others, hearing] = spent.map(typical);
    show("one VirtualService changes: the world", making);
    show("the first proxy's plan", planning);
    show("what it is told", telling);
    show("the nine others' plans", others);
    show("what they are told", hearing);
    show("all of it, in CPU time", all);

    let (before, began) = (planner.work(), cpu());
    let mut spent = Vec::new();
    for round in 0..ROUNDS {
        let (told, all) = timed(|| {
            mesh.apply(slice(100, ENDPOINTS + 1 + round));
            let world = mesh.loader.world();
            clients.iter_mut().for_each(|c| c.plan(&planner, &world));
            clients.iter_mut().map(|c| c.hear().0).sum::<usize>()
        });
        assert_eq!(told, PROXIES, "the endpoints of the service; its subsets have none");
        spent.push(all);
    }
    let (done, all) = (planner.work(), (cpu() - began) / ROUNDS as u32);
    show("one endpoint more: from the object to all ten", typical(spent));
    show("in CPU time", all);
    let looked_at = done.endpoints - before.endpoints;
    assert_eq!(looked_at, 3 * ROUNDS as u64, "those of the service and of its subsets");
    assert_eq!((done.reached, done.clusters), (before.reached, before.clusters));

    if !cfg!(debug_assertions) {
        assert!(all < Duration::from_millis(5), "{all:?} for {PROXIES} proxies");
    }
}
