//! The HTTP connection manager.

use super::at::{At, Typed, number_of};
use super::common::{read_percent, write_percent};
use super::filter::{read_filters, write_filters};
use super::log::{read_access_logs, write_access_log};
use super::options::{read_common, read_http1, read_http2, write_common, write_http1, write_http2};
use super::route::{read_route_config, write_route_config};
use super::{local_reply, source, unsupported};
use crate::message::{Msg, Val};
use crate::schema::*;
use ir::{
    ClientCertDetails, Codec, EscapedSlashes, ForwardClientCert, HttpManager, RouteConfig,
    RouteSource, ServerHeader, StripPort, TagSource, Tracing, TracingProvider, TracingTag, Upgrade,
};
use std::sync::Arc;

const CODECS: &[(i32, Codec)] = &[(0, Codec::Auto), (1, Codec::Http1), (2, Codec::Http2)];
const SERVER_HEADERS: &[(i32, ServerHeader)] = &[
    (0, ServerHeader::Overwrite),
    (1, ServerHeader::AppendIfAbsent),
    (2, ServerHeader::PassThrough),
];
const FORWARD_CERTS: &[(i32, ForwardClientCert)] = &[
    (0, ForwardClientCert::Sanitize),
    (1, ForwardClientCert::ForwardOnly),
    (2, ForwardClientCert::AppendForward),
    (3, ForwardClientCert::SanitizeSet),
    (4, ForwardClientCert::AlwaysForwardOnly),
];
/// 0 is IMPLEMENTATION_SPECIFIC_DEFAULT, which in Envoy is to keep them.
const SLASHES: &[(i32, EscapedSlashes)] = &[
    (0, EscapedSlashes::KeepUnchanged),
    (1, EscapedSlashes::KeepUnchanged),
    (2, EscapedSlashes::RejectRequest),
    (3, EscapedSlashes::UnescapeAndRedirect),
    (4, EscapedSlashes::UnescapeAndForward),
];

pub(super) fn write_manager(m: &HttpManager) -> Msg {
    let upgrade = |u: &Upgrade| {
        Msg::new(&HCM_UPGRADE)
            .set("upgrade_type", &u.kind)
            .set_opt("enabled", (!u.enabled).then_some(false))
    };
    let msg = Msg::new(&HTTP_CONNECTION_MANAGER)
        .set("stat_prefix", &m.stat_prefix)
        .set("codec_type", number_of(CODECS, m.codec))
        .set("http_filters", write_filters(&m.filters, m.suppress_envoy_headers))
        .set("access_log", Val::list(&m.access_log, write_access_log))
        .set_opt("local_reply_config", m.local_reply.as_ref().map(local_reply::write))
        .set("server_header_transformation", number_of(SERVER_HEADERS, m.server_header))
        .set("server_name", &m.server_name)
        .set("path_with_escaped_slashes_action", number_of(SLASHES, m.escaped_slashes))
        .set_opt("normalize_path", m.normalize_path.then_some(true))
        .set("merge_slashes", m.merge_slashes)
        .set("strip_trailing_host_dot", m.strip_trailing_host_dot)
        .set("upgrade_configs", Val::list(&m.upgrades, upgrade))
        .set_opt("tracing", m.tracing.as_ref().map(write_tracing))
        .set_opt("stream_error_on_invalid_http_message", m.stream_error_on_invalid_http_messages);
    let msg = match m.strip_host_port {
        StripPort::No => msg,
        StripPort::Matching => msg.set("strip_matching_host_port", true),
        StripPort::Any => msg.set("strip_any_host_port", true),
    };
    let msg = match &m.routes {
        RouteSource::Inline(routes) => msg.set("route_config", write_route_config(routes)),
        RouteSource::Rds(name) => msg.set(
            "rds",
            Msg::new(&RDS).set("route_config_name", name).set("config_source", source::ads()),
        ),
    };
    write_limits(write_identity(msg, m), m)
}

/// Who the client is, and what names the request gets.
fn write_identity(msg: Msg, m: &HttpManager) -> Msg {
    let d = &m.set_client_cert;
    let details = Msg::new(&CLIENT_CERT_DETAILS)
        .set_opt("subject", d.subject.then_some(true))
        .set("cert", d.cert)
        .set("chain", d.chain)
        .set("dns", d.dns)
        .set("uri", d.uri);
    msg.set_opt("use_remote_address", m.use_remote_address.then_some(true))
        .set("xff_num_trusted_hops", m.xff_num_trusted_hops)
        .set("skip_xff_append", m.skip_xff_append)
        .set("via", &m.via)
        .set("forward_client_cert_details", number_of(FORWARD_CERTS, m.forward_client_cert))
        .set_opt("set_current_client_cert_details", (!details.is_empty()).then_some(details))
        .set_opt("generate_request_id", m.generate_request_id)
        .set("preserve_external_request_id", m.preserve_external_request_id)
        .set("always_set_request_id_in_response", m.always_set_request_id_in_response)
}

fn write_limits(msg: Msg, m: &HttpManager) -> Msg {
    msg.set("proxy_100_continue", m.proxy_100_continue)
        .set_opt("http_protocol_options", write_http1(&m.http1))
        .set_opt("http2_protocol_options", write_http2(&m.http2))
        .set_opt("common_http_protocol_options", write_common(&m.common))
        .set_opt("stream_idle_timeout", m.stream_idle_timeout)
        .set_opt("request_timeout", m.request_timeout)
        .set_opt("request_headers_timeout", m.request_headers_timeout)
        .set_opt("drain_timeout", m.drain_timeout)
        .set_opt("max_request_headers_kb", m.max_request_headers_kb)
}

pub(super) fn read_manager(at: &At) -> HttpManager {
    expect_uuid(at);
    let (filters, suppress_envoy_headers) = read_filters(at);
    let strip_host_port =
        match (at.bool("strip_any_host_port"), at.bool("strip_matching_host_port")) {
            (true, _) => StripPort::Any,
            (_, true) => StripPort::Matching,
            _ => StripPort::No,
        };
    let mut manager = HttpManager::new(at.str("stat_prefix"), read_routes(at));
    manager.filters = filters;
    manager.suppress_envoy_headers = suppress_envoy_headers;
    manager.codec = at.pick("codec_type", CODECS).unwrap_or_default();
    manager.access_log = read_access_logs(at);
    manager.local_reply = at.msg("local_reply_config").map(|l| local_reply::read(&l));
    manager.server_header =
        at.pick("server_header_transformation", SERVER_HEADERS).unwrap_or_default();
    manager.server_name = at.str("server_name");
    manager.escaped_slashes =
        at.pick("path_with_escaped_slashes_action", SLASHES).unwrap_or_default();
    manager.normalize_path = at.bool("normalize_path");
    manager.merge_slashes = at.bool("merge_slashes");
    manager.strip_host_port = strip_host_port;
    manager.strip_trailing_host_dot = at.bool("strip_trailing_host_dot");
    manager.upgrades = at.each("upgrade_configs", read_upgrade);
    manager.tracing = at.msg("tracing").map(|t| read_tracing(&t));
    manager.stream_error_on_invalid_http_messages =
        at.opt_bool("stream_error_on_invalid_http_message");
    read_identity(at, &mut manager);
    read_limits(at, &mut manager);
    manager
}

fn read_identity(at: &At, m: &mut HttpManager) {
    m.use_remote_address = at.bool("use_remote_address");
    m.xff_num_trusted_hops = at.u32("xff_num_trusted_hops");
    m.skip_xff_append = at.bool("skip_xff_append");
    m.via = at.str("via");
    m.forward_client_cert =
        at.pick("forward_client_cert_details", FORWARD_CERTS).unwrap_or_default();
    if let Some(d) = at.msg("set_current_client_cert_details") {
        m.set_client_cert = ClientCertDetails {
            subject: d.bool("subject"),
            cert: d.bool("cert"),
            chain: d.bool("chain"),
            dns: d.bool("dns"),
            uri: d.bool("uri"),
        };
    }
    m.generate_request_id = at.opt_bool("generate_request_id");
    m.preserve_external_request_id = at.bool("preserve_external_request_id");
    m.always_set_request_id_in_response = at.bool("always_set_request_id_in_response");
}

fn read_limits(at: &At, m: &mut HttpManager) {
    m.proxy_100_continue = at.bool("proxy_100_continue");
    m.http1 = at.msg("http_protocol_options").map(|o| read_http1(&o)).unwrap_or_default();
    m.http2 = at.msg("http2_protocol_options").map(|o| read_http2(&o)).unwrap_or_default();
    m.common = at.msg("common_http_protocol_options").map(|o| read_common(&o)).unwrap_or_default();
    m.stream_idle_timeout = at.duration("stream_idle_timeout");
    m.request_timeout = at.duration("request_timeout");
    m.request_headers_timeout = at.duration("request_headers_timeout");
    m.drain_timeout = at.duration("drain_timeout");
    m.max_request_headers_kb = at.opt_u32("max_request_headers_kb");
}

fn read_routes(at: &At) -> RouteSource {
    if let Some(routes) = at.msg("route_config") {
        return RouteSource::Inline(Arc::new(read_route_config(&routes)));
    }
    let Some(rds) = at.msg("rds") else {
        at.error("names neither rds nor route_config");
        return RouteSource::Inline(Arc::new(RouteConfig::default()));
    };
    source::expect_ads(&rds, "config_source");
    let name = rds.str("route_config_name");
    if name.is_empty() {
        rds.error_in("route_config_name", "is missing");
    }
    RouteSource::Rds(name)
}

fn read_upgrade(at: &At) -> Upgrade {
    Upgrade { kind: at.str("upgrade_type"), enabled: at.opt_bool("enabled").unwrap_or(true) }
}

/// Request ids are UUIDs; another extension would make other ones.
fn expect_uuid(at: &At) {
    let Some(extension) = at.msg("request_id_extension") else { return };
    match extension.typed("typed_config") {
        Some(Typed::Known(t)) if t.is(&UUID_REQUEST_ID) => {}
        Some(Typed::Known(t)) => unsupported(&t.path, t.ty()),
        Some(Typed::Unknown(url)) => unsupported(&extension.path.field("typed_config"), url),
        None => {}
    }
}

fn write_tracing(t: &Tracing) -> Msg {
    let provider = |p: &TracingProvider| match p {
        TracingProvider::Zipkin { cluster, endpoint } => {
            Msg::new(&TRACING_HTTP).set("name", "envoy.tracers.zipkin").set(
                "typed_config",
                Msg::new(&ZIPKIN)
                    .set("collector_cluster", cluster)
                    .set("collector_endpoint", endpoint)
                    .any(),
            )
        }
        TracingProvider::OpenTelemetry { cluster, service_name } => {
            let service = Msg::new(&GRPC_SERVICE)
                .set("envoy_grpc", Msg::new(&ENVOY_GRPC).set("cluster_name", cluster));
            Msg::new(&TRACING_HTTP).set("name", "envoy.tracers.opentelemetry").set(
                "typed_config",
                Msg::new(&OPEN_TELEMETRY)
                    .set("grpc_service", service)
                    .set("service_name", service_name)
                    .any(),
            )
        }
    };
    Msg::new(&TRACING)
        .set_opt("client_sampling", t.client_sampling.map(write_percent))
        .set_opt("random_sampling", t.random_sampling.map(write_percent))
        .set_opt("overall_sampling", t.overall_sampling.map(write_percent))
        .set_opt("max_path_tag_length", t.max_path_tag_length)
        .set("custom_tags", Val::list(&t.custom_tags, write_tag))
        .set_opt("provider", t.provider.as_ref().map(provider))
}

fn read_tracing(at: &At) -> Tracing {
    let percent = |name| at.msg(name).map(|p| read_percent(&p));
    Tracing {
        client_sampling: percent("client_sampling"),
        random_sampling: percent("random_sampling"),
        overall_sampling: percent("overall_sampling"),
        max_path_tag_length: at.opt_u32("max_path_tag_length"),
        provider: at.msg("provider").and_then(|p| read_provider(&p)),
        custom_tags: at.each("custom_tags", read_tag).into_iter().flatten().collect(),
    }
}

fn read_provider(at: &At) -> Option<TracingProvider> {
    at.str("name");
    match at.typed("typed_config") {
        Some(Typed::Known(t)) if t.is(&ZIPKIN) => Some(TracingProvider::Zipkin {
            cluster: t.str("collector_cluster"),
            endpoint: t.str("collector_endpoint"),
        }),
        Some(Typed::Known(t)) if t.is(&OPEN_TELEMETRY) => {
            let service = t.msg("grpc_service");
            let cluster =
                service.as_ref().and_then(|s| s.msg("envoy_grpc").map(|g| g.str("cluster_name")));
            Some(TracingProvider::OpenTelemetry {
                cluster: cluster.unwrap_or_else(|| "".into()),
                service_name: t.str("service_name"),
            })
        }
        Some(Typed::Known(t)) => {
            unsupported(&t.path, t.ty());
            None
        }
        Some(Typed::Unknown(url)) => {
            unsupported(&at.path.field("typed_config"), url);
            None
        }
        None => None,
    }
}

fn write_tag(t: &TracingTag) -> Msg {
    let named = |ty, name, default| Msg::new(ty).set("name", name).set("default_value", default);
    let msg = Msg::new(&CUSTOM_TAG).set("tag", &t.tag);
    match &t.source {
        TagSource::Literal(v) => msg.set("literal", Msg::new(&CUSTOM_TAG_LITERAL).set("value", v)),
        TagSource::Environment { name, default } => {
            msg.set("environment", named(&CUSTOM_TAG_ENVIRONMENT, name, default))
        }
        TagSource::RequestHeader { name, default } => {
            msg.set("request_header", named(&CUSTOM_TAG_HEADER, name, default))
        }
    }
}

fn read_tag(at: &At) -> Option<TracingTag> {
    let source = if let Some(l) = at.msg("literal") {
        TagSource::Literal(l.str("value"))
    } else if let Some(e) = at.msg("environment") {
        TagSource::Environment { name: e.str("name"), default: e.str("default_value") }
    } else if let Some(h) = at.msg("request_header") {
        TagSource::RequestHeader { name: h.str("name"), default: h.str("default_value") }
    } else {
        at.error("names no source");
        return None;
    };
    Some(TracingTag { tag: at.str("tag"), source })
}
