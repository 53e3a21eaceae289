//! What becomes of answers that do not come from an upstream.

use super::at::At;
use super::common::{read_header_add, write_header_add};
use super::log::{read_filter, read_inline, read_substitution, write_filter, write_format};
use crate::message::{Msg, Val};
use crate::schema::*;
use ir::{BodyFormat, LocalReply, LogFormat, ReplyMapper};

pub(super) fn write(l: &LocalReply) -> Msg {
    Msg::new(&LOCAL_REPLY_CONFIG)
        .set("mappers", Val::list(&l.mappers, write_mapper))
        .set_opt("body_format", l.format.as_ref().map(write_body))
}

fn write_mapper(m: &ReplyMapper) -> Msg {
    let inline = |text| Msg::new(&DATA_SOURCE).set("inline_string", text);
    Msg::new(&RESPONSE_MAPPER)
        .set("filter", write_filter(&m.filter))
        .set_opt("status_code", m.status.map(u32::from))
        .set_opt("body", m.body.as_ref().map(inline))
        .set_opt("body_format_override", m.format.as_ref().map(write_body))
        .set("headers_to_add", Val::list(&m.headers, write_header_add))
}

fn write_body(b: &BodyFormat) -> Msg {
    let format = write_format(&b.format).unwrap_or_else(|| Msg::new(&SUBSTITUTION_FORMAT));
    format.set("content_type", &b.content_type)
}

pub(super) fn read(at: &At) -> LocalReply {
    LocalReply {
        mappers: at.each("mappers", read_mapper).into_iter().flatten().collect(),
        format: at.msg("body_format").map(|f| read_body(&f)),
    }
}

fn read_mapper(at: &At) -> Option<ReplyMapper> {
    let Some(filter) = at.msg("filter") else {
        at.error_in("filter", "is missing");
        return None;
    };
    let status = at.opt_u32("status_code");
    let known = status.and_then(|s| u16::try_from(s).ok()).filter(|s| (200..600).contains(s));
    if status.is_some() && known.is_none() {
        at.error_in("status_code", "must be a status from 200 to 599");
    }
    Some(ReplyMapper {
        filter: read_filter(&filter)?,
        status: known,
        body: at.msg("body").map(|b| read_inline(&b)),
        format: at.msg("body_format_override").map(|f| read_body(&f)),
        headers: at.each("headers_to_add", read_header_add),
    })
}

fn read_body(at: &At) -> BodyFormat {
    let format = read_substitution(at);
    if format == LogFormat::Default {
        at.error("says nothing of how a body is written");
    }
    BodyFormat { format, content_type: at.str("content_type") }
}
