//! The outbound side of a sidecar: a listener for each address and port that the services of its
//! scope have, reached through the capturing listener on 15001, and route configurations by port.

mod plan;
mod routes;
mod virtual_hosts;

pub(crate) use routes::PortRoutes;
pub(crate) use virtual_hosts::{config, virtual_host};

use crate::build::Build;
use crate::chains::without_overlaps;
use crate::cluster::{self, KeptClusters, TcpOptions};
use crate::half::Half;
use crate::http::{Side, manager, tcp_filters};
use crate::kept::{Base, Kept, Said};
use crate::scope::{self, Rules, Scope};
use crate::{log, name_table, names, unsupported};
use api::{OutboundMode, VirtualService};
use base::{Host, OriginId};
use ir::{
    Address, ChainMatch, Direction, FilterChain, HttpFilter, HttpFilterConfig, Inspector, Listener,
    ListenerFilters, RouteSource, Str, TcpDestination, TcpProxy, Terminal,
};
use plan::{Bind, Plan, TcpChain};
use registry::{Item, Service};
use routes::Earlier;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// `last`: what an earlier compilation for the same kind of proxy left.
pub(crate) fn compile(b: &mut Build<'_>, base: Base, last: Option<&Kept>) -> Half {
    let last = last.filter(|k| k.base.is_comparable(&base));
    let same_base = last.filter(|k| k.base == base);
    let reachable = match same_base {
        Some(kept) => kept.reachable.clone(),
        None => {
            b.work.reached += b.world.services.len() as u64;
            Arc::new(Scope::reachable(b.world, b.proxy))
        }
    };
    let before = same_base.map(|k| scope::Earlier { services: &k.services, rules: &k.rules });
    let scope = Scope::of_sidecar(b.world, b.proxy, reachable.clone(), before);
    // Nothing but VirtualServices has changed, and they lead to no other services.
    let settled = same_base.filter(|k| Arc::ptr_eq(&k.services, scope.service_map()));
    let mut said = of_sidecar(b);
    let clusters = match settled {
        Some(kept) => kept.clusters.clone(),
        None => KeptClusters::of(b, &scope, last.map(|k| &k.clusters)),
    };
    said.extend(&clusters.said);
    let bindings = Bindings::of(b, &scope, settled.map(|k| &k.bindings));
    said.extend(&bindings.said);
    let earlier = match (settled, last) {
        (Some(kept), _) => Earlier::Settled(&kept.routes),
        (None, Some(kept)) => Earlier::Comparable(&kept.routes),
        (None, None) => Earlier::Nothing,
    };
    let ports = bindings.plan.http_ports.iter().copied();
    let routes = routes::all(b, &scope, ports, &bindings.plan.detected, earlier);
    routes.values().flat_map(|r| r.said()).for_each(|s| said.extend(s));
    let (names, hosts) = match settled {
        Some(kept) => (kept.names.clone(), kept.hosts.clone()),
        None => (
            name_table::of(b, &scope).map(Arc::new),
            scope.services().map(|s| s.host.clone()).collect(),
        ),
    };
    let half = Half {
        listeners: bindings.listeners.clone(),
        clusters: clusters.list.clone(),
        assignments: clusters.assignments.clone(),
        routes: routes.values().map(|r| r.config.clone()).collect(),
        names: names.clone(),
        hosts: hosts.clone(),
        ..Half::default()
    };
    let (services, rules) = (scope.service_map().clone(), scope.rule_set().clone());
    let kept = Kept { base, reachable, services, rules, clusters, bindings, routes, names, hosts };
    Half { kept: Some(Arc::new(kept)), ..half }.telling(said)
}

fn of_sidecar(b: &mut Build<'_>) -> Said {
    if let Some(sidecar) = b.world.sidecars.of_proxy(&b.proxy.namespace, &b.proxy.labels) {
        for finding in unsupported::in_sidecar(&sidecar.spec, b.proxy.uncaptured) {
            b.say(&sidecar.object, finding);
        }
    }
    b.said()
}

/// What is listened on, and what that was made from.
#[derive(Clone, Debug)]
pub(crate) struct Bindings {
    /// The rules about connections, by the services that they are about.
    rules: Vec<(Host, Arc<Item<VirtualService>>)>,
    plan: Arc<Plan>,
    listeners: Arc<[Arc<Listener>]>,
    pub said: Arc<Said>,
}

impl Bindings {
    /// `settled`: made from the same services and policies.
    fn of(b: &mut Build<'_>, scope: &Scope, settled: Option<&Bindings>) -> Bindings {
        let rules = rules_of_connections(scope);
        let same = |known: &&Bindings| {
            let pairs = || known.rules.iter().zip(&rules);
            known.rules.len() == rules.len()
                && pairs().all(|(a, b)| a.0 == b.0 && Arc::ptr_eq(&a.1, &b.1))
        };
        if let Some(known) = settled.filter(same) {
            return known.clone();
        }
        let plan = Plan::of(b, scope);
        let mut listeners = vec![virtual_outbound(b, scope)];
        listeners
            .extend(plan.binds.iter().map(|(at, bind)| Arc::new(listener(b, scope, *at, bind))));
        b.work.listeners += listeners.len() as u64;
        for listener in &mut listeners {
            b.pools.listeners.share(&listener.name.clone(), listener);
        }
        let (listeners, said) = (listeners.into(), Arc::new(b.said()));
        Bindings { rules, plan: Arc::new(plan), listeners, said }
    }
}

fn rules_of_connections(scope: &Scope) -> Vec<(Host, Arc<Item<VirtualService>>)> {
    let about =
        |item: &Arc<Item<VirtualService>>| !item.spec.tls.is_empty() || !item.spec.tcp.is_empty();
    if !scope.rule_set().iter().any(|r| about(r.item())) {
        return Vec::new();
    }
    let of = |s: &Arc<Service>| {
        let item = scope.rules_of(&s.host).map(Rules::item).filter(|i| about(i))?;
        Some((s.host.clone(), item.clone()))
    };
    scope.services().filter_map(of).collect()
}

/// Takes all captured connections and hands them to the listener of their destination; what has none
/// goes where it was going, or nowhere.
fn virtual_outbound(b: &Build<'_>, scope: &Scope) -> Arc<Listener> {
    let mesh = &b.world.mesh.config;
    let port = mesh.proxy_listen_port;
    let mut listener = empty_listener("virtualOutbound".into(), b.proxy.wildcard(), port);
    listener.bind_to_port = true;
    listener.use_original_dst = !b.proxy.uncaptured;
    listener.filters.original_dst = !b.proxy.uncaptured;
    listener.access_log = log::of_listener(mesh);
    let second = b.proxy.second_wildcard();
    listener.additional_addresses =
        second.into_iter().map(|ip| Address::Ip(SocketAddr::new(ip, port))).collect();
    // A connection that was made to this very port has no destination: forwarding it would make a loop.
    let mut hole = tcp_chain(b, "virtualOutbound-blackhole", to(names::BLACK_HOLE));
    hole.matches.destination_port = Some(port);
    let rest = tcp_chain(b, "virtualOutbound-catchall-tcp", to(&fallback(b, scope)));
    listener.chains = vec![hole, rest];
    Arc::new(listener)
}

/// Where connections go that nothing describes.
fn fallback(b: &Build<'_>, scope: &Scope) -> Str {
    if let Some((to, object)) = &scope.egress_proxy
        && let Some(target) = cluster::target(b, scope, to, &object.namespace, 0)
    {
        return target.cluster;
    }
    match scope.outbound {
        OutboundMode::RegistryOnly => names::BLACK_HOLE.into(),
        OutboundMode::AllowAny | OutboundMode::AllowAnyDynamicDns => names::PASSTHROUGH.into(),
    }
}

fn to(cluster: &str) -> TcpDestination {
    TcpDestination::Cluster(cluster.into())
}

/// The listener of one address and port.
fn listener(b: &mut Build<'_>, scope: &Scope, (ip, port): (IpAddr, u16), bind: &Bind) -> Listener {
    let mut out = empty_listener(names::listener(ip, port), ip, port);
    out.bind_to_port = bind.bound;
    out.origin = bind.origin;
    let detects_tls = !bind.tls.is_empty() || bind.http.is_some();
    for route in &bind.tls {
        let mut chain = with_options(tcp_chain(b, "", route.to.clone()), route.options.clone());
        chain.matches.server_names = route.sni.clone();
        chain.matches.destination_ranges = route.subnets.clone();
        chain.matches.transport_protocol = "tls".into();
        chain.origin = route.origin;
        out.chains.push(chain);
    }
    if let Some(http) = &bind.http {
        out.chains.push(http_chain(b, (ip, port), http));
    }
    let unconditional = out.chains.is_empty() && bind.tcp.len() == 1;
    for TcpChain { subnets, to, options, origin } in &bind.tcp {
        let mut chain = with_options(tcp_chain(b, "", to.clone()), options.clone());
        chain.matches.destination_ranges = subnets.clone();
        chain.origin = *origin;
        if unconditional || !subnets.is_empty() {
            out.chains.push(chain);
        } else {
            out.default_chain = Some(chain);
        }
    }
    out.chains = without_overlaps(b, std::mem::take(&mut out.chains));
    let inspects = detects_tls || bind.http.is_some();
    if out.default_chain.is_none() && inspects {
        out.default_chain = Some(tcp_chain(b, "PassthroughFilterChain", to(&fallback(b, scope))));
    }
    out.filters = ListenerFilters {
        tls_inspector: detects_tls.then(Inspector::default),
        http_inspector: bind.http.is_some().then(Inspector::default),
        ..ListenerFilters::default()
    };
    if inspects {
        out.filters.timeout = Some(b.world.mesh.config.protocol_detection_timeout.0);
        out.filters.continue_on_timeout = true;
    }
    out
}

/// Looks up the hosts that requests name, for ServiceEntries of resolution DYNAMIC_DNS.
fn by_host(b: &Build<'_>) -> HttpFilter {
    HttpFilter {
        name: "envoy.filters.http.dynamic_forward_proxy".into(),
        config: HttpFilterConfig::ByHost(cluster::dns_cache(b)),
        disabled: false,
        origin: OriginId::NONE,
    }
}

/// Plaintext HTTP on a port; anything else falls to the chain by default.
fn http_chain(b: &Build<'_>, (ip, port): (IpAddr, u16), route: &Str) -> FilterChain {
    let stat_prefix = format!("outbound_{ip}_{port}").into();
    let routes = RouteSource::Rds(route.clone());
    let mesh = &b.world.mesh.config;
    let mut manager = manager(mesh, b.proxy, Side::Outbound, stat_prefix, routes);
    if b.world.services.any_by_host {
        manager.filters.push(by_host(b));
    }
    FilterChain {
        matches: ChainMatch {
            transport_protocol: "raw_buffer".into(),
            application_protocols: vec!["http/1.1".into(), "h2c".into()],
            ..ChainMatch::default()
        },
        ..FilterChain::new(Terminal::Http(Box::new(manager)))
    }
}

fn tcp_chain(b: &Build<'_>, name: &str, to: TcpDestination) -> FilterChain {
    let stat_prefix = match &to {
        TcpDestination::Cluster(name) => name.clone(),
        TcpDestination::Weighted(clusters) => {
            clusters.first().map_or("".into(), |c| c.name.clone())
        }
    };
    tcp_chain_of(b, name, Side::Outbound, stat_prefix, to)
}

/// A chain that forwards bytes.
pub(crate) fn tcp_chain_of(
    b: &Build<'_>,
    name: &str,
    side: Side,
    stat_prefix: Str,
    to: TcpDestination,
) -> FilterChain {
    let forwards = TcpProxy {
        stat_prefix,
        to,
        access_log: log::of_requests(&b.world.mesh.config),
        idle_timeout: None,
        max_connection_duration: None,
        max_connect_attempts: None,
        hash_source_ip: false,
        tunnel: None,
    };
    FilterChain {
        name: name.into(),
        network: tcp_filters(b.proxy, side),
        ..FilterChain::new(Terminal::Tcp(Box::new(forwards)))
    }
}

/// What the destination's policy asks of connections.
pub(crate) fn with_options(mut chain: FilterChain, options: TcpOptions) -> FilterChain {
    if let Terminal::Tcp(tcp) = &mut chain.terminal {
        tcp.idle_timeout = options.idle_timeout;
        tcp.max_connection_duration = options.max_duration;
        tcp.hash_source_ip = options.hash_source_ip;
        tcp.tunnel = options.tunnel;
    }
    chain
}

/// A listener without chains, which does not bind.
pub(crate) fn empty_listener(name: Str, ip: IpAddr, port: u16) -> Listener {
    let address = Address::Ip(SocketAddr::new(ip, port));
    Listener { bind_to_port: false, direction: Direction::Outbound, ..Listener::new(name, address) }
}
