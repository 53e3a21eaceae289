//! Which ports of a workload are declared, by whom, and where the application is.

use crate::authorization::Authorizer;
use crate::{Proxy, names};
use api::{AuthorizationAction, AuthorizationPolicy, CaptureMode, IngressListener, Protocol};
use base::ObjectRef;
use ir::{Address, Str};
use registry::{Admits, Service, ServiceKey, ServicePort, Snapshot, TargetPort};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// All that the inbound side depends on but the mesh configuration: proxies with equal plans get the
/// same configuration.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Plan {
    pub ports: Vec<InboundPort>,
    /// What PeerAuthentications say of its connections.
    pub admits: Admits,
    /// The AuthorizationPolicies that are about it, in their versions.
    policies: Vec<(ObjectRef, u64)>,
    /// Who may be asked about access, as far as services say.
    authorizers: Vec<Result<Str, String>>,
    /// The same of RequestAuthentications, and of the keys that they may need.
    tokens: Vec<(ObjectRef, u64)>,
    keys: u64,
    /// The Sidecar that is obeyed, in its version.
    sidecar: Option<(ObjectRef, u64)>,
    families: (bool, bool),
    stock_envoy: bool,
    http10: bool,
    tells_denials: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct InboundPort {
    /// Where connections come in.
    pub port: u16,
    pub protocol: Protocol,
    /// Of the oldest service that declares it.
    pub host: Str,
    pub service_port: u16,
    pub services: Vec<ServiceKey>,
    pub upstream: Upstream,
    pub object: ObjectRef,
    /// Which of the Sidecar's ingress listeners it is.
    pub ingress: Option<usize>,
    /// The address of a socket of its own, where connections are not captured.
    pub bound: Option<IpAddr>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Upstream {
    Original,
    At(Address),
}

impl InboundPort {
    /// By declaration.
    pub fn is_tcp(&self) -> bool {
        !self.protocol.is_http() && self.protocol != Protocol::Undeclared
    }

    pub fn cluster(&self) -> Str {
        names::inbound(self.port)
    }
}

impl Plan {
    pub fn of(world: &Snapshot, proxy: &Proxy) -> Plan {
        let sidecar = world.sidecars.of_proxy(&proxy.namespace, &proxy.labels);
        let written = sidecar.filter(|s| !s.spec.ingress.is_empty());
        let ports = match written {
            Some(s) => {
                let all = s.spec.ingress.iter().enumerate();
                all.filter_map(|(at, i)| of_ingress(proxy, &s.object, at, i)).collect()
            }
            None => of_services(world, proxy),
        };
        let policies = world.authorization_policies.of_workload(&proxy.namespace, &proxy.labels);
        let tokens = world.request_authentications.of_workload(&proxy.namespace, &proxy.labels);
        let keys = if tokens.is_empty() { 0 } else { world.key_sets.version };
        Plan {
            ports,
            authorizers: authorizers(world, policies.iter().map(|p| &p.spec)),
            policies: policies.iter().map(|p| (p.object.clone(), p.version)).collect(),
            tokens: tokens.iter().map(|p| (p.object.clone(), p.version)).collect(),
            keys,
            admits: world.peer_authentications.of_workload(&proxy.namespace, &proxy.labels),
            sidecar: sidecar.map(|s| (s.object.clone(), s.version)),
            families: proxy.families(),
            stock_envoy: proxy.stock_envoy,
            http10: proxy.http10,
            tells_denials: proxy.tells_denials,
        }
    }
}

/// Providers that policies name, each with what asking it comes to.
fn authorizers<'p>(
    world: &Snapshot,
    policies: impl Iterator<Item = &'p AuthorizationPolicy>,
) -> Vec<Result<Str, String>> {
    let external = policies.filter(|p| p.action == AuthorizationAction::Custom);
    let providers = &world.mesh.config.extension_providers;
    let of = |p: &AuthorizationPolicy| {
        let found = Authorizer::find(providers, &world.services, &p.provider.name);
        found.map(|a| a.service.host.as_str().into())
    };
    external.map(of).collect()
}

/// The target ports of the services that select the workload; the oldest service decides on the
/// protocol where several declare one port.
fn of_services(world: &Snapshot, proxy: &Proxy) -> Vec<InboundPort> {
    let mut ports: BTreeMap<u16, InboundPort> = BTreeMap::new();
    for service in
        world.services.of_namespace(&proxy.namespace).iter().filter(|s| selects(s, proxy))
    {
        for port in service.ports.iter().filter(|p| p.protocol != Protocol::Udp) {
            let Some(target) = target(world, proxy, port) else { continue };
            let fresh = || InboundPort {
                port: target,
                protocol: port.protocol,
                host: service.host.as_str().into(),
                service_port: port.number,
                services: Vec::new(),
                upstream: Upstream::Original,
                object: service.object.clone(),
                ingress: None,
                bound: None,
            };
            let known = ports.entry(target).or_insert_with(fresh);
            if !known.services.contains(&service.key()) {
                known.services.push(service.key());
            }
        }
    }
    ports.into_values().collect()
}

fn selects(service: &Service, proxy: &Proxy) -> bool {
    !service.selector.is_empty()
        && service.selector.iter().all(|(k, v)| proxy.labels.get(k) == Some(v))
}

fn target(world: &Snapshot, proxy: &Proxy, port: &ServicePort) -> Option<u16> {
    match &port.target {
        TargetPort::Number(n) => Some(*n),
        TargetPort::Named(name) => {
            let workload = proxy.ips.iter().find_map(|ip| world.workloads.at(*ip))?;
            workload.port_named(name)
        }
    }
}

fn of_ingress(
    proxy: &Proxy,
    object: &ObjectRef,
    at: usize,
    written: &IngressListener,
) -> Option<InboundPort> {
    let port = u16::try_from(written.port.number).ok().filter(|p| *p != 0)?;
    let protocol = Protocol::parse(&written.port.protocol)
        .unwrap_or_else(|| Protocol::of_port("TCP", None, &written.port.name, port));
    let uncaptured = proxy.uncaptured || written.capture_mode == CaptureMode::None;
    // What cannot be read is not opened to everybody.
    let bind = match written.bind.as_str() {
        "" => proxy.wildcard(),
        written => written.parse().unwrap_or_else(|_| proxy.loopback()),
    };
    Some(InboundPort {
        port,
        protocol,
        host: format!("{}.{}", object.name, object.namespace).into(),
        service_port: port,
        services: Vec::new(),
        upstream: endpoint(proxy, &written.default_endpoint)?,
        object: object.clone(),
        ingress: Some(at),
        bound: uncaptured.then_some(bind),
    })
}

/// `127.0.0.1:PORT`, `0.0.0.0:PORT` (the pod's own address), `unix:///path`, or nothing.
fn endpoint(proxy: &Proxy, written: &str) -> Option<Upstream> {
    if written.is_empty() {
        return Some(Upstream::Original);
    }
    if let Some(path) = written.strip_prefix("unix://") {
        return Some(Upstream::At(Address::Pipe(path.into())));
    }
    let address: SocketAddr = written.parse().ok()?;
    let ip = match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) | IpAddr::V6(Ipv6Addr::UNSPECIFIED) => {
            *proxy.ips.first()?
        }
        ip => ip,
    };
    Some(Upstream::At(Address::Ip(SocketAddr::new(ip, address.port()))))
}
