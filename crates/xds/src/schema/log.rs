//! Access logs (`envoy.config.accesslog.v3` and the sinks). One row a field: `yes` is honoured, `fine` is
//! harmless and says why, `no` is refused.

use super::core::{DATA_SOURCE, FRACTIONAL_PERCENT, RUNTIME_UINT32};
use super::route::HEADER_MATCHER;
use super::row::*;
use super::{Enum, Message};

pub static ACCESS_LOG: Message = Message::plain(
    "envoy.config.accesslog.v3.AccessLog",
    &[
        fine(1, "name", "a label; the type decides").of(STRING),
        yes(2, "filter", msg(&ACCESS_LOG_FILTER)),
        yes(4, "typed_config", ANY).choice(1),
    ],
);

pub static ACCESS_LOG_FILTER: Message = Message::plain(
    "envoy.config.accesslog.v3.AccessLogFilter",
    &[
        yes(1, "status_code_filter", msg(&STATUS_CODE_FILTER)).choice(1),
        yes(2, "duration_filter", msg(&DURATION_FILTER)).choice(1),
        yes(3, "not_health_check_filter", msg(&NOT_HEALTH_CHECK_FILTER)).choice(1),
        no(4, "traceable_filter").choice(1),
        yes(5, "runtime_filter", msg(&RUNTIME_FILTER)).choice(1),
        yes(6, "and_filter", msg(&AND_FILTER)).choice(1),
        yes(7, "or_filter", msg(&OR_FILTER)).choice(1),
        yes(8, "header_filter", msg(&HEADER_FILTER)).choice(1),
        yes(9, "response_flag_filter", msg(&RESPONSE_FLAG_FILTER)).choice(1),
        no(10, "grpc_status_filter").choice(1),
        no(11, "extension_filter").choice(1),
        no(12, "metadata_filter").choice(1),
        no(13, "log_type_filter").choice(1),
    ],
);

pub static STATUS_CODE_FILTER: Message = Message::plain(
    "envoy.config.accesslog.v3.StatusCodeFilter",
    &[yes(1, "comparison", msg(&COMPARISON_FILTER))],
);

pub static DURATION_FILTER: Message = Message::plain(
    "envoy.config.accesslog.v3.DurationFilter",
    &[yes(1, "comparison", msg(&COMPARISON_FILTER))],
);

pub static NOT_HEALTH_CHECK_FILTER: Message =
    Message::plain("envoy.config.accesslog.v3.NotHealthCheckFilter", &[]);

pub static RESPONSE_FLAG_FILTER: Message = Message::plain(
    "envoy.config.accesslog.v3.ResponseFlagFilter",
    &[yes(1, "flags", STRING).many()],
);

pub static HEADER_FILTER: Message = Message::plain(
    "envoy.config.accesslog.v3.HeaderFilter",
    &[yes(1, "header", msg(&HEADER_MATCHER))],
);

pub static RUNTIME_FILTER: Message = Message::plain(
    "envoy.config.accesslog.v3.RuntimeFilter",
    &[
        fine(1, "runtime_key", "runtime is not read; the default counts").of(STRING),
        yes(2, "percent_sampled", msg(&FRACTIONAL_PERCENT)),
        fine(3, "use_independent_randomness", "every decision is independent"),
    ],
);

pub static AND_FILTER: Message = Message::plain(
    "envoy.config.accesslog.v3.AndFilter",
    &[yes(1, "filters", msg(&ACCESS_LOG_FILTER)).many()],
);

pub static OR_FILTER: Message = Message::plain(
    "envoy.config.accesslog.v3.OrFilter",
    &[yes(2, "filters", msg(&ACCESS_LOG_FILTER)).many()],
);

pub static COMPARISON_FILTER: Message = Message::plain(
    "envoy.config.accesslog.v3.ComparisonFilter",
    &[yes(1, "op", enumeration(&COMPARISON_FILTER_OP)), yes(2, "value", msg(&RUNTIME_UINT32))],
);

pub static FILE_ACCESS_LOG: Message = Message::plain(
    "envoy.extensions.access_loggers.file.v3.FileAccessLog",
    &[
        yes(1, "path", STRING),
        yes(2, "format", STRING).choice(1),
        yes(3, "json_format", STRUCT).choice(1),
        yes(4, "typed_json_format", STRUCT).choice(1),
        yes(5, "log_format", msg(&SUBSTITUTION_FORMAT)).choice(1),
    ],
);

pub static STDOUT_ACCESS_LOG: Message = Message::plain(
    "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
    &[yes(1, "log_format", msg(&SUBSTITUTION_FORMAT)).choice(1)],
);

pub static STDERR_ACCESS_LOG: Message = Message::plain(
    "envoy.extensions.access_loggers.stream.v3.StderrAccessLog",
    &[yes(1, "log_format", msg(&SUBSTITUTION_FORMAT)).choice(1)],
);

pub static SUBSTITUTION_FORMAT: Message = Message::plain(
    "envoy.config.core.v3.SubstitutionFormatString",
    &[
        yes(1, "text_format", STRING).choice(1),
        yes(2, "json_format", STRUCT).choice(1),
        no(3, "omit_empty_values"),
        yes(4, "content_type", STRING),
        yes(5, "text_format_source", msg(&DATA_SOURCE)).choice(1),
        no(6, "formatters").many(),
        no(7, "json_format_options"),
    ],
);

pub static COMPARISON_FILTER_OP: Enum = Enum::new(
    "envoy.config.accesslog.v3.ComparisonFilter.Op",
    &[(0, "EQ"), (1, "GE"), (2, "LE"), (3, "NE")],
);

/// Everything above, for look-up by name.
pub(super) static ALL: &[&Message] = &[
    &ACCESS_LOG,
    &ACCESS_LOG_FILTER,
    &STATUS_CODE_FILTER,
    &DURATION_FILTER,
    &NOT_HEALTH_CHECK_FILTER,
    &RESPONSE_FLAG_FILTER,
    &HEADER_FILTER,
    &RUNTIME_FILTER,
    &AND_FILTER,
    &OR_FILTER,
    &COMPARISON_FILTER,
    &FILE_ACCESS_LOG,
    &STDOUT_ACCESS_LOG,
    &STDERR_ACCESS_LOG,
    &SUBSTITUTION_FORMAT,
];
