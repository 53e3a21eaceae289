//! A request that leaves a workload through its sidecar: the listener of its destination, the chain for
//! plain HTTP, the route, and what the route leads to.

use crate::destination::resolve;
use crate::{Asked, Endpoint, Explanation, Node, Pick, Skipped, Verdict};
use base::{FixedEnv, Labels, Origin, OriginId, OriginTable};
use compile::{Compiled, Proxy, ProxyKind};
use ir::{
    Action, Address, Destination, Discovery, EndpointGroup, FilterChain, Forward, Health,
    HttpManager, Listener, RouteConfig, RouteSource, TcpDestination, Terminal,
};
use policy::chain::{self, Seen};
use policy::normal::{self, Normalized, PathRules};
use policy::{Decision, RouteTable, Trace};
use registry::Snapshot;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// Who sends the request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    pub namespace: String,
    pub labels: Labels,
}

/// Which of several weighted clusters is drawn makes no difference: all of them are told.
const SEED: u64 = 0;

/// Stands for the client's own address.
const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 255, 255, 254));

pub fn explain(world: &Snapshot, client: &Client, asked: &Asked) -> Explanation {
    let compiled = compile::compile(world, &proxy(world, client));
    let (ip, destination) = resolve(world, &asked.host, &client.namespace);
    let at = SocketAddr::new(ip, asked.port);
    let view = View { compiled: &compiled };
    let (listener, chain) = view.chain(at);
    let request = format!("{} http://{}{}", asked.method, asked.authority(), asked.path);
    let mut told = Explanation {
        request,
        destination,
        listener,
        virtual_host: None,
        skipped: Vec::new(),
        route: None,
        verdict: closed(),
    };
    match chain.map(|c| &c.terminal) {
        Some(Terminal::Http(manager)) => view.http(manager, asked, &mut told),
        Some(Terminal::Tcp(tcp)) => told.verdict = Verdict::Bytes { picks: view.tcp(&tcp.to) },
        Some(Terminal::Close) | None => {}
    }
    told
}

fn closed() -> Verdict {
    let why = "no filter chain takes the connection: it is closed".to_owned();
    Verdict::Answered { status: 0, why }
}

fn answered(status: u16, why: impl Into<String>) -> Verdict {
    Verdict::Answered { status, why: why.into() }
}

fn proxy(world: &Snapshot, client: &Client) -> Proxy {
    let name = format!("client.{}", client.namespace);
    Proxy {
        kind: ProxyKind::Sidecar,
        id: format!("sidecar~{SOURCE}~{name}~{}.svc.{}", client.namespace, world.domain),
        name,
        ips: vec![SOURCE],
        namespace: client.namespace.clone(),
        labels: client.labels.clone(),
        locality: Default::default(),
        node: String::new(),
        stock_envoy: false,
        http10: false,
        uncaptured: false,
        unprivileged: false,
        dns: compile::Dns::Captured,
    }
}

/// The compiled configuration, looked at as the proxy does.
struct View<'a> {
    compiled: &'a Compiled,
}

impl<'a> View<'a> {
    fn origins(&self) -> &OriginTable {
        &self.compiled.origins
    }

    fn node(&self, name: impl Into<String>, origin: OriginId) -> Node {
        Node { name: name.into(), origin: self.origin(origin) }
    }

    fn origin(&self, id: OriginId) -> Option<Origin> {
        self.origins().get(id).cloned()
    }

    /// The listener of exactly this address, else of its port, else the one that takes all.
    fn chain(&self, at: SocketAddr) -> (Node, Option<&'a FilterChain>) {
        let listeners = &self.compiled.config.listeners;
        let bound = |ip: IpAddr, port: u16| {
            let address = Address::Ip(SocketAddr::new(ip, port));
            let outbound = |l: &&Arc<Listener>| l.direction == ir::Direction::Outbound;
            listeners.iter().filter(outbound).find(|l| l.address == address && !l.use_original_dst)
        };
        let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let all = || listeners.iter().find(|l| l.use_original_dst);
        let found = bound(at.ip(), at.port()).or_else(|| bound(any, at.port())).or_else(all);
        let Some(listener) = found else {
            return (Node { name: "none".into(), origin: None }, None);
        };
        let seen = Seen {
            destination: at,
            source: SocketAddr::new(SOURCE, 40_000),
            direct_source: SOURCE,
            server_name: None,
            transport: "raw_buffer",
            protocols: &["http/1.1"],
        };
        let chosen = chain::choose(&listener.chains, &seen).map(|i| &listener.chains[i]);
        let node = self.node(&*listener.name, listener.origin);
        (node, chosen.or(listener.default_chain.as_ref()))
    }

    fn http(&self, manager: &HttpManager, asked: &Asked, told: &mut Explanation) {
        let path = match normal::path(asked.path.as_bytes(), PathRules::of(manager)) {
            Normalized::Unchanged => asked.path.clone().into_bytes(),
            Normalized::Changed(path) => path,
            Normalized::Redirect(path) => {
                let location = String::from_utf8_lossy(&path).into_owned();
                return told.verdict = Verdict::Redirected { status: 307, location };
            }
            Normalized::Rejected => {
                return told.verdict = answered(400, "the path holds what is forbidden");
            }
        };
        let Some(config) = self.routes(&manager.routes) else {
            return told.verdict = answered(404, "the route configuration does not exist");
        };
        let table = RouteTable::new(config);
        let mut heard = Heard { view: self, host: None, skipped: Vec::new() };
        let head = asked.head(&path);
        let decision = table.decide(&head, &FixedEnv::seeded(SEED), &mut heard);
        let place = heard.skipped.len();
        let host = heard.host.take();
        told.skipped = heard.skipped;
        told.virtual_host = host.as_ref().map(|(name, origin)| self.node(name.as_str(), *origin));
        let written = host.and_then(|(name, _)| written(config, &name, place));
        if let Some(route) = written.filter(|_| !matches!(decision, Decision::NotFound)) {
            let name = if route.name.is_empty() { "default" } else { &route.name };
            told.route = Some(self.node(name, route.origin));
        }
        told.verdict = self.verdict(&decision, written);
    }

    fn routes(&self, source: &'a RouteSource) -> Option<&'a RouteConfig> {
        match source {
            RouteSource::Inline(config) => Some(config),
            RouteSource::Rds(name) => {
                let all = &self.compiled.config.routes;
                all.iter().find(|r| r.name == *name).map(|r| &**r)
            }
        }
    }

    fn verdict(&self, decision: &Decision<'_>, written: Option<&ir::Route>) -> Verdict {
        match decision {
            Decision::NotFound => answered(404, "no route matches"),
            Decision::Redirect(r) => {
                let location = String::from_utf8_lossy(&r.location).into_owned();
                Verdict::Redirected { status: r.status, location }
            }
            Decision::Direct { status, .. } => answered(*status, "the route answers directly"),
            Decision::NonForwarding { .. } => answered(500, "the route does not forward"),
            Decision::Forward(_) => match written.map(|r| &r.action) {
                Some(Action::Forward(forward)) => {
                    Verdict::Forwarded { picks: self.picks(&forward.to), details: details(forward) }
                }
                _ => answered(500, "the route does not forward"),
            },
        }
    }

    fn tcp(&self, to: &TcpDestination) -> Vec<Pick> {
        match to {
            TcpDestination::Cluster(name) => vec![self.pick(name, 100.0, None)],
            TcpDestination::Weighted(all) => {
                let total: u32 = all.iter().map(|c| c.weight).sum();
                let share = |w: u32| 100.0 * f64::from(w) / f64::from(total.max(1));
                all.iter().map(|c| self.pick(&c.name, share(c.weight), Some(c.origin))).collect()
            }
        }
    }

    fn picks(&self, to: &Destination) -> Vec<Pick> {
        match to {
            Destination::Cluster(name) => vec![self.pick(name, 100.0, None)],
            Destination::ClusterHeader(name) => {
                vec![self.pick(&format!("the one that header {name} names"), 100.0, None)]
            }
            Destination::Weighted(all) => {
                let total: u32 = all.iter().map(|c| c.weight).sum();
                let share = |w: u32| 100.0 * f64::from(w) / f64::from(total.max(1));
                let drawn = all.iter().filter(|c| c.weight > 0);
                drawn.map(|c| self.pick(&c.name, share(c.weight), Some(c.origin))).collect()
            }
        }
    }

    fn pick(&self, name: &str, percent: f64, origin: Option<OriginId>) -> Pick {
        let config = &self.compiled.config;
        let cluster = config.clusters.iter().find(|c| *c.name == *name);
        let groups: &[EndpointGroup] = match cluster.map(|c| &c.discovery) {
            Some(Discovery::Static(groups))
            | Some(Discovery::StrictDns { groups, .. })
            | Some(Discovery::LogicalDns { groups, .. }) => groups,
            Some(Discovery::Eds(service)) => {
                let key = if service.is_empty() { name } else { service };
                let found = config.endpoints.iter().find(|e| *e.cluster == *key);
                found.map_or(&[], |e| &e.groups)
            }
            Some(Discovery::OriginalDst) | None => &[],
        };
        let origin = origin.and_then(|o| self.origin(o));
        let own = || cluster.and_then(|c| self.origin(c.origin));
        Pick {
            cluster: Node { name: name.to_owned(), origin: origin.or_else(own) },
            percent,
            missing: cluster.is_none(),
            endpoints: groups.iter().flat_map(endpoints).collect(),
        }
    }
}

fn endpoints(group: &EndpointGroup) -> impl Iterator<Item = Endpoint> {
    group.endpoints.iter().map(|e| Endpoint {
        address: e.address.to_string(),
        weight: e.weight.unwrap_or(1),
        priority: group.priority,
        healthy: matches!(e.health, Health::Unknown | Health::Healthy),
    })
}

/// The route at this place, as it was compiled.
fn written<'c>(config: &'c RouteConfig, host: &str, place: usize) -> Option<&'c ir::Route> {
    config.virtual_hosts.iter().find(|h| *h.name == *host)?.routes.get(place)
}

fn details(forward: &Forward) -> Vec<(&'static str, String)> {
    let mut all = Vec::new();
    match forward.timeout {
        None => all.push(("timeout", "15s".to_owned())),
        Some(t) if t.is_zero() => all.push(("timeout", "none".to_owned())),
        Some(t) => all.push(("timeout", format!("{t:?}"))),
    }
    if let Some(retry) = &forward.retry {
        let on: Vec<&str> = retry.on.iter().map(|c| &**c).collect();
        all.push(("retries", format!("{} on {}", retry.num_retries.unwrap_or(1), on.join(","))));
    }
    if !forward.prefix_rewrite.is_empty() {
        all.push(("rewrite", format!("path prefix to {}", forward.prefix_rewrite)));
    }
    if let Some(regex) = &forward.regex_rewrite {
        all.push(("rewrite", format!("{} to {}", regex.pattern, regex.substitution)));
    }
    for mirror in &forward.mirrors {
        all.push(("mirror", mirror.cluster.to_string()));
    }
    all
}

/// Writes down what the decision looked at.
struct Heard<'a> {
    view: &'a View<'a>,
    host: Option<(String, OriginId)>,
    skipped: Vec<Skipped>,
}

impl Trace for Heard<'_> {
    fn host(&mut self, host: &policy::VirtualHost) {
        self.host = Some((host.name.to_string(), host.origin));
    }

    fn skipped(&mut self, route: &policy::Route, because: &'static str) {
        let name = if route.name.is_empty() { "unnamed" } else { &route.name };
        self.skipped.push(Skipped { route: self.view.node(name, route.origin), because });
    }
}
