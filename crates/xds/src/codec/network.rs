//! Network filters: what watches a connection, and the terminal filter that serves it.

use super::at::{At, Typed};
use super::common::{read_metadata, write_metadata};
use super::filter::{read_stats, write_stats};
use super::http::{read_manager, write_manager};
use super::log::{read_access_logs, write_access_log};
use super::{INERT, authz, rbac, unsupported};
use crate::message::{Msg, Val, write_wire};
use crate::schema::*;
use base::OriginId;
use ir::{HeaderOps, NetworkFilter, TcpDestination, TcpProxy, Terminal, WeightedCluster};

pub(super) fn write_filters(network: &[NetworkFilter], terminal: &Terminal) -> Vec<Val> {
    let filter = |name: &str, config: Val| {
        Val::Msg(Msg::new(&FILTER).set("name", name).set("typed_config", config))
    };
    let mut list: Vec<Val> = network
        .iter()
        .map(|f| {
            let (name, config) = write_network(f);
            filter(name, config)
        })
        .collect();
    match terminal {
        Terminal::Http(m) => {
            list.push(filter(
                "envoy.filters.network.http_connection_manager",
                write_manager(m).any(),
            ));
        }
        Terminal::Tcp(t) => {
            list.push(filter("envoy.filters.network.tcp_proxy", write_tcp(t).any()))
        }
        Terminal::Close => {}
    }
    list
}

fn write_network(filter: &NetworkFilter) -> (&str, Val) {
    match filter {
        NetworkFilter::IstioStats(s) => ("istio.stats", write_stats(s).any()),
        NetworkFilter::MetadataExchange { protocol } => (
            "istio.metadata_exchange",
            Msg::new(&METADATA_EXCHANGE).set("protocol", protocol).any(),
        ),
        NetworkFilter::ConnectionLimit { max, delay } => (
            "envoy.filters.network.connection_limit",
            Msg::new(&CONNECTION_LIMIT)
                .set("stat_prefix", "connection_limit")
                .set("max_connections", *max)
                .set_opt("delay", *delay)
                .any(),
        ),
        NetworkFilter::Rbac(r) => ("envoy.filters.network.rbac", rbac::write_network(r).any()),
        NetworkFilter::ExtAuthz(a) => {
            ("envoy.filters.network.ext_authz", authz::write_network(a).any())
        }
        NetworkFilter::Inert { type_url, value } => {
            let name = type_url.rsplit_once('/').map_or(&**type_url, |(_, n)| n);
            (name, super::inert(type_url, value))
        }
    }
}

/// The filters of a chain: all but the last watch, the last serves.
pub(super) fn read_filters(chain: &At) -> (Vec<NetworkFilter>, Terminal) {
    let (mut network, mut terminal) = (Vec::new(), Terminal::Close);
    chain.each("filters", |f| {
        if !matches!(terminal, Terminal::Close) {
            f.error("stands behind the terminal filter");
        }
        match f.typed("typed_config") {
            Some(Typed::Known(t)) if t.is(&HTTP_CONNECTION_MANAGER) => {
                terminal = Terminal::Http(Box::new(read_manager(&t)));
            }
            Some(Typed::Known(t)) if t.is(&TCP_PROXY) => {
                terminal = Terminal::Tcp(Box::new(read_tcp(&t)))
            }
            Some(Typed::Known(t)) => network.extend(read_network(&t)),
            Some(Typed::Unknown(url)) => unsupported(&f.path.field("typed_config"), url),
            None => f.error_in("typed_config", "is missing"),
        }
    });
    (network, terminal)
}

fn read_network(at: &At) -> Option<NetworkFilter> {
    Some(match at.ty() {
        t if t == STATS.name => NetworkFilter::IstioStats(read_stats(at)),
        t if t == METADATA_EXCHANGE.name => {
            NetworkFilter::MetadataExchange { protocol: at.str("protocol") }
        }
        t if t == CONNECTION_LIMIT.name => {
            let max = at.opt_u64("max_connections");
            if max.is_none() {
                at.error_in("max_connections", "is missing");
            }
            NetworkFilter::ConnectionLimit { max: max.unwrap_or(0), delay: at.duration("delay") }
        }
        t if t == NETWORK_RBAC.name => NetworkFilter::Rbac(Box::new(rbac::read_network(at))),
        t if t == NETWORK_AUTHZ.name => NetworkFilter::ExtAuthz(Box::new(authz::read_network(at))),
        t if INERT.contains(&t) => {
            NetworkFilter::Inert { type_url: super::type_url(t), value: write_wire(at.tree()) }
        }
        other => {
            unsupported(&at.path, other);
            return None;
        }
    })
}

fn write_tcp(t: &TcpProxy) -> Msg {
    let weight = |c: &WeightedCluster| {
        Msg::new(&TCP_CLUSTER_WEIGHT)
            .set("name", &c.name)
            .set("weight", c.weight)
            .set_opt("metadata_match", write_metadata(&c.metadata_match))
    };
    let hash = || {
        vec![Val::Msg(Msg::new(&TCP_HASH_POLICY).set("source_ip", Msg::new(&TCP_HASH_SOURCE_IP)))]
    };
    let msg = Msg::new(&TCP_PROXY)
        .set("stat_prefix", &t.stat_prefix)
        .set("access_log", Val::list(&t.access_log, write_access_log))
        .set_opt("idle_timeout", t.idle_timeout)
        .set_opt("max_downstream_connection_duration", t.max_connection_duration)
        .set_opt("max_connect_attempts", t.max_connect_attempts)
        .set_opt("hash_policy", t.hash_source_ip.then(hash))
        .set_opt(
            "tunneling_config",
            t.tunnel.as_ref().map(|to| Msg::new(&TUNNELING).set("hostname", to)),
        );
    match &t.to {
        TcpDestination::Cluster(name) => msg.set("cluster", name),
        TcpDestination::Weighted(clusters) => msg.set(
            "weighted_clusters",
            Msg::new(&TCP_WEIGHTED).set("clusters", Val::list(clusters, weight)),
        ),
    }
}

/// Of a tunnel. It goes into a request as it is.
fn hostname(at: &At) -> ir::Str {
    let name = at.str("hostname");
    let plain = |b: u8| b.is_ascii_graphic();
    if name.is_empty() || !name.bytes().all(plain) {
        at.error_in(
            "hostname",
            "must be host:port; names that are made for each connection are not supported",
        );
    }
    if name.contains('%') {
        at.error_in("hostname", "is a format, which is not supported; use a fixed name");
    }
    name
}

fn read_tcp(at: &At) -> TcpProxy {
    let to = match at.msg("weighted_clusters") {
        Some(w) => TcpDestination::Weighted(w.each("clusters", |c| WeightedCluster {
            name: c.str("name"),
            weight: c.u32("weight"),
            headers: HeaderOps::default(),
            host_rewrite: "".into(),
            metadata_match: read_metadata(c, "metadata_match"),
            per_filter: Vec::new(),
            origin: OriginId::NONE,
        })),
        None => TcpDestination::Cluster(at.str("cluster")),
    };
    if matches!(&to, TcpDestination::Cluster(name) if name.is_empty()) {
        at.error("names neither cluster nor weighted_clusters");
    }
    let hash = at.each("hash_policy", |h| {
        let by_source = h.has("source_ip");
        if !by_source {
            h.error("is not supported; use source_ip");
        }
        by_source
    });
    TcpProxy {
        stat_prefix: at.str("stat_prefix"),
        to,
        access_log: read_access_logs(at),
        idle_timeout: at.duration("idle_timeout"),
        max_connection_duration: at.duration("max_downstream_connection_duration"),
        max_connect_attempts: at.opt_u32("max_connect_attempts"),
        hash_source_ip: hash.contains(&true),
        tunnel: at.msg("tunneling_config").map(|t| hostname(&t)),
    }
}
