//! Filters with little to say.

use super::at::{At, number_of};
use super::common::{lower, read_regex_rewrite, write_regex_rewrite};
use crate::message::{Msg, Val};
use crate::schema::*;
use ir::{HeaderToMetadata, HttpFilterConfig, MetadataEntry, MetadataRule, MetadataSource};

pub(super) fn write_buffer(max: u32) -> Msg {
    Msg::new(&BUFFER).set("max_request_bytes", max)
}

pub(super) fn write_buffer_per_route(max: u32) -> Msg {
    Msg::new(&BUFFER_PER_ROUTE).set("buffer", write_buffer(max))
}

pub(super) fn read_buffer(at: &At) -> HttpFilterConfig {
    let max = at.u32("max_request_bytes");
    if max == 0 {
        at.error_in("max_request_bytes", "must be more than 0");
    }
    HttpFilterConfig::Buffer(max)
}

pub(super) fn read_buffer_per_route(at: &At) -> HttpFilterConfig {
    match at.msg("buffer").filter(|_| !at.bool("disabled")) {
        Some(buffer) => read_buffer(&buffer),
        None => HttpFilterConfig::Disabled,
    }
}

pub(super) fn write_to_metadata(config: &HeaderToMetadata) -> Msg {
    Msg::new(&HEADER_TO_METADATA).set("request_rules", Val::list(&config.rules, write_rule))
}

pub(super) fn read_to_metadata(at: &At) -> HeaderToMetadata {
    HeaderToMetadata { rules: at.each("request_rules", read_rule) }
}

fn write_rule(rule: &MetadataRule) -> Msg {
    let msg = Msg::new(&METADATA_RULE);
    let msg = match &rule.from {
        MetadataSource::Header(name) => msg.set("header", name),
        MetadataSource::Cookie(name) => msg.set("cookie", name),
    };
    msg.set_opt("on_header_present", rule.present.as_ref().map(write_entry))
        .set_opt("on_header_missing", rule.missing.as_ref().map(write_entry))
        .set("remove", rule.remove)
}

fn read_rule(at: &At) -> MetadataRule {
    let (header, cookie) = (at.str("header"), at.str("cookie"));
    if header.is_empty() == cookie.is_empty() {
        at.error("must name either a header or a cookie");
    }
    MetadataRule {
        from: match cookie.is_empty() {
            true => MetadataSource::Header(lower(header)),
            false => MetadataSource::Cookie(cookie),
        },
        present: at.msg("on_header_present").map(|e| read_entry(&e)),
        missing: at.msg("on_header_missing").map(|e| read_entry(&e)),
        remove: at.bool("remove"),
    }
}

const TYPES: &[(i32, bool)] = &[(0, false), (1, true)];

fn write_entry(entry: &MetadataEntry) -> Msg {
    Msg::new(&METADATA_ENTRY)
        .set("metadata_namespace", &entry.namespace)
        .set("key", &entry.key)
        .set("value", &entry.value)
        .set("type", number_of(TYPES, entry.number))
        .set("encode", number_of(TYPES, entry.base64))
        .set_opt("regex_value_rewrite", entry.rewrite.as_ref().map(write_regex_rewrite))
}

fn read_entry(at: &At) -> MetadataEntry {
    MetadataEntry {
        namespace: at.str("metadata_namespace"),
        key: at.str("key"),
        value: at.str("value"),
        number: at.pick("type", TYPES).unwrap_or_default(),
        base64: at.pick("encode", TYPES).unwrap_or_default(),
        rewrite: at.msg("regex_value_rewrite").map(|r| read_regex_rewrite(&r)),
    }
}
