//! The entry: compiles for a proxy, and keeps what it compiled by the versions of what it read.

use crate::assembly::{Assemblies, Eyes};
use crate::build::Build;
use crate::endpoints::Senses;
use crate::half::Half;
use crate::kept::{Base, Work};
use crate::memo::{Memo, Pools};
use crate::whole::Whole;
use crate::{Dns, Proxy, ProxyKind, cluster, gateway, inbound, outbound, route};
use base::{Finding, Host, Labels, Origin, OriginTable};
use ir::Str;
use registry::{Service, Snapshot};
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

/// What one proxy must do, where each piece came from, and what there is to say about it.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// Pieces that did not change since an earlier compilation are the same `Arc`.
    pub config: Arc<Whole>,
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
    traits: Memo<(), [u64; 3], Traits>,
    outbound: Memo<OutboundKey, Read, Half>,
    inbound: Memo<inbound::Plan, u64, Half>,
    assemblies: Assemblies,
    pools: Pools,
    work: Work,
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
    grpc: bool,
    http10: bool,
    tells_denials: bool,
    dns: Dns,
    /// Of proxies that bind real sockets: the addresses that are the application's own.
    uncaptured: Option<Vec<IpAddr>>,
}

/// What of a world decides how much proxies are alike, and what their endpoints decide.
#[derive(Debug)]
struct Traits {
    /// Some rule is for clients of some labels.
    reads_labels: bool,
    /// Services of which DNS finds several endpoints: their order of preference stands in the cluster.
    in_clusters: Vec<Arc<Service>>,
    /// The newest endpoints of headless services, and of those that DNS finds by a selector.
    headless: u64,
    by_dns: u64,
}

/// The versions of what an outbound side was made from.
#[derive(Clone, PartialEq, Eq)]
struct Read {
    base: Base,
    virtual_services: u64,
    gateways: u64,
    /// Of gateways; sidecars obey them on their other side.
    policies: u64,
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
        let outer = self.outbound_half(world, proxy);
        let inner = match proxy.kind {
            ProxyKind::Sidecar => Some(self.inbound_half(world, proxy)),
            ProxyKind::Router => None,
        };
        let (served, hosts) = (outer.served.clone(), outer.hosts.clone());
        let whole = self.assemblies.of(world, proxy, outer, inner, &mut self.work);
        Compiled {
            findings: whole.findings(),
            missing: whole.missing(),
            config: whole,
            origins: self.origins.clone(),
            served,
            dependencies: Dependencies { hosts },
        }
    }

    fn outbound_half(&mut self, world: &Snapshot, proxy: &Proxy) -> Arc<Half> {
        let traits = self.traits(world);
        let key = OutboundKey::of(world, proxy, &traits);
        let read = Read::of(world, proxy, &traits);
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

    fn inbound_half(&mut self, world: &Snapshot, proxy: &Proxy) -> Arc<Half> {
        let plan = inbound::Plan::of(world, proxy);
        let read = world.mesh.version;
        if let Some(part) = self.inbound.get(&plan, &read) {
            return part;
        }
        let mut build = Build::new(world, proxy, &mut self.origins, &mut self.pools);
        let part = inbound::compile(&mut build, &plan).shared(&mut build);
        self.inbound.put(plan, read, part)
    }

    fn traits(&mut self, world: &Snapshot) -> Arc<Traits> {
        let read =
            [world.services.version, world.endpoints.version, world.virtual_services.version];
        match self.traits.get(&(), &read) {
            Some(known) => known,
            None => self.traits.put((), read, Traits::of(world)),
        }
    }

    /// How much was computed since the start.
    pub fn work(&self) -> Work {
        self.work
    }
}

impl OutboundKey {
    fn of(world: &Snapshot, proxy: &Proxy, traits: &Traits) -> OutboundKey {
        let by_labels = proxy.kind == ProxyKind::Router
            || world.sidecars.has_selectors
            || world.destination_rules.has_selectors
            || traits.reads_labels;
        let mut senses = Senses::default();
        for service in &traits.in_clusters {
            cluster::sense(world, proxy, service, &mut senses);
        }
        OutboundKey {
            kind: proxy.kind,
            namespace: proxy.namespace.clone(),
            labels: if by_labels { proxy.labels.clone() } else { Labels::new() },
            eyes: Eyes::of(proxy, senses),
            stock_envoy: proxy.stock_envoy,
            grpc: proxy.grpc,
            http10: proxy.http10,
            tells_denials: proxy.tells_denials,
            dns: proxy.dns,
            uncaptured: proxy.uncaptured.then(|| proxy.ips.clone()),
        }
    }
}

impl Traits {
    fn of(world: &Snapshot) -> Traits {
        let version = |s: &Arc<Service>| world.endpoints.get(&s.key()).map(|e| e.version);
        let newest = |all: &mut dyn Iterator<Item = &Arc<Service>>| {
            all.filter_map(version).max().unwrap_or(0)
        };
        let by_dns = || world.services.found_by_dns().iter();
        let in_cluster =
            |s: &Arc<Service>| world.endpoints.get(&s.key()).is_some_and(|e| e.instances.len() > 1);
        Traits {
            reads_labels: world.virtual_services.iter().any(|v| route::reads_labels(&v.spec)),
            in_clusters: by_dns().filter(|s| in_cluster(s)).cloned().collect(),
            headless: newest(&mut world.services.headless().iter()),
            by_dns: newest(&mut by_dns().filter(|s| !s.selector.is_empty())),
        }
    }
}

impl Read {
    fn of(world: &Snapshot, proxy: &Proxy, traits: &Traits) -> Read {
        let sidecar = world.sidecars.of_proxy(&proxy.namespace, &proxy.labels);
        let sidecar = sidecar.filter(|_| proxy.kind == ProxyKind::Sidecar);
        // Headless services are listened for at the addresses of their endpoints, and those that
        // DNS finds stand in their clusters.
        let headless = if proxy.kind == ProxyKind::Sidecar { traits.headless } else { 0 };
        let policies = match proxy.kind {
            ProxyKind::Sidecar => 0,
            ProxyKind::Router => {
                let keys = world.request_authentications.version.max(world.key_sets.version);
                world.authorization_policies.version.max(keys)
            }
        };
        Read {
            policies,
            base: Base {
                sidecar: sidecar.map(|s| (s.object.to_string(), s.version)),
                services: world.services.version,
                rules: world.destination_rules.version,
                mesh: world.mesh.version,
                endpoints: headless.max(traits.by_dns),
                identities: world.endpoints.identities,
            },
            virtual_services: world.virtual_services.version,
            gateways: world.gateways.version,
        }
    }
}
