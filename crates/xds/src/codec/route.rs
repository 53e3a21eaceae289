//! Route configurations, virtual hosts, and what a route matches.

use super::at::{At, number_of};
use super::authz::{read_metadata_match, write_metadata_match};
use super::common::{
    lower, read_data_source, read_header_match, read_header_ops, read_metadata, read_regex,
    read_regex_rewrite, read_runtime_fraction, read_string_match, strs, write_header_match,
    write_header_ops, write_metadata, write_regex, write_regex_rewrite, write_runtime_fraction,
    write_string_match,
};
use super::filter::{read_per_filter, write_per_filter};
use super::rate_limit::{read_rules, write_rules};
use super::retry::{read_retry, write_retry};
use super::route_action::{read_forward, write_forward};
use crate::message::{Msg, Val};
use crate::schema::*;
use base::OriginId;
use ir::{
    Action, DataSource, DirectResponse, PathMatch, QueryMatch, Redirect, RedirectCode,
    RedirectPath, RequireTls, Route, RouteConfig, RouteMatch, VirtualHost,
};
use std::sync::Arc;

pub(super) fn write_route_config(r: &RouteConfig) -> Msg {
    let msg = Msg::new(&ROUTE_CONFIGURATION)
        .set("name", &r.name)
        .set("virtual_hosts", Val::list(&r.virtual_hosts, |v| write_virtual_host(v)))
        .set("ignore_port_in_host_matching", r.ignore_port_in_host_matching)
        .set("most_specific_header_mutations_wins", r.most_specific_header_mutations_wins)
        .set_opt("max_direct_response_body_size_bytes", r.max_direct_response_body)
        .set_opt("validate_clusters", r.validate_clusters);
    write_header_ops(msg, &r.headers)
}

pub(super) fn read_route_config(at: &At) -> RouteConfig {
    RouteConfig {
        name: at.str("name"),
        virtual_hosts: at.each("virtual_hosts", |v| Arc::new(read_virtual_host(v))),
        headers: read_header_ops(at),
        ignore_port_in_host_matching: at.bool("ignore_port_in_host_matching"),
        most_specific_header_mutations_wins: at.bool("most_specific_header_mutations_wins"),
        max_direct_response_body: at.opt_u32("max_direct_response_body_size_bytes"),
        validate_clusters: at.opt_bool("validate_clusters"),
        origin: OriginId::NONE,
    }
}

const REQUIRE_TLS: &[(i32, RequireTls)] =
    &[(0, RequireTls::No), (1, RequireTls::ExternalOnly), (2, RequireTls::All)];

pub(super) fn write_virtual_host(v: &VirtualHost) -> Msg {
    let msg = Msg::new(&VIRTUAL_HOST)
        .set("name", &v.name)
        .set("domains", strs(&v.domains))
        .set("routes", Val::list(&v.routes, write_route))
        .set("require_tls", number_of(REQUIRE_TLS, v.require_tls))
        .set_opt("retry_policy", v.retry.as_ref().map(write_retry))
        .set("include_request_attempt_count", v.include_attempt_count)
        .set("include_attempt_count_in_response", v.include_attempt_count_in_response)
        .set("typed_per_filter_config", write_per_filter(&v.per_filter))
        .set("rate_limits", write_rules(&v.rate_limits))
        .set_opt("metadata", write_metadata(&v.metadata));
    write_header_ops(msg, &v.headers)
}

fn read_virtual_host(at: &At) -> VirtualHost {
    let domains: Vec<_> = at.strs("domains").into_iter().map(lower).collect();
    if domains.is_empty() {
        at.error_in("domains", "is missing");
    }
    VirtualHost {
        name: at.str("name"),
        domains,
        routes: at.each("routes", read_route),
        require_tls: at.pick("require_tls", REQUIRE_TLS).unwrap_or_default(),
        headers: read_header_ops(at),
        retry: at.msg("retry_policy").map(|r| read_retry(&r)),
        include_attempt_count: at.bool("include_request_attempt_count"),
        include_attempt_count_in_response: at.bool("include_attempt_count_in_response"),
        per_filter: read_per_filter(at),
        rate_limits: read_rules(at),
        metadata: read_metadata(at, "metadata"),
        origin: OriginId::NONE,
    }
}

fn write_route(r: &Route) -> Msg {
    let decorator = Some(&r.decorator).filter(|d| !d.is_empty());
    let msg = Msg::new(&ROUTE)
        .set("name", &r.name)
        .set("match", write_match(&r.matches))
        .set_opt("decorator", decorator.map(|d| Msg::new(&DECORATOR).set("operation", d)))
        .set("typed_per_filter_config", write_per_filter(&r.per_filter))
        .set_opt("metadata", write_metadata(&r.metadata))
        .set("stat_prefix", &r.stat_prefix);
    let msg = match &r.action {
        Action::Forward(f) => msg.set("route", write_forward(f)),
        Action::Redirect(r) => msg.set("redirect", write_redirect(r)),
        Action::Direct(d) => msg.set("direct_response", write_direct(d)),
        Action::NonForwarding => msg.set("non_forwarding_action", Msg::new(&NON_FORWARDING_ACTION)),
    };
    write_header_ops(msg, &r.headers)
}

fn read_route(at: &At) -> Route {
    Route {
        name: at.str("name"),
        matches: match at.msg("match") {
            Some(m) => read_match(&m),
            None => {
                at.error_in("match", "is missing");
                RouteMatch::path(PathMatch::Prefix("".into()))
            }
        },
        action: read_action(at),
        headers: read_header_ops(at),
        decorator: at.msg("decorator").map_or_else(|| "".into(), |d| d.str("operation")),
        per_filter: read_per_filter(at),
        metadata: read_metadata(at, "metadata"),
        stat_prefix: at.str("stat_prefix"),
        origin: OriginId::NONE,
    }
}

fn read_action(at: &At) -> Action {
    if let Some(f) = at.msg("route") {
        return Action::Forward(Box::new(read_forward(&f)));
    }
    if let Some(r) = at.msg("redirect") {
        return Action::Redirect(read_redirect(&r));
    }
    if let Some(d) = at.msg("direct_response") {
        return Action::Direct(read_direct(&d));
    }
    if !at.has("non_forwarding_action") {
        at.error("has no action: route, redirect or direct_response");
    }
    Action::NonForwarding
}

pub(super) fn write_match(m: &RouteMatch) -> Msg {
    let query = |q: &QueryMatch| {
        let msg = Msg::new(&QUERY_MATCHER).set("name", &q.name);
        match &q.value {
            Some(v) => msg.set("string_match", write_string_match(v)),
            None => msg.set("present_match", true),
        }
    };
    let msg = Msg::new(&ROUTE_MATCH)
        .set_opt("case_sensitive", m.ignore_case.then_some(false))
        .set("headers", Val::list(&m.headers, write_header_match))
        .set("query_parameters", Val::list(&m.query, query))
        .set_opt("grpc", m.grpc.then(|| Msg::new(&GRPC_MATCH)))
        .set_opt("runtime_fraction", m.runtime_fraction.as_ref().map(write_runtime_fraction))
        .set("dynamic_metadata", Val::list(&m.metadata, write_metadata_match));
    match &m.path {
        PathMatch::Prefix(p) => msg.set("prefix", p),
        PathMatch::Exact(p) => msg.set("path", p),
        PathMatch::Regex(p) => msg.set("safe_regex", write_regex(p)),
        PathMatch::PathSeparatedPrefix(p) => msg.set("path_separated_prefix", p),
        PathMatch::Connect => msg.set("connect_matcher", Msg::new(&CONNECT_MATCHER)),
    }
}

pub(super) fn read_match(at: &At) -> RouteMatch {
    let path = if let Some(p) = at.opt_str("prefix") {
        PathMatch::Prefix(p)
    } else if let Some(p) = at.opt_str("path") {
        PathMatch::Exact(p)
    } else if let Some(r) = at.msg("safe_regex") {
        PathMatch::Regex(read_regex(&r))
    } else if let Some(p) = at.opt_str("path_separated_prefix") {
        PathMatch::PathSeparatedPrefix(p)
    } else if at.has("connect_matcher") {
        PathMatch::Connect
    } else {
        at.error("says no path: prefix, path, safe_regex or path_separated_prefix");
        PathMatch::Prefix("".into())
    };
    RouteMatch {
        path,
        ignore_case: at.opt_bool("case_sensitive") == Some(false),
        headers: at.each("headers", read_header_match),
        query: at.each("query_parameters", read_query),
        grpc: at.has("grpc"),
        runtime_fraction: at.msg("runtime_fraction").map(|f| read_runtime_fraction(&f)),
        metadata: at.each("dynamic_metadata", read_metadata_match),
    }
}

fn read_query(at: &At) -> QueryMatch {
    if at.opt_bool("present_match") == Some(false) {
        at.error_in("present_match", "false is not supported");
    }
    QueryMatch {
        name: at.str("name"),
        value: at.msg("string_match").map(|m| read_string_match(&m)),
    }
}

const REDIRECT_CODES: &[(i32, RedirectCode)] = &[
    (0, RedirectCode::MovedPermanently),
    (1, RedirectCode::Found),
    (2, RedirectCode::SeeOther),
    (3, RedirectCode::TemporaryRedirect),
    (4, RedirectCode::PermanentRedirect),
];

fn write_redirect(r: &Redirect) -> Msg {
    let msg = Msg::new(&REDIRECT_ACTION)
        .set("host_redirect", &r.host)
        .set("port_redirect", r.port)
        .set("response_code", number_of(REDIRECT_CODES, r.code))
        .set("strip_query", r.strip_query)
        .set_opt("https_redirect", r.https.then_some(true))
        .set_opt("scheme_redirect", Some(&r.scheme).filter(|s| !s.is_empty()));
    match &r.path {
        RedirectPath::Keep => msg,
        RedirectPath::Replace(p) => msg.set("path_redirect", p),
        RedirectPath::Prefix(p) => msg.set("prefix_rewrite", p),
        RedirectPath::Regex(r) => msg.set("regex_rewrite", write_regex_rewrite(r)),
    }
}

fn read_redirect(at: &At) -> Redirect {
    let path = if let Some(p) = at.opt_str("path_redirect") {
        RedirectPath::Replace(p)
    } else if let Some(p) = at.opt_str("prefix_rewrite") {
        RedirectPath::Prefix(p)
    } else if let Some(r) = at.msg("regex_rewrite") {
        RedirectPath::Regex(read_regex_rewrite(&r))
    } else {
        RedirectPath::Keep
    };
    Redirect {
        https: at.bool("https_redirect"),
        scheme: at.str("scheme_redirect"),
        host: at.str("host_redirect"),
        port: at.u32("port_redirect"),
        path,
        code: at.pick("response_code", REDIRECT_CODES).unwrap_or_default(),
        strip_query: at.bool("strip_query"),
    }
}

fn write_direct(d: &DirectResponse) -> Msg {
    let body = || Msg::new(&DATA_SOURCE).set("inline_bytes", d.body.clone());
    Msg::new(&DIRECT_RESPONSE)
        .set("status", d.status)
        .set_opt("body", (!d.body.is_empty()).then(body))
}

fn read_direct(at: &At) -> DirectResponse {
    let status = at.opt_u16("status").unwrap_or(0);
    if !(200..600).contains(&status) {
        at.error_in("status", "must be from 200 to 599");
    }
    let body = match at.msg("body").map(|b| read_data_source(&b)) {
        Some(DataSource::Bytes(b)) => b,
        Some(DataSource::File(_)) => {
            at.error_in("body.filename", "is not supported; write the body inline");
            bytes::Bytes::new()
        }
        None => bytes::Bytes::new(),
    };
    DirectResponse { status, body }
}
