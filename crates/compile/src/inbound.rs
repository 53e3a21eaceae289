//! The inbound side of a sidecar: filter chains on the capturing listener 15006, for each port that a
//! service or a Sidecar declares and each way to it, and a catch-all that passes the rest to the
//! application.

mod plan;
mod ways;

pub(crate) use plan::Plan;

use crate::authentication::Tokens;
use crate::authorization::Guard;
use crate::build::Build;
use crate::chains::without_overlaps;
use crate::cluster::{
    connections, inbound_passthrough, inbound_sources, service_value, to_original,
};
use crate::half::Part;
use crate::http::{Side, manager, speak_web};
use crate::outbound::{empty_listener, tcp_chain_of};
use crate::route::{inbound_retry, plain_route};
use crate::{gateway, log, mesh_tls, names};
use api::{ConnectionPoolSettings, IngressListener, Protocol, ServerTlsSettings, Sidecar};
use base::OriginId;
use ir::{
    Action, Address, Cluster, Direction, Discovery, Endpoint, EndpointGroup, FilterChain,
    HttpManager, Inspector, Listener, ListenerFilters, Metadata, RouteConfig, RouteSource, Str,
    TcpDestination, Terminal, UpstreamProtocol, Value, VirtualHost,
};
use plan::{InboundPort, Upstream};
use registry::{Admission, Decided, Item};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use ways::{Carries, Way, ways};

pub(crate) fn compile(b: &mut Build<'_>, plan: &Plan) -> Part {
    let sidecar = b.world.sidecars.of_proxy(&b.proxy.namespace, &b.proxy.labels);
    let settings = Settings { sidecar: sidecar.map(|s| &**s) };
    let of_port = |p: &InboundPort| Arc::new(cluster(b, p, settings.pool(p)));
    let mut clusters: Vec<Arc<Cluster>> = plan.ports.iter().map(of_port).collect();
    clusters.push(inbound_passthrough(b));
    let mut listeners = vec![listener(b, plan, &settings)];
    for port in &plan.ports {
        listeners.extend(port.bound.map(|ip| own_listener(b, plan, port, ip, &settings)));
    }
    let guard = Guard::of(b, plan.ports.iter().any(InboundPort::is_tcp));
    let tokens = Tokens::of(b);
    for listener in &mut listeners {
        guard.stand_in(&mut listener.chains);
        tokens.stand_in(&mut listener.chains);
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
    chains.extend(catch_all(b, plan));
    for port in plan.ports.iter().filter(|p| p.bound.is_none()) {
        chains.extend(of_port(b, plan, port, settings));
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
            tls_inspector: tls_inspector(plan, &chains),
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

/// Ports that only plaintext is admitted to are left alone, since what the application speaks there is
/// its own.
fn tls_inspector(plan: &Plan, chains: &[FilterChain]) -> Option<Inspector> {
    let told_apart = |c: &FilterChain| !c.matches.transport_protocol.is_empty();
    let here = |port: u16| {
        chains.iter().any(|c| c.matches.destination_port == Some(port) && told_apart(c))
    };
    let plaintext = |p: &&InboundPort| p.bound.is_none() && !here(p.port);
    let left_alone = plan.ports.iter().filter(plaintext).map(|p| alone(p.port)).collect();
    chains.iter().any(told_apart).then_some(Inspector { disabled_ports: left_alone })
}

fn alone(port: u16) -> (u16, u16) {
    (port, port.saturating_add(1))
}

/// Where the protocol is known nothing is looked at.
fn declared(plan: &Plan) -> Vec<(u16, u16)> {
    let known = plan.ports.iter().filter(|p| p.protocol != Protocol::Undeclared);
    known.map(|p| alone(p.port)).collect()
}

/// A connection that was made to this very port would be forwarded to it for ever.
fn black_hole(b: &Build<'_>, port: u16) -> FilterChain {
    let to = TcpDestination::Cluster(names::BLACK_HOLE.into());
    let mut chain =
        tcp_chain_of(b, "virtualInbound-blackhole", Side::Inbound, names::BLACK_HOLE.into(), to);
    chain.matches.destination_port = Some(port);
    chain
}

/// Ports that nobody declared, those first that a policy names.
fn catch_all(b: &mut Build<'_>, plan: &Plan) -> Vec<FilterChain> {
    let mut chains = Vec::new();
    let declared = |port: u16| plan.ports.iter().any(|p| p.port == port && p.bound.is_none());
    for (port, decided) in plan.admits.ports().filter(|(port, _)| !declared(*port)) {
        chains.extend(passed_through(b, Some(port), decided));
    }
    chains.extend(passed_through(b, None, plan.admits.elsewhere()));
    chains
}

fn passed_through(b: &mut Build<'_>, port: Option<u16>, decided: &Decided) -> Vec<FilterChain> {
    let cluster: Str = names::INBOUND_PASSTHROUGH.into();
    let of_way = |b: &Build<'_>, way: &Way| {
        if !way.http {
            let to = TcpDestination::Cluster(cluster.clone());
            return tcp_chain_of(b, "virtualInbound", Side::Inbound, cluster.clone(), to);
        }
        let host = VirtualHost {
            name: "inbound|http|0".into(),
            domains: vec!["*".into()],
            routes: vec![plain_route("default", cluster.clone(), ":0/*".into())],
            ..VirtualHost::default()
        };
        let manager = http_manager(b, cluster.clone(), host, cluster.clone());
        http_chain("virtualInbound-catchall-http", manager)
    };
    each_way(b, (port, Carries::Either), decided, of_way)
}

/// The chains of one port, or of all that have none of their own.
fn each_way(
    b: &mut Build<'_>,
    (port, carries): (Option<u16>, Carries),
    decided: &Decided,
    of_way: impl Fn(&Build<'_>, &Way) -> FilterChain,
) -> Vec<FilterChain> {
    let by = decided.by.as_ref();
    let origin = by.map_or(OriginId::NONE, |(object, path)| b.origin(object, path.as_str()));
    let chain = |way: &Way| FilterChain {
        matches: way.matches(port),
        tls: way.mutual.then(|| mesh_tls::server(b.world, way.http)),
        origin,
        ..of_way(b, way)
    };
    ways(decided.mode, carries).iter().map(chain).collect()
}

fn of_port(
    b: &mut Build<'_>,
    plan: &Plan,
    port: &InboundPort,
    settings: &Settings<'_>,
) -> Vec<FilterChain> {
    let name = names::listener(b.proxy.wildcard(), port.port);
    let of_way = |b: &Build<'_>, way: &Way| match way.http {
        true => http_chain(&name, http_of_port(b, port)),
        false => {
            let to = TcpDestination::Cluster(port.cluster());
            tcp_chain_of(b, &name, Side::Inbound, port.cluster(), to)
        }
    };
    let decided = plan.admits.at(port.port);
    let captured = (Some(port.port), Carries::of(port.protocol));
    let chains = each_way(b, captured, decided, of_way);
    let written = settings.ingress(port).and_then(|i| i.tls.as_ref());
    match written.filter(|_| decided.mode != Admission::Mutual) {
        Some(written) => ending_tls(b, port, written, chains),
        None => chains,
    }
}

/// TLS that clients outside the mesh begin ends here. Where it cannot, they do not get in: they must
/// not be served in plaintext.
fn ending_tls(
    b: &mut Build<'_>,
    port: &InboundPort,
    written: &ServerTlsSettings,
    chains: Vec<FilterChain>,
) -> Vec<FilterChain> {
    let path = format!("spec.ingress[{}].tls", port.ingress.unwrap_or_default());
    let (mut all, others): (Vec<_>, Vec<_>) = chains.into_iter().partition(|c| c.tls.is_some());
    match gateway::tls_context(b.world, written, path, port.protocol.is_http()) {
        Ok(context) => {
            // Theirs is any TLS but the mesh's; plaintext has no chain left.
            let plain = others.into_iter().filter(|c| &*c.matches.transport_protocol != "tls");
            all.extend(plain.map(|mut chain| {
                chain.matches.transport_protocol = "tls".into();
                chain.tls = Some(context.clone());
                chain
            }));
        }
        Err(finding) => {
            b.say(&port.object, *finding);
            let to = TcpDestination::Cluster(names::BLACK_HOLE.into());
            let name = names::BLACK_HOLE;
            let mut refused = tcp_chain_of(b, name, Side::Inbound, name.into(), to);
            refused.matches.destination_port = Some(port.port);
            all.push(refused);
        }
    }
    all
}

/// A socket of its own for a port whose connections are not captured.
fn own_listener(
    b: &mut Build<'_>,
    plan: &Plan,
    port: &InboundPort,
    ip: IpAddr,
    settings: &Settings<'_>,
) -> Listener {
    let chains = of_port(b, plan, port, settings);
    let mesh = &b.world.mesh.config;
    let told_apart = chains.iter().any(|c| !c.matches.transport_protocol.is_empty());
    let undeclared = port.protocol == Protocol::Undeclared;
    let detects = undeclared || told_apart;
    Listener {
        bind_to_port: true,
        filters: ListenerFilters {
            tls_inspector: told_apart.then(Inspector::default),
            http_inspector: undeclared.then(Inspector::default),
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
    let mut manager = http_manager(b, names::inbound(port.port), host, stat_prefix);
    if port.protocol == Protocol::GrpcWeb {
        speak_web(&mut manager);
    }
    manager
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

fn http_chain(name: &str, manager: HttpManager) -> FilterChain {
    FilterChain { name: name.into(), ..FilterChain::new(Terminal::Http(Box::new(manager))) }
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
