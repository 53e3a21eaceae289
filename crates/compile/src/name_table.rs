//! What a sidecar's DNS answers: the hosts of its scope that have addresses. The agent knows the short
//! forms of Kubernetes' names by itself.

use crate::build::Build;
use crate::scope::Scope;
use crate::{Dns, Proxy};
use ir::{NameInfo, NameTable, Str};
use registry::{Instance, InstanceAddress, Resolution, Service};
use std::net::IpAddr;

/// Addresses of one name: more do not fit a message.
const MOST: usize = 1000;

/// `None` where the proxy's DNS is not ours.
pub(crate) fn of(b: &Build<'_>, scope: &Scope) -> Option<NameTable> {
    if b.proxy.dns == Dns::Elsewhere {
        return None;
    }
    let mut table = NameTable::default();
    for service in scope.services() {
        match service.resolution {
            Resolution::Headless => headless(b, service, &mut table),
            // Another name: the cluster's DNS follows it.
            Resolution::Alias(_) => {}
            _ => put(&mut table, &service.host, info(service, addresses(b.proxy, service))),
        }
    }
    Some(table)
}

/// Of both families, whatever the proxy's own: an answer of NOERROR without addresses is what keeps a
/// client from asking elsewhere.
fn addresses(proxy: &Proxy, service: &Service) -> Vec<IpAddr> {
    proxy.whole_addresses(service).collect()
}

/// Its endpoints; each that has a name within it under that name, too.
fn headless(b: &Build<'_>, service: &Service, table: &mut NameTable) {
    let Some(known) = b.world.endpoints.get(&service.key()) else { return };
    let first = service.ports.first().map(|p| p.name.as_str());
    let of_first = |i: &&Instance| i.ready && Some(&*i.port_name) == first;
    let mut all = Vec::new();
    for instance in known.instances.iter().filter(of_first) {
        let InstanceAddress::Ip(ip) = instance.address else { continue };
        all.push(ip);
        if !instance.hostname.is_empty() {
            let short_name = Str::from(format!("{}.{}", instance.hostname, service.name));
            let host = format!("{}.{}", instance.hostname, service.host);
            let own = NameInfo { short_name, ..info(service, vec![ip]) };
            let entry = table.hosts.entry(host.to_ascii_lowercase().into());
            entry.and_modify(|i| i.ips.push(ip)).or_insert(own);
        }
    }
    put(table, &service.host, info(service, all));
}

fn put(table: &mut NameTable, host: &base::Host, mut info: NameInfo) {
    info.ips.truncate(MOST);
    if !info.ips.is_empty() {
        table.hosts.insert(host.as_str().to_ascii_lowercase().into(), info);
    }
}

fn info(service: &Service, ips: Vec<IpAddr>) -> NameInfo {
    let of_kubernetes = |text: &str| if service.kubernetes { text.into() } else { "".into() };
    NameInfo {
        ips,
        registry: if service.kubernetes { "Kubernetes" } else { "External" }.into(),
        short_name: of_kubernetes(&service.name),
        namespace: of_kubernetes(&service.namespace),
    }
}
