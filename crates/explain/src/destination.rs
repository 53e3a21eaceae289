//! The address that a client's resolver gives it for a name.

use crate::Node;
use base::{Host, Origin};
use registry::{InstanceAddress, Service, Snapshot};
use std::net::{IpAddr, Ipv4Addr};

/// Stands for an address outside the mesh that nobody here knows (RFC 5737).
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// The address, and whose it is.
pub(crate) fn resolve(world: &Snapshot, name: &str, namespace: &str) -> (IpAddr, Node) {
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = bare.parse::<IpAddr>() {
        let owner = world.services.iter().find(|s| s.addresses.iter().any(|(a, _)| *a == ip));
        return (ip, node(ip, owner.map(|s| &**s)));
    }
    match service(world, name, namespace) {
        Some(service) => {
            let ip = address(world, service).unwrap_or(ELSEWHERE);
            (ip, node(ip, Some(service)))
        }
        None => {
            let name = format!("{name}, which no service of the mesh has: an address outside it");
            (ELSEWHERE, Node { name, origin: None })
        }
    }
}

fn node(ip: IpAddr, service: Option<&Service>) -> Node {
    let origin = service.map(|s| {
        let path = if s.kubernetes { "metadata.name" } else { "spec.hosts" };
        Origin { object: s.object.clone(), path: path.into(), line: None }
    });
    let name = match service {
        Some(service) => format!("{} at {ip}", service.host),
        None => ip.to_string(),
    };
    Node { name, origin }
}

/// By the search path of a pod's resolver.
fn service<'a>(world: &'a Snapshot, name: &str, namespace: &str) -> Option<&'a Service> {
    let domain = &world.domain;
    let candidates = [
        format!("{name}.{namespace}.svc.{domain}"),
        format!("{name}.svc.{domain}"),
        format!("{name}.{domain}"),
        name.to_owned(),
    ];
    let hosts: Vec<Host> = candidates.iter().filter_map(|c| Host::parse(c).ok()).collect();
    let seen = |s: &&Service| world.sees_service(s, namespace);
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
