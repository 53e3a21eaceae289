//! Access logs, compiled: which requests are written, and the line.

use crate::Info;
use crate::format::{DEFAULT_LOG, Format};
use crate::matching::HeaderMatcher;
use base::{Env, Finding};
use ir::{AccessLog, Comparison, LogFilter, LogSink, Str};

/// A compiled [`AccessLog`].
#[derive(Debug)]
pub struct LogRule {
    pub sink: Sink,
    format: Format,
    filter: Option<Filter>,
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Sink {
    File(Str),
    Stdout,
    Stderr,
}

/// Which requests: a compiled [`LogFilter`].
#[derive(Debug)]
pub(crate) enum Filter {
    Status(Comparison, u64),
    Duration(Comparison, u64),
    NotHealthCheck,
    Flags(Vec<Str>),
    Header(HeaderMatcher),
    /// In parts of a million.
    Fraction(u32),
    And(Vec<Filter>),
    Or(Vec<Filter>),
}

impl LogRule {
    pub fn new(from: &AccessLog, path: &str, findings: &mut Vec<Finding>) -> Self {
        let (sink, format) = match &from.sink {
            LogSink::File { path, format } => match &**path {
                "/dev/stdout" => (Sink::Stdout, format),
                "/dev/stderr" => (Sink::Stderr, format),
                _ => (Sink::File(path.clone()), format),
            },
            LogSink::Stdout(format) => (Sink::Stdout, format),
            LogSink::Stderr(format) => (Sink::Stderr, format),
        };
        let at = format!("{path}.log_format");
        let format = Format::new(format, DEFAULT_LOG, &at, findings);
        let filter = from.filter.as_ref().map(|f| Filter::new(f, path, findings));
        Self { sink, format, filter }
    }

    /// Writes the line of a finished request or connection, if it is one that is logged.
    pub fn write(&self, info: &Info<'_>, env: &impl Env, out: &mut Vec<u8>) {
        if self.filter.as_ref().is_some_and(|f| !f.lets_pass(info, env)) {
            return;
        }
        self.format.write(info, out);
    }
}

impl Filter {
    pub fn new(from: &LogFilter, path: &str, findings: &mut Vec<Finding>) -> Self {
        let mut all = |list: &[LogFilter]| -> Vec<Filter> {
            list.iter().map(|f| Filter::new(f, path, findings)).collect()
        };
        match from {
            LogFilter::And(list) => Filter::And(all(list)),
            LogFilter::Or(list) => Filter::Or(all(list)),
            LogFilter::StatusCode { op, value } => Filter::Status(*op, u64::from(*value)),
            LogFilter::Duration { op, value_ms } => Filter::Duration(*op, u64::from(*value_ms)),
            LogFilter::NotHealthCheck => Filter::NotHealthCheck,
            LogFilter::ResponseFlags(names) => Filter::Flags(names.clone()),
            LogFilter::Header(m) => Filter::Header(HeaderMatcher::new(m, path, findings)),
            LogFilter::Runtime(fraction) => Filter::Fraction(fraction.per_million()),
        }
    }

    pub fn lets_pass(&self, info: &Info<'_>, env: &impl Env) -> bool {
        match self {
            Filter::Status(op, value) => compare(u64::from(info.stream.status), *op, *value),
            Filter::Duration(op, value) => {
                let took = info.stream.duration.unwrap_or_default().as_millis() as u64;
                compare(took, *op, *value)
            }
            Filter::NotHealthCheck => !info
                .request
                .and_then(|head| head.get(b"user-agent"))
                .is_some_and(|agent| agent.starts_with(b"Envoy/HC")),
            Filter::Flags(names) => info.stream.flags.any_of(names),
            Filter::Header(m) => info.request.is_some_and(|head| m.matches(head)),
            Filter::Fraction(fraction) => env.below(1_000_000) < u64::from(*fraction),
            Filter::And(list) => list.iter().all(|f| f.lets_pass(info, env)),
            Filter::Or(list) => list.iter().any(|f| f.lets_pass(info, env)),
        }
    }
}

fn compare(left: u64, op: Comparison, right: u64) -> bool {
    match op {
        Comparison::Equal => left == right,
        Comparison::GreaterOrEqual => left >= right,
        Comparison::LessOrEqual => left <= right,
        Comparison::NotEqual => left != right,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Flag, Stream};
    use base::FixedEnv;
    use ir::LogFormat;

    #[test]
    fn filters_choose_the_lines() {
        let status = |op, value| LogFilter::StatusCode { op, value };
        let mut stream = Stream { status: 503, ..Default::default() };
        stream.flags.set(Flag::NoHealthyUpstream);
        let table = [
            (status(Comparison::GreaterOrEqual, 500), true),
            (status(Comparison::Equal, 200), false),
            (LogFilter::ResponseFlags(vec!["UH".into()]), true),
            (LogFilter::ResponseFlags(vec!["NR".into()]), false),
            (
                LogFilter::And(vec![
                    status(Comparison::LessOrEqual, 400),
                    LogFilter::NotHealthCheck,
                ]),
                false,
            ),
            (
                LogFilter::Or(vec![
                    status(Comparison::LessOrEqual, 400),
                    LogFilter::NotHealthCheck,
                ]),
                true,
            ),
        ];
        for (filter, expected) in table {
            let log = AccessLog {
                sink: LogSink::Stdout(LogFormat::Text("%RESPONSE_CODE%\n".into())),
                filter: Some(filter.clone()),
            };
            let info = Info { request: None, response: None, stream: &stream };
            let mut out = Vec::new();
            LogRule::new(&log, "", &mut Vec::new()).write(&info, &FixedEnv::default(), &mut out);
            assert_eq!(out == b"503\n", expected, "{filter:?}");
        }
    }
}
