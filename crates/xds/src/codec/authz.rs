//! External authorization, in the chain and of one route, and matchers of metadata.

use super::at::At;
use super::common::{
    lower, read_runtime_fraction, read_string_match, strs, write_runtime_fraction,
    write_string_match,
};
use crate::message::{Msg, Val};
use crate::schema::*;
use ir::{
    AuthzBody, AuthzService, AuthzSettings, ExtAuthz, GrpcAuthz, HttpAuthz, HttpFilterConfig,
    MetadataMatch, NetworkAuthz, Str, StringMatch, ValueMatch,
};
use std::time::Duration;

pub(super) fn write(a: &ExtAuthz) -> Msg {
    let status = |code: u16| Msg::new(&HTTP_STATUS).set("code", i64::from(code));
    let flag = |on: bool| {
        on.then(|| Msg::new(&RUNTIME_FLAG).set("default_value", true).set("runtime_key", "unused"))
    };
    write_service(Msg::new(&EXT_AUTHZ), &a.service)
        .set("failure_mode_allow", a.failure_mode_allow)
        .set_opt("with_request_body", a.body.as_ref().map(write_body))
        .set("clear_route_cache", a.clear_route_cache)
        .set_opt("status_on_error", a.status_on_error.map(status))
        .set("transport_api_version", VERSION_3)
        .set("metadata_context_namespaces", strs(&a.metadata_context))
        .set_opt("filter_enabled", a.enabled.as_ref().map(write_runtime_fraction))
        .set("include_peer_certificate", a.include_peer_certificate)
        .set_opt("deny_at_disable", flag(a.deny_at_disable))
        .set("stat_prefix", &a.stat_prefix)
        .set_opt("filter_enabled_metadata", a.enabled_metadata.as_ref().map(write_metadata_match))
        .set_opt("allowed_headers", a.allowed_headers.as_deref().map(write_list))
        .set("include_tls_session", a.include_tls_session)
        .set("failure_mode_allow_header_add", a.failure_mode_allow_header)
        .set_opt("charge_cluster_response_stats", a.charge_cluster)
        .set("encode_raw_headers", a.raw_headers)
        .set("validate_mutations", a.validate_mutations)
        .set_opt("disallowed_headers", some_list(&a.disallowed_headers))
        .set_opt("enable_dynamic_metadata_ingestion", a.ingest_metadata)
        .set("max_denied_response_body_bytes", a.max_denied_body)
}

/// Envoy refuses a service of which this is not said.
const VERSION_3: i32 = 2;

pub(super) fn write_network(a: &NetworkAuthz) -> Msg {
    Msg::new(&NETWORK_AUTHZ)
        .set("stat_prefix", &a.stat_prefix)
        .set("grpc_service", write_grpc(&a.service))
        .set("failure_mode_allow", a.failure_mode_allow)
        .set("include_peer_certificate", a.include_peer_certificate)
        .set("transport_api_version", VERSION_3)
        .set_opt("filter_enabled_metadata", a.enabled_metadata.as_ref().map(write_metadata_match))
        .set("include_tls_session", a.include_tls_session)
}

pub(super) fn read_network(at: &At) -> NetworkAuthz {
    let service = at.msg("grpc_service").map(|grpc| read_grpc(&grpc)).unwrap_or_else(|| {
        at.error("names no service");
        GrpcAuthz { cluster: "".into(), timeout: None }
    });
    NetworkAuthz {
        service,
        failure_mode_allow: at.bool("failure_mode_allow"),
        enabled_metadata: at.msg("filter_enabled_metadata").map(|m| read_metadata_match(&m)),
        include_peer_certificate: at.bool("include_peer_certificate"),
        include_tls_session: at.bool("include_tls_session"),
        stat_prefix: at.str("stat_prefix"),
    }
}

pub(super) fn read(at: &At) -> ExtAuthz {
    let service = read_service(at).unwrap_or_else(|| {
        at.error("names no service");
        AuthzService::Grpc(GrpcAuthz { cluster: "".into(), timeout: None })
    });
    let flag = at.msg("deny_at_disable").and_then(|f| f.opt_bool("default_value"));
    ExtAuthz {
        service,
        failure_mode_allow: at.bool("failure_mode_allow"),
        failure_mode_allow_header: at.bool("failure_mode_allow_header_add"),
        body: at.msg("with_request_body").map(|b| read_body(&b)),
        clear_route_cache: at.bool("clear_route_cache"),
        status_on_error: at.msg("status_on_error").and_then(|s| u16::try_from(s.i64("code")).ok()),
        validate_mutations: at.bool("validate_mutations"),
        metadata_context: at.strs("metadata_context_namespaces"),
        enabled: at.msg("filter_enabled").map(|f| read_runtime_fraction(&f)),
        enabled_metadata: at.msg("filter_enabled_metadata").map(|m| read_metadata_match(&m)),
        deny_at_disable: flag.unwrap_or(false),
        include_peer_certificate: at.bool("include_peer_certificate"),
        include_tls_session: at.bool("include_tls_session"),
        stat_prefix: at.str("stat_prefix"),
        allowed_headers: at.msg("allowed_headers").map(|l| read_list(&l)),
        disallowed_headers: list_in(at, "disallowed_headers"),
        charge_cluster: at.opt_bool("charge_cluster_response_stats"),
        raw_headers: at.bool("encode_raw_headers"),
        ingest_metadata: at.opt_bool("enable_dynamic_metadata_ingestion"),
        max_denied_body: at.u32("max_denied_response_body_bytes"),
    }
}

pub(super) fn write_settings(s: &AuthzSettings) -> Msg {
    let context = s.context.iter().map(|(k, v)| (k.clone(), Val::Str(v.clone()))).collect();
    let mut settings = Msg::new(&CHECK_SETTINGS)
        .set("context_extensions", Val::Map(context))
        .set("disable_request_body_buffering", s.no_body)
        .set_opt("with_request_body", s.body.as_ref().map(write_body));
    if let Some(service) = &s.service {
        settings = write_service(settings, service);
    }
    Msg::new(&AUTHZ_PER_ROUTE).set("check_settings", settings)
}

pub(super) fn read_per_route(at: &At) -> HttpFilterConfig {
    if at.bool("disabled") {
        return HttpFilterConfig::Disabled;
    }
    let Some(s) = at.msg("check_settings") else {
        return HttpFilterConfig::AuthzSettings(Box::default());
    };
    let text = |(k, v): (&Str, &Val)| match v {
        Val::Str(v) => Some((k.clone(), v.clone())),
        _ => None,
    };
    HttpFilterConfig::AuthzSettings(Box::new(AuthzSettings {
        context: s.map("context_extensions").into_iter().flatten().filter_map(text).collect(),
        no_body: s.bool("disable_request_body_buffering"),
        body: s.msg("with_request_body").map(|b| read_body(&b)),
        service: read_service(&s),
    }))
}

fn write_service(msg: Msg, service: &AuthzService) -> Msg {
    match service {
        AuthzService::Grpc(grpc) => msg.set("grpc_service", write_grpc(grpc)),
        AuthzService::Http(http) => msg.set("http_service", write_http(http)),
    }
}

/// Services seldom take the bars of a cluster's name for an authority: they are told its host.
fn write_grpc(grpc: &GrpcAuthz) -> Msg {
    let mut envoy = Msg::new(&ENVOY_GRPC).set("cluster_name", &grpc.cluster);
    if let Some((_, host)) = grpc.cluster.rsplit_once('|') {
        envoy = envoy.set("authority", Str::from(host));
    }
    Msg::new(&GRPC_SERVICE).set("envoy_grpc", envoy).set_opt("timeout", grpc.timeout)
}

fn read_grpc(grpc: &At) -> GrpcAuthz {
    let cluster = grpc.msg("envoy_grpc").map(|e| e.str("cluster_name")).unwrap_or_default();
    if cluster.is_empty() {
        grpc.error("names no cluster");
    }
    GrpcAuthz { cluster, timeout: grpc.duration("timeout") }
}

fn read_service(at: &At) -> Option<AuthzService> {
    if let Some(http) = at.msg("http_service") {
        return Some(AuthzService::Http(Box::new(read_http(&http))));
    }
    Some(AuthzService::Grpc(read_grpc(&at.msg("grpc_service")?)))
}

fn write_http(h: &HttpAuthz) -> Msg {
    let uri = Msg::new(&HTTP_URI)
        .set("uri", &h.uri)
        .set("cluster", &h.cluster)
        .set_opt("timeout", h.timeout);
    let header =
        |(name, value): &(Str, Str)| Msg::new(&HEADER_VALUE).set("key", name).set("value", value);
    let request = Msg::new(&AUTHZ_REQUEST)
        .set_opt("allowed_headers", h.allowed_headers.as_deref().map(write_list))
        .set("headers_to_add", Val::list(&h.headers_to_add, header));
    let response = Msg::new(&AUTHZ_RESPONSE)
        .set_opt("allowed_upstream_headers", some_list(&h.upstream))
        .set_opt("allowed_client_headers", some_list(&h.client))
        .set_opt("allowed_upstream_headers_to_append", some_list(&h.upstream_append))
        .set_opt("allowed_client_headers_on_success", some_list(&h.client_on_success))
        .set_opt("dynamic_metadata_from_headers", some_list(&h.metadata));
    Msg::new(&AUTHZ_HTTP)
        .set("server_uri", uri)
        .set("path_prefix", &h.path_prefix)
        .set("path_override", &h.path_override)
        .set_opt("authorization_request", Some(request).filter(|m| !m.is_empty()))
        .set_opt("authorization_response", Some(response).filter(|m| !m.is_empty()))
}

fn read_http(at: &At) -> HttpAuthz {
    let (mut uri, mut cluster, mut timeout): (Str, Str, Option<Duration>) = Default::default();
    if let Some(u) = at.msg("server_uri") {
        (uri, cluster, timeout) = (u.str("uri"), u.str("cluster"), u.duration("timeout"));
    }
    if cluster.is_empty() {
        at.error_in("server_uri.cluster", "is missing");
    }
    let request = at.msg("authorization_request");
    let response = at.msg("authorization_response");
    let said = |name| response.as_ref().map(|r| list_in(r, name)).unwrap_or_default();
    let header = |h: &At| {
        let value = match h.bytes("raw_value") {
            Some(raw) => String::from_utf8_lossy(&raw).into(),
            None => h.str("value"),
        };
        (lower(h.str("key")), value)
    };
    let allowed = request.as_ref().and_then(|r| r.msg("allowed_headers").map(|l| read_list(&l)));
    HttpAuthz {
        uri,
        cluster,
        timeout,
        path_prefix: at.str("path_prefix"),
        path_override: at.str("path_override"),
        allowed_headers: allowed,
        headers_to_add: request
            .as_ref()
            .map(|r| r.each("headers_to_add", header))
            .unwrap_or_default(),
        upstream: said("allowed_upstream_headers"),
        upstream_append: said("allowed_upstream_headers_to_append"),
        client: said("allowed_client_headers"),
        client_on_success: said("allowed_client_headers_on_success"),
        metadata: said("dynamic_metadata_from_headers"),
    }
}

fn write_body(b: &AuthzBody) -> Msg {
    Msg::new(&AUTHZ_BODY)
        .set("max_request_bytes", b.max)
        .set("allow_partial_message", b.partial)
        .set("pack_as_bytes", b.as_bytes)
}

fn read_body(at: &At) -> AuthzBody {
    let max = at.u32("max_request_bytes");
    if max == 0 {
        at.error_in("max_request_bytes", "must be more than 0");
    }
    AuthzBody { max, partial: at.bool("allow_partial_message"), as_bytes: at.bool("pack_as_bytes") }
}

fn write_list(list: &[StringMatch]) -> Msg {
    Msg::new(&LIST_STRING_MATCHER).set("patterns", Val::list(list, write_string_match))
}

fn some_list(list: &[StringMatch]) -> Option<Msg> {
    (!list.is_empty()).then(|| write_list(list))
}

fn read_list(at: &At) -> Vec<StringMatch> {
    at.each("patterns", read_string_match)
}

fn list_in(at: &At, name: &str) -> Vec<StringMatch> {
    at.msg(name).map(|l| read_list(&l)).unwrap_or_default()
}

pub(super) fn write_metadata_match(m: &MetadataMatch) -> Msg {
    Msg::new(&METADATA_MATCHER)
        .set("filter", &m.filter)
        .set("path", Val::list(&m.path, |key| Msg::new(&METADATA_SEGMENT).set("key", key)))
        .set("value", write_value(&m.value))
        .set("invert", m.invert)
}

pub(super) fn read_metadata_match(at: &At) -> MetadataMatch {
    MetadataMatch {
        filter: at.str("filter"),
        path: at.each("path", |segment| segment.str("key")),
        value: at.msg("value").and_then(|v| read_value(&v)).unwrap_or_else(|| {
            at.error_in("value", "says nothing to match");
            ValueMatch::Present(true)
        }),
        invert: at.bool("invert"),
    }
}

fn write_value(value: &ValueMatch) -> Msg {
    let msg = Msg::new(&VALUE_MATCHER);
    match value {
        ValueMatch::Null => msg.set("null_match", Msg::new(&NULL_MATCH)),
        ValueMatch::Bool(b) => msg.set("bool_match", *b),
        ValueMatch::Text(text) => msg.set("string_match", write_string_match(text)),
        ValueMatch::Present(p) => msg.set("present_match", *p),
        ValueMatch::OneOf(inner) => {
            msg.set("list_match", Msg::new(&LIST_MATCHER).set("one_of", write_value(inner)))
        }
        ValueMatch::Any(list) => {
            let any = Msg::new(&OR_MATCHER).set("value_matchers", Val::list(list, write_value));
            msg.set("or_match", any)
        }
    }
}

fn read_value(at: &At) -> Option<ValueMatch> {
    if at.has("null_match") {
        return Some(ValueMatch::Null);
    }
    if let Some(text) = at.msg("string_match") {
        return Some(ValueMatch::Text(read_string_match(&text)));
    }
    if let Some(on) = at.opt_bool("bool_match") {
        return Some(ValueMatch::Bool(on));
    }
    if let Some(there) = at.opt_bool("present_match") {
        return Some(ValueMatch::Present(there));
    }
    if let Some(list) = at.msg("list_match") {
        return Some(ValueMatch::OneOf(Box::new(read_value(&list.msg("one_of")?)?)));
    }
    if let Some(any) = at.msg("or_match") {
        let values = any.each("value_matchers", read_value);
        return Some(ValueMatch::Any(values.into_iter().flatten().collect()));
    }
    None
}
