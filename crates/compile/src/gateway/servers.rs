//! The servers of the Gateway objects that select a proxy, by the port they come to stand on.

use super::bind_address;
use crate::Proxy;
use crate::build::Build;
use crate::unsupported;
use api::{Gateway, Protocol, Server, ServerTlsMode, VirtualService};
use base::{Finding, Host, OriginId};
use ir::Str;
use registry::{Item, Service, Snapshot, TargetPort};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// What is served on one address and port of the pod.
pub(super) struct PortGroup {
    pub ip: IpAddr,
    pub port: u16,
    /// As written, where it is.
    pub bind: Option<String>,
    /// Oldest first.
    pub servers: Vec<Bound>,
}

/// One server of one Gateway.
pub(super) struct Bound {
    pub gateway: Arc<Item<Gateway>>,
    pub server: Server,
    pub path: String,
    pub transport: Transport,
    /// The port as written: that of the Service before the pod.
    pub server_port: u16,
    pub hosts: Vec<ServerHost>,
    pub origin: OriginId,
}

/// A host, and the namespace that VirtualServices for it may come from (`*`: any).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServerHost {
    pub namespace: String,
    pub host: Host,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Http,
    HttpsTerminated,
    TlsTerminated,
    Passthrough,
    Tcp,
}

impl Transport {
    pub fn is_tls(self) -> bool {
        matches!(
            self,
            Transport::HttpsTerminated | Transport::TlsTerminated | Transport::Passthrough
        )
    }

    /// Whether requests are seen, and not only connections.
    pub fn is_http(self) -> bool {
        matches!(self, Transport::Http | Transport::HttpsTerminated)
    }

    fn of(server: &Server) -> Option<Transport> {
        let protocol = Protocol::parse(&server.port.protocol)?;
        let mode = server.tls.as_ref().filter(|t| !t.https_redirect).map(|t| t.mode);
        Some(match (protocol, mode) {
            (_, Some(ServerTlsMode::Passthrough | ServerTlsMode::AutoPassthrough)) => {
                Transport::Passthrough
            }
            (Protocol::Https, _) => Transport::HttpsTerminated,
            (p, None) if p.is_http() => Transport::Http,
            (p, Some(_)) if p.is_http() => Transport::HttpsTerminated,
            (Protocol::Tls, _) | (_, Some(_)) => Transport::TlsTerminated,
            (Protocol::Udp | Protocol::Undeclared, None) => return None,
            (_, None) => Transport::Tcp,
        })
    }
}

/// By address and port; what cannot stand together is said and left out, the oldest stays.
pub(super) fn of(b: &mut Build<'_>) -> Vec<PortGroup> {
    let mut groups: BTreeMap<(IpAddr, u16), PortGroup> = BTreeMap::new();
    let gateways: Vec<_> =
        b.world.gateways.iter().filter(|g| selects(&g.spec, b)).cloned().collect();
    for gateway in gateways {
        for finding in unsupported::in_gateway(&gateway.spec) {
            b.say(&gateway.object, finding);
        }
        for (index, server) in gateway.spec.servers.iter().enumerate() {
            let path = format!("spec.servers[{index}]");
            match bound(b, &gateway, server, path.clone()) {
                Ok((ip, port, bound)) => {
                    let group = groups.entry((ip, port)).or_insert_with(|| PortGroup {
                        ip,
                        port,
                        bind: Some(server.bind.clone()).filter(|b| !b.is_empty()),
                        servers: Vec::new(),
                    });
                    if let Err(finding) = group.add(bound) {
                        b.say(&gateway.object, *finding);
                    }
                }
                Err(say) => b.say(&gateway.object, Finding::error(path, say)),
            }
        }
    }
    groups.into_values().collect()
}

fn selects(gateway: &Gateway, b: &Build<'_>) -> bool {
    gateway.selector.iter().all(|(k, v)| b.proxy.labels.get(k) == Some(v))
}

fn bound(
    b: &mut Build<'_>,
    gateway: &Arc<Item<Gateway>>,
    server: &Server,
    path: String,
) -> Result<(IpAddr, u16, Bound), String> {
    let transport = Transport::of(server)
        .ok_or_else(|| format!("protocol {:?} cannot be served", server.port.protocol))?;
    let server_port = u16::try_from(server.port.number)
        .ok()
        .filter(|p| *p != 0)
        .ok_or_else(|| format!("{} is no port", server.port.number))?;
    let ip = bind_address(b, &server.bind)
        .ok_or_else(|| format!("bind {:?} is no address", server.bind))?;
    let port = listening_port(b.world, b.proxy, server_port);
    if b.is_reserved(port) {
        return Err(format!("port {port} is the gateway's own; choose another"));
    }
    if port < 1024 && b.proxy.unprivileged {
        return Err(format!(
            "port {port} is below 1024 and the gateway may not bind to it; give its Service a \
             targetPort above"
        ));
    }
    let hosts = server.hosts.iter().filter_map(|h| server_host(h, gateway.namespace())).collect();
    let origin = b.origin(&gateway.object, path.as_str());
    let (gateway, server) = (gateway.clone(), server.clone());
    Ok((ip, port, Bound { gateway, server, path, transport, server_port, hosts, origin }))
}

/// The port that a gateway's pod listens on for a port of its Service, which is what a server names.
pub fn listening_port(world: &Snapshot, proxy: &Proxy, port: u16) -> u16 {
    let before_us = |s: &&Arc<Service>| {
        *s.namespace == *proxy.namespace
            && !s.selector.is_empty()
            && s.selector.iter().all(|(k, v)| proxy.labels.get(k) == Some(v))
    };
    let found = world.services.iter().filter(before_us).find_map(|s| s.port(port));
    match found.map(|p| &p.target) {
        Some(TargetPort::Number(target)) => *target,
        Some(TargetPort::Named(name)) => {
            let pod = proxy.ips.iter().find_map(|ip| world.workloads.at(*ip));
            pod.and_then(|w| w.port_named(name)).unwrap_or(port)
        }
        None => port,
    }
}

/// `namespace/host`, where `.` is the Gateway's own namespace.
fn server_host(written: &str, own: &str) -> Option<ServerHost> {
    let (namespace, host) = written.split_once('/').unwrap_or(("*", written));
    let namespace = if namespace == "." { own } else { namespace };
    Some(ServerHost { namespace: namespace.to_owned(), host: Host::parse(host).ok()? })
}

impl PortGroup {
    /// An error names who was there before.
    fn add(&mut self, bound: Bound) -> Result<(), Box<Finding>> {
        let conflict = |field: &str, say: String| {
            let finding = Finding::error(format!("{}.{field}", bound.path), say);
            Err(Box::new(finding.code("IST0145")))
        };
        if let Some(other) = self.servers.iter().find(|s| !s.goes_together_with(&bound)) {
            let say = format!(
                "port {} is served as {} by {}, which is older, and that does not go together with \
                 {}; choose another port",
                bound.server_port,
                other.server.port.protocol,
                other.whose(),
                bound.server.port.protocol
            );
            return conflict("port", say);
        }
        let shared = self.servers.iter().find_map(|s| Some((s, s.shared_name(&bound)?)));
        if let Some((other, host)) = shared {
            let say = format!(
                "TLS for host {host} on port {} is served by {}, which is older; this server has no \
                 effect",
                bound.server_port,
                other.whose()
            );
            return conflict("hosts", say);
        }
        self.servers.push(bound);
        Ok(())
    }

    /// `http.8080`
    pub fn http_route_name(&self) -> Str {
        match &self.bind {
            Some(bind) => format!("http.{}.{bind}", self.port).into(),
            None => format!("http.{}", self.port).into(),
        }
    }
}

impl Bound {
    /// `https.443.https.my-gateway.my-namespace`
    pub fn https_route_name(&self) -> Str {
        let bind = self.server.bind.as_str();
        let name = format!(
            "https.{}.{}.{}.{}",
            self.server_port,
            self.server.port.name,
            self.gateway.name(),
            self.gateway.namespace()
        );
        if bind.is_empty() { name.into() } else { format!("{name}.{bind}").into() }
    }

    /// As VirtualServices name it, with its namespace.
    pub fn gateway_name(&self) -> String {
        format!("{}/{}", self.gateway.namespace(), self.gateway.name())
    }

    pub fn is_auto(&self) -> bool {
        self.server.tls.as_ref().is_some_and(|t| t.mode == ServerTlsMode::AutoPassthrough)
    }

    pub fn redirects_to_https(&self) -> bool {
        self.server.tls.as_ref().is_some_and(|t| t.https_redirect)
    }

    /// What connections may ask for; nothing when any name will do.
    pub fn server_names(&self) -> Vec<Str> {
        if self.hosts.iter().any(|h| h.host.as_str() == "*") {
            return Vec::new();
        }
        let mut names: Vec<Str> = self.hosts.iter().map(|h| h.host.as_str().into()).collect();
        names.dedup();
        names
    }

    /// On one port.
    fn goes_together_with(&self, other: &Bound) -> bool {
        match (self.transport, other.transport) {
            (Transport::Http, Transport::Http) => true,
            (a, b) => a.is_tls() && b.is_tls(),
        }
    }

    /// A name that connections would ask both servers for. What is passed on is told apart by routes.
    fn shared_name(&self, other: &Bound) -> Option<&Host> {
        let passes = |b: &Bound| b.transport == Transport::Passthrough;
        let both_tls = self.transport.is_tls() && other.transport.is_tls();
        if !both_tls || passes(self) && passes(other) {
            return None;
        }
        let in_other = |h: &&ServerHost| other.hosts.iter().any(|o| o.host == h.host);
        self.hosts.iter().find(in_other).map(|h| &h.host)
    }

    /// For people: the field of the object.
    fn whose(&self) -> String {
        format!("{} {}", self.gateway.object, self.path)
    }

    /// The VirtualServices that bind to the server's Gateway and may, for one of its hosts.
    pub fn routes(&self, b: &Build<'_>) -> Vec<Arc<Item<VirtualService>>> {
        let all = b.world.virtual_services.iter();
        all.filter(|v| {
            self.is_named_by(v)
                && b.world.sees_route(v, &b.proxy.namespace)
                && v.hosts.iter().any(|h| self.takes(v.namespace(), h))
        })
        .cloned()
        .collect()
    }

    fn is_named_by(&self, item: &Item<VirtualService>) -> bool {
        let here = |name: &str| match name.split_once('/') {
            Some((namespace, name)) => {
                namespace == self.gateway.namespace() && name == self.gateway.name()
            }
            None => item.namespace() == self.gateway.namespace() && name == self.gateway.name(),
        };
        let in_matches = item.spec.http.iter().flat_map(|h| &h.r#match).flat_map(|m| &m.gateways);
        item.spec.gateways().any(here) || in_matches.into_iter().any(|g| here(g))
    }

    fn takes(&self, namespace: &str, host: &Host) -> bool {
        self.hosts.iter().any(|h| h.admits(namespace) && h.host.overlaps(host))
    }
}

impl ServerHost {
    pub fn admits(&self, namespace: &str) -> bool {
        self.namespace == "*" || self.namespace == namespace
    }
}
