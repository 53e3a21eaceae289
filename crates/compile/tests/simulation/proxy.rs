//! A proxy without sockets: the listener of an address, the chain by what is detected, the route, the
//! endpoints, each as the proxy finds them.

use super::case::Ask;
use balance::{Picker, Want};
use base::{FixedEnv, Host};
use compile::{Compiled, Proxy, ProxyKind, compile};
use ir::{
    Address, Cluster, Discovery, Endpoints, FilterChain, HttpManager, Listener, RouteConfig,
    RouteSource, TcpDestination, Terminal,
};
use policy::chain::{self, Seen};
use policy::{Decision, Forwarding, NoTrace, RouteTable, Stream, Target};
use registry::{InstanceAddress, Locality, Service, Snapshot};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use wire::{Head, Request, RequestHead};

const CLIENT: &str = "10.255.0.1";
/// Of names that no service has (RFC 5737).
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
/// Draws, of weights and of endpoints.
const DRAWS: u32 = 2000;

pub struct Simulated<'a> {
    world: &'a Snapshot,
    ask: &'a Ask,
    compiled: Compiled,
    env: FixedEnv,
}

/// What the client sends first.
enum First<'a> {
    Http { authority: &'a str, path: &'a str },
    Tls,
    Bytes,
}

impl<'a> Simulated<'a> {
    pub fn new(world: &'a Snapshot, ask: &'a Ask) -> Simulated<'a> {
        let compiled = compile(world, &proxy(ask));
        Simulated { world, ask, compiled, env: FixedEnv::seeded(11) }
    }

    /// In one line: `cluster percent% endpoints`, or the answer that the proxy gives itself.
    pub fn outcome(&self) -> String {
        let (first, to) = self.first();
        let Some(at) = self.address(to) else { return format!("{to} has no address") };
        let Some(chain) = self.chain(at, &first) else { return "closed".to_owned() };
        match (&chain.terminal, &first) {
            (Terminal::Http(manager), First::Http { authority, path }) => {
                self.http(manager, authority, path)
            }
            (Terminal::Tcp(tcp), _) => self.tcp(&tcp.to),
            (Terminal::Http(_), _) => "no HTTP, closed".to_owned(),
            (Terminal::Close, _) => "closed".to_owned(),
        }
    }

    fn first(&self) -> (First<'a>, &'a str) {
        let ask = self.ask;
        if let Some(rest) = ask.get.strip_prefix("http://") {
            let (authority, path) = match rest.find('/') {
                Some(at) => rest.split_at(at),
                None => (rest, "/"),
            };
            return (First::Http { authority, path }, authority);
        }
        match ask.tls.as_str() {
            "" => (First::Bytes, &ask.tcp),
            at => (First::Tls, at),
        }
    }

    /// Where the client connects to: as its resolver says, or as it is told.
    fn address(&self, to: &str) -> Option<SocketAddr> {
        if let Ok(at) = self.ask.to.parse() {
            return Some(at);
        }
        let (name, port) = match to.rsplit_once(':') {
            Some((name, port)) => (name, port.parse().ok()?),
            None => (to, 80),
        };
        let ip = match name.parse() {
            Ok(ip) => ip,
            Err(_) if self.ask.gateway => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Err(_) => self.service(name).and_then(|s| self.own_address(s)).unwrap_or(ELSEWHERE),
        };
        Some(SocketAddr::new(ip, port))
    }

    /// By the search path of a pod.
    fn service(&self, name: &str) -> Option<&Arc<Service>> {
        let domain = &self.world.domain;
        let names = [
            format!("{name}.{}.svc.{domain}", self.ask.from),
            format!("{name}.svc.{domain}"),
            name.trim_end_matches('.').to_owned(),
        ];
        let hosts = names.iter().filter_map(|n| Host::parse(n).ok());
        hosts.into_iter().find_map(|h| self.world.services.of_host(&h).first())
    }

    fn own_address(&self, service: &Service) -> Option<IpAddr> {
        let endpoints = || {
            let known = self.world.endpoints.get(&service.key())?;
            known.instances.iter().find_map(|i| match i.address {
                InstanceAddress::Ip(ip) => Some(ip),
                _ => None,
            })
        };
        service.addresses.first().map(|(ip, _)| *ip).or_else(endpoints)
    }

    fn chain(&self, at: SocketAddr, first: &First<'_>) -> Option<&FilterChain> {
        let listener = self.listener(at)?;
        let inspects = &listener.filters;
        let detected = match first {
            First::Http { .. } if inspects.http_inspector.is_some() => &["http/1.1"][..],
            _ => &[],
        };
        let tls = matches!(first, First::Tls) && inspects.tls_inspector.is_some();
        let client: IpAddr = CLIENT.parse().expect("an address");
        let seen = Seen {
            destination: at,
            source: SocketAddr::new(client, 40_000),
            direct_source: client,
            server_name: Some(self.ask.sni.as_str()).filter(|s| tls && !s.is_empty()),
            transport: if tls { "tls" } else { "raw_buffer" },
            protocols: detected,
        };
        let chosen = chain::choose(&listener.chains, &seen).map(|at| &listener.chains[at]);
        chosen.or(listener.default_chain.as_ref())
    }

    /// Of exactly this address, else of the port, else the one that takes all that is captured.
    fn listener(&self, at: SocketAddr) -> Option<&Arc<Listener>> {
        let all = &self.compiled.config.listeners;
        let outbound = || all.iter().filter(|l| l.direction == ir::Direction::Outbound);
        let bound = |ip: IpAddr| {
            let address = Address::Ip(SocketAddr::new(ip, at.port()));
            outbound().find(|l| l.address == address && !l.use_original_dst)
        };
        let captures = || outbound().find(|l| l.use_original_dst && !self.ask.gateway);
        bound(at.ip()).or_else(|| bound(Ipv4Addr::UNSPECIFIED.into())).or_else(captures)
    }

    fn http(&self, manager: &HttpManager, authority: &str, path: &str) -> String {
        let Some(config) = self.routes(&manager.routes) else { return "404".to_owned() };
        let table = RouteTable::new(config);
        let method = self.ask.method.as_bytes();
        let mut head = Request::new(method, authority.as_bytes(), path.as_bytes());
        for (name, value) in &self.ask.headers {
            match name.as_str() {
                "host" => head.set_authority(value.as_bytes()),
                _ => head.set_field(name.as_bytes(), value.as_bytes()),
            }
        }
        let mut drawn: BTreeMap<Option<u32>, (u32, String)> = BTreeMap::new();
        for _ in 0..DRAWS {
            match table.decide(&head, &ir::Metadata::new(), &self.env, &mut NoTrace) {
                Decision::Forward(to) => {
                    let cluster = if let Target::Cluster(at) = to.to { Some(at) } else { None };
                    let said = || (0, self.forwarded(&table, &to, &head));
                    drawn.entry(cluster).or_insert_with(said).0 += 1;
                }
                other => return answer(&other, &head),
            }
        }
        let several = drawn.len() > 1;
        let percent = |n: u32| (f64::from(n) * 20.0 / f64::from(DRAWS)).round() * 5.0;
        let part = |(n, said): &(u32, String)| match several {
            true => format!("{}% {said}", percent(*n)),
            false => said.clone(),
        };
        drawn.values().map(part).collect::<Vec<_>>().join(", ")
    }

    fn routes<'s>(&'s self, source: &'s RouteSource) -> Option<&'s RouteConfig> {
        match source {
            RouteSource::Inline(config) => Some(config),
            RouteSource::Rds(name) => {
                let mut all = self.compiled.config.routes.iter();
                all.find(|r| r.name == *name).map(|r| &**r)
            }
        }
    }

    /// Where it goes, and as what, if that is not what it came as.
    fn forwarded(&self, table: &RouteTable, to: &Forwarding<'_>, head: &Request) -> String {
        let mut sent = head.clone();
        to.rewrite(&mut sent, &Stream::default(), false);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut out = match to.to {
            Target::Cluster(at) => self.cluster(&table.clusters[at as usize]),
            Target::Header | Target::Nowhere => "503".to_owned(),
        };
        if (sent.authority(), sent.path()) != (head.authority(), head.path()) {
            out += &format!(" as {}{}", text(sent.authority()), text(sent.path()));
        }
        let probes = ["x-first", "x-last", "x-gone"].map(|name| (name, sent.get(name.as_bytes())));
        for (name, value) in probes {
            if value != head.get(name.as_bytes()) {
                out += &format!(" {name}={}", value.map_or("nothing".to_owned(), text));
            }
        }
        out
    }

    fn tcp(&self, to: &TcpDestination) -> String {
        match to {
            TcpDestination::Cluster(name) => self.cluster(name),
            TcpDestination::Weighted(parts) => {
                let one =
                    |p: &ir::WeightedCluster| format!("{}% {}", p.weight, self.cluster(&p.name));
                parts.iter().map(one).collect::<Vec<_>>().join(", ")
            }
        }
    }

    /// `cluster endpoints`; Envoy's flag in place of endpoints where there are none.
    fn cluster(&self, name: &str) -> String {
        let config = &self.compiled.config;
        let short = name.trim_start_matches("outbound|").replace(".svc.cluster.local", "");
        let Some(cluster) = config.clusters.iter().find(|c| *c.name == *name) else {
            return format!("{short} NC");
        };
        let none = |groups: &[ir::EndpointGroup]| Endpoints {
            cluster: name.into(),
            groups: groups.to_vec(),
            ..Endpoints::default()
        };
        let endpoints = match &cluster.discovery {
            Discovery::OriginalDst if name.ends_with("Cluster") => return name.to_owned(),
            Discovery::OriginalDst => return format!("{short} where it was going"),
            Discovery::ByHost(_) => return format!("{short} whom the request names"),
            Discovery::Static(groups)
            | Discovery::StrictDns { groups, .. }
            | Discovery::LogicalDns { groups, .. } => Arc::new(none(groups)),
            Discovery::Eds(_) => {
                let found = config.endpoints.iter().find(|e| *e.cluster == *name);
                found.cloned().unwrap_or_else(|| Arc::new(none(&[])))
            }
        };
        if name == "BlackHoleCluster" {
            return name.to_owned();
        }
        format!("{short} {}", self.picks(cluster, endpoints))
    }

    fn picks(&self, cluster: &Cluster, endpoints: Arc<Endpoints>) -> String {
        let mut picker = Picker::new(cluster, endpoints, &self.env);
        let mut seen = BTreeSet::new();
        for _ in 0..100 {
            let picked = picker.pick(&Want::default(), &self.env);
            seen.extend(picked.and_then(|id| picker.endpoint(id)).map(|e| e.address.to_string()));
        }
        match seen.is_empty() {
            true => "UH".to_owned(),
            false => seen.into_iter().collect::<Vec<_>>().join(" "),
        }
    }
}

fn answer(decision: &Decision<'_>, head: &Request) -> String {
    match decision {
        Decision::NotFound => "404".to_owned(),
        Decision::Redirect(to) => {
            format!("{} {}", to.status(), String::from_utf8_lossy(&to.location(head)))
        }
        Decision::Direct { status, .. } => status.to_string(),
        Decision::NonForwarding { .. } | Decision::Forward(_) => "500".to_owned(),
    }
}

fn proxy(ask: &Ask) -> Proxy {
    let (kind, ip) = if ask.gateway { ("router", "10.255.0.2") } else { ("sidecar", CLIENT) };
    let id = format!("{kind}~{ip}~client-0.{0}~{0}.svc.cluster.local", ask.from);
    let metadata = json!({"LABELS": ask.labels, "NODE_NAME": ask.node});
    let proxy = Proxy::parse(&id, &metadata).expect("a node");
    debug_assert_eq!(proxy.kind == ProxyKind::Router, ask.gateway);
    let Locality { region, zone, sub_zone } = Locality::parse(&ask.locality);
    proxy.standing_at(&region, &zone, &sub_zone)
}
