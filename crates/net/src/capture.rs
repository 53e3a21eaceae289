//! The redirect rules of a sidecar: which connections of a pod pass through its proxy.
//!
//! `CaptureSpec` is what annotations and flags say; `rulesets` turns it into tables named and
//! shaped like Istio's nftables back end; `apply` puts them into the current namespace.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::link::Links;
use crate::netlink::NetlinkError;
use crate::nft::{Chain, Expr, Family, Hook, Match, Ruleset, Verdict};

/// Ports by number, or all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ports {
    All,
    Only(Vec<u16>),
}

/// Address blocks, or every address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blocks {
    All,
    Only(Vec<(IpAddr, u8)>),
}

/// How the proxy's own connections are told apart from the application's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exempt {
    /// By the owner of the socket.
    Owner { users: Vec<u32>, groups: Vec<u32> },
    /// By the socket's mark, where only one user id exists.
    Mark(u32),
}

/// What is captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptureSpec {
    pub outbound_port: u16,
    pub inbound_port: u16,
    pub tunnel_port: u16,
    pub exempt: Exempt,
    pub inbound: Ports,
    pub inbound_excluded: Vec<u16>,
    pub outbound: Blocks,
    pub outbound_excluded: Vec<(IpAddr, u8)>,
    /// Captured whatever their address.
    pub outbound_ports: Vec<u16>,
    pub outbound_ports_excluded: Vec<u16>,
    pub links_excluded: Vec<String>,
    /// Where DNS goes, if it is captured.
    pub dns_port: Option<u16>,
    /// Captured name servers; all of them when empty.
    pub dns_servers: Vec<IpAddr>,
    pub ipv6: bool,
}

impl Default for CaptureSpec {
    fn default() -> Self {
        CaptureSpec {
            outbound_port: 15001,
            inbound_port: 15006,
            tunnel_port: 15008,
            exempt: Exempt::Owner { users: vec![1337], groups: vec![1337] },
            inbound: Ports::All,
            inbound_excluded: vec![15090, 15021, 15020],
            outbound: Blocks::All,
            outbound_excluded: vec![],
            outbound_ports: vec![],
            outbound_ports_excluded: vec![],
            links_excluded: vec![],
            dns_port: None,
            dns_servers: vec![],
            ipv6: true,
        }
    }
}

const NAT_TABLE: &str = "istio-proxy-nat";
const RAW_TABLE: &str = "istio-proxy-raw";
const LOOPBACK: &str = "lo";
/// Where the proxy's connections to its own application come from. The second one no loopback link has by
/// itself.
const SOURCE_V4: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 6);
const SOURCE_V6: Ipv6Addr = Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 6);

/// Puts the rules into the network namespace of the calling thread, replacing earlier ones.
pub fn apply(spec: &CaptureSpec) -> Result<(), NetlinkError> {
    // The namespace may have no IPv6 at all.
    if spec.ipv6 && std::path::Path::new("/proc/net/if_inet6").exists() {
        let mut links = Links::here()?;
        let loopback = links.index(LOOPBACK)?;
        links.add_address(loopback, SOURCE_V6.into(), 128)?;
    }
    rulesets(spec).iter().try_for_each(Ruleset::apply)
}

/// Takes all capture rules away.
pub fn remove() -> Result<(), NetlinkError> {
    Ruleset::remove(Family::Inet, NAT_TABLE)?;
    Ruleset::remove(Family::Inet, RAW_TABLE)
}

/// The tables that a specification means.
pub fn rulesets(spec: &CaptureSpec) -> Vec<Ruleset> {
    let mut nat = vec![
        Chain::plain("istio-inbound", inbound(spec)),
        Chain::plain("istio-in-redirect", redirect(spec.inbound_port)),
        Chain::plain("istio-redirect", redirect(spec.outbound_port)),
        Chain::plain("istio-output-dns", output_dns(spec)),
        Chain::plain("istio-output", output(spec)),
    ];
    nat.push(Chain::base("prerouting", Hook::NatPrerouting, prerouting(spec)));
    nat.push(Chain::base("output", Hook::NatOutput, nat_output(spec)));
    let table = |name: &str, chains| Ruleset {
        family: Family::Inet,
        table: name.to_owned(),
        chains,
        sets: vec![],
    };
    let mut tables = vec![table(NAT_TABLE, nat)];
    if spec.dns_port.is_some() {
        tables.push(table(RAW_TABLE, dns_zones(spec)));
    }
    tables
}

type Rule = Vec<Expr>;

fn prerouting(spec: &CaptureSpec) -> Vec<Rule> {
    let mut rules: Vec<Rule> = spec
        .links_excluded
        .iter()
        .map(|l| vec![is(Match::InputLink(l.clone())), Expr::Verdict(Verdict::Return)])
        .collect();
    if spec.inbound != Ports::Only(vec![]) {
        rules.push(with_family(spec, vec![is(Match::Tcp), jump("istio-inbound")]));
    }
    rules
}

fn nat_output(spec: &CaptureSpec) -> Vec<Rule> {
    let mut rules: Vec<Rule> = spec
        .links_excluded
        .iter()
        .map(|l| vec![is(Match::OutputLink(l.clone())), Expr::Verdict(Verdict::Return)])
        .collect();
    if spec.dns_port.is_some() {
        rules.push(vec![jump("istio-output-dns")]);
    }
    rules.push(with_family(spec, vec![is(Match::Tcp), jump("istio-output")]));
    rules
}

fn inbound(spec: &CaptureSpec) -> Vec<Rule> {
    let to = |port| is(Match::DestinationPort(port));
    let mut rules = vec![vec![is(Match::Tcp), to(spec.tunnel_port), give_back()]];
    match &spec.inbound {
        Ports::All => {
            rules.extend(
                spec.inbound_excluded.iter().map(|p| vec![is(Match::Tcp), to(*p), give_back()]),
            );
            rules.push(vec![is(Match::Tcp), Expr::Counter, goto("istio-in-redirect")]);
        }
        Ports::Only(ports) => rules.extend(
            ports
                .iter()
                .map(|p| vec![is(Match::Tcp), to(*p), Expr::Counter, goto("istio-in-redirect")]),
        ),
    }
    rules
}

fn redirect(port: u16) -> Vec<Rule> {
    vec![vec![is(Match::Tcp), Expr::Counter, Expr::Redirect { port }]]
}

fn output(spec: &CaptureSpec) -> Vec<Rule> {
    let looped = || is(Match::OutputLink(LOOPBACK.to_owned()));
    // What the proxy hands to its own application comes from these addresses.
    let mut rules: Vec<Rule> = [SOURCE_V4.into(), IpAddr::V6(SOURCE_V6)]
        .into_iter()
        .filter(|ip| spec.ipv6 || ip.is_ipv4())
        .map(|ip| vec![looped(), is(Match::Source(ip, width(ip))), give_back()])
        .collect();
    let ports = spec.outbound_ports_excluded.iter();
    rules.extend(ports.map(|p| vec![is(Match::DestinationPort(*p)), give_back()]));
    for owner in owners(&spec.exempt) {
        for here in local(spec) {
            // The proxy calls its own pod by a service address: serve it as inbound.
            let elsewhere = Expr::Unless(Match::Destination(here, width(here)));
            let tunnel = Expr::Unless(Match::DestinationPort(spec.tunnel_port));
            rules.push(vec![
                looped(),
                elsewhere,
                is(owner.clone()),
                tunnel,
                goto("istio-in-redirect"),
            ]);
        }
        rules.push(vec![is(owner), give_back()]);
    }
    // The application talks to itself.
    rules.push(vec![looped(), give_back()]);
    for here in local(spec) {
        rules.push(vec![is(Match::Destination(here, width(here))), give_back()]);
    }
    rules.extend(destinations(spec));
    rules
}

fn destinations(spec: &CaptureSpec) -> Vec<Rule> {
    let capture = || [Expr::Counter, goto("istio-redirect")];
    let mut rules: Vec<Rule> = spec
        .outbound_excluded
        .iter()
        .map(|(ip, prefix)| vec![is(Match::Destination(*ip, *prefix)), give_back()])
        .collect();
    for port in &spec.outbound_ports {
        rules.push([vec![is(Match::DestinationPort(*port))], capture().to_vec()].concat());
    }
    match &spec.outbound {
        Blocks::All => rules.push(capture().to_vec()),
        Blocks::Only(blocks) => rules.extend(blocks.iter().map(|(ip, prefix)| {
            [vec![is(Match::Destination(*ip, *prefix))], capture().to_vec()].concat()
        })),
    }
    rules
}

fn output_dns(spec: &CaptureSpec) -> Vec<Rule> {
    let Some(port) = spec.dns_port else { return vec![] };
    let mut rules: Vec<Rule> =
        owners(&spec.exempt).into_iter().map(|o| vec![is(o), give_back()]).collect();
    for transport in [Match::Udp, Match::Tcp] {
        for server in dns_targets(spec) {
            let mut rule = vec![is(transport.clone()), is(Match::DestinationPort(53))];
            rule.extend(server.map(|ip| is(Match::Destination(ip, width(ip)))));
            rule.extend([Expr::Counter, Expr::Redirect { port }]);
            rules.push(rule);
        }
    }
    rules
}

/// Queries of the application and of the proxy use the same addresses; tracking them in two zones
/// keeps their answers apart.
fn dns_zones(spec: &CaptureSpec) -> Vec<Chain> {
    const QUERIES: u16 = 1;
    const REPLIES: u16 = 2;
    let port = spec.dns_port.unwrap_or(15053);
    let udp = |m: Match, zone| vec![is(Match::Udp), is(m), Expr::TrackingZone(zone)];
    let mut out: Vec<Rule> = Vec::new();
    for owner in owners(&spec.exempt) {
        let from_proxy = [is(Match::Udp), is(Match::DestinationPort(53)), is(owner.clone())];
        out.push([from_proxy.to_vec(), vec![Expr::TrackingZone(QUERIES)]].concat());
        let answers = [is(Match::Udp), is(Match::SourcePort(port)), is(owner)];
        out.push([answers.to_vec(), vec![Expr::TrackingZone(REPLIES)]].concat());
    }
    let mut application = vec![is(Match::Udp), is(Match::DestinationPort(53))];
    application.extend(owners(&spec.exempt).into_iter().map(Expr::Unless));
    application.push(Expr::TrackingZone(REPLIES));
    out.push(application);
    vec![
        Chain::base("output", Hook::RawOutput, out),
        Chain::base("prerouting", Hook::RawPrerouting, vec![udp(Match::SourcePort(53), QUERIES)]),
    ]
}

fn dns_targets(spec: &CaptureSpec) -> Vec<Option<IpAddr>> {
    match spec.dns_servers.as_slice() {
        [] => vec![None],
        some => some.iter().copied().map(Some).collect(),
    }
}

fn owners(exempt: &Exempt) -> Vec<Match> {
    match exempt {
        Exempt::Owner { users, groups } => {
            let users = users.iter().map(|u| Match::SocketUser(*u));
            users.chain(groups.iter().map(|g| Match::SocketGroup(*g))).collect()
        }
        Exempt::Mark(mark) => vec![Match::Mark(*mark)],
    }
}

fn local(spec: &CaptureSpec) -> impl Iterator<Item = IpAddr> {
    let ipv6 = spec.ipv6;
    let both = [v4([127, 0, 0, 1]), v6([0, 0, 0, 0, 0, 0, 0, 1])];
    both.into_iter().filter(move |ip| ipv6 || ip.is_ipv4())
}

fn with_family(spec: &CaptureSpec, mut rule: Rule) -> Rule {
    if !spec.ipv6 {
        rule.insert(0, is(Match::Ipv4));
    }
    rule
}

fn is(what: Match) -> Expr {
    Expr::Match(what)
}

fn give_back() -> Expr {
    Expr::Verdict(Verdict::Return)
}

fn jump(chain: &str) -> Expr {
    Expr::Verdict(Verdict::Jump(chain.to_owned()))
}

fn goto(chain: &str) -> Expr {
    Expr::Verdict(Verdict::Goto(chain.to_owned()))
}

fn v4(octets: [u8; 4]) -> IpAddr {
    Ipv4Addr::from(octets).into()
}

fn v6(groups: [u16; 8]) -> IpAddr {
    Ipv6Addr::from(groups).into()
}

fn width(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}
