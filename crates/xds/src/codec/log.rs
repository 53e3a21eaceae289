//! Access logs.

use super::at::{At, Typed, number_of};
use super::common::{read_fraction, read_header_match, strs, write_fraction, write_header_match};
use super::unsupported;
use crate::message::{Msg, Val};
use crate::schema::*;
use ir::{AccessLog, Comparison, LogFilter, LogFormat, LogSink, Str, Value};

pub(super) fn write_access_log(log: &AccessLog) -> Msg {
    let (name, config) = match &log.sink {
        LogSink::File { path, format } => (
            "envoy.access_loggers.file",
            Msg::new(&FILE_ACCESS_LOG)
                .set("path", path)
                .set_opt("log_format", write_format(format)),
        ),
        LogSink::Stdout(format) => (
            "envoy.access_loggers.stdout",
            Msg::new(&STDOUT_ACCESS_LOG).set_opt("log_format", write_format(format)),
        ),
        LogSink::Stderr(format) => (
            "envoy.access_loggers.stderr",
            Msg::new(&STDERR_ACCESS_LOG).set_opt("log_format", write_format(format)),
        ),
    };
    Msg::new(&ACCESS_LOG)
        .set("name", name)
        .set_opt("filter", log.filter.as_ref().map(write_filter))
        .set("typed_config", config.any())
}

pub(super) fn read_access_logs(at: &At) -> Vec<AccessLog> {
    at.each("access_log", |log| {
        let filter = log.msg("filter").and_then(|f| read_filter(&f));
        read_sink(log).map(|sink| AccessLog { sink, filter })
    })
    .into_iter()
    .flatten()
    .collect()
}

fn read_sink(log: &At) -> Option<LogSink> {
    let at = match log.typed("typed_config") {
        Some(Typed::Known(at)) => at,
        Some(Typed::Unknown(url)) => {
            unsupported(&log.path.field("typed_config"), url);
            return None;
        }
        None => {
            log.error_in("typed_config", "is missing");
            return None;
        }
    };
    match at.ty() {
        t if t == FILE_ACCESS_LOG.name => {
            Some(LogSink::File { path: at.str("path"), format: read_file_format(&at) })
        }
        t if t == STDOUT_ACCESS_LOG.name => Some(LogSink::Stdout(read_format(&at))),
        t if t == STDERR_ACCESS_LOG.name => Some(LogSink::Stderr(read_format(&at))),
        other => {
            unsupported(&at.path, other);
            None
        }
    }
}

pub(super) fn write_format(format: &LogFormat) -> Option<Msg> {
    let msg = Msg::new(&SUBSTITUTION_FORMAT);
    match format {
        LogFormat::Default => None,
        LogFormat::Text(text) => {
            Some(msg.set("text_format_source", Msg::new(&DATA_SOURCE).set("inline_string", text)))
        }
        LogFormat::Json(Value::Struct(fields)) => {
            Some(msg.set("json_format", Val::Struct(fields.clone())))
        }
        LogFormat::Json(_) => Some(msg.set("json_format", Val::Struct(Default::default()))),
    }
}

/// The file sink has older fields for the same thing.
fn read_file_format(at: &At) -> LogFormat {
    if let Some(text) = at.opt_str("format").filter(|f| !f.is_empty()) {
        return LogFormat::Text(text);
    }
    match at.structure("json_format").or_else(|| at.structure("typed_json_format")) {
        Some(fields) => LogFormat::Json(Value::Struct(fields.clone())),
        None => read_format(at),
    }
}

fn read_format(at: &At) -> LogFormat {
    at.msg("log_format").map_or(LogFormat::Default, |format| read_substitution(&format))
}

pub(super) fn read_substitution(format: &At) -> LogFormat {
    if let Some(fields) = format.structure("json_format") {
        return LogFormat::Json(Value::Struct(fields.clone()));
    }
    if let Some(source) = format.msg("text_format_source") {
        return LogFormat::Text(read_inline(&source));
    }
    format.opt_str("text_format").map_or(LogFormat::Default, LogFormat::Text)
}

pub(super) fn read_inline(at: &At) -> Str {
    if let Some(text) = at.opt_str("inline_string") {
        return text;
    }
    match at.bytes("inline_bytes").map(|b| String::from_utf8(b.to_vec())) {
        Some(Ok(text)) => text.into(),
        _ => {
            at.error("must be an inline string");
            "".into()
        }
    }
}

const COMPARISONS: &[(i32, Comparison)] = &[
    (0, Comparison::Equal),
    (1, Comparison::GreaterOrEqual),
    (2, Comparison::LessOrEqual),
    (3, Comparison::NotEqual),
];

fn write_comparison(ty: &'static Message, op: Comparison, value: u32) -> Msg {
    let comparison = Msg::new(&COMPARISON_FILTER)
        .set("op", number_of(COMPARISONS, op))
        // Envoy demands a key, though it need not be set.
        .set(
            "value",
            Msg::new(&RUNTIME_UINT32).set("default_value", value).set("runtime_key", "unused"),
        );
    Msg::new(ty).set("comparison", comparison)
}

fn read_comparison(at: &At) -> (Comparison, u32) {
    let Some(c) = at.msg("comparison") else { return (Comparison::Equal, 0) };
    let value = c.msg("value").map_or(0, |v| v.u32("default_value"));
    (c.pick("op", COMPARISONS).unwrap_or(Comparison::Equal), value)
}

pub(super) fn write_filter(filter: &LogFilter) -> Msg {
    let msg = Msg::new(&ACCESS_LOG_FILTER);
    match filter {
        LogFilter::StatusCode { op, value } => {
            msg.set("status_code_filter", write_comparison(&STATUS_CODE_FILTER, *op, *value))
        }
        LogFilter::Duration { op, value_ms } => {
            msg.set("duration_filter", write_comparison(&DURATION_FILTER, *op, *value_ms))
        }
        LogFilter::NotHealthCheck => {
            msg.set("not_health_check_filter", Msg::new(&NOT_HEALTH_CHECK_FILTER))
        }
        LogFilter::ResponseFlags(flags) => msg
            .set("response_flag_filter", Msg::new(&RESPONSE_FLAG_FILTER).set("flags", strs(flags))),
        LogFilter::Header(h) => {
            msg.set("header_filter", Msg::new(&HEADER_FILTER).set("header", write_header_match(h)))
        }
        LogFilter::Runtime(f) => msg.set(
            "runtime_filter",
            Msg::new(&RUNTIME_FILTER)
                .set("percent_sampled", write_fraction(f))
                .set("runtime_key", "unused"),
        ),
        LogFilter::And(filters) => msg.set(
            "and_filter",
            Msg::new(&AND_FILTER).set("filters", Val::list(filters, write_filter)),
        ),
        LogFilter::Or(filters) => msg.set(
            "or_filter",
            Msg::new(&OR_FILTER).set("filters", Val::list(filters, write_filter)),
        ),
    }
}

pub(super) fn read_filter(at: &At) -> Option<LogFilter> {
    let filters = |f: At| f.each("filters", read_filter).into_iter().flatten().collect();
    if let Some(f) = at.msg("status_code_filter") {
        let (op, value) = read_comparison(&f);
        return Some(LogFilter::StatusCode { op, value });
    }
    if let Some(f) = at.msg("duration_filter") {
        let (op, value_ms) = read_comparison(&f);
        return Some(LogFilter::Duration { op, value_ms });
    }
    if at.has("not_health_check_filter") {
        return Some(LogFilter::NotHealthCheck);
    }
    if let Some(f) = at.msg("response_flag_filter") {
        return Some(LogFilter::ResponseFlags(f.strs("flags")));
    }
    if let Some(f) = at.msg("header_filter") {
        return f.msg("header").map(|h| LogFilter::Header(read_header_match(&h)));
    }
    if let Some(f) = at.msg("runtime_filter") {
        let sampled = f.msg("percent_sampled").map(|p| read_fraction(&p));
        return Some(LogFilter::Runtime(sampled.unwrap_or(ir::Fraction::percent(0))));
    }
    if let Some(f) = at.msg("and_filter") {
        return Some(LogFilter::And(filters(f)));
    }
    if let Some(f) = at.msg("or_filter") {
        return Some(LogFilter::Or(filters(f)));
    }
    at.error("says nothing to filter by");
    None
}
