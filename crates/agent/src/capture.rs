//! `istio-iptables`: the flags of Istio's init container as a specification for `net::capture`.

use crate::flags::Flags;
use net::capture::{Blocks, CaptureSpec, Exempt, Ports};
use std::net::IpAddr;

/// The mark on the proxy's own sockets where there is only one user.
pub const MARK: u32 = 1337;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CaptureError {
    #[error("-{flag} {value:?}: {why}")]
    Flag { flag: &'static str, value: String, why: &'static str },
}

/// How the proxy's own traffic is told apart on this machine. A user namespace with one user cannot
/// tell by owner.
pub fn own_traffic(uid_map: &str) -> Exempt {
    let users: u64 =
        uid_map.lines().filter_map(|l| l.split_whitespace().nth(2)?.parse::<u64>().ok()).sum();
    if users > 1 {
        Exempt::Owner { users: vec![1337], groups: vec![1337] }
    } else {
        Exempt::Mark(MARK)
    }
}

/// Reads the flags; `dns` is what the environment says of DNS, `name_servers` are those of resolv.conf.
pub fn specification(
    flags: &Flags,
    exempt: Exempt,
    dns: bool,
    name_servers: &[IpAddr],
) -> Result<CaptureSpec, CaptureError> {
    let d = CaptureSpec::default();
    let dns = dns || flags.is_set("redirect-dns") || flags.is_set("capture-all-dns");
    let all_dns = flags.is_set("capture-all-dns");
    let exempt = match (exempt, flags.get(&["u", "proxy-uid"])) {
        (Exempt::Owner { groups, .. }, Some(users)) => {
            Exempt::Owner { users: owners(users)?, groups }
        }
        (exempt, _) => exempt,
    };
    Ok(CaptureSpec {
        outbound_port: port(flags, "p", &["p", "envoy-port"], d.outbound_port)?,
        inbound_port: port(flags, "z", &["z", "inbound-capture-port"], d.inbound_port)?,
        tunnel_port: port(flags, "e", &["e", "inbound-tunnel-port"], d.tunnel_port)?,
        exempt,
        inbound: match flags.get(&["b", "istio-inbound-ports"]) {
            None | Some("*") => Ports::All,
            Some(list) => Ports::Only(ports("b", list)?),
        },
        inbound_excluded: match flags.get(&["d", "istio-local-exclude-ports"]) {
            None => d.inbound_excluded,
            Some(list) => ports("d", list)?,
        },
        outbound: match flags.get(&["i", "istio-service-cidr"]) {
            None | Some("*") => Blocks::All,
            Some(list) => Blocks::Only(blocks("i", list)?),
        },
        outbound_excluded: blocks(
            "x",
            flags.get(&["x", "istio-service-exclude-cidr"]).unwrap_or_default(),
        )?,
        outbound_ports: ports("q", flags.get(&["q", "istio-outbound-ports"]).unwrap_or_default())?,
        outbound_ports_excluded: ports(
            "o",
            flags.get(&["o", "istio-local-outbound-ports-exclude"]).unwrap_or_default(),
        )?,
        links_excluded: words(flags.get(&["c", "istio-exclude-interfaces"]).unwrap_or_default()),
        dns_port: dns.then_some(15053),
        dns_servers: if all_dns { Vec::new() } else { name_servers.to_vec() },
        ipv6: true,
    })
}

fn words(list: &str) -> Vec<String> {
    list.split(',').map(str::trim).filter(|w| !w.is_empty()).map(str::to_owned).collect()
}

fn port(
    flags: &Flags,
    flag: &'static str,
    names: &[&str],
    default: u16,
) -> Result<u16, CaptureError> {
    let Some(value) = flags.get(names) else { return Ok(default) };
    value.parse().map_err(|_| refuse(flag, value, "not a port"))
}

fn ports(flag: &'static str, list: &str) -> Result<Vec<u16>, CaptureError> {
    words(list)
        .iter()
        .map(|w| w.parse().map_err(|_| refuse(flag, w, "not a port; write numbers with commas")))
        .collect()
}

fn owners(list: &str) -> Result<Vec<u32>, CaptureError> {
    words(list)
        .iter()
        .map(|w| w.parse().map_err(|_| refuse("u", w, "not a user id; write a number")))
        .collect()
}

fn blocks(flag: &'static str, list: &str) -> Result<Vec<(IpAddr, u8)>, CaptureError> {
    words(list)
        .iter()
        .map(|w| block(w).ok_or_else(|| refuse(flag, w, "not an address range")))
        .collect()
}

fn block(text: &str) -> Option<(IpAddr, u8)> {
    let (address, bits) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
    let address: IpAddr = address.parse().ok()?;
    let all = if address.is_ipv4() { 32 } else { 128 };
    let bits = match bits {
        Some(bits) => bits.parse().ok().filter(|b| *b <= all)?,
        None => all,
    };
    Some((address, bits))
}

fn refuse(flag: &'static str, value: &str, why: &'static str) -> CaptureError {
    CaptureError::Flag { flag, value: value.to_owned(), why }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(args: &str) -> Result<CaptureSpec, CaptureError> {
        let args: Vec<String> = args.split(' ').map(str::to_owned).collect();
        let owner = Exempt::Owner { users: vec![1337], groups: vec![1337] };
        specification(&Flags::parse(&args), owner, false, &[])
    }

    #[test]
    fn what_injection_writes_is_read() {
        let default = "-p 15001 -z 15006 -u 1337 -m REDIRECT -i * -x  -b * -d 15090,15021,15020 \
                       --log_output_level=default:info";
        assert_eq!(spec(default), Ok(CaptureSpec::default()));
        let other =
            spec("-i 10.0.0.0/8,fd00::/8 -x 10.1.2.3 -b 80,8080 -o 3306 -q 53 -d ").unwrap();
        let ip = |s: &str| s.parse::<IpAddr>().unwrap();
        assert_eq!(other.outbound, Blocks::Only(vec![(ip("10.0.0.0"), 8), (ip("fd00::"), 8)]));
        assert_eq!(other.outbound_excluded, vec![(ip("10.1.2.3"), 32)]);
        assert_eq!(other.inbound, Ports::Only(vec![80, 8080]));
        assert_eq!(other.outbound_ports_excluded, vec![3306]);
        assert_eq!(other.outbound_ports, vec![53]);
        assert_eq!(other.inbound_excluded, Vec::<u16>::new());
        assert_eq!(spec("--redirect-dns").unwrap().dns_port, Some(15053));
    }

    #[test]
    fn nonsense_is_refused_rather_than_left_uncaptured() {
        for bad in ["-i 10.0.0.0/33", "-b http", "-p 99999", "-o 1-2", "-u root"] {
            assert!(spec(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn one_user_is_told_apart_by_mark() {
        assert_eq!(own_traffic("         0       1000          1\n"), Exempt::Mark(MARK));
        assert!(matches!(own_traffic("0 0 4294967295\n"), Exempt::Owner { .. }));
        assert!(matches!(own_traffic("0 1000 1\n1 100000 65536\n"), Exempt::Owner { .. }));
    }
}
