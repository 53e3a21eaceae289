//! The address that a client's resolver gives it for a name.

use crate::{Asked, Node};
use base::{Host, Origin};
use registry::{InstanceAddress, Service, Snapshot};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Stands for an address outside the mesh that nobody here knows (RFC 5737).
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// Where a connection is meant for, and whose that is.
pub(crate) struct Reached {
    pub address: SocketAddr,
    pub node: Node,
    /// The host that was asked for is a service's.
    pub host: Option<Host>,
}

pub(crate) fn resolve(world: &Snapshot, asked: &Asked, namespace: &str) -> Reached {
    let bare = asked.host.trim_start_matches('[').trim_end_matches(']');
    let at = |ip| SocketAddr::new(ip, asked.port);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return known(world, at(ip));
    }
    match service(world, &asked.host, namespace) {
        Some(service) => {
            let known = address(world, service);
            let ip = known.unwrap_or(ELSEWHERE);
            let host = Some(service.host.clone());
            Reached { address: at(ip), node: node(ip, Some(service)), host }
        }
        None => {
            let name = format!("{}, which no service has: an address outside the mesh", asked.host);
            let node = Node { name, origin: None };
            Reached { address: at(ELSEWHERE), node, host: None }
        }
    }
}

fn has(service: &Service, ip: IpAddr) -> bool {
    service.addresses.iter().any(|(a, _)| *a == ip) || service.automatic.contains(&ip)
}

/// An address that the client has already.
pub(crate) fn known(world: &Snapshot, address: SocketAddr) -> Reached {
    let ip = address.ip();
    let owner = world.services.iter().find(|s| has(s, ip)).map(|s| &**s);
    Reached { address, node: node(ip, owner), host: owner.map(|s| s.host.clone()) }
}

/// An address of the proxy itself.
pub(crate) fn own(address: SocketAddr, port: u16, whose: &str) -> Reached {
    let behind = match address.port() == port {
        true => String::new(),
        false => format!(", where port {port} of its Service leads"),
    };
    let name = format!("{whose} at port {}{behind}", address.port());
    Reached { address, node: Node { name, origin: None }, host: None }
}

fn node(ip: IpAddr, service: Option<&Service>) -> Node {
    let origin = service.map(|s| {
        let path = if s.kubernetes { "metadata.name" } else { "spec.hosts" };
        Origin { object: s.object.clone(), path: path.into(), line: None }
    });
    let name = match service {
        Some(service) if ip == ELSEWHERE => format!("{}, by whatever DNS says", service.host),
        Some(service) => format!("{} at {ip}", service.host),
        None => ip.to_string(),
    };
    Node { name, origin }
}

/// By the search path of a pod's resolver. Services of the cluster have names for everybody, others
/// for those who see them.
pub fn service<'a>(world: &'a Snapshot, name: &str, namespace: &str) -> Option<&'a Service> {
    let domain = &world.domain;
    let candidates = [
        format!("{name}.{namespace}.svc.{domain}"),
        format!("{name}.svc.{domain}"),
        format!("{name}.{domain}"),
        name.to_owned(),
    ];
    let hosts: Vec<Host> = candidates.iter().filter_map(|c| Host::parse(c).ok()).collect();
    let seen = |s: &&Service| s.kubernetes || world.sees_service(s, namespace);
    let exact = |h: &Host| world.services.of_host(h).iter().map(|s| &**s).find(seen);
    hosts.iter().find_map(exact).or_else(|| {
        let last = hosts.last()?;
        let wide = world.services.iter().map(|s| &**s).filter(|s| s.host.is_wildcard());
        wide.filter(|s| s.host.covers(last)).find(seen)
    })
}

/// Its virtual address; of one without, that of an endpoint.
fn address(world: &Snapshot, service: &Service) -> Option<IpAddr> {
    let given = service.addresses.iter().map(|(ip, _)| *ip);
    let own = given.chain(service.automatic.iter().copied()).next();
    own.or_else(|| {
        let endpoints = world.endpoints.get(&service.key())?;
        endpoints.instances.iter().find_map(|i| match &i.address {
            InstanceAddress::Ip(ip) => Some(*ip),
            _ => None,
        })
    })
}
