//! Clusters: how a proxy reaches each port and subset of a service, by its DestinationRule.

mod discovery;
mod kept;
mod policy;
mod pool;
mod tls;

pub(crate) use discovery::dns_cache;
pub(crate) use kept::{KeptClusters, is_same};
pub(crate) use policy::{Policy, hash_policies};
pub(crate) use pool::connections;
pub(crate) use tls::TAKES_MTLS;

use crate::build::Build;
use crate::endpoints::{Assignment, Selection, Senses};
use crate::locality::Nearness;
use crate::names;
use crate::scope::{Scope, rule_of};
use crate::unsupported;
use crate::{Proxy, ProxyKind};
use api::{H2UpgradePolicy, MeshH2Upgrade, Protocol, Subset, TunnelSettings};
use base::{Finding, Host, OriginId};
use ir::{Cluster, Discovery, LoadBalancer, Metadata, Str, UpstreamProtocol, Value};
use registry::{Resolution, Rule, Service, ServicePort, Snapshot};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

/// Clusters, and the endpoints that those of them take that get theirs by EDS.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clusters {
    pub list: Vec<Arc<Cluster>>,
    pub assignments: Vec<Arc<Assignment>>,
}

impl Clusters {
    fn add(&mut self, cluster: Cluster, selection: Selection, service: &Service) {
        if let Discovery::Eds(_) = cluster.discovery {
            let name = cluster.name.clone();
            self.assignments.push(Arc::new(Assignment::new(name, service.key(), selection)));
        }
        self.list.push(Arc::new(cluster));
    }
}

/// All clusters of a service: for each port the service itself and each subset.
pub(crate) fn of_service(b: &mut Build<'_>, service: &Service, into: &mut Clusters) {
    b.work.clusters += 1;
    let rule = rule_of(b.world, b.proxy, service).cloned();
    let rule = rule.as_deref();
    b.findings.extend(rule.iter().flat_map(|r| unsupported::in_rule(r)));
    for port in service.ports.iter().filter(|p| p.protocol != Protocol::Udp) {
        if let Some((cluster, selection)) = of_port(b, service, port, rule, None) {
            into.add(cluster, selection, service);
        }
        for (subset, object, index) in rule.iter().flat_map(|r| &r.subsets) {
            let origin = b.origin(object, format!("spec.subsets[{index}]"));
            if let Some((cluster, selection)) = of_port(b, service, port, rule, Some(subset)) {
                into.add(Cluster { origin, ..cluster }, selection, service);
            }
        }
    }
}

/// Whether it is known who the endpoints of a service are, and so whether they have sidecars.
pub(crate) fn can_be_passed_on(service: &Service) -> bool {
    match service.resolution {
        Resolution::Endpoints
        | Resolution::Headless
        | Resolution::Dns
        | Resolution::DnsRoundRobin => true,
        Resolution::None | Resolution::DynamicDns | Resolution::Alias(_) => false,
    }
}

/// The clusters of a service for connections that are passed on encrypted as they came: the client's
/// sidecar has seen to the TLS, and only endpoints whose sidecar ends it are there.
pub(crate) fn passed_on(b: &mut Build<'_>, service: &Service, into: &mut Clusters) {
    let rule = rule_of(b.world, b.proxy, service).cloned();
    let rule = rule.as_deref();
    let subsets = rule.iter().flat_map(|r| &r.subsets).map(|(subset, _, _)| subset);
    let subsets: Vec<Option<&Subset>> = std::iter::once(None).chain(subsets.map(Some)).collect();
    for port in service.ports.iter().filter(|p| p.protocol != Protocol::Udp) {
        for subset in &subsets {
            let subset_name = subset.map_or("", |s| s.name.as_str());
            let name = names::server_name(port.number, subset_name, service.host.as_str());
            let policy = Policy::of(rule, *subset, port.number).or_mesh(&b.world.mesh.config);
            let mut selection = selection(b.world, service, port, *subset, &policy);
            let (key, value) = registry::TAKES_MTLS;
            selection.labels.insert(key.to_owned(), value.to_owned());
            let discovery = discovery::passed_on(b, service, &selection, &name);
            let mut cluster = settled(b, &selection, &policy, Cluster::new(name, discovery));
            cluster.metadata = metadata(service, port, rule, *subset);
            cluster.origin = b.origin(&service.object, "spec.ports");
            into.add(cluster, selection, service);
        }
    }
}

/// What of a proxy the endpoints depend on that its clusters of a service take.
pub(crate) fn sense(world: &Snapshot, proxy: &Proxy, service: &Service, senses: &mut Senses) {
    let rule = rule_of(world, proxy, service).map(|r| &**r);
    let subsets = rule.iter().flat_map(|r| &r.subsets).map(|(subset, _, _)| Some(subset));
    for subset in std::iter::once(None).chain(subsets) {
        for port in &service.ports {
            let policy = Policy::of(rule, subset, port.number).or_mesh(&world.mesh.config);
            selection(world, service, port, subset, &policy).sense(senses);
        }
    }
}

fn selection(
    world: &Snapshot,
    service: &Service,
    port: &ServicePort,
    subset: Option<&Subset>,
    policy: &Policy<'_>,
) -> Selection {
    Selection {
        port: port.name.clone(),
        labels: subset.map(|s| s.labels.clone()).unwrap_or_default(),
        nearness: Nearness::of(&world.mesh.config.locality_lb_setting, service, policy),
        node_local: service.node_local,
    }
}

/// With how its endpoints are chosen and connected to; nothing yet of encryption.
fn settled(
    b: &Build<'_>,
    selection: &Selection,
    policy: &Policy<'_>,
    mut cluster: Cluster,
) -> Cluster {
    let mesh = &b.world.mesh.config;
    cluster.connect_timeout = Some(mesh.connect_timeout.0);
    pool::apply(policy, mesh.tcp_keepalive.as_ref(), &mut cluster);
    policy::apply_load_balancer(policy, &mut cluster);
    cluster.lb_common.locality = selection.nearness.mode();
    cluster
}

/// The cluster of one port and subset, and what it takes of the service's endpoints; none where it
/// must not be reached.
fn of_port(
    b: &mut Build<'_>,
    service: &Service,
    port: &ServicePort,
    rule: Option<&Rule>,
    subset: Option<&Subset>,
) -> Option<(Cluster, Selection)> {
    let mesh = &b.world.mesh.config;
    let policy = Policy::of(rule, subset, port.number).or_mesh(mesh);
    let selection = selection(b.world, service, port, subset, &policy);
    let subset_name = subset.map_or("", |s| s.name.as_str());
    let name = names::outbound_cluster(port.number, subset_name, service.host.as_str());
    let discovery = discovery::of(b, service, port, &selection, &policy, &name);
    let protocol = upstream_protocol(port.protocol, &policy, mesh.h2_upgrade_policy);
    let speaking = Cluster { protocol, ..Cluster::new(name, discovery) };
    let mut cluster = settled(b, &selection, &policy, speaking);
    cluster.metadata = metadata(service, port, rule, subset);
    if let Some(rule) = rule {
        let field = if rule.policy.is_some() { "spec.trafficPolicy" } else { "spec.host" };
        cluster.origin = b.origin(&rule.policy_object, field);
        if policy.tunnel.is_some_and(|t| !is_possible(t, cluster.protocol)) {
            let say = "only a tunnel by CONNECT over HTTP/1.1 is possible in this version; the traffic \
                       is refused rather than sent around it";
            b.say(&rule.policy_object, Finding::error("spec.trafficPolicy.tunnel", say));
            return None;
        }
    } else {
        cluster.origin = b.origin(&service.object, "spec.ports");
    }
    let selected = rule.is_some_and(|r| r.selector.is_some());
    let hop = tls::Hop {
        world: b.world,
        service,
        port: port.number,
        protocol: port.protocol,
        subset: subset_name,
        has_secrets: b.proxy.kind == ProxyKind::Router || selected,
    };
    if let Err(finding) = tls::apply(&policy, &hop, &mut cluster) {
        b.say(rule.map_or(&service.object, |r| &r.policy_object), *finding);
        return None;
    }
    Some((cluster, selection))
}

/// CONNECT is what counts where nothing is written.
fn is_possible(tunnel: &TunnelSettings, spoken: UpstreamProtocol) -> bool {
    matches!(tunnel.protocol.as_str(), "" | "CONNECT") && spoken != UpstreamProtocol::Http2
}

fn upstream_protocol(
    protocol: Protocol,
    policy: &Policy<'_>,
    mesh: MeshH2Upgrade,
) -> UpstreamProtocol {
    let http = policy.pool.and_then(|p| p.http.as_ref());
    if http.is_some_and(|h| h.use_client_protocol) {
        return UpstreamProtocol::Downstream;
    }
    let written = http.and_then(|h| h.h2_upgrade_policy);
    let upgrade = match written {
        Some(H2UpgradePolicy::Upgrade) => true,
        Some(H2UpgradePolicy::DoNotUpgrade) => false,
        Some(H2UpgradePolicy::Default) | None => mesh == MeshH2Upgrade::Upgrade,
    };
    match protocol {
        p if p.is_http2() => UpstreamProtocol::Http2,
        // Who writes it for this destination knows that it speaks HTTP.
        Protocol::Undeclared if written == Some(H2UpgradePolicy::Upgrade) => {
            UpstreamProtocol::Http2
        }
        Protocol::Undeclared => UpstreamProtocol::Downstream,
        Protocol::Http if upgrade => UpstreamProtocol::Http2,
        _ => UpstreamProtocol::Http1,
    }
}

/// Filter metadata `istio`, which tools and telemetry read.
fn metadata(
    service: &Service,
    port: &ServicePort,
    rule: Option<&Rule>,
    subset: Option<&Subset>,
) -> Metadata {
    let mut fields: BTreeMap<Str, Value> = BTreeMap::new();
    let text = |s: &str| Value::String(s.into());
    fields.insert("default_original_port".into(), Value::Number(f64::from(port.number)));
    fields.insert("services".into(), Value::List(vec![service_value(service)]));
    if let Some(rule) = rule {
        let object = &rule.policy_object;
        fields.insert(
            "config".into(),
            text(&format!(
                "/apis/networking.istio.io/v1/namespaces/{}/destination-rule/{}",
                object.namespace, object.name
            )),
        );
    }
    if let Some(subset) = subset {
        fields.insert("subset".into(), text(&subset.name));
    }
    Metadata::from([("istio".into(), Value::Struct(fields))])
}

/// A service as cluster metadata names it.
pub(crate) fn service_value(service: &Service) -> Value {
    let text = |s: &str| Value::String(s.into());
    Value::Struct(BTreeMap::from([
        ("host".into(), text(service.host.as_str())),
        ("name".into(), text(&service.name)),
        ("namespace".into(), text(&service.namespace)),
    ]))
}

/// Refuses whatever comes.
pub(crate) fn black_hole() -> Arc<Cluster> {
    let mut cluster = Cluster::new(names::BLACK_HOLE, Discovery::Static(Vec::new()));
    cluster.connect_timeout = Some(std::time::Duration::from_secs(10));
    Arc::new(cluster)
}

/// Forwards to where the client was going.
pub(crate) fn passthrough(b: &Build<'_>) -> Arc<Cluster> {
    Arc::new(to_original(b, names::PASSTHROUGH.into()))
}

/// Forwards to the application where it was addressed, from an address that tells captured
/// connections of the proxy from those of the application.
pub(crate) fn inbound_passthrough(b: &Build<'_>) -> Arc<Cluster> {
    let mut cluster = to_original(b, names::INBOUND_PASSTHROUGH.into());
    cluster.bind_sources = inbound_sources(b);
    Arc::new(cluster)
}

/// One of each family that the proxy has.
pub(crate) fn inbound_sources(b: &Build<'_>) -> Vec<IpAddr> {
    let of_family = |wildcard: IpAddr| match wildcard {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::new(127, 0, 0, 6)),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 6)),
    };
    let wildcards = [Some(b.proxy.wildcard()), b.proxy.second_wildcard()];
    wildcards.into_iter().flatten().map(of_family).collect()
}

/// A cluster without endpoints of its own.
pub(crate) fn to_original(b: &Build<'_>, name: Str) -> Cluster {
    let mut cluster = Cluster::new(name, Discovery::OriginalDst);
    cluster.connect_timeout = Some(b.world.mesh.config.connect_timeout.0);
    cluster.lb = LoadBalancer::ClusterProvided;
    cluster.protocol = UpstreamProtocol::Downstream;
    cluster.breakers = pool::unlimited();
    cluster.origin = OriginId::NONE;
    cluster
}

/// What the policy of a destination asks of the connections that are forwarded to it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct TcpOptions {
    pub idle_timeout: Option<Duration>,
    pub max_duration: Option<Duration>,
    pub hash_source_ip: bool,
    /// `host:port` at the end of a tunnel through the destination.
    pub tunnel: Option<Str>,
}

pub(crate) fn tcp_options(b: &Build<'_>, service: &Service, port: u16, subset: &str) -> TcpOptions {
    let rule = rule_of(b.world, b.proxy, service).map(|r| &**r);
    let subset = rule.and_then(|r| r.subset(subset));
    let policy = Policy::of(rule, subset, port).or_mesh(&b.world.mesh.config);
    let tcp = policy.pool.and_then(|p| p.tcp.as_ref());
    let hash = policy.lb.and_then(|lb| lb.consistent_hash.as_ref());
    TcpOptions {
        idle_timeout: tcp.and_then(|t| t.idle_timeout).map(|d| d.0),
        max_duration: tcp.and_then(|t| t.max_connection_duration).map(|d| d.0),
        hash_source_ip: hash.is_some_and(|h| h.use_source_ip == Some(true)),
        tunnel: policy.tunnel.map(|t| match t.target_host.contains(':') {
            true => format!("[{}]:{}", t.target_host, t.target_port).into(),
            false => format!("{}:{}", t.target_host, t.target_port).into(),
        }),
    }
}

/// The cluster that a destination means, and what is missing for it to exist.
pub(crate) struct Target {
    pub cluster: Str,
    pub service: Option<Arc<Service>>,
    pub port: u16,
    pub lacks: Option<Lack>,
}

pub(crate) enum Lack {
    Host(Host),
    Subset(Host, String),
    Port(Host),
}

/// Resolves a destination written in an object of `namespace`. Without a port it is the service's
/// only one, else the port of the listener.
pub(crate) fn target(
    b: &Build<'_>,
    scope: &Scope,
    destination: &api::Destination,
    namespace: &str,
    listener_port: u16,
) -> Option<Target> {
    let host = Host::resolve(&destination.host, namespace, &b.world.domain).ok()?;
    let written = destination.port.as_ref().and_then(|p| u16::try_from(p.number).ok());
    let service = scope.service(&host).cloned();
    let service = service.map(|s| follow_alias(b, scope, s));
    let only = service.as_ref().filter(|s| s.ports.len() == 1).map(|s| s.ports[0].number);
    let port = written.filter(|p| *p != 0).or(only).unwrap_or(listener_port);
    let to = service.as_ref().map_or(&host, |s| &s.host);
    let cluster = names::outbound_cluster(port, &destination.subset, to.as_str());
    let lacks = match &service {
        None => Some(Lack::Host(host.clone())),
        Some(s) if s.port(port).is_none() => Some(Lack::Port(host.clone())),
        Some(s) if !destination.subset.is_empty() => {
            let rule = rule_of(b.world, b.proxy, s);
            let known = rule.is_some_and(|r| r.subset(&destination.subset).is_some());
            (!known).then(|| Lack::Subset(host.clone(), destination.subset.clone()))
        }
        Some(_) => None,
    };
    Some(Target { cluster, service, port, lacks })
}

/// An ExternalName service is another name for its target, where that is a service too.
pub(crate) fn follow_alias(b: &Build<'_>, scope: &Scope, service: Arc<Service>) -> Arc<Service> {
    let Resolution::Alias(name) = &service.resolution else { return service };
    let target = Host::resolve(name, &service.namespace, &b.world.domain).ok();
    match target.and_then(|t| scope.service(&t).cloned()) {
        // One step only: an alias of an alias is not followed round in circles.
        Some(target) if !matches!(target.resolution, Resolution::Alias(_)) => target,
        _ => service,
    }
}

impl Lack {
    /// What to say to the author of the reference.
    pub fn finding(&self, path: &str) -> Finding {
        let say = match self {
            Lack::Host(host) => format!("host {host} is not a service that this proxy can see"),
            Lack::Subset(host, subset) => format!(
                "no DestinationRule for host {host} defines subset {subset:?}; until one does, \
                 requests sent there are answered 503"
            ),
            Lack::Port(host) => format!("host {host} has no such port"),
        };
        Finding::error(path, say).code("IST0101")
    }
}
