//! Which listener a connection belongs to, what of its first bytes is looked at, and which filter chain
//! of the listener it gets.

use ir::{Address, ChainMatch, Cidr, FilterChain, Inspector, ListenerFilters, SourceType};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use wire::detect::{Protocol, Wanted};

/// The addresses under which the listener of a captured connection is looked for, in order; where
/// there is none, the listener that captured it keeps it.
pub fn addresses(destination: SocketAddr) -> [Address; 2] {
    let any = match destination {
        SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    [Address::Ip(destination), Address::Ip(SocketAddr::new(any, destination.port()))]
}

/// What a listener wants to know of a connection that was meant for this port.
pub fn wanted(filters: &ListenerFilters, port: u16) -> Wanted {
    let looks = |i: &Option<Inspector>| i.as_ref().is_some_and(|i| looks_at(i, port));
    Wanted { tls: looks(&filters.tls_inspector), http: looks(&filters.http_inspector) }
}

/// Half-open ranges of ports are left alone.
fn looks_at(inspector: &Inspector, port: u16) -> bool {
    !inspector.disabled_ports.iter().any(|(start, end)| (*start..*end).contains(&port))
}

/// What was detected, in the terms of a [`ChainMatch`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spoken<'a> {
    pub server_name: Option<&'a str>,
    pub transport: &'static str,
    pub protocols: Vec<&'a str>,
}

impl<'a> Spoken<'a> {
    /// `None`: nothing was looked for, or the client was silent for too long.
    pub fn of(protocol: Option<&'a Protocol>) -> Self {
        let plain = |protocols| Self { server_name: None, transport: "raw_buffer", protocols };
        match protocol {
            Some(Protocol::Tls(hello)) => Self {
                server_name: hello.server_name.as_deref(),
                transport: "tls",
                protocols: hello.alpn.iter().map(String::as_str).collect(),
            },
            Some(Protocol::Http10) => plain(vec!["http/1.0"]),
            Some(Protocol::Http11) => plain(vec!["http/1.1"]),
            Some(Protocol::Http2) => plain(vec!["h2c"]),
            Some(Protocol::Other) | None => plain(Vec::new()),
        }
    }
}

/// What is known of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Where the connection was meant for.
    pub destination: SocketAddr,
    pub source: SocketAddr,
    /// The peer of the socket, which differs from `source` behind the PROXY protocol.
    pub direct_source: IpAddr,
    pub server_name: Option<&'a str>,
    /// `tls` or `raw_buffer`.
    pub transport: &'a str,
    /// ALPN that the client offers, or what was detected.
    pub protocols: &'a [&'a str],
}

/// The chain that matches best: criterion by criterion the most specific ones are kept, as in Envoy.
pub fn choose(chains: &[FilterChain], seen: &Seen<'_>) -> Option<usize> {
    let mut left: Vec<(usize, &ChainMatch)> =
        chains.iter().enumerate().map(|(i, c)| (i, &c.matches)).collect();
    for (_, criterion) in CRITERIA {
        let scored: Vec<_> =
            left.iter().filter_map(|(i, m)| Some((criterion(m, seen)?, *i, *m))).collect();
        let best = scored.iter().map(|(score, _, _)| *score).max()?;
        left = scored.into_iter().filter(|(s, _, _)| *s == best).map(|(_, i, m)| (i, m)).collect();
    }
    left.first().map(|(i, _)| *i)
}

/// The first criterion by which a chain does not take the connection; `None` when it does, or would,
/// were there no chain that matches better.
pub fn why_not(matches: &ChainMatch, seen: &Seen<'_>) -> Option<&'static str> {
    let failing = |(_, criterion): &&(_, Criterion)| criterion(matches, seen).is_none();
    CRITERIA.iter().find(failing).map(|(name, _)| *name)
}

/// How specifically a match holds: `None` not at all, 0 because it does not care.
type Criterion = fn(&ChainMatch, &Seen<'_>) -> Option<usize>;

const CRITERIA: [(&str, Criterion); 9] = [
    ("destination port", |m, s| exactly(m.destination_port, |p| p == s.destination.port())),
    ("destination address", |m, s| ranges(&m.destination_ranges, s.destination.ip())),
    ("server name", server_name),
    ("transport protocol", |m, s| {
        let wanted = Some(&m.transport_protocol).filter(|t| !t.is_empty());
        exactly(wanted, |t| **t == *s.transport)
    }),
    ("application protocol", protocols),
    ("address of the peer", |m, s| ranges(&m.direct_source_ranges, s.direct_source)),
    ("kind of source", source_type),
    ("source address", |m, s| ranges(&m.source_ranges, s.source.ip())),
    ("source port", |m, s| {
        let ports = Some(&m.source_ports).filter(|p| !p.is_empty());
        exactly(ports, |p| p.contains(&s.source.port()))
    }),
];

fn exactly<T>(wanted: Option<T>, holds: impl FnOnce(T) -> bool) -> Option<usize> {
    match wanted {
        None => Some(0),
        Some(w) => holds(w).then_some(1),
    }
}

fn ranges(ranges: &[Cidr], ip: IpAddr) -> Option<usize> {
    if ranges.is_empty() {
        return Some(0);
    }
    let matching = ranges.iter().filter(|r| r.contains(ip));
    matching.map(|r| usize::from(r.bits) + 1).max()
}

fn server_name(m: &ChainMatch, s: &Seen<'_>) -> Option<usize> {
    if m.server_names.is_empty() {
        return Some(0);
    }
    let name = s.server_name?;
    let scores = m.server_names.iter().filter_map(|wanted| match wanted.strip_prefix('*') {
        Some(suffix) => {
            (name.len() > suffix.len() && name.ends_with(suffix)).then_some(suffix.len())
        }
        None => (**wanted == *name).then_some(usize::MAX),
    });
    scores.max()
}

/// The client's earlier protocols count more.
fn protocols(m: &ChainMatch, s: &Seen<'_>) -> Option<usize> {
    if m.application_protocols.is_empty() {
        return Some(0);
    }
    let place = s.protocols.iter().position(|p| m.application_protocols.iter().any(|w| **w == **p));
    place.map(|at| s.protocols.len() - at)
}

fn source_type(m: &ChainMatch, s: &Seen<'_>) -> Option<usize> {
    let local = s.source.ip().is_loopback() || s.source.ip() == s.destination.ip();
    match m.source_type {
        SourceType::Any => Some(0),
        SourceType::SameIpOrLoopback => local.then_some(1),
        SourceType::External => (!local).then_some(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ir::Terminal;

    fn chain(matches: ChainMatch) -> FilterChain {
        FilterChain { matches, ..FilterChain::new(Terminal::Close) }
    }

    fn cidr(text: &str, bits: u8) -> Cidr {
        Cidr { base: text.parse().unwrap(), bits }
    }

    #[test]
    fn the_most_specific_chain_wins_criterion_by_criterion() {
        let m = ChainMatch::default;
        let chains = [
            chain(m()),
            chain(ChainMatch { destination_port: Some(9080), ..m() }),
            chain(ChainMatch {
                destination_port: Some(9080),
                transport_protocol: "tls".into(),
                application_protocols: vec!["istio".into(), "istio-http/1.1".into()],
                ..m()
            }),
            chain(ChainMatch { destination_ranges: vec![cidr("10.0.0.0", 8)], ..m() }),
            chain(ChainMatch { destination_ranges: vec![cidr("10.1.0.0", 16)], ..m() }),
            chain(ChainMatch { server_names: vec!["*.a.b".into()], ..m() }),
            chain(ChainMatch { server_names: vec!["x.a.b".into()], ..m() }),
            chain(ChainMatch { server_names: vec!["*.b".into()], ..m() }),
        ];
        let table: [(&str, Option<&str>, &str, &[&str], usize); 9] = [
            ("9.9.9.9:80", None, "raw_buffer", &[], 0),
            ("9.9.9.9:9080", None, "raw_buffer", &["http/1.1"], 1),
            ("9.9.9.9:9080", None, "tls", &["istio-http/1.1", "istio"], 2),
            ("9.9.9.9:9080", None, "tls", &["istio"], 2),
            ("10.2.0.1:80", None, "raw_buffer", &[], 3),
            ("10.1.0.1:80", None, "raw_buffer", &[], 4),
            ("9.9.9.9:80", Some("y.a.b"), "tls", &[], 5),
            ("9.9.9.9:80", Some("x.a.b"), "tls", &[], 6),
            ("9.9.9.9:80", Some("z.b"), "tls", &[], 7),
        ];
        for (destination, server_name, transport, protocols, expected) in table {
            let seen = Seen {
                destination: destination.parse().unwrap(),
                source: "1.1.1.1:5".parse().unwrap(),
                direct_source: "1.1.1.1".parse().unwrap(),
                server_name,
                transport,
                protocols,
            };
            assert_eq!(choose(&chains, &seen), Some(expected), "{seen:?}");
        }
    }

    #[test]
    fn there_is_no_way_back_from_a_more_specific_criterion() {
        let chains = [
            chain(ChainMatch::default()),
            chain(ChainMatch {
                destination_port: Some(80),
                transport_protocol: "tls".into(),
                ..Default::default()
            }),
        ];
        let seen = Seen {
            destination: "1.2.3.4:80".parse().unwrap(),
            source: "1.1.1.1:5".parse().unwrap(),
            direct_source: "1.1.1.1".parse().unwrap(),
            server_name: None,
            transport: "raw_buffer",
            protocols: &[],
        };
        assert_eq!(choose(&chains, &seen), None);
        assert_eq!(why_not(&chains[1].matches, &seen), Some("transport protocol"));
        assert_eq!(why_not(&chains[0].matches, &seen), None);
    }
}
