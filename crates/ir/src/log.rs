//! Access logs (`envoy.config.accesslog.v3`).

use crate::{Fraction, HeaderMatch, Str, Value};

#[derive(Clone, Debug, PartialEq)]
pub struct AccessLog {
    pub sink: LogSink,
    pub filter: Option<LogFilter>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum LogSink {
    File { path: Str, format: LogFormat },
    Stdout(LogFormat),
    Stderr(LogFormat),
}

/// `SubstitutionFormatString`.
#[derive(Clone, Debug, PartialEq)]
pub enum LogFormat {
    /// Envoy's default line.
    Default,
    Text(Str),
    /// A struct whose leaves are format strings.
    Json(Value),
}

#[derive(Clone, Debug, PartialEq)]
pub enum LogFilter {
    StatusCode {
        op: Comparison,
        value: u32,
    },
    Duration {
        op: Comparison,
        value_ms: u32,
    },
    NotHealthCheck,
    /// Any of these flags; empty means any flag at all.
    ResponseFlags(Vec<Str>),
    Header(HeaderMatch),
    Runtime(Fraction),
    And(Vec<LogFilter>),
    Or(Vec<LogFilter>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Comparison {
    Equal,
    GreaterOrEqual,
    LessOrEqual,
    NotEqual,
}
