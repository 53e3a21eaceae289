//! The entry: compiles for a proxy, and keeps what it compiled by the versions of what it read.

use crate::assembly::{Assemblies, Eyes, Senses};
use crate::build::Build;
use crate::endpoints::Assignment;
use crate::kept::{Base, Kept, Said, Work};
use crate::memo::{Memo, Pools};
use crate::{Dns, Proxy, ProxyKind, cluster, gateway, inbound, outbound};
use base::{Finding, Host, Labels, Origin, OriginTable};
use ir::{Cluster, Config, Listener, NameTable, RouteConfig, Str};
use registry::{Resolution, Service, Snapshot};
use std::borrow::Cow;
use std::collections::HashSet;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

/// What one proxy must do, where each piece came from, and what there is to say about it.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// Pieces that did not change since an earlier compilation are the same `Arc`.
    pub config: Arc<Config>,
    pub origins: Arc<OriginTable>,
    pub findings: Arc<[Finding]>,
    /// What routes name and nothing defines: such a route answers 503 until it is.
    pub missing: Arc<[Missing]>,
    /// What a gateway answers for, as `<route configuration>/<domain>`: one that is gone was taken out
    /// of service. Empty for sidecars, where a host without rules still has its service.
    pub served: Arc<[Str]>,
    pub dependencies: Dependencies,
}

/// A destination that a route names and that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Missing {
    pub host: Host,
    /// `None`: the host itself is unknown.
    pub subset: Option<String>,
    /// The field that names it.
    pub origin: Origin,
}

/// What the configuration was made from: a change elsewhere does not concern the proxy.
#[derive(Clone, Debug, Default)]
pub struct Dependencies {
    /// Services whose endpoints it holds.
    pub hosts: Arc<[Host]>,
}

/// Compiles once, without memory.
pub fn compile(world: &Snapshot, proxy: &Proxy) -> Compiled {
    Compiler::default().compile(world, proxy)
}

/// Compiles for many proxies over time.
#[derive(Default)]
pub struct Compiler {
    origins: Arc<OriginTable>,
    outbound: Memo<OutboundKey, Read, Part>,
    inbound: Memo<inbound::Plan, u64, Part>,
    assemblies: Assemblies,
    pools: Pools,
    work: Work,
}

/// Listeners, clusters and routes of one side of proxies that are alike.
#[derive(Clone, Debug, Default)]
pub(crate) struct Part {
    pub listeners: Vec<Arc<Listener>>,
    pub clusters: Vec<Arc<Cluster>>,
    pub assignments: Vec<Arc<Assignment>>,
    pub routes: Vec<Arc<RouteConfig>>,
    /// What the proxy's DNS answers, where it asks for that.
    pub names: Option<Arc<NameTable>>,
    pub hosts: Arc<[Host]>,
    pub served: Arc<[Str]>,
    pub findings: Vec<Finding>,
    pub missing: Vec<Missing>,
    /// For the next compilation of the kind.
    pub kept: Option<Arc<Kept>>,
    pub senses: OnceLock<Senses>,
}

/// What makes proxies alike on the outbound side.
#[derive(Clone, PartialEq, Eq, Hash)]
struct OutboundKey {
    kind: ProxyKind,
    namespace: String,
    /// Only those of gateways, or where some object tells clients apart by them.
    labels: Labels,
    /// What decides on the endpoints that stand in clusters.
    eyes: Eyes,
    stock_envoy: bool,
    http10: bool,
    dns: Dns,
    /// Of proxies that bind real sockets: the addresses that are the application's own.
    uncaptured: Option<Vec<IpAddr>>,
}

/// The versions of what an outbound side was made from.
#[derive(Clone, PartialEq, Eq)]
struct Read {
    base: Base,
    virtual_services: u64,
    gateways: u64,
}

/// A proxy knows the labels that its pod had when it started; the pod's own may have changed since.
/// Where it runs it need not know at all.
pub fn as_known<'a>(world: &Snapshot, proxy: &'a Proxy) -> Cow<'a, Proxy> {
    let workload = proxy.ips.iter().find_map(|ip| world.workloads.at(*ip));
    let Some(workload) = workload.filter(|w| w.namespace == proxy.namespace) else {
        return Cow::Borrowed(proxy);
    };
    let mut known = Cow::Borrowed(proxy);
    if workload.labels != proxy.labels {
        known.to_mut().labels.clone_from(&workload.labels);
    }
    if proxy.locality.is_empty() && !workload.locality.is_empty() {
        known.to_mut().locality.clone_from(&workload.locality);
    }
    if proxy.node.is_empty() && !workload.node.is_empty() {
        known.to_mut().node.clone_from(&workload.node);
    }
    known
}

/// Origins kept before all memory is dropped and built anew; they grow with objects ever seen.
const MAX_ORIGINS: usize = 1_000_000;

impl Compiler {
    pub fn new() -> Compiler {
        Compiler::default()
    }

    pub fn compile(&mut self, world: &Snapshot, proxy: &Proxy) -> Compiled {
        if self.origins.iter().len() > MAX_ORIGINS {
            *self = Compiler::default();
        }
        let proxy = &*as_known(world, proxy);
        let outer = self.outbound_part(world, proxy);
        let inner = match proxy.kind {
            ProxyKind::Sidecar => Some(self.inbound_part(world, proxy)),
            ProxyKind::Router => None,
        };
        let (served, hosts) = (outer.served.clone(), outer.hosts.clone());
        let whole = self.assemblies.of(world, proxy, outer, inner);
        Compiled {
            config: whole.config,
            origins: self.origins.clone(),
            findings: whole.findings,
            missing: whole.missing,
            served,
            dependencies: Dependencies { hosts },
        }
    }

    fn outbound_part(&mut self, world: &Snapshot, proxy: &Proxy) -> Arc<Part> {
        let key = OutboundKey::of(world, proxy);
        let read = Read::of(world, proxy);
        if let Some(part) = self.outbound.get(&key, &read) {
            return part;
        }
        let last = self.outbound.latest(&key);
        let last = last.as_ref().and_then(|part| part.kept.as_deref());
        let mut build = Build::new(world, proxy, &mut self.origins, &mut self.pools);
        let part = match proxy.kind {
            ProxyKind::Sidecar => outbound::compile(&mut build, read.base.clone(), last),
            ProxyKind::Router => gateway::compile(&mut build).shared(&mut build),
        };
        self.work += build.work;
        self.outbound.put(key, read, part)
    }

    fn inbound_part(&mut self, world: &Snapshot, proxy: &Proxy) -> Arc<Part> {
        let plan = inbound::Plan::of(world, proxy);
        let read = world.mesh.version;
        if let Some(part) = self.inbound.get(&plan, &read) {
            return part;
        }
        let mut build = Build::new(world, proxy, &mut self.origins, &mut self.pools);
        let part = inbound::compile(&mut build, &plan).shared(&mut build);
        self.inbound.put(plan, read, part)
    }

    /// How much was computed since the start.
    pub fn work(&self) -> Work {
        self.work
    }
}

impl Part {
    /// Whether both take the same endpoints of the same services, because they have that in common.
    pub fn assigns_as(&self, other: &Part) -> bool {
        match (&self.kept, &other.kept) {
            (Some(a), Some(b)) => Arc::ptr_eq(&a.clusters.all, &b.clusters.all),
            _ => false,
        }
    }

    /// What of a proxy its endpoints depend on.
    pub fn senses(&self) -> Senses {
        *self.senses.get_or_init(|| {
            let mut all = Senses::default();
            self.assignments.iter().for_each(|a| a.selection.sense(&mut all));
            all
        })
    }

    /// The same, with what some proxy already has replaced by the very same `Arc`.
    fn shared(mut self, b: &mut Build<'_>) -> Part {
        first_of_each(&mut self.clusters, |c| c.name.clone());
        first_of_each(&mut self.assignments, |a| a.cluster.clone());
        first_of_each(&mut self.listeners, |l| l.name.clone());
        first_of_each(&mut self.routes, |r| r.name.clone());
        for cluster in &mut self.clusters {
            b.pools.clusters.share(&cluster.name.clone(), cluster);
        }
        for assignment in &mut self.assignments {
            b.pools.assignments.share(&assignment.cluster.clone(), assignment);
        }
        for listener in &mut self.listeners {
            b.pools.listeners.share(&listener.name.clone(), listener);
        }
        for route in &mut self.routes {
            b.pools.routes.share(&route.name.clone(), route);
        }
        let said = b.said();
        self.telling(said)
    }

    /// The same rule may stand in several routes; what there is to say about it is said once.
    pub fn telling(self, said: Said) -> Part {
        Part { findings: once(said.findings), missing: once(said.missing), ..self }
    }
}

/// No two resources may have one name, whatever the objects say.
fn first_of_each<T>(list: &mut Vec<T>, name: impl Fn(&T) -> Str) {
    let mut seen = HashSet::new();
    list.retain(|item| seen.insert(name(item)));
}

fn once<T: Clone + Eq + Hash>(list: Vec<T>) -> Vec<T> {
    let mut seen = HashSet::new();
    list.into_iter().filter(|item| seen.insert(item.clone())).collect()
}

impl OutboundKey {
    fn of(world: &Snapshot, proxy: &Proxy) -> OutboundKey {
        let by_labels = proxy.kind == ProxyKind::Router
            || world.sidecars.has_selectors
            || world.destination_rules.has_selectors
            || world.virtual_services.iter().any(|v| crate::route::reads_labels(&v.spec));
        let mut senses = Senses::default();
        for service in world.services.iter().filter(|s| has_endpoints_in_clusters(world, s)) {
            cluster::sense(world, proxy, service, &mut senses);
        }
        OutboundKey {
            kind: proxy.kind,
            namespace: proxy.namespace.clone(),
            labels: if by_labels { proxy.labels.clone() } else { Labels::new() },
            eyes: Eyes::of(proxy, senses),
            stock_envoy: proxy.stock_envoy,
            http10: proxy.http10,
            dns: proxy.dns,
            uncaptured: proxy.uncaptured.then(|| proxy.ips.clone()),
        }
    }
}

/// Where DNS finds several endpoints, their order of preference stands in the cluster.
fn has_endpoints_in_clusters(world: &Snapshot, service: &Service) -> bool {
    matches!(service.resolution, Resolution::Dns | Resolution::DnsRoundRobin)
        && world.endpoints.get(&service.key()).is_some_and(|e| e.instances.len() > 1)
}

impl Read {
    fn of(world: &Snapshot, proxy: &Proxy) -> Read {
        let sidecar = world.sidecars.of_proxy(&proxy.namespace, &proxy.labels);
        let sidecar = sidecar.filter(|_| proxy.kind == ProxyKind::Sidecar);
        // Headless services are listened for at the addresses of their endpoints, and those that
        // DNS finds stand in their clusters.
        let by_endpoints = |s: &&Arc<Service>| match s.resolution {
            Resolution::Headless => proxy.kind == ProxyKind::Sidecar,
            Resolution::Dns | Resolution::DnsRoundRobin => !s.selector.is_empty(),
            _ => false,
        };
        let of = world.services.iter().filter(by_endpoints);
        let versions = of.filter_map(|s| world.endpoints.get(&s.key())).map(|e| e.version);
        let endpoints = versions.max().unwrap_or(0);
        Read {
            base: Base {
                sidecar: sidecar.map(|s| (s.object.to_string(), s.version)),
                services: world.services.version,
                rules: world.destination_rules.version,
                mesh: world.mesh.version,
                endpoints,
            },
            virtual_services: world.virtual_services.version,
            gateways: world.gateways.version,
        }
    }
}
