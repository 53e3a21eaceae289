//! Cluster addresses of services: from a list of service ports with their endpoints to the
//! node's rule sets, one for each address family, replaced in one transaction.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use crate::netlink::NetlinkError;
use crate::nft::{Chain, Expr, Family, Hook, Match, Part, Ruleset, Set, Value, Values, Verdict};

/// The table that holds them.
pub const TABLE: &str = "lateen";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    Tcp,
    Udp,
}

/// One port of one service: where clients connect and who may answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceRule {
    /// For the reader of a listing: `namespace/name:port`.
    pub name: String,
    pub transport: Transport,
    /// Cluster address and port, node port, and whatever else leads here. One family each.
    pub frontends: Vec<SocketAddr>,
    /// Ready endpoints, any family; a front end uses those of its own.
    pub endpoints: Vec<SocketAddr>,
    /// A client address stays with its endpoint.
    pub sticky: bool,
}

/// What holds for all services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceNet {
    /// The blocks of cluster addresses: what has no rule there is refused.
    pub service_blocks: Vec<(IpAddr, u8)>,
    /// Addresses in these blocks that the node itself serves.
    pub own: Vec<IpAddr>,
    /// The node's addresses: what a pod that calls itself sees as the peer.
    pub node: Vec<IpAddr>,
    /// The cluster's own blocks; TCP to elsewhere goes to the relay, if there is one.
    pub inside: Vec<(IpAddr, u8)>,
    pub outbound_relay: Option<u16>,
}

/// Replaces the rules of all services in the calling thread's namespace.
pub fn apply(net: &ServiceNet, services: &[ServiceRule]) -> Result<(), NetlinkError> {
    plan(net, services).iter().try_for_each(Ruleset::apply)
}

/// The rule sets that the services mean, for IPv4 and IPv6.
pub fn plan(net: &ServiceNet, services: &[ServiceRule]) -> [Ruleset; 2] {
    [false, true].map(|ipv6| Plan::new(ipv6, net).finish(services))
}

const SERVICES: &str = "services";
const HAIRPIN: &str = "hairpin";

struct Plan<'n> {
    ipv6: bool,
    net: &'n ServiceNet,
    chains: Vec<Chain>,
    sets: Vec<Set>,
    targets: Vec<(Vec<u8>, Value)>,
    endpoint_ips: BTreeSet<IpAddr>,
    seen: BTreeSet<(Transport, SocketAddr)>,
}

impl<'n> Plan<'n> {
    fn new(ipv6: bool, net: &'n ServiceNet) -> Self {
        Plan {
            ipv6,
            net,
            chains: vec![],
            sets: vec![],
            targets: vec![],
            endpoint_ips: BTreeSet::new(),
            seen: BTreeSet::new(),
        }
    }

    fn finish(mut self, services: &[ServiceRule]) -> Ruleset {
        for (n, service) in services.iter().enumerate() {
            self.service(n, service);
        }
        let ip = if self.ipv6 { Part::Ipv6 } else { Part::Ipv4 };
        self.sets.push(Set {
            name: SERVICES.to_owned(),
            key: vec![Part::Protocol, ip, Part::Port],
            values: Values::Verdicts,
            elements: std::mem::take(&mut self.targets),
        });
        let pairs = self
            .endpoint_ips
            .iter()
            .map(|ip| ([octets(*ip), octets(*ip)].concat(), Value::Nothing));
        self.sets.push(Set {
            name: HAIRPIN.to_owned(),
            key: vec![ip, ip],
            values: Values::Nothing,
            elements: pairs.collect(),
        });
        self.base_chains();
        Ruleset {
            family: if self.ipv6 { Family::Ip6 } else { Family::Ip },
            table: TABLE.to_owned(),
            chains: self.chains,
            sets: self.sets,
        }
    }

    /// A service without a ready endpoint gets no rule: its address is refused.
    fn service(&mut self, number: usize, service: &ServiceRule) {
        let mine = |a: &&SocketAddr| a.is_ipv6() == self.ipv6;
        let endpoints: Vec<SocketAddr> = service.endpoints.iter().filter(mine).copied().collect();
        let frontends: Vec<SocketAddr> = service.frontends.iter().filter(mine).copied().collect();
        if endpoints.is_empty() || frontends.is_empty() {
            return;
        }
        let chain = chain_name(number, &service.name);
        let fresh = frontends.into_iter().filter(|f| self.seen.insert((service.transport, *f)));
        let keys: Vec<Vec<u8>> = fresh.map(|f| key(service.transport, f)).collect();
        self.targets.extend(keys.into_iter().map(|k| (k, Value::Goto(chain.clone()))));
        self.endpoint_ips.extend(endpoints.iter().map(SocketAddr::ip));
        let rule = match endpoints.as_slice() {
            [one] => vec![Expr::Dnat { to: one.ip(), port: one.port() }],
            several => vec![self.balanced(number, several, service.sticky)],
        };
        self.chains.push(Chain::plain(chain, vec![rule]));
    }

    fn balanced(&mut self, number: usize, endpoints: &[SocketAddr], sticky: bool) -> Expr {
        let name = format!("endpoints-{number}");
        let elements = endpoints.iter().enumerate().map(|(n, e)| {
            let key = (n as u32).to_ne_bytes().to_vec();
            (key, Value::Data([octets(e.ip()), padded_port(e.port())].concat()))
        });
        let ip = if self.ipv6 { Part::Ipv6 } else { Part::Ipv4 };
        self.sets.push(Set {
            name: name.clone(),
            key: vec![Part::Number],
            values: Values::Data(vec![ip, Part::Port]),
            elements: elements.collect(),
        });
        let count = endpoints.len() as u32;
        Expr::DnatBalanced { ipv6: self.ipv6, map: name, count, sticky }
    }

    fn base_chains(&mut self) {
        let ipv6 = self.ipv6;
        let find = || vec![Expr::ServiceMap { ipv6, map: SERVICES.to_owned() }];
        let mut arriving = vec![find()];
        arriving.extend(self.relayed());
        let hairpin = self.net.node.iter().find(|ip| ip.is_ipv6() == ipv6).map(|node| {
            vec![
                Expr::Match(Match::Translated),
                Expr::PairIn { ipv6, set: HAIRPIN.to_owned() },
                Expr::Snat { to: *node },
            ]
        });
        let hooks = [
            ("prerouting", Hook::NatPrerouting, arriving),
            ("output", Hook::NatOutput, vec![find()]),
            ("postrouting", Hook::NatPostrouting, hairpin.into_iter().collect()),
            ("forward", Hook::FilterForward, self.refusals()),
            ("local", Hook::FilterOutput, self.refusals()),
        ];
        self.chains
            .extend(hooks.into_iter().map(|(name, hook, rules)| Chain::base(name, hook, rules)));
    }

    fn refusals(&self) -> Vec<Vec<Expr>> {
        let family = |ip: &IpAddr| ip.is_ipv6() == self.ipv6;
        let width = if self.ipv6 { 128 } else { 32 };
        let own = self.net.own.iter().filter(|ip| family(ip)).map(|ip| {
            vec![Expr::Match(Match::Destination(*ip, width)), Expr::Verdict(Verdict::Accept)]
        });
        let blocks = self.net.service_blocks.iter().filter(|(ip, _)| family(ip));
        let refuse = blocks.flat_map(|(ip, prefix)| {
            let block = Expr::Match(Match::Destination(*ip, *prefix));
            [
                vec![Expr::Match(Match::Tcp), block.clone(), Expr::Reject { tcp: true }],
                vec![block, Expr::Reject { tcp: false }],
            ]
        });
        own.chain(refuse).collect()
    }

    /// What pods open to the world outside is taken over by the relay of the node.
    fn relayed(&self) -> Vec<Vec<Expr>> {
        let Some(port) = self.net.outbound_relay else { return vec![] };
        let Some(node) = self.net.node.iter().find(|ip| ip.is_ipv6() == self.ipv6) else {
            return vec![];
        };
        let inside = self.net.inside.iter().filter(|(ip, _)| ip.is_ipv6() == self.ipv6);
        let mut rules: Vec<Vec<Expr>> = inside
            .map(|(ip, prefix)| {
                let there = Expr::Match(Match::Destination(*ip, *prefix));
                vec![there, Expr::Verdict(Verdict::Return)]
            })
            .collect();
        // Not a redirect: that needs an address on the link, and pods' links have none here.
        rules.push(vec![Expr::Match(Match::Tcp), Expr::Dnat { to: *node, port }]);
        rules
    }
}

fn key(transport: Transport, frontend: SocketAddr) -> Vec<u8> {
    let protocol = match transport {
        Transport::Tcp => 6,
        Transport::Udp => 17,
    };
    [vec![protocol, 0, 0, 0], octets(frontend.ip()), padded_port(frontend.port())].concat()
}

fn padded_port(port: u16) -> Vec<u8> {
    let [high, low] = port.to_be_bytes();
    vec![high, low, 0, 0]
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// Unique by its number, readable by its name, of characters that `nft` takes.
fn chain_name(number: usize, name: &str) -> String {
    let readable = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name: String = name.chars().take(100).map(readable).collect();
    format!("svc-{number}-{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(frontends: &[&str], endpoints: &[&str]) -> ServiceRule {
        let parse = |all: &[&str]| all.iter().map(|a| a.parse().unwrap()).collect();
        ServiceRule {
            name: "default/web:http".into(),
            transport: Transport::Tcp,
            frontends: parse(frontends),
            endpoints: parse(endpoints),
            sticky: false,
        }
    }

    fn net() -> ServiceNet {
        ServiceNet {
            service_blocks: vec![("10.96.0.0".parse().unwrap(), 16)],
            own: vec!["10.96.0.10".parse().unwrap()],
            node: vec!["10.244.0.1".parse().unwrap()],
            inside: vec![],
            outbound_relay: None,
        }
    }

    fn targets(rules: &Ruleset) -> usize {
        rules.sets.iter().find(|s| s.name == SERVICES).map_or(0, |s| s.elements.len())
    }

    #[test]
    fn a_front_end_uses_the_endpoints_of_its_own_family() {
        let both = rule(&["10.96.1.1:80", "[fd00::1]:80"], &["10.244.0.5:9080"]);
        let [v4, v6] = plan(&net(), &[both]);
        assert_eq!(targets(&v4), 1);
        assert_eq!(targets(&v6), 0);
    }

    #[test]
    fn no_ready_endpoint_means_no_rule() {
        let [v4, _] = plan(&net(), &[rule(&["10.96.1.1:80"], &[])]);
        assert_eq!(targets(&v4), 0);
        assert!(!v4.chains.iter().any(|c| c.name.starts_with("svc-")));
    }

    #[test]
    fn two_services_that_claim_one_address_do_not_break_the_table() {
        let twice = [
            rule(&["10.96.1.1:80"], &["10.244.0.5:1"]),
            rule(&["10.96.1.1:80"], &["10.244.0.6:1"]),
        ];
        assert_eq!(targets(&plan(&net(), &twice)[0]), 1);
    }

    #[test]
    fn several_endpoints_are_numbered_in_a_map() {
        let [v4, _] = plan(&net(), &[rule(&["10.96.1.1:80"], &["10.244.0.5:1", "10.244.0.6:2"])]);
        let map = v4.sets.iter().find(|s| s.name == "endpoints-0").unwrap();
        assert_eq!(map.elements[1].1, Value::Data(vec![10, 244, 0, 6, 0, 2, 0, 0]));
    }
}
