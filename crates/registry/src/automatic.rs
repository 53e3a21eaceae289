//! Automatic addresses: a host of a ServiceEntry that has none gets one of a range that nobody else
//! uses, so that its name resolves and its connections can be told from others on the same port. What
//! was given once stays: it stands in the entry's `status.addresses`, which the control plane writes.

use crate::{Collection, Item};
use api::{Protocol, Resolution, ServiceEntry};
use base::Host;
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Entries with this label set to `false` get no address.
const LABEL: &str = "networking.istio.io/enable-autoallocate-ip";
/// 240.240.0.0/16, of which addresses ending in 0 and 255 are left out.
const PLACES: u32 = 256 * 254;

/// What the status of an entry should say and does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocation {
    pub namespace: String,
    pub name: String,
    /// All addresses of the entry, in the order of its hosts.
    pub addresses: Vec<(Host, IpAddr)>,
}

/// What has to be written so that every host that may have an address has one of its own. Of two
/// entries with one address the older keeps it.
pub(crate) fn missing(entries: &Collection<ServiceEntry>) -> Vec<Allocation> {
    let mut taken: HashSet<IpAddr> = written(entries).collect();
    let mut kept = Vec::new();
    for item in entries.iter() {
        let hosts: Vec<&Host> = hosts(item).collect();
        // One by one, since two hosts of the entry may have been given the same.
        let own = hosts.iter().map(|host| {
            let own = pair_of(item, host).filter(|p| are_free(p, &taken));
            taken.extend(own.into_iter().flatten());
            own
        });
        let own: Vec<Option<[IpAddr; 2]>> = own.collect();
        kept.push((item, hosts, own));
    }
    kept.into_iter()
        .filter_map(|(item, hosts, own)| complete(item, &hosts, own, &mut taken))
        .collect()
}

/// The address that a host would get if nobody had any: for proxies that allocate by themselves.
pub(crate) fn likely(namespace: &str, host: &Host) -> [IpAddr; 2] {
    pair(place(namespace, "", host))
}

/// The hosts of an entry that are to have an automatic address.
pub(crate) fn hosts(item: &Item<ServiceEntry>) -> impl Iterator<Item = &Host> {
    let spec = &item.spec;
    // Where the proxy looks nothing up itself, a connection to such an address would lead nowhere.
    let by_host = spec.resolution == Resolution::DynamicDns;
    let http = |p: &api::EntryPort| Protocol::parse(&p.protocol).is_some_and(Protocol::is_http);
    let looked_up = match spec.resolution {
        Resolution::None => false,
        // By the host of each request, which only HTTP has.
        Resolution::DynamicDns => spec.ports.iter().all(http),
        _ => true,
    };
    let wanted = spec.addresses.is_empty()
        && looked_up
        && item.metadata.labels.get(LABEL).is_none_or(|v| v != "false");
    item.hosts.iter().filter(move |h| wanted && (by_host || !h.is_wildcard()))
}

/// Addresses that users wrote themselves.
fn written(entries: &Collection<ServiceEntry>) -> impl Iterator<Item = IpAddr> {
    let all = entries.iter().flat_map(|i| &i.spec.addresses);
    all.filter_map(|a| a.split('/').next()?.parse().ok())
}

/// What the status gives a host, if it is what we give.
fn pair_of(item: &Item<ServiceEntry>, host: &Host) -> Option<[IpAddr; 2]> {
    let mut own = item.spec.allocated.iter().filter(|a| a.host == host.as_str()).map(|a| a.value);
    let v4 = own.find(IpAddr::is_ipv4)?;
    let IpAddr::V4(ip) = v4 else { return None };
    let [240, 240, high, low] = ip.octets() else { return None };
    let offset = u32::from(low).checked_sub(1).filter(|o| *o < 254)?;
    let pair = pair(u32::from(high) * 254 + offset);
    item.spec.allocated.iter().any(|a| a.value == pair[1]).then_some(pair)
}

fn complete(
    item: &Item<ServiceEntry>,
    hosts: &[&Host],
    own: Vec<Option<[IpAddr; 2]>>,
    taken: &mut HashSet<IpAddr>,
) -> Option<Allocation> {
    let mut addresses = Vec::new();
    for (host, own) in hosts.iter().zip(own) {
        let found = own.or_else(|| free(place(item.namespace(), item.name(), host), taken));
        let Some(pair) = found else { continue };
        taken.extend(pair);
        addresses.extend(pair.map(|ip| ((*host).clone(), ip)));
    }
    let said = item.spec.allocated.iter().map(|a| (a.host.as_str(), a.value));
    let same = said.eq(addresses.iter().map(|(h, ip)| (h.as_str(), *ip)));
    (!same).then(|| Allocation {
        namespace: item.namespace().to_owned(),
        name: item.name().to_owned(),
        addresses,
    })
}

/// The first free place at or behind this one.
fn free(first: u32, taken: &HashSet<IpAddr>) -> Option<[IpAddr; 2]> {
    (0..PLACES).map(|step| pair((first + step) % PLACES)).find(|p| are_free(p, taken))
}

fn are_free(pair: &[IpAddr; 2], taken: &HashSet<IpAddr>) -> bool {
    pair.iter().all(|ip| !taken.contains(ip))
}

/// One address of each family.
fn pair(place: u32) -> [IpAddr; 2] {
    let (high, low) = (place / 254 % 256, place % 254 + 1);
    let v4 = Ipv4Addr::new(240, 240, high as u8, low as u8);
    let v6 = Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0xf0f0, (high << 8 | low) as u16);
    [v4.into(), v6.into()]
}

/// Where a host's search begins: spread, and the same at every start (FNV-1a).
fn place(namespace: &str, name: &str, host: &Host) -> u32 {
    let text = [namespace, name, host.as_str()].join("/");
    let hash =
        text.bytes().fold(0x811c_9dc5_u32, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
    hash % PLACES
}
