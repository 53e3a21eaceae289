//! Where the control plane may be sent to by whoever may write a RequestAuthentication: to public
//! addresses, and to services of the cluster by their names. Never to itself or its host, nor to what
//! clouds serve on link-local addresses.

use base::Host;
use registry::Snapshot;
use std::net::{IpAddr, Ipv4Addr};

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// Of a service in the cluster.
    Cluster,
    Strangers,
}

impl Whose {
    pub fn is(host: &str, snapshot: &Snapshot) -> Whose {
        let host = host.trim_end_matches('.');
        let cluster = format!(".svc.{}", snapshot.domain);
        let known = |full: &str| {
            let host = Host::parse(full);
            full.ends_with(&cluster)
                && host.is_ok_and(|h| !snapshot.services.of_host(&h).is_empty())
        };
        let tails = ["", &format!(".{}", snapshot.domain), &cluster];
        let is_known = tails.iter().any(|tail| known(&format!("{host}{tail}")));
        if is_known { Whose::Cluster } else { Whose::Strangers }
    }
}

impl Allowed {
    pub fn from_env(read: impl Fn(&str) -> Option<String>) -> Allowed {
        let ranges = |key| {
            let text = read(key).unwrap_or_default();
            text.split(',').filter_map(|range| Range::parse(range.trim())).collect()
        };
        Allowed {
            also: ranges("LATEEN_ALLOWED_CIDRS_IN_JWKS_URIS"),
            never: ranges("BLOCKED_CIDRS_IN_JWKS_URIS"),
        }
    }

    pub fn allows(&self, address: IpAddr, whose: Whose) -> bool {
        let address = address.to_canonical();
        let within = |list: &[Range]| list.iter().any(|range| range.contains(address));
        if within(&self.never) {
            return false;
        }
        within(&self.also) || is_public(address) || (whose == Whose::Cluster && is_private(address))
    }
}

impl Range {
    fn parse(text: &str) -> Option<Range> {
        let (base, bits) = text.split_once('/').unwrap_or((text, ""));
        let base: IpAddr = base.parse().ok()?;
        let most = if base.is_ipv4() { 32 } else { 128 };
        let bits = if bits.is_empty() { most } else { bits.parse().ok()? };
        (bits <= most).then_some(Range { base, bits })
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
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(none.allows(address, Whose::Strangers), strangers, "{address}");
            assert_eq!(none.allows(address, Whose::Cluster), cluster, "{address}");
        }
        let set = Allowed::from_env(|key| {
            let blocked = key == "BLOCKED_CIDRS_IN_JWKS_URIS";
            Some(if blocked { "8.8.0.0/16, bad" } else { "10.1.0.0/16,127.0.0.1,8.8.8.8" }.into())
        });
        for (address, expected) in [
            ("10.1.2.3", true),
            ("10.2.0.1", false),
            ("127.0.0.1", true),
            ("127.0.0.2", false),
            ("8.8.8.8", false),
        ] {
            assert_eq!(
                set.allows(address.parse().unwrap(), Whose::Strangers),
                expected,
                "{address}"
            );
        }
    }
}
