//! The inbound side of a sidecar: filter chains on the capturing listener 15006, one for each port
//! that a service or a Sidecar declares, and a catch-all that passes the rest to the application.

mod plan;

pub(crate) use plan::Plan;

use crate::build::Build;
use crate::chains::without_overlaps;
use crate::cluster::{
    connections, inbound_passthrough, inbound_sources, service_value, to_original,
};
use crate::half::Part;
use crate::http::{Side, manager};
use crate::outbound::{empty_listener, tcp_chain_of};
use crate::route::{inbound_retry, plain_route};
use crate::{gateway, log, names};
use api::{ConnectionPoolSettings, IngressListener, Protocol, Sidecar};
use base::OriginId;
use ir::{
    Action, Address, ChainMatch, Cluster, Direction, Discovery, Endpoint, EndpointGroup,
    FilterChain, HttpManager, Inspector, Listener, ListenerFilters, Metadata, RouteConfig,
    RouteSource, Str, TcpDestination, Terminal, UpstreamProtocol, Value, VirtualHost,
};
use plan::{InboundPort, Upstream};
use registry::Item;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

const HTTP: [&str; 3] = ["http/1.0", "http/1.1", "h2c"];

pub(crate) fn compile(b: &mut Build<'_>, plan: &Plan) -> Part {
    let sidecar = b.world.sidecars.of_proxy(&b.proxy.namespace, &b.proxy.labels);
    let settings = Settings { sidecar: sidecar.map(|s| &**s) };
    let of_port = |p: &InboundPort| Arc::new(cluster(b, p, settings.pool(p)));
    let mut clusters: Vec<Arc<Cluster>> = plan.ports.iter().map(of_port).collect();
    clusters.push(inbound_passthrough(b));
    let mut listeners = vec![listener(b, plan, &settings)];
    for port in &plan.ports {
        listeners.extend(port.bound.map(|ip| own_listener(b, port, ip, &settings)));
    }
    Part { listeners: listeners.into_iter().map(Arc::new).collect(), clusters, ..Part::default() }
}

/// What the Sidecar says about ports, beside what makes the plan.
struct Settings<'a> {
    sidecar: Option<&'a Item<Sidecar>>,
}

impl Settings<'_> {
    fn ingress(&self, port: &InboundPort) -> Option<&IngressListener> {
        self.sidecar?.spec.ingress.get(port.ingress?)
    }

    /// The listener's own, else those of the whole Sidecar.
    fn pool(&self, port: &InboundPort) -> Option<&ConnectionPoolSettings> {
        let own = self.ingress(port).and_then(|i| i.connection_pool.as_ref());
        own.or(self.sidecar?.spec.inbound_connection_pool.as_ref())
    }
}

fn listener(b: &mut Build<'_>, plan: &Plan, settings: &Settings<'_>) -> Listener {
    let world = b.world;
    let mesh = &world.mesh.config;
    let port = mesh.proxy_inbound_listen_port;
    let second = b.proxy.second_wildcard();
    let mut chains = vec![black_hole(b, port)];
    chains.extend(catch_all(b));
    for port in plan.ports.iter().filter(|p| p.bound.is_none()) {
        chains.extend(of_port(b, port, settings));
    }
    let chains = without_overlaps(b, chains);
    Listener {
        additional_addresses: second
            .into_iter()
            .map(|ip| Address::Ip(SocketAddr::new(ip, port)))
            .collect(),
        bind_to_port: true,
        filters: ListenerFilters {
            original_dst: true,
            tls_inspector: None,
            http_inspector: Some(Inspector { disabled_ports: declared(plan) }),
            proxy_protocol: None,
            timeout: Some(mesh.protocol_detection_timeout.0),
            continue_on_timeout: true,
        },
        chains,
        access_log: log::of_listener(mesh),
        direction: Direction::Inbound,
        ..empty_listener("virtualInbound".into(), b.proxy.wildcard(), port)
    }
}

/// Where the protocol is known nothing is looked at.
fn declared(plan: &Plan) -> Vec<(u16, u16)> {
    let known = plan.ports.iter().filter(|p| p.protocol != Protocol::Undeclared);
    known.map(|p| (p.port, p.port.saturating_add(1))).collect()
}

/// A connection that was made to this very port would be forwarded to it for ever.
fn black_hole(b: &Build<'_>, port: u16) -> FilterChain {
    let to = TcpDestination::Cluster(names::BLACK_HOLE.into());
    let mut chain =
        tcp_chain_of(b, "virtualInbound-blackhole", Side::Inbound, names::BLACK_HOLE.into(), to);
    chain.matches.destination_port = Some(port);
    chain
}

/// Ports that nobody declared.
fn catch_all(b: &Build<'_>) -> [FilterChain; 2] {
    let cluster: Str = names::INBOUND_PASSTHROUGH.into();
    let host = VirtualHost {
        name: "inbound|http|0".into(),
        domains: vec!["*".into()],
        routes: vec![plain_route("default", cluster.clone(), ":0/*".into())],
        ..VirtualHost::default()
    };
    let manager = http_manager(b, cluster.clone(), host, cluster.clone());
    let matches =
        ChainMatch { application_protocols: HTTP.map(Str::from).to_vec(), ..ChainMatch::default() };
    let http = http_chain("virtualInbound-catchall-http", matches, manager);
    let to = TcpDestination::Cluster(cluster.clone());
    [http, tcp_chain_of(b, "virtualInbound", Side::Inbound, cluster, to)]
}

fn of_port(b: &mut Build<'_>, port: &InboundPort, settings: &Settings<'_>) -> Vec<FilterChain> {
    let plain = plain_chains(b, port);
    ending_tls(b, port, settings, plain)
}

fn plain_chains(b: &Build<'_>, port: &InboundPort) -> Vec<FilterChain> {
    let name = names::listener(b.proxy.wildcard(), port.port);
    let to_port = || ChainMatch { destination_port: Some(port.port), ..ChainMatch::default() };
    let tcp = || {
        let to = TcpDestination::Cluster(port.cluster());
        let mut chain = tcp_chain_of(b, &name, Side::Inbound, port.cluster(), to);
        chain.matches = to_port();
        chain
    };
    if port.protocol.is_http() {
        return vec![http_chain(&name, to_port(), http_of_port(b, port))];
    }
    if port.protocol != Protocol::Undeclared {
        return vec![tcp()];
    }
    let mut matches = to_port();
    matches.application_protocols = HTTP.map(Str::from).to_vec();
    vec![http_chain(&name, matches, http_of_port(b, port)), tcp()]
}

/// TLS that clients outside the mesh begin ends here. Where it cannot, nobody gets in: the client must
/// not be served in plaintext.
fn ending_tls(
    b: &mut Build<'_>,
    port: &InboundPort,
    settings: &Settings<'_>,
    mut chains: Vec<FilterChain>,
) -> Vec<FilterChain> {
    let Some(written) = settings.ingress(port).and_then(|i| i.tls.as_ref()) else { return chains };
    let path = format!("spec.ingress[{}].tls", port.ingress.unwrap_or_default());
    let http = port.protocol.is_http();
    match gateway::tls_context(written, path, http) {
        Ok(context) => chains.iter_mut().for_each(|c| c.tls = Some(context.clone())),
        Err(finding) => {
            b.say(&port.object, *finding);
            chains.clear();
            let to = TcpDestination::Cluster(names::BLACK_HOLE.into());
            let name = names::BLACK_HOLE;
            let mut refused = tcp_chain_of(b, name, Side::Inbound, name.into(), to);
            refused.matches.destination_port = Some(port.port);
            chains.push(refused);
        }
    }
    chains
}

/// A socket of its own for a port whose connections are not captured.
fn own_listener(
    b: &mut Build<'_>,
    port: &InboundPort,
    ip: IpAddr,
    settings: &Settings<'_>,
) -> Listener {
    let chains = of_port(b, port, settings);
    let mesh = &b.world.mesh.config;
    let detects = port.protocol == Protocol::Undeclared;
    Listener {
        bind_to_port: true,
        filters: ListenerFilters {
            http_inspector: detects.then(Inspector::default),
            timeout: detects.then_some(mesh.protocol_detection_timeout.0),
            continue_on_timeout: detects,
            ..ListenerFilters::default()
        },
        chains,
        access_log: log::of_listener(mesh),
        direction: Direction::Inbound,
        origin: b.origin(&port.object, "spec.ingress"),
        ..empty_listener(names::listener(ip, port.port), ip, port.port)
    }
}

fn http_of_port(b: &Build<'_>, port: &InboundPort) -> HttpManager {
    let decorator = format!("{}:{}/*", port.host, port.service_port).into();
    let mut route = plain_route("default", port.cluster(), decorator);
    if let Action::Forward(forward) = &mut route.action {
        forward.retry = Some(inbound_retry());
    }
    let host = VirtualHost {
        name: format!("inbound|http|{}", port.service_port).into(),
        domains: vec!["*".into()],
        routes: vec![route],
        ..VirtualHost::default()
    };
    let stat_prefix = format!("inbound_{}_{}", b.proxy.wildcard(), port.port).into();
    http_manager(b, names::inbound(port.port), host, stat_prefix)
}

fn http_manager(b: &Build<'_>, name: Str, host: VirtualHost, stat_prefix: Str) -> HttpManager {
    let routes = RouteConfig {
        name,
        virtual_hosts: vec![Arc::new(host)],
        validate_clusters: Some(false),
        ..RouteConfig::default()
    };
    let source = RouteSource::Inline(Arc::new(routes));
    manager(&b.world.mesh.config, b.proxy, Side::Inbound, stat_prefix, source)
}

fn http_chain(name: &str, matches: ChainMatch, manager: HttpManager) -> FilterChain {
    FilterChain {
        name: name.into(),
        matches,
        tls: None,
        network: Vec::new(),
        terminal: Terminal::Http(Box::new(manager)),
        handshake_timeout: None,
        metadata: Metadata::new(),
        origin: OriginId::NONE,
    }
}

/// The application, at the address it was called at, or where a Sidecar says that it is.
fn cluster(
    b: &mut Build<'_>,
    port: &InboundPort,
    pool: Option<&ConnectionPoolSettings>,
) -> Cluster {
    let mut cluster = match &port.upstream {
        Upstream::Original => to_original(b, port.cluster()),
        Upstream::At(address) => {
            let group = EndpointGroup {
                endpoints: vec![Endpoint::at(address.clone())],
                ..EndpointGroup::default()
            };
            let mut fixed = to_original(b, port.cluster());
            fixed.discovery = Discovery::Static(vec![group]);
            fixed.lb = ir::LoadBalancer::RoundRobin { slow_start: None };
            fixed
        }
    };
    if port.upstream == Upstream::Original {
        // From an address of its own, so that the connection is not captured again.
        cluster.bind_sources = inbound_sources(b);
    }
    cluster.protocol = match port.protocol {
        p if p.is_http2() => UpstreamProtocol::Http2,
        Protocol::Http => UpstreamProtocol::Http1,
        _ => UpstreamProtocol::Downstream,
    };
    if pool.and_then(|p| p.http.as_ref()).is_some_and(|h| h.use_client_protocol) {
        cluster.protocol = UpstreamProtocol::Downstream;
    }
    connections(pool, b.world.mesh.config.tcp_keepalive.as_ref(), &mut cluster);
    let services: Vec<Value> = port
        .services
        .iter()
        .filter_map(|key| b.world.services.get(key).map(|s| service_value(s)))
        .collect();
    let fields = [("services".into(), Value::List(services))].into();
    cluster.metadata = Metadata::from([("istio".into(), Value::Struct(fields))]);
    cluster.origin = b.origin(&port.object, "spec.ports");
    cluster
}
