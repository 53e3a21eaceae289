//! Filters with little to say. One row a field: `yes` is honoured, `fine` is harmless and says why, `no`
//! is refused.

use super::Enum;
use super::Message;
use super::core::REGEX_REWRITE;
use super::row::*;

pub static BUFFER: Message = Message::plain(
    "envoy.extensions.filters.http.buffer.v3.Buffer",
    &[yes(1, "max_request_bytes", UINT32_VALUE)],
);

pub static BUFFER_PER_ROUTE: Message = Message::plain(
    "envoy.extensions.filters.http.buffer.v3.BufferPerRoute",
    &[yes(1, "disabled", BOOL).choice(1), yes(2, "buffer", msg(&BUFFER)).choice(1)],
);

pub static HEADER_TO_METADATA: Message = Message::plain(
    "envoy.extensions.filters.http.header_to_metadata.v3.Config",
    &[
        yes(1, "request_rules", msg(&METADATA_RULE)).many(),
        no(2, "response_rules").many(),
        fine(3, "stat_prefix", "only names statistics"),
    ],
);

pub static METADATA_RULE: Message = Message::plain(
    "envoy.extensions.filters.http.header_to_metadata.v3.Config.Rule",
    &[
        yes(1, "header", STRING),
        yes(2, "on_header_present", msg(&METADATA_ENTRY)),
        yes(3, "on_header_missing", msg(&METADATA_ENTRY)),
        yes(4, "remove", BOOL),
        yes(5, "cookie", STRING),
    ],
);

pub static METADATA_ENTRY: Message = Message::plain(
    "envoy.extensions.filters.http.header_to_metadata.v3.Config.KeyValuePair",
    &[
        yes(1, "metadata_namespace", STRING),
        yes(2, "key", STRING),
        yes(3, "value", STRING),
        yes(4, "type", enumeration(&METADATA_VALUE_TYPE)),
        yes(5, "encode", enumeration(&METADATA_VALUE_ENCODE)),
        yes(6, "regex_value_rewrite", msg(&REGEX_REWRITE)),
    ],
);

pub static METADATA_VALUE_TYPE: Enum = Enum::new(
    "envoy.extensions.filters.http.header_to_metadata.v3.Config.ValueType",
    &[(0, "STRING"), (1, "NUMBER"), (2, "PROTOBUF_VALUE")],
);

pub static METADATA_VALUE_ENCODE: Enum = Enum::new(
    "envoy.extensions.filters.http.header_to_metadata.v3.Config.ValueEncode",
    &[(0, "NONE"), (1, "BASE64")],
);

/// Everything above, for look-up by name.
pub(super) static ALL: &[&Message] =
    &[&BUFFER, &BUFFER_PER_ROUTE, &HEADER_TO_METADATA, &METADATA_RULE, &METADATA_ENTRY];
