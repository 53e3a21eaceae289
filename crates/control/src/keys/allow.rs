//! Where the control plane may be sent to by whoever may write a RequestAuthentication: to public
//! addresses, and to services of the cluster by their names. Never to itself or its host, nor to what
//! clouds serve on link-local addresses.

use base::Host;
use registry::{Resolution, Service, Snapshot};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

#[derive(Clone, Debug, Default)]
pub(super) struct Allowed {
    /// Ranges that are not public and may be asked all the same.
    also: Vec<Range>,
    /// Ranges that must not be asked, whatever else is said.
    never: Vec<Range>,
}

#[derive(Clone, Copy, Debug)]
struct Range {
    base: IpAddr,
    bits: u8,
}

/// Of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// Of a Service of Kubernetes, by its whole name, which is the one to be looked up.
    Cluster(String),
    Strangers,
}

/// What clouds tell their machines, and nobody else, at addresses that are not link-local.
const METADATA: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
];

impl Whose {
    /// What others may call theirs, as hosts of ServiceEntries and other names for hosts, is no such Service.
    pub fn is(host: &str, snapshot: &Snapshot) -> Whose {
        if host.parse::<IpAddr>().is_ok() {
            return Whose::Strangers;
        }
        let cluster = format!(".svc.{}", snapshot.domain);
        let own = |s: &Arc<Service>| s.kubernetes && !matches!(s.resolution, Resolution::Alias(_));
        let is_own = |full: &str| {
            let host = Host::parse(full).ok().filter(|_| full.ends_with(&cluster));
            host.is_some_and(|h| snapshot.services.of_host(&h).iter().any(own))
        };
        let domain = format!(".{}", snapshot.domain);
        // A name that ends with a dot is whole.
        let (host, tails) = match host.strip_suffix('.') {
            Some(whole) => (whole, &[""][..]),
            None => (host, &["", &*domain, &*cluster][..]),
        };
        let names = tails.iter().map(|tail| format!("{host}{tail}"));
        names.into_iter().find(|full| is_own(full)).map_or(Whose::Strangers, Whose::Cluster)
    }
}

impl Allowed {
    pub fn from_env(read: impl Fn(&str) -> Option<String>) -> Allowed {
        let ranges = |key: &str| {
            let text = read(key).unwrap_or_default();
            let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
            let parse = |word: &str| {
                let range = Range::parse(word);
                if range.is_none() {
                    tracing::error!(
                        variable = key,
                        word,
                        "this is no range of addresses, and has no effect"
                    );
                }
                range
            };
            words.filter_map(parse).collect()
        };
        Allowed {
            also: ranges("LATEEN_ALLOWED_CIDRS_IN_JWKS_URIS"),
            never: ranges("BLOCKED_CIDRS_IN_JWKS_URIS"),
        }
    }

    pub fn allows(&self, address: IpAddr, whose: &Whose) -> bool {
        let address = address.to_canonical();
        let within = |list: &[Range]| list.iter().any(|range| range.contains(address));
        if within(&self.never) {
            return false;
        }
        let own = matches!(whose, Whose::Cluster(_)) && is_private(address);
        let usual = (own || is_public(address)) && !METADATA.contains(&address);
        within(&self.also) || usual
    }
}

impl Range {
    fn parse(text: &str) -> Option<Range> {
        let (base, bits) = text.split_once('/').unwrap_or((text, ""));
        let base: IpAddr = base.parse().ok()?;
        let most = if base.is_ipv4() { 32 } else { 128 };
        let bits: u8 = if bits.is_empty() { most } else { bits.parse().ok()? };
        // Addresses are compared as the IPv4 ones that they stand for.
        match base.to_canonical() {
            _ if bits > most => None,
            four @ IpAddr::V4(_) if base.is_ipv6() => {
                Some(Range { base: four, bits: bits.checked_sub(96)? })
            }
            base => Some(Range { base, bits }),
        }
    }

    fn contains(&self, address: IpAddr) -> bool {
        let shift = |width: u8| u32::from(width - self.bits);
        match (self.base, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                (a.to_bits() ^ b.to_bits()).checked_shr(shift(32)).unwrap_or(0) == 0
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                (a.to_bits() ^ b.to_bits()).checked_shr(shift(128)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

/// What a cluster's own services may have.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_private() || is_shared(v4),
        IpAddr::V6(v6) => v6.is_unique_local(),
    }
}

/// 100.64.0.0/10
fn is_shared(v4: Ipv4Addr) -> bool {
    v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64
}

/// What is left of all addresses without those that are set apart for something.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            let special = v4.is_loopback()
                || v4.is_link_local()
                || v4.is_broadcast()
                || v4.is_documentation()
                || a == 0
                || a >= 224
                || (a, b, c) == (192, 0, 0)
                || (a == 198 && b & 0xfe == 18);
            !special && !is_private(address)
        }
        // Global unicast without transition mechanisms, which lead to IPv4 addresses.
        IpAddr::V6(v6) => {
            let [first, second, ..] = v6.segments();
            let translated = first == 0x2002 || (first == 0x2001 && second < 0x200);
            let documentation = (first, second) == (0x2001, 0xdb8);
            first & 0xe000 == 0x2000 && !translated && !documentation
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_and_the_clusters_own_may_be_asked() {
        let none = Allowed::default();
        for (address, strangers, cluster) in [
            ("8.8.8.8", true, true),
            ("2606:4700::1111", true, true),
            ("10.0.0.1", false, true),
            ("172.16.9.9", false, true),
            ("192.168.1.1", false, true),
            ("100.64.0.1", false, true),
            ("fd00::1", false, true),
            ("127.0.0.1", false, false),
            ("0.0.0.0", false, false),
            ("169.254.169.254", false, false),
            ("::ffff:169.254.169.254", false, false),
            ("::ffff:127.0.0.1", false, false),
            ("::1", false, false),
            ("::", false, false),
            ("fe80::1", false, false),
            ("64:ff9b::a00:1", false, false),
            ("2002:a00:1::", false, false),
            ("2001:0:1::", false, false),
            ("224.0.0.1", false, false),
            ("255.255.255.255", false, false),
            ("192.0.0.170", false, false),
            ("198.18.0.1", false, false),
            ("168.63.129.16", false, false),
            ("100.100.100.200", false, false),
            ("fd00:ec2::254", false, false),
        ] {
            let address: IpAddr = address.parse().unwrap();
            let own = Whose::Cluster("a.b.svc.cluster.local".into());
            assert_eq!(none.allows(address, &Whose::Strangers), strangers, "{address}");
            assert_eq!(none.allows(address, &own), cluster, "{address}");
        }
        let set = Allowed::from_env(|key| {
            let blocked = key == "BLOCKED_CIDRS_IN_JWKS_URIS";
            Some(
                if blocked { "::ffff:8.8.0.0/112, bad" } else { "10.1.0.0/16,127.0.0.1,8.8.8.8" }
                    .into(),
            )
        });
        for (address, expected) in [
            ("10.1.2.3", true),
            ("10.2.0.1", false),
            ("127.0.0.1", true),
            ("127.0.0.2", false),
            ("8.8.8.8", false),
        ] {
            assert_eq!(
                set.allows(address.parse().unwrap(), &Whose::Strangers),
                expected,
                "{address}"
            );
        }
    }

    #[test]
    fn services_of_kubernetes_are_the_clusters_own_and_nothing_that_is_called_so() {
        let mut store = registry::Store::new("cluster.local", "istio-system");
        let service = |name: &str, spec: &str| {
            format!(r#"{{"metadata":{{"name":"{name}","namespace":"dev"}},"spec":{spec}}}"#)
        };
        for (name, spec) in [
            ("keys", r#"{"clusterIP":"10.96.0.9","ports":[{"port":80}]}"#),
            ("alias", r#"{"type":"ExternalName","externalName":"db.internal"}"#),
        ] {
            store.apply(api::Kind::Service, &serde_json::from_str(&service(name, spec)).unwrap());
        }
        for host in ["10.0.0.5.svc.cluster.local", "x.dev.svc.cluster.local"] {
            let entry = format!(
                r#"{{"metadata":{{"name":"e","namespace":"dev"}},"spec":{{"hosts":["{host}"],
                    "ports":[{{"number":80,"name":"http","protocol":"HTTP"}}],"resolution":"DNS"}}}}"#
            );
            store.apply(api::Kind::ServiceEntry, &serde_json::from_str(&entry).unwrap());
        }
        let snapshot = store.snapshot();
        let full = "keys.dev.svc.cluster.local";
        for host in [full, "keys.dev.svc.cluster.local.", "keys.dev.svc", "keys.dev"] {
            assert_eq!(Whose::is(host, &snapshot), Whose::Cluster(full.into()), "{host}");
        }
        for host in [
            "keys.dev.",
            "keys",
            "alias.dev",
            "alias.dev.svc.cluster.local",
            "10.0.0.5",
            "10.0.0.5.svc.cluster.local",
            "x.dev.svc.cluster.local",
            "example.com",
        ] {
            assert_eq!(Whose::is(host, &snapshot), Whose::Strangers, "{host}");
        }
    }
}
