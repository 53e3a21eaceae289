//! HTTP filters, in the chain and of one route.

use super::at::{At, Typed, each_typed, number_of};
use super::cluster::{read_dns_cache, write_dns_cache};
use super::common::{
    read_fraction, read_header_match, read_runtime_fraction, read_string_match, write_fraction,
    write_header_match, write_runtime_fraction, write_string_match,
};
use super::{
    INERT, authz, compressor, jwt, rate_limit, rbac, small_filters, type_url, unsupported,
};
use crate::message::{Msg, Path, Val, write_wire};
use crate::schema::*;
use base::OriginId;
use ir::{
    AbortStatus, Cors, Fault, FaultAbort, FaultDelay, Fraction, HttpFilter, HttpFilterConfig,
    IstioStats, PeerMetadata, Str,
};
use std::time::Duration;

/// Where a filter's configuration stands: some have another message in each place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Chain,
    Route,
}

const ROUTER_NAME: &str = "envoy.filters.http.router";

/// The filters in order, and the router behind them.
pub(super) fn write_filters(filters: &[HttpFilter], suppress_envoy_headers: bool) -> Vec<Val> {
    let router = Msg::new(&ROUTER).set("suppress_envoy_headers", suppress_envoy_headers);
    let filter = |f: &HttpFilter| {
        Msg::new(&HTTP_FILTER)
            .set("name", &f.name)
            .set("typed_config", write_config(&f.config, Stage::Chain))
            .set("disabled", f.disabled)
    };
    let last = Msg::new(&HTTP_FILTER).set("name", ROUTER_NAME).set("typed_config", router.any());
    filters.iter().map(filter).chain([last]).map(Val::Msg).collect()
}

/// The filters before the router, and whether the router suppresses `x-envoy-*` headers.
pub(super) fn read_filters(at: &At) -> (Vec<HttpFilter>, bool) {
    let (mut filters, mut suppress, mut terminal) = (Vec::new(), false, false);
    at.each("http_filters", |f| {
        if terminal {
            f.error("stands behind the router");
        }
        let optional = f.bool("is_optional");
        let config = match f.typed("typed_config") {
            Some(Typed::Known(t)) if t.is(&ROUTER) => {
                terminal = true;
                suppress = t.bool("suppress_envoy_headers");
                None
            }
            Some(Typed::Unknown(url)) if optional => {
                f.path.warn(format!(
                    "{} is not supported, and left out since it is optional",
                    name_of(url)
                ));
                None
            }
            Some(typed) => read_config(typed, Stage::Chain, &f.path.field("typed_config")),
            None => {
                f.error_in("typed_config", "is missing");
                None
            }
        };
        if let Some(config) = config {
            let (name, disabled) = (f.str("name"), f.bool("disabled"));
            filters.push(HttpFilter { name, config, disabled, origin: OriginId::NONE });
        }
    });
    if !terminal {
        at.error_in("http_filters", "must end with the router");
    }
    (filters, suppress)
}

fn name_of(url: &str) -> &str {
    url.rsplit_once('/').map_or(url, |(_, name)| name)
}

/// `typed_per_filter_config`.
pub(super) fn write_per_filter(list: &[(Str, HttpFilterConfig)]) -> Val {
    Val::Map(list.iter().map(|(name, c)| (name.clone(), write_config(c, Stage::Route))).collect())
}

pub(super) fn read_per_filter(at: &At) -> Vec<(Str, HttpFilterConfig)> {
    each_typed(at, "typed_per_filter_config", |_, typed, path| {
        read_config(typed, Stage::Route, path)
    })
}

fn write_config(config: &HttpFilterConfig, stage: Stage) -> Val {
    match config {
        HttpFilterConfig::Fault(f) => write_fault(f).any(),
        HttpFilterConfig::Cors(Some(c)) => write_cors(c, &CORS_FILTER_POLICY).any(),
        HttpFilterConfig::Cors(None) if stage == Stage::Chain => Msg::new(&CORS_FILTER).any(),
        HttpFilterConfig::Cors(None) => Msg::new(&CORS_FILTER_POLICY).any(),
        HttpFilterConfig::GrpcStats { emit_filter_state } => {
            Msg::new(&GRPC_STATS).set("emit_filter_state", *emit_filter_state).any()
        }
        HttpFilterConfig::GrpcWeb => Msg::new(&GRPC_WEB).any(),
        HttpFilterConfig::LocalRateLimit(l) => rate_limit::write_local(l).any(),
        HttpFilterConfig::RateLimit(l) => rate_limit::write_global(l).any(),
        HttpFilterConfig::Rbac(r) if stage == Stage::Route => rbac::write_per_route(r).any(),
        HttpFilterConfig::Rbac(r) => rbac::write_http(r).any(),
        HttpFilterConfig::ExtAuthz(a) => authz::write(a).any(),
        HttpFilterConfig::Buffer(max) if stage == Stage::Chain => {
            small_filters::write_buffer(*max).any()
        }
        HttpFilterConfig::Buffer(max) => small_filters::write_buffer_per_route(*max).any(),
        HttpFilterConfig::HeaderToMetadata(c) => small_filters::write_to_metadata(c).any(),
        HttpFilterConfig::JwtAuthn(j) => jwt::write(j).any(),
        HttpFilterConfig::JwtPerRoute(own) => jwt::write_per_route(own).any(),
        HttpFilterConfig::Compressor(c) => compressor::write(c).any(),
        HttpFilterConfig::AuthzSettings(s) => authz::write_settings(s).any(),
        HttpFilterConfig::ByHost(cache) => {
            Msg::new(&DYNAMIC_FILTER).set("dns_cache_config", write_dns_cache(cache)).any()
        }
        HttpFilterConfig::IstioAlpn => write_alpn().any(),
        HttpFilterConfig::IstioStats(s) => write_stats(s).any(),
        HttpFilterConfig::PeerMetadata(p) => write_peer(p).any(),
        HttpFilterConfig::Disabled => Msg::new(&FILTER_CONFIG).set("disabled", true).any(),
        HttpFilterConfig::Inert { type_url, value } => super::inert(type_url, value),
    }
}

fn read_config(typed: Typed, stage: Stage, path: &Path) -> Option<HttpFilterConfig> {
    let at = match typed {
        Typed::Known(at) => at,
        Typed::Unknown(url) => {
            unsupported(path, url);
            return None;
        }
    };
    Some(match at.ty() {
        t if t == HTTP_FAULT.name => HttpFilterConfig::Fault(Box::new(read_fault(&at))),
        t if t == CORS_FILTER.name => HttpFilterConfig::Cors(None),
        t if t == CORS_FILTER_POLICY.name || t == CORS_POLICY.name => {
            let empty = stage == Stage::Route && at.tree().is_empty();
            HttpFilterConfig::Cors((!empty).then(|| Box::new(read_cors(&at))))
        }
        t if t == GRPC_STATS.name => {
            HttpFilterConfig::GrpcStats { emit_filter_state: at.bool("emit_filter_state") }
        }
        t if t == GRPC_WEB.name => HttpFilterConfig::GrpcWeb,
        t if t == GLOBAL_RATE_LIMIT.name => {
            HttpFilterConfig::RateLimit(Box::new(rate_limit::read_global(&at)))
        }
        t if t == HTTP_RBAC.name => HttpFilterConfig::Rbac(Box::new(rbac::read_http(&at))),
        t if t == HTTP_RBAC_PER_ROUTE.name => {
            HttpFilterConfig::Rbac(Box::new(rbac::read_per_route(&at)))
        }
        t if t == EXT_AUTHZ.name => HttpFilterConfig::ExtAuthz(Box::new(authz::read(&at))),
        t if t == AUTHZ_PER_ROUTE.name && stage == Stage::Route => authz::read_per_route(&at),
        t if t == JWT_AUTHN.name && stage == Stage::Chain => {
            HttpFilterConfig::JwtAuthn(Box::new(jwt::read(&at)))
        }
        t if t == JWT_PER_ROUTE.name && stage == Stage::Route => jwt::read_per_route(&at),
        t if t == BUFFER.name && stage == Stage::Chain => small_filters::read_buffer(&at),
        t if t == BUFFER_PER_ROUTE.name && stage == Stage::Route => {
            small_filters::read_buffer_per_route(&at)
        }
        t if t == HEADER_TO_METADATA.name => {
            HttpFilterConfig::HeaderToMetadata(Box::new(small_filters::read_to_metadata(&at)))
        }
        t if t == COMPRESSOR.name => HttpFilterConfig::Compressor(Box::new(compressor::read(&at))),
        t if t == COMPRESSOR_PER_ROUTE.name && stage == Stage::Route => {
            compressor::read_per_route(&at)
        }
        t if t == LOCAL_RATE_LIMIT.name => {
            HttpFilterConfig::LocalRateLimit(Box::new(rate_limit::read_local(&at)))
        }
        t if t == DYNAMIC_FILTER.name => {
            let cache = at.msg("dns_cache_config").map(|c| read_dns_cache(&c));
            HttpFilterConfig::ByHost(cache.unwrap_or_default())
        }
        t if t == ALPN.name => {
            at.each("alpn_override", read_alpn);
            HttpFilterConfig::IstioAlpn
        }
        t if t == STATS.name => HttpFilterConfig::IstioStats(read_stats(&at)),
        t if t == PEER_METADATA.name => HttpFilterConfig::PeerMetadata(read_peer(&at)),
        t if t == FILTER_CONFIG.name && stage == Stage::Route => return read_wrapped(&at),
        t if INERT.contains(&t) => {
            HttpFilterConfig::Inert { type_url: type_url(t), value: write_wire(at.tree()) }
        }
        other => {
            unsupported(&at.path, other);
            return None;
        }
    })
}

/// `route.v3.FilterConfig`: off, or another configuration inside.
fn read_wrapped(at: &At) -> Option<HttpFilterConfig> {
    if at.bool("disabled") {
        return Some(HttpFilterConfig::Disabled);
    }
    let optional = at.bool("is_optional");
    match at.typed("config") {
        Some(Typed::Unknown(_)) if optional => None,
        Some(inner) => read_config(inner, Stage::Route, &at.path.field("config")),
        None => {
            at.error_in("config", "is missing");
            None
        }
    }
}

fn write_fault(f: &Fault) -> Msg {
    let delay = |d: &FaultDelay| {
        Msg::new(&FAULT_DELAY)
            .set("fixed_delay", d.duration)
            .set("percentage", write_fraction(&d.fraction))
    };
    let abort = |a: &FaultAbort| {
        let msg = Msg::new(&FAULT_ABORT).set("percentage", write_fraction(&a.fraction));
        match a.status {
            AbortStatus::Http(code) => msg.set("http_status", code),
            AbortStatus::Grpc(code) => msg.set("grpc_status", code),
        }
    };
    Msg::new(&HTTP_FAULT)
        .set_opt("delay", f.delay.as_ref().map(delay))
        .set_opt("abort", f.abort.as_ref().map(abort))
        .set("upstream_cluster", &f.upstream_cluster)
        .set("headers", Val::list(&f.headers, write_header_match))
        .set_opt("max_active_faults", f.max_active_faults)
}

fn read_fault(at: &At) -> Fault {
    let fraction =
        |at: &At| at.msg("percentage").map_or(Fraction::percent(0), |p| read_fraction(&p));
    let abort = |a: At| {
        let status = match a.opt_u32("grpc_status") {
            Some(code) => AbortStatus::Grpc(code),
            None => AbortStatus::Http(a.opt_u16("http_status").unwrap_or(0)),
        };
        if matches!(status, AbortStatus::Http(code) if !(200..600).contains(&code)) {
            a.error_in("http_status", "must be a status from 200 to 599");
        }
        FaultAbort { status, fraction: fraction(&a) }
    };
    Fault {
        delay: at.msg("delay").map(|d| FaultDelay {
            duration: d.duration("fixed_delay").unwrap_or(Duration::ZERO),
            fraction: fraction(&d),
        }),
        abort: at.msg("abort").map(abort),
        upstream_cluster: at.str("upstream_cluster"),
        headers: at.each("headers", read_header_match),
        max_active_faults: at.opt_u32("max_active_faults"),
    }
}

/// The same fields under two types: the filter's, and the older one of routes.
pub(super) fn write_cors(c: &Cors, ty: &'static Message) -> Msg {
    Msg::new(ty)
        .set("allow_origin_string_match", Val::list(&c.allow_origins, write_string_match))
        .set("allow_methods", &c.allow_methods)
        .set("allow_headers", &c.allow_headers)
        .set("expose_headers", &c.expose_headers)
        .set("max_age", &c.max_age)
        .set_opt("allow_credentials", c.allow_credentials)
        .set_opt("filter_enabled", c.enabled.as_ref().map(write_runtime_fraction))
        .set_opt("forward_not_matching_preflights", c.forward_not_matching_preflights)
}

pub(super) fn read_cors(at: &At) -> Cors {
    Cors {
        allow_origins: at.each("allow_origin_string_match", read_string_match),
        allow_methods: at.str("allow_methods"),
        allow_headers: at.str("allow_headers"),
        expose_headers: at.str("expose_headers"),
        max_age: at.str("max_age"),
        allow_credentials: at.opt_bool("allow_credentials"),
        enabled: at.msg("filter_enabled").map(|f| read_runtime_fraction(&f)),
        forward_not_matching_preflights: at.opt_bool("forward_not_matching_preflights"),
    }
}

/// What Istio's filter offers upstream for HTTP/1.0, HTTP/1.1 and HTTP/2.
const ALPNS: [(i32, [&str; 3]); 3] = [
    (0, ["istio-http/1.0", "istio", "http/1.0"]),
    (1, ["istio-http/1.1", "istio", "http/1.1"]),
    (2, ["istio-h2", "istio", "h2"]),
];

fn write_alpn() -> Msg {
    let one = |(protocol, names): (i32, [&str; 3])| {
        Msg::new(&ALPN_OVERRIDE)
            .set("upstream_protocol", protocol)
            .set("alpn_override", Val::list(names, |n| n))
    };
    Msg::new(&ALPN).set("alpn_override", Val::list(ALPNS, one))
}

/// Ours are Istio's; another list would be another behaviour.
fn read_alpn(at: &At) {
    let names = at.strs("alpn_override");
    let protocol = at.i64("upstream_protocol");
    let known = ALPNS
        .iter()
        .any(|(p, list)| i64::from(*p) == protocol && names.iter().all(|n| list.contains(&&**n)));
    if !known {
        at.error("offers other protocols than Istio's");
    }
}

pub(super) fn write_stats(s: &IstioStats) -> Msg {
    Msg::new(&STATS)
        .set("disable_host_header_fallback", s.disable_host_header_fallback)
        .set_opt("tcp_reporting_duration", s.tcp_reporting)
        .set("reporter", number_of(REPORTERS, s.destination))
}

const REPORTERS: &[(i32, bool)] = &[(0, false), (1, true)];

pub(super) fn read_stats(at: &At) -> IstioStats {
    IstioStats {
        destination: at.pick("reporter", REPORTERS).unwrap_or(false),
        disable_host_header_fallback: at.bool("disable_host_header_fallback"),
        tcp_reporting: at.duration("tcp_reporting_duration"),
    }
}

fn write_peer(p: &PeerMetadata) -> Msg {
    let headers = || Msg::new(&PEER_HEADERS);
    let discovery = |on: bool| {
        let by_headers = Msg::new(&PEER_DISCOVERY).set("istio_headers", headers());
        let by_workload =
            Msg::new(&PEER_DISCOVERY).set("workload_discovery", Msg::new(&PEER_WORKLOAD));
        if on { vec![Val::Msg(by_headers), Val::Msg(by_workload)] } else { Vec::new() }
    };
    let propagation = |on: bool| {
        let by_headers = Msg::new(&PEER_PROPAGATION).set("istio_headers", headers());
        if on { vec![Val::Msg(by_headers)] } else { Vec::new() }
    };
    Msg::new(&PEER_METADATA)
        .set("downstream_discovery", discovery(p.downstream_discovery))
        .set("upstream_discovery", discovery(p.upstream_discovery))
        .set("downstream_propagation", propagation(p.downstream_propagation))
        .set("upstream_propagation", propagation(p.upstream_propagation))
}

fn read_peer(at: &At) -> PeerMetadata {
    let by_headers = |name| at.each(name, |m| m.has("istio_headers")).contains(&true);
    PeerMetadata {
        downstream_discovery: by_headers("downstream_discovery"),
        upstream_discovery: by_headers("upstream_discovery"),
        downstream_propagation: by_headers("downstream_propagation"),
        upstream_propagation: by_headers("upstream_propagation"),
    }
}
