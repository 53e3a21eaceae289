//! Where sockets are bound and connected to (`envoy.config.core.v3.Address`, `CidrRange`).

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    Ip(SocketAddr),
    /// A Unix domain socket; a leading `@` means the abstract namespace.
    Pipe(Arc<str>),
    /// A name that a STRICT_DNS or LOGICAL_DNS cluster resolves.
    Name(Arc<str>, u16),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Ip(a) => write!(f, "{a}"),
            Address::Pipe(p) => f.write_str(p),
            Address::Name(n, p) => write!(f, "{n}:{p}"),
        }
    }
}

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cidr {
    pub base: IpAddr,
    pub bits: u8,
}

impl Cidr {
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.base, ip) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                let shift = 32 - u32::from(self.bits.min(32));
                u32::from(a).checked_shr(shift).unwrap_or(0)
                    == u32::from(b).checked_shr(shift).unwrap_or(0)
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                let shift = 128 - u32::from(self.bits.min(128));
                u128::from(a).checked_shr(shift).unwrap_or(0)
                    == u128::from(b).checked_shr(shift).unwrap_or(0)
            }
            _ => false,
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let table = [
            ("10.0.0.0", 8, "10.255.0.1", true),
            ("10.0.0.0", 8, "11.0.0.1", false),
            ("0.0.0.0", 0, "1.2.3.4", true),
            ("1.2.3.4", 32, "1.2.3.4", true),
            ("1.2.3.4", 32, "1.2.3.5", false),
            ("fd00::", 8, "fdff::1", true),
            ("::", 0, "fe80::1", true),
            ("0.0.0.0", 0, "::1", false),
        ];
        for (base, bits, ip, expected) in table {
            let cidr = Cidr { base: base.parse().unwrap(), bits };
            assert_eq!(cidr.contains(ip.parse().unwrap()), expected, "{ip} in {cidr}");
        }
    }
}
