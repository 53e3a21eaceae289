//! Small messages that several resources share.

use super::at::{At, number_of};
use crate::message::{Msg, Val};
use crate::schema::*;
use ir::{
    AppendAction, DataSource, Denominator, Fraction, HeaderAdd, HeaderCondition, HeaderMatch,
    HeaderOps, Metadata, Pattern, RegexRewrite, RuntimeKey, Str, StringMatch, Value,
};

pub(super) fn strs(list: &[Str]) -> Val {
    Val::list(list, |s| s)
}

/// Lower case without a copy where it is so already.
pub(super) fn lower(s: Str) -> Str {
    if s.bytes().any(|b| b.is_ascii_uppercase()) { s.to_ascii_lowercase().into() } else { s }
}

pub(super) fn write_metadata(m: &Metadata) -> Option<Msg> {
    if m.is_empty() {
        return None;
    }
    let entry = |(k, v): (&Str, &Value)| {
        let fields = if let Value::Struct(s) = v { s.clone() } else { Default::default() };
        (k.clone(), Val::Struct(fields))
    };
    Some(Msg::new(&METADATA).set("filter_metadata", Val::Map(m.iter().map(entry).collect())))
}

pub(super) fn read_metadata(at: &At, name: &str) -> Metadata {
    let Some(at) = at.msg(name) else { return Metadata::new() };
    let entry = |(k, v): (&Str, &Val)| match v {
        Val::Struct(s) => Some((k.clone(), Value::Struct(s.clone()))),
        _ => None,
    };
    at.map("filter_metadata").into_iter().flatten().filter_map(entry).collect()
}

pub(super) fn write_string_match(m: &StringMatch) -> Msg {
    let msg = Msg::new(&STRING_MATCHER).set("ignore_case", m.ignore_case);
    match &m.pattern {
        Pattern::Exact(s) => msg.set("exact", s),
        Pattern::Prefix(s) => msg.set("prefix", s),
        Pattern::Suffix(s) => msg.set("suffix", s),
        Pattern::Contains(s) => msg.set("contains", s),
        Pattern::Regex(s) => msg.set("safe_regex", write_regex(s)),
    }
}

pub(super) fn read_string_match(at: &At) -> StringMatch {
    let pattern = if let Some(s) = at.opt_str("exact") {
        Pattern::Exact(s)
    } else if let Some(s) = at.opt_str("prefix") {
        Pattern::Prefix(s)
    } else if let Some(s) = at.opt_str("suffix") {
        Pattern::Suffix(s)
    } else if let Some(s) = at.opt_str("contains") {
        Pattern::Contains(s)
    } else if let Some(r) = at.msg("safe_regex") {
        Pattern::Regex(read_regex(&r))
    } else {
        at.error("says nothing to match");
        Pattern::Exact("".into())
    };
    StringMatch { pattern, ignore_case: at.bool("ignore_case") }
}

pub(super) fn write_regex(pattern: &Str) -> Msg {
    Msg::new(&REGEX_MATCHER).set("regex", pattern)
}

pub(super) fn read_regex(at: &At) -> Str {
    at.str("regex")
}

pub(super) fn write_regex_rewrite(r: &RegexRewrite) -> Msg {
    Msg::new(&REGEX_REWRITE)
        .set("pattern", write_regex(&r.pattern))
        .set("substitution", &r.substitution)
}

pub(super) fn read_regex_rewrite(at: &At) -> RegexRewrite {
    RegexRewrite {
        pattern: at.msg("pattern").map(|p| read_regex(&p)).unwrap_or_else(|| "".into()),
        substitution: at.str("substitution"),
    }
}

const DENOMINATORS: &[(i32, Denominator)] =
    &[(0, Denominator::Hundred), (1, Denominator::TenThousand), (2, Denominator::Million)];

pub(super) fn write_fraction(f: &Fraction) -> Msg {
    Msg::new(&FRACTIONAL_PERCENT)
        .set("numerator", f.numerator)
        .set("denominator", number_of(DENOMINATORS, f.denominator))
}

pub(super) fn read_fraction(at: &At) -> Fraction {
    Fraction {
        numerator: at.u32("numerator"),
        denominator: at.pick("denominator", DENOMINATORS).unwrap_or_default(),
        runtime_key: None,
    }
}

/// Runtime is not read, so any key says the same.
const RUNTIME_KEY: &str = "unused";

pub(super) fn write_runtime_fraction(f: &Fraction) -> Msg {
    Msg::new(&RUNTIME_FRACTIONAL_PERCENT)
        .set("default_value", write_fraction(f))
        .set_opt("runtime_key", f.runtime_key.map(|_| RUNTIME_KEY))
}

pub(super) fn read_runtime_fraction(at: &At) -> Fraction {
    let key = at.opt_str("runtime_key").map(|_| RuntimeKey);
    match at.msg("default_value") {
        Some(value) => Fraction { runtime_key: key, ..read_fraction(&value) },
        None => Fraction { runtime_key: key, ..Fraction::percent(0) },
    }
}

pub(super) fn write_percent(value: f64) -> Msg {
    Msg::new(&PERCENT).set("value", value)
}

pub(super) fn read_percent(at: &At) -> f64 {
    at.opt_f64("value").unwrap_or(0.0)
}

const APPEND_ACTIONS: &[(i32, AppendAction)] = &[
    (0, AppendAction::AppendIfExistsOrAdd),
    (1, AppendAction::AddIfAbsent),
    (2, AppendAction::OverwriteIfExistsOrAdd),
    (3, AppendAction::OverwriteIfExists),
];

pub(super) fn write_header_add(h: &HeaderAdd) -> Msg {
    Msg::new(&HEADER_VALUE_OPTION)
        .set("header", Msg::new(&HEADER_VALUE).set("key", &h.name).set("value", &h.value))
        .set("append_action", number_of(APPEND_ACTIONS, h.action))
        .set("keep_empty_value", h.keep_empty_value)
}

pub(super) fn read_header_add(at: &At) -> HeaderAdd {
    let (mut name, mut value) = (Str::from(""), Str::from(""));
    if let Some(header) = at.msg("header") {
        name = lower(header.str("key"));
        value = match header.bytes("raw_value") {
            Some(raw) => String::from_utf8_lossy(&raw).into(),
            None => header.str("value"),
        };
    }
    if name.is_empty() {
        at.error_in("header.key", "is missing");
    }
    // The older spelling, which Envoy still reads.
    let action = match at.opt_bool("append") {
        Some(true) => AppendAction::AppendIfExistsOrAdd,
        Some(false) => AppendAction::OverwriteIfExistsOrAdd,
        None => at.pick("append_action", APPEND_ACTIONS).unwrap_or_default(),
    };
    HeaderAdd { name, value, action, keep_empty_value: at.bool("keep_empty_value") }
}

/// Sets the four fields that every level of routing has.
pub(super) fn write_header_ops(msg: Msg, ops: &HeaderOps) -> Msg {
    msg.set("request_headers_to_add", Val::list(&ops.request_add, write_header_add))
        .set("request_headers_to_remove", strs(&ops.request_remove))
        .set("response_headers_to_add", Val::list(&ops.response_add, write_header_add))
        .set("response_headers_to_remove", strs(&ops.response_remove))
}

pub(super) fn read_header_ops(at: &At) -> HeaderOps {
    let names = |field| at.strs(field).into_iter().map(lower).collect();
    HeaderOps {
        request_add: at.each("request_headers_to_add", read_header_add),
        request_remove: names("request_headers_to_remove"),
        response_add: at.each("response_headers_to_add", read_header_add),
        response_remove: names("response_headers_to_remove"),
    }
}

pub(super) fn write_header_match(h: &HeaderMatch) -> Msg {
    let msg = Msg::new(&HEADER_MATCHER)
        .set("name", &h.name)
        .set("invert_match", h.invert)
        .set("treat_missing_header_as_empty", h.missing_as_empty);
    match &h.condition {
        HeaderCondition::Present(p) => msg.set("present_match", *p),
        HeaderCondition::Value(v) => msg.set("string_match", write_string_match(v)),
        HeaderCondition::Range(start, end) => {
            msg.set("range_match", Msg::new(&INT64_RANGE).set("start", *start).set("end", *end))
        }
    }
}

pub(super) fn read_header_match(at: &At) -> HeaderMatch {
    let value = |pattern| HeaderCondition::Value(StringMatch { pattern, ignore_case: false });
    let condition = if let Some(m) = at.msg("string_match") {
        HeaderCondition::Value(read_string_match(&m))
    } else if let Some(r) = at.msg("range_match") {
        HeaderCondition::Range(r.i64("start"), r.i64("end"))
    } else if let Some(s) = at.opt_str("exact_match") {
        value(Pattern::Exact(s))
    } else if let Some(s) = at.opt_str("prefix_match") {
        value(Pattern::Prefix(s))
    } else if let Some(s) = at.opt_str("suffix_match") {
        value(Pattern::Suffix(s))
    } else if let Some(s) = at.opt_str("contains_match") {
        value(Pattern::Contains(s))
    } else if let Some(r) = at.msg("safe_regex_match") {
        value(Pattern::Regex(read_regex(&r)))
    } else {
        HeaderCondition::Present(at.opt_bool("present_match").unwrap_or(true))
    };
    HeaderMatch {
        name: lower(at.str("name")),
        condition,
        invert: at.bool("invert_match"),
        missing_as_empty: at.bool("treat_missing_header_as_empty"),
    }
}

pub(super) fn write_data_source(d: &DataSource) -> Msg {
    match d {
        DataSource::File(path) => Msg::new(&DATA_SOURCE).set("filename", path),
        DataSource::Bytes(b) => Msg::new(&DATA_SOURCE).set("inline_bytes", b.clone()),
    }
}

pub(super) fn read_data_source(at: &At) -> DataSource {
    if let Some(path) = at.opt_str("filename") {
        return DataSource::File(path);
    }
    if let Some(text) = at.opt_str("inline_string") {
        return DataSource::Bytes(bytes::Bytes::copy_from_slice(text.as_bytes()));
    }
    if let Some(b) = at.bytes("inline_bytes") {
        return DataSource::Bytes(b);
    }
    at.error("names no source");
    DataSource::Bytes(bytes::Bytes::new())
}
