//! Compression of bodies. The older fields beside those of a direction say the same, where the direction is
//! not said.

use super::at::{At, Typed, number_of};
use super::unsupported;
use crate::message::{Msg, Val};
use crate::schema::*;
use ir::{Compressed, Compressor, HttpFilterConfig};

const LEVELS: &[(i32, Option<u32>)] = &[
    (0, None),
    (1, Some(1)),
    (2, Some(2)),
    (3, Some(3)),
    (4, Some(4)),
    (5, Some(5)),
    (6, Some(6)),
    (7, Some(7)),
    (8, Some(8)),
    (9, Some(9)),
];

pub(super) fn write(c: &Compressor) -> Msg {
    let gzip = Msg::new(&GZIP).set("compression_level", number_of(LEVELS, c.level));
    let library =
        Msg::new(&TYPED_EXTENSION_CONFIG).set("name", "gzip").set("typed_config", gzip.any());
    let responses = Msg::new(&COMPRESSOR_RESPONSES)
        .set("common_config", write_common(&c.responses))
        .set("disable_on_etag_header", c.disable_on_etag)
        .set("weaken_etag_on_compress", c.weaken_etag)
        .set("remove_accept_encoding_header", c.remove_accept_encoding)
        .set(
            "uncompressible_response_codes",
            Val::list(&c.uncompressible_codes, |n| u32::from(*n)),
        );
    let requests = |r| Msg::new(&COMPRESSOR_REQUESTS).set("common_config", write_common(r));
    Msg::new(&COMPRESSOR)
        .set("compressor_library", library)
        .set_opt("request_direction_config", c.requests.as_ref().map(requests))
        .set("response_direction_config", responses)
}

fn write_common(c: &Compressed) -> Msg {
    let flag = || Msg::new(&RUNTIME_FLAG).set("default_value", false).set("runtime_key", "unused");
    Msg::new(&COMPRESSOR_COMMON)
        .set_opt("enabled", c.disabled.then(flag))
        .set_opt("min_content_length", c.min_length)
        .set("content_type", Val::list(&c.content_types, |t| t))
}

pub(super) fn read(at: &At) -> Compressor {
    let older = Compressor {
        responses: Compressed {
            disabled: is_off(at, "runtime_enabled"),
            min_length: at.opt_u32("content_length"),
            content_types: at.strs("content_type"),
        },
        disable_on_etag: at.bool("disable_on_etag_header"),
        remove_accept_encoding: at.bool("remove_accept_encoding_header"),
        level: read_level(at),
        requests: at.msg("request_direction_config").map(|r| read_common(&r)),
        ..Compressor::default()
    };
    match at.msg("response_direction_config") {
        None => older,
        Some(responses) => Compressor {
            responses: read_common(&responses),
            disable_on_etag: responses.bool("disable_on_etag_header"),
            weaken_etag: responses.bool("weaken_etag_on_compress"),
            remove_accept_encoding: responses.bool("remove_accept_encoding_header"),
            uncompressible_codes: codes(&responses),
            ..older
        },
    }
}

fn codes(at: &At) -> Vec<u16> {
    let all = at.u32s("uncompressible_response_codes");
    let known: Vec<u16> = all.iter().filter_map(|n| u16::try_from(*n).ok()).collect();
    if known.len() < all.len() || known.iter().any(|n| !(200..600).contains(n)) {
        at.error_in("uncompressible_response_codes", "must be statuses from 200 to 599");
    }
    known
}

fn read_common(at: &At) -> Compressed {
    let read = |c: At| Compressed {
        disabled: is_off(&c, "enabled"),
        min_length: c.opt_u32("min_content_length"),
        content_types: c.strs("content_type"),
    };
    at.msg("common_config").map(read).unwrap_or_default()
}

fn is_off(at: &At, name: &str) -> bool {
    at.msg(name).and_then(|f| f.opt_bool("default_value")) == Some(false)
}

fn read_level(at: &At) -> Option<u32> {
    let Some(library) = at.msg("compressor_library") else {
        at.error_in("compressor_library", "is missing");
        return None;
    };
    library.str("name");
    match library.typed("typed_config") {
        Some(Typed::Known(t)) if t.is(&GZIP) => return t.pick("compression_level", LEVELS)?,
        Some(Typed::Known(t)) => unsupported(&t.path, t.ty()),
        Some(Typed::Unknown(url)) => unsupported(&library.path.field("typed_config"), url),
        None => library.error_in("typed_config", "is missing"),
    }
    None
}

pub(super) fn read_per_route(at: &At) -> HttpFilterConfig {
    if !at.bool("disabled") {
        at.error_in("disabled", "must be true");
    }
    HttpFilterConfig::Disabled
}
