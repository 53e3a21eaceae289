//! Clusters.

use super::at::{At, Typed, number_of};
use super::balance::{read_balancer, read_common_lb, write_balancer, write_common_lb};
use super::common::{read_metadata, write_metadata};
use super::endpoint::{read_inline, write_groups};
use super::outlier::{read_breakers, read_outliers, write_breakers, write_outliers};
use super::upstream::{read_protocols, write_protocols};
use super::{socket, source, unsupported};
use crate::message::{Msg, Val};
use crate::schema::*;
use ir::{Cluster, Discovery, DnsCache, DnsFamily, TcpKeepalive, TlsMatch, Value};
use std::net::IpAddr;

const DYNAMIC_NAME: &str = "envoy.clusters.dynamic_forward_proxy";

#[derive(Clone, Copy, PartialEq)]
enum Type {
    Static,
    StrictDns,
    LogicalDns,
    Eds,
    OriginalDst,
}

const TYPES: &[(i32, Type)] = &[
    (0, Type::Static),
    (1, Type::StrictDns),
    (2, Type::LogicalDns),
    (3, Type::Eds),
    (4, Type::OriginalDst),
];

const FAMILIES: &[(i32, DnsFamily)] = &[
    (0, DnsFamily::Auto),
    (1, DnsFamily::V4Only),
    (2, DnsFamily::V6Only),
    (3, DnsFamily::V4Preferred),
    (4, DnsFamily::All),
];

pub(super) fn write_cluster(c: &Cluster) -> Msg {
    let keepalive = |k: TcpKeepalive| {
        let keepalive = Msg::new(&TCP_KEEPALIVE)
            .set_opt("keepalive_probes", k.probes)
            .set_opt("keepalive_time", k.time)
            .set_opt("keepalive_interval", k.interval);
        Msg::new(&UPSTREAM_CONNECTION).set("tcp_keepalive", keepalive)
    };
    let msg = Msg::new(&CLUSTER)
        .set("name", &c.name)
        .set("alt_stat_name", &c.alt_stat_name)
        .set_opt("connect_timeout", c.connect_timeout)
        .set_opt("common_lb_config", write_common_lb(&c.lb_common))
        .set_opt("circuit_breakers", write_breakers(&c.breakers))
        .set_opt("outlier_detection", c.outliers.as_ref().map(write_outliers))
        .set_opt("transport_socket", socket::write_upstream(c.tls.as_ref(), c.proxy_protocol))
        .set(
            "transport_socket_matches",
            Val::list(&c.tls_matches, |m| write_tls_match(m, c.proxy_protocol)),
        )
        .set_opt("upstream_connection_options", c.tcp_keepalive.map(keepalive))
        .set_opt("upstream_bind_config", write_bind(&c.bind_sources))
        .set_opt("per_connection_buffer_limit_bytes", c.per_connection_buffer_limit)
        .set("close_connections_on_host_health_failure", c.close_connections_on_host_health_failure)
        .set_opt("metadata", write_metadata(&c.metadata));
    write_protocols(write_discovery(write_balancer(msg, &c.lb), c), c)
}

fn write_discovery(msg: Msg, c: &Cluster) -> Msg {
    let typed = |msg: Msg, ty| msg.set("type", number_of(TYPES, ty));
    match &c.discovery {
        Discovery::Static(groups) => {
            typed(msg, Type::Static).set("load_assignment", write_groups(&c.name, groups))
        }
        Discovery::StrictDns { groups, refresh, respect_ttl, family } => {
            typed(msg, Type::StrictDns)
                .set("load_assignment", write_groups(&c.name, groups))
                .set_opt("dns_refresh_rate", *refresh)
                .set("respect_dns_ttl", *respect_ttl)
                .set("dns_lookup_family", number_of(FAMILIES, *family))
        }
        Discovery::LogicalDns { groups, refresh, respect_ttl, family } => {
            typed(msg, Type::LogicalDns)
                .set("load_assignment", write_groups(&c.name, groups))
                .set_opt("dns_refresh_rate", *refresh)
                .set("respect_dns_ttl", *respect_ttl)
                .set("dns_lookup_family", number_of(FAMILIES, *family))
        }
        Discovery::Eds(service) => typed(msg, Type::Eds).set(
            "eds_cluster_config",
            Msg::new(&EDS_CLUSTER_CONFIG)
                .set("eds_config", source::ads())
                .set("service_name", service),
        ),
        Discovery::OriginalDst => typed(msg, Type::OriginalDst),
        Discovery::ByHost(cache) => {
            let config = Msg::new(&DYNAMIC_CLUSTER).set("dns_cache_config", write_dns_cache(cache));
            let custom = Msg::new(&CUSTOM_CLUSTER_TYPE).set("name", DYNAMIC_NAME);
            msg.set("cluster_type", custom.set("typed_config", config.any()))
        }
    }
}

pub(super) fn read_cluster(at: &At) -> Cluster {
    let mut c = Cluster::new(at.str("name"), read_discovery(at));
    if c.name.is_empty() {
        at.error_in("name", "is missing");
    }
    c.alt_stat_name = at.str("alt_stat_name");
    c.connect_timeout = at.duration("connect_timeout");
    c.lb = read_balancer(at);
    c.lb_common = at.msg("common_lb_config").map(|l| read_common_lb(&l)).unwrap_or_default();
    c.breakers = at.msg("circuit_breakers").map(|b| read_breakers(&b)).unwrap_or_default();
    c.outliers = at.msg("outlier_detection").map(|o| read_outliers(&o));
    let (tls, proxy) = socket::read_upstream(at);
    c.tls = tls;
    c.proxy_protocol = proxy;
    c.tls_matches = at.each("transport_socket_matches", |m| {
        let (tls_match, proxy) = read_tls_match(m);
        if proxy != c.proxy_protocol {
            m.error("differs from the cluster's transport_socket in its PROXY protocol");
        }
        tls_match
    });
    c.tcp_keepalive = at
        .msg("upstream_connection_options")
        .and_then(|o| o.msg("tcp_keepalive").map(|k| read_keepalive(&k)));
    c.bind_sources = at.msg("upstream_bind_config").map(|b| read_bind(&b)).unwrap_or_default();
    c.per_connection_buffer_limit = at.opt_u32("per_connection_buffer_limit_bytes");
    c.close_connections_on_host_health_failure =
        at.bool("close_connections_on_host_health_failure");
    c.metadata = read_metadata(at, "metadata");
    at.each("filters", expect_exchange);
    read_protocols(at, &mut c);
    c
}

/// Upstream network filters: Istio's own, which no client can see, or none.
fn expect_exchange(at: &At) {
    match at.typed("typed_config") {
        Some(Typed::Known(t)) if t.is(&METADATA_EXCHANGE) => {}
        Some(Typed::Known(t)) => unsupported(&t.path, t.ty()),
        Some(Typed::Unknown(url)) => unsupported(&at.path.field("typed_config"), url),
        None => at.error_in("typed_config", "is missing"),
    }
}

/// Clusters of a type that is an extension; of those there is one.
fn read_custom(at: &At) -> Option<Discovery> {
    match at.typed("typed_config") {
        Some(Typed::Known(t)) if t.is(&DYNAMIC_CLUSTER) => {
            let cache = t.msg("dns_cache_config").map(|c| read_dns_cache(&c));
            return Some(Discovery::ByHost(cache.unwrap_or_default()));
        }
        Some(Typed::Known(t)) => unsupported(&t.path, t.ty()),
        Some(Typed::Unknown(url)) => unsupported(&at.path.field("typed_config"), url),
        None => at.error_in("typed_config", "is missing"),
    }
    None
}

pub(super) fn write_dns_cache(cache: &DnsCache) -> Msg {
    Msg::new(&DNS_CACHE)
        .set("name", &cache.name)
        .set("dns_lookup_family", number_of(FAMILIES, cache.family))
        .set_opt("dns_refresh_rate", cache.refresh)
}

pub(super) fn read_dns_cache(at: &At) -> DnsCache {
    DnsCache {
        name: at.str("name"),
        family: at.pick("dns_lookup_family", FAMILIES).unwrap_or_default(),
        refresh: at.duration("dns_refresh_rate"),
    }
}

fn read_discovery(at: &At) -> Discovery {
    if let Some(custom) = at.msg("cluster_type").and_then(|c| read_custom(&c)) {
        return custom;
    }
    let groups = || at.msg("load_assignment").map(|a| read_inline(&a)).unwrap_or_default();
    let refresh = at.duration("dns_refresh_rate");
    let respect_ttl = at.bool("respect_dns_ttl");
    let family = at.pick("dns_lookup_family", FAMILIES).unwrap_or_default();
    match at.pick("type", TYPES).unwrap_or(Type::Static) {
        Type::Static => Discovery::Static(groups()),
        Type::StrictDns => Discovery::StrictDns { groups: groups(), refresh, respect_ttl, family },
        Type::LogicalDns => {
            Discovery::LogicalDns { groups: groups(), refresh, respect_ttl, family }
        }
        Type::OriginalDst => Discovery::OriginalDst,
        Type::Eds => match at.msg("eds_cluster_config") {
            Some(eds) => {
                source::expect_ads(&eds, "eds_config");
                Discovery::Eds(eds.str("service_name"))
            }
            None => {
                at.error_in("eds_cluster_config", "is missing");
                Discovery::Eds("".into())
            }
        },
    }
}

fn write_tls_match(m: &TlsMatch, proxy: Option<ir::ProxyProtocolVersion>) -> Msg {
    Msg::new(&SOCKET_MATCH)
        .set("name", &m.name)
        .set("match", Val::Struct(m.criteria.clone()))
        .set("transport_socket", socket::write_upstream_or_raw(m.tls.as_ref(), proxy))
}

fn read_tls_match(at: &At) -> (TlsMatch, Option<ir::ProxyProtocolVersion>) {
    let (tls, proxy) = socket::read_upstream(at);
    let criteria: std::collections::BTreeMap<ir::Str, Value> =
        at.structure("match").cloned().unwrap_or_default();
    (TlsMatch { name: at.str("name"), criteria, tls }, proxy)
}

fn read_keepalive(at: &At) -> TcpKeepalive {
    TcpKeepalive {
        probes: at.opt_u32("keepalive_probes"),
        time: at.opt_u32("keepalive_time"),
        interval: at.opt_u32("keepalive_interval"),
    }
}

/// The first one, and those that count for endpoints of the other family.
fn write_bind(sources: &[IpAddr]) -> Option<Msg> {
    let (first, rest) = sources.split_first()?;
    let socket = |ip: &IpAddr| {
        let text = ip.to_string();
        Msg::new(&SOCKET_ADDRESS).set("address", text.as_str()).set("port_value", 0u32)
    };
    let extra = |ip| Msg::new(&EXTRA_SOURCE_ADDRESS).set("address", socket(ip));
    let bind = Msg::new(&BIND_CONFIG).set("source_address", socket(first));
    Some(bind.set("extra_source_addresses", Val::list(rest, extra)))
}

fn read_bind(at: &At) -> Vec<IpAddr> {
    let first = at.msg("source_address").and_then(|s| read_source(&s));
    let extra = at.each("extra_source_addresses", |e| read_source(&e.msg("address")?));
    first.into_iter().chain(extra.into_iter().flatten()).collect()
}

fn read_source(source: &At) -> Option<IpAddr> {
    source.pick("protocol", &[(0, ())]);
    if source.u32("port_value") != 0 {
        source.error_in("port_value", "must be 0: a source port serves one connection only");
    }
    let ip = source.str("address").parse().ok();
    if ip.is_none() {
        source.error_in("address", "is no IP address");
    }
    ip
}
