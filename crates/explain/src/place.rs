//! The proxy that a request passes: whose it is, and where connections come into it. It is compiled once
//! and then asked about any number of requests.

use crate::destination::{self, Reached};
use crate::{Asked, Draws, Explanation, Node, Verdict, connection, hints, request};
use base::{Labels, Origin, OriginId};
use compile::{Compiled, Proxy, ProxyKind};
use ir::{RouteConfig, RouteSource, Str, Terminal};
use policy::RouteTable;
use registry::Snapshot;
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;

/// A client, a gateway or a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workload {
    /// Of the pod, or of what its pods are made from; may be empty.
    pub name: String,
    pub namespace: String,
    pub labels: Labels,
    /// `None`: no pod has one yet.
    pub ip: Option<IpAddr>,
    /// It has no proxy: by gRPC's libraries it follows the control plane itself.
    pub proxyless: bool,
}

/// On which side of the request the proxy stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client's own sidecar.
    Client(Workload),
    Gateway(Workload),
    /// The server's own sidecar.
    Server(Workload),
}

impl Side {
    pub fn workload(&self) -> &Workload {
        match self {
            Side::Client(w) | Side::Gateway(w) | Side::Server(w) => w,
        }
    }
}

/// Stands for the address of a workload that has none.
pub(crate) const SOMEBODY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 255, 255, 254));

/// Stands for a client of which nothing is known (RFC 5737).
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));

/// One proxy's configuration, ready to be asked.
pub struct Explainer<'w> {
    pub(crate) world: &'w Snapshot,
    pub(crate) side: Side,
    pub(crate) proxy: Proxy,
    pub(crate) compiled: Compiled,
    tables: RefCell<HashMap<Str, Rc<RouteTable>>>,
}

impl<'w> Explainer<'w> {
    pub fn new(world: &'w Snapshot, side: Side) -> Explainer<'w> {
        let proxy = proxy_of(world, &side);
        let compiled = compile::compile(world, &proxy);
        Explainer::over(world, side, proxy, compiled)
    }

    /// Over what was compiled already.
    pub fn over(world: &'w Snapshot, side: Side, proxy: Proxy, compiled: Compiled) -> Self {
        Explainer { world, side, proxy, compiled, tables: RefCell::default() }
    }

    pub fn compiled(&self) -> &Compiled {
        &self.compiled
    }

    pub fn explain(&self, asked: &Asked, draws: Draws) -> Explanation {
        self.explain_from(asked, draws, &self.reached(asked))
    }

    /// A request whose connection is known to have been meant for this address.
    pub fn explain_at(&self, asked: &Asked, at: SocketAddr, draws: Draws) -> Explanation {
        let reached = match &self.side {
            Side::Client(_) => destination::known(self.world, at),
            Side::Gateway(_) => destination::own(at, at.port(), "the gateway"),
            Side::Server(_) => destination::own(at, at.port(), "the server"),
        };
        self.explain_from(asked, draws, &reached)
    }

    fn explain_from(&self, asked: &Asked, draws: Draws, reached: &Reached) -> Explanation {
        let mut told = Explanation {
            request: asked.line(),
            proxy: self.name(),
            destination: reached.node.clone(),
            listener: Node { name: "none".into(), origin: None },
            chains: Vec::new(),
            chain: None,
            routes: None,
            virtual_host: None,
            skipped: Vec::new(),
            route: None,
            place: None,
            verdict: Verdict::Closed { why: "nothing listens there".into() },
            grpc_status: None,
            facts: Vec::new(),
            hints: Vec::new(),
            sent: None,
            answered_with: Vec::new(),
        };
        if let Some(arrived) = connection::arrive(self, asked, reached, &mut told) {
            match &arrived.chain.terminal {
                Terminal::Http(manager) => {
                    request::explain(self, manager, &arrived, asked, draws, &mut told);
                }
                Terminal::Tcp(tcp) => {
                    told.verdict = Verdict::Bytes { picks: self.bytes_to(&tcp.to, reached) };
                }
                Terminal::Close => {
                    told.verdict = Verdict::Closed { why: "the filter chain is empty".into() };
                }
            }
        }
        hints::add(self, asked, reached, &mut told);
        told
    }

    /// Where the connection goes to, and what comes in at this proxy.
    fn reached(&self, asked: &Asked) -> Reached {
        let own = self.side.workload().ip.unwrap_or(SOMEBODY);
        match &self.side {
            Side::Client(client) => destination::resolve(self.world, asked, &client.namespace),
            Side::Gateway(_) => {
                let port = compile::listening_port(self.world, &self.proxy, asked.port);
                destination::own(SocketAddr::new(own, port), asked.port, "the gateway")
            }
            Side::Server(_) => {
                let port = self.inbound_port(asked);
                destination::own(SocketAddr::new(own, port), asked.port, "the server")
            }
        }
    }

    /// The port of the pod behind the port of the service that the client asks for.
    fn inbound_port(&self, asked: &Asked) -> u16 {
        let namespace = &self.side.workload().namespace;
        let service = destination::service(self.world, &asked.host, namespace);
        let found = service.and_then(|s| s.port(asked.port));
        match found.map(|p| &p.target) {
            Some(registry::TargetPort::Number(target)) => *target,
            Some(registry::TargetPort::Named(_)) => {
                compile::listening_port(self.world, &self.proxy, asked.port)
            }
            None => asked.port,
        }
    }

    /// The address that requests come from.
    pub(crate) fn source(&self) -> IpAddr {
        match &self.side {
            Side::Client(client) => client.ip.unwrap_or(SOMEBODY),
            Side::Gateway(_) | Side::Server(_) => CLIENT,
        }
    }

    fn name(&self) -> String {
        let workload = self.side.workload();
        let name = match workload.name.as_str() {
            "" => format!("a workload in {}", workload.namespace),
            name => format!("{name}.{}", workload.namespace),
        };
        match self.side {
            Side::Client(_) if self.proxy.grpc => format!("{name} itself, without a proxy"),
            Side::Client(_) => format!("outbound sidecar of {name}"),
            Side::Gateway(_) => format!("gateway {name}"),
            Side::Server(_) => format!("inbound sidecar of {name}"),
        }
    }

    pub(crate) fn node(&self, name: impl Into<String>, origin: OriginId) -> Node {
        Node { name: name.into(), origin: self.origin(origin) }
    }

    pub(crate) fn origin(&self, id: OriginId) -> Option<Origin> {
        self.compiled.origins.get(id).cloned()
    }

    pub(crate) fn routes<'a>(&'a self, source: &'a RouteSource) -> Option<&'a RouteConfig> {
        match source {
            RouteSource::Inline(config) => Some(config),
            RouteSource::Rds(name) => {
                let all = &self.compiled.config.routes;
                all.iter().find(|r| r.name == *name).map(|r| &**r)
            }
        }
    }

    /// Compiled once for each route configuration; inline ones belong to their chain alone.
    pub(crate) fn table(&self, source: &RouteSource, config: &RouteConfig) -> Rc<RouteTable> {
        let RouteSource::Rds(name) = source else { return Rc::new(RouteTable::new(config)) };
        let mut tables = self.tables.borrow_mut();
        let made = || Rc::new(RouteTable::new(config));
        tables.entry(name.clone()).or_insert_with(made).clone()
    }
}

fn proxy_of(world: &Snapshot, side: &Side) -> Proxy {
    let workload = side.workload();
    let (kind, word) = match side {
        Side::Gateway(_) => (ProxyKind::Router, "router"),
        Side::Client(_) | Side::Server(_) => (ProxyKind::Sidecar, "sidecar"),
    };
    let pod = if workload.name.is_empty() { "workload" } else { &workload.name };
    let (namespace, ip) = (&workload.namespace, workload.ip.unwrap_or(SOMEBODY));
    let name = format!("{pod}.{namespace}");
    Proxy {
        kind,
        id: format!("{word}~{ip}~{name}~{namespace}.svc.{}", world.domain),
        name,
        ips: vec![ip],
        namespace: namespace.clone(),
        labels: workload.labels.clone(),
        // That of its pod, where there is one, is found by the compiler.
        locality: Default::default(),
        node: world.workloads.at(ip).map(|w| w.node.clone()).unwrap_or_default(),
        stock_envoy: false,
        grpc: workload.proxyless && matches!(side, Side::Client(_)),
        http10: false,
        tells_denials: false,
        uncaptured: false,
        unprivileged: false,
        dns: compile::Dns::Captured,
        version: String::new(),
        metadata: Default::default(),
    }
}
