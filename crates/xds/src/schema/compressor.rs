//! Compression by gzip. One row a field: `yes` is honoured, `fine` is harmless and says why, `no` is refused.

use super::authz::RUNTIME_FLAG;
use super::core::TYPED_EXTENSION_CONFIG;
use super::row::*;
use super::{Enum, Message};

pub static COMPRESSOR: Message = Message::plain(
    "envoy.extensions.filters.http.compressor.v3.Compressor",
    &[
        yes(1, "content_length", UINT32_VALUE),
        yes(2, "content_type", STRING).many(),
        yes(3, "disable_on_etag_header", BOOL),
        yes(4, "remove_accept_encoding_header", BOOL),
        yes(5, "runtime_enabled", msg(&RUNTIME_FLAG)),
        yes(6, "compressor_library", msg(&TYPED_EXTENSION_CONFIG)),
        yes(7, "request_direction_config", msg(&COMPRESSOR_REQUESTS)),
        yes(8, "response_direction_config", msg(&COMPRESSOR_RESPONSES)),
        fine(9, "choose_first", "there is one way to compress"),
    ],
);

pub static COMPRESSOR_COMMON: Message = Message::plain(
    "envoy.extensions.filters.http.compressor.v3.Compressor.CommonDirectionConfig",
    &[
        yes(1, "enabled", msg(&RUNTIME_FLAG)),
        yes(2, "min_content_length", UINT32_VALUE),
        yes(3, "content_type", STRING).many(),
        no(4, "content_type_matcher").many(),
    ],
);

pub static COMPRESSOR_REQUESTS: Message = Message::plain(
    "envoy.extensions.filters.http.compressor.v3.Compressor.RequestDirectionConfig",
    &[yes(1, "common_config", msg(&COMPRESSOR_COMMON))],
);

pub static COMPRESSOR_RESPONSES: Message = Message::plain(
    "envoy.extensions.filters.http.compressor.v3.Compressor.ResponseDirectionConfig",
    &[
        yes(1, "common_config", msg(&COMPRESSOR_COMMON)),
        yes(2, "disable_on_etag_header", BOOL),
        yes(3, "remove_accept_encoding_header", BOOL),
        yes(4, "uncompressible_response_codes", UINT32).many(),
        no(5, "status_header_enabled"),
        yes(6, "weaken_etag_on_compress", BOOL),
    ],
);

pub static COMPRESSOR_PER_ROUTE: Message = Message::plain(
    "envoy.extensions.filters.http.compressor.v3.CompressorPerRoute",
    &[yes(1, "disabled", BOOL).choice(1), no(2, "overrides").choice(1)],
);

pub static GZIP: Message = Message::plain(
    "envoy.extensions.compression.gzip.compressor.v3.Gzip",
    &[
        fine(1, "memory_level", "how much is spent on compressing is the library's own"),
        yes(2, "compression_level", enumeration(&GZIP_LEVEL)),
        fine(3, "compression_strategy", "the library has one"),
        fine(4, "window_bits", "the library has one window"),
        fine(5, "chunk_size", "pieces are as they come"),
    ],
);

pub static GZIP_LEVEL: Enum = Enum::new(
    "envoy.extensions.compression.gzip.compressor.v3.Gzip.CompressionLevel",
    &[
        (0, "DEFAULT_COMPRESSION"),
        (1, "BEST_SPEED"),
        (1, "COMPRESSION_LEVEL_1"),
        (2, "COMPRESSION_LEVEL_2"),
        (3, "COMPRESSION_LEVEL_3"),
        (4, "COMPRESSION_LEVEL_4"),
        (5, "COMPRESSION_LEVEL_5"),
        (6, "COMPRESSION_LEVEL_6"),
        (7, "COMPRESSION_LEVEL_7"),
        (8, "COMPRESSION_LEVEL_8"),
        (9, "COMPRESSION_LEVEL_9"),
        (9, "BEST_COMPRESSION"),
    ],
);

/// Everything above, for look-up by name.
pub(super) static ALL: &[&Message] = &[
    &COMPRESSOR,
    &COMPRESSOR_COMMON,
    &COMPRESSOR_REQUESTS,
    &COMPRESSOR_RESPONSES,
    &COMPRESSOR_PER_ROUTE,
    &GZIP,
];
