//! Protocol options, the same downstream and upstream.

use super::at::{At, Typed, number_of};
use super::unsupported;
use crate::message::Msg;
use crate::schema::*;
use ir::{HeaderCase, Http1Options, Http2Options, HttpCommon, Underscores};

/// `None` where all is default.
pub(super) fn write_http1(o: &Http1Options) -> Option<Msg> {
    let format = Msg::new(&HEADER_KEY_FORMAT);
    let case = match o.header_case {
        HeaderCase::Lower => None,
        HeaderCase::ProperCaseWords => {
            Some(format.set("proper_case_words", Msg::new(&PROPER_CASE_WORDS)))
        }
        HeaderCase::Preserve => Some(
            format.set(
                "stateful_formatter",
                Msg::new(&TYPED_EXTENSION_CONFIG)
                    .set("name", "preserve_case")
                    .set("typed_config", Msg::new(&PRESERVE_CASE).any()),
            ),
        ),
    };
    let msg = Msg::new(&HTTP1_OPTIONS)
        .set_opt("allow_absolute_url", o.allow_absolute_url)
        .set("accept_http_10", o.accept_http_10)
        .set("default_host_for_http_10", &o.default_host_for_http_10)
        .set_opt("header_key_format", case)
        .set("enable_trailers", o.enable_trailers)
        .set("allow_chunked_length", o.allow_chunked_length);
    (!msg.is_empty()).then_some(msg)
}

pub(super) fn read_http1(at: &At) -> Http1Options {
    Http1Options {
        allow_absolute_url: at.opt_bool("allow_absolute_url"),
        accept_http_10: at.bool("accept_http_10"),
        default_host_for_http_10: at.str("default_host_for_http_10"),
        header_case: at.msg("header_key_format").map(|f| read_case(&f)).unwrap_or_default(),
        enable_trailers: at.bool("enable_trailers"),
        allow_chunked_length: at.bool("allow_chunked_length"),
    }
}

fn read_case(at: &At) -> HeaderCase {
    if at.has("proper_case_words") {
        return HeaderCase::ProperCaseWords;
    }
    let Some(extension) = at.msg("stateful_formatter") else { return HeaderCase::Lower };
    extension.str("name");
    match extension.typed("typed_config") {
        Some(Typed::Known(t)) if t.is(&PRESERVE_CASE) => return HeaderCase::Preserve,
        Some(Typed::Known(t)) => unsupported(&t.path, t.ty()),
        Some(Typed::Unknown(url)) => unsupported(&extension.path.field("typed_config"), url),
        None => extension.error_in("typed_config", "is missing"),
    }
    HeaderCase::Lower
}

/// `None` where all is default.
pub(super) fn write_http2(o: &Http2Options) -> Option<Msg> {
    let keepalive = Msg::new(&KEEPALIVE_SETTINGS)
        .set_opt("interval", o.keepalive_interval)
        .set_opt("timeout", o.keepalive_timeout);
    let msg = Msg::new(&HTTP2_OPTIONS)
        .set_opt("max_concurrent_streams", o.max_concurrent_streams)
        .set_opt("initial_stream_window_size", o.initial_stream_window)
        .set_opt("initial_connection_window_size", o.initial_connection_window)
        .set("allow_connect", o.allow_connect)
        .set_opt("connection_keepalive", (!keepalive.is_empty()).then_some(keepalive));
    (!msg.is_empty()).then_some(msg)
}

pub(super) fn read_http2(at: &At) -> Http2Options {
    let keepalive = at.msg("connection_keepalive");
    Http2Options {
        max_concurrent_streams: at.opt_u32("max_concurrent_streams"),
        initial_stream_window: at.opt_u32("initial_stream_window_size"),
        initial_connection_window: at.opt_u32("initial_connection_window_size"),
        allow_connect: at.bool("allow_connect"),
        keepalive_interval: keepalive.as_ref().and_then(|k| k.duration("interval")),
        keepalive_timeout: keepalive.as_ref().and_then(|k| k.duration("timeout")),
    }
}

const UNDERSCORES: &[(i32, Underscores)] =
    &[(0, Underscores::Allow), (1, Underscores::RejectRequest), (2, Underscores::DropHeader)];

/// `None` where all is default.
pub(super) fn write_common(o: &HttpCommon) -> Option<Msg> {
    let limit = Some(o.max_requests_per_connection).filter(|n| *n != 0);
    let msg = Msg::new(&COMMON_HTTP_OPTIONS)
        .set_opt("idle_timeout", o.idle_timeout)
        .set_opt("max_connection_duration", o.max_connection_duration)
        .set_opt("max_stream_duration", o.max_stream_duration)
        .set_opt("max_headers_count", o.max_headers_count)
        .set_opt("max_requests_per_connection", limit)
        .set("headers_with_underscores_action", number_of(UNDERSCORES, o.underscores));
    (!msg.is_empty()).then_some(msg)
}

pub(super) fn read_common(at: &At) -> HttpCommon {
    HttpCommon {
        idle_timeout: at.duration("idle_timeout"),
        max_connection_duration: at.duration("max_connection_duration"),
        max_stream_duration: at.duration("max_stream_duration"),
        max_headers_count: at.opt_u32("max_headers_count"),
        max_requests_per_connection: at.opt_u32("max_requests_per_connection").unwrap_or(0),
        underscores: at.pick("headers_with_underscores_action", UNDERSCORES).unwrap_or_default(),
    }
}
