//! Whether a failed attempt is tried again, and how long to wait before.

use crate::matching::HeaderMatcher;
use base::{Env, Finding};
use ir::RetryPolicy;
use std::time::Duration;
use wire::{Head, Request, RequestHead, Response};

/// Compiled [`RetryPolicy`]; the default retries nothing.
#[derive(Debug, Default)]
pub struct RetryRules {
    on: Conditions,
    retries: u32,
    pub per_try: Option<Duration>,
    pub per_try_idle: Option<Duration>,
    statuses: Vec<u32>,
    headers: Vec<HeaderMatcher>,
    base: Option<Duration>,
    max: Option<Duration>,
    /// Rather not the endpoints that were tried already.
    pub avoid_previous: bool,
    pub attempts_to_avoid: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Conditions(u32);

const CONDITIONS: [(&str, u32); 16] = [
    ("5xx", S5XX),
    ("gateway-error", GATEWAY),
    ("reset", RESET),
    ("reset-before-request", RESET_BEFORE),
    ("connect-failure", CONNECT),
    ("envoy-ratelimited", LIMITED),
    ("retriable-4xx", S4XX),
    ("refused-stream", REFUSED),
    ("retriable-status-codes", STATUSES),
    ("retriable-headers", HEADERS),
    ("http3-post-connect-failure", 0),
    ("cancelled", GRPC_CANCELLED),
    ("deadline-exceeded", GRPC_DEADLINE),
    ("internal", GRPC_INTERNAL),
    ("resource-exhausted", GRPC_EXHAUSTED),
    ("unavailable", GRPC_UNAVAILABLE),
];
const S5XX: u32 = 1;
const GATEWAY: u32 = 1 << 1;
const RESET: u32 = 1 << 2;
const RESET_BEFORE: u32 = 1 << 3;
const CONNECT: u32 = 1 << 4;
const LIMITED: u32 = 1 << 5;
const S4XX: u32 = 1 << 6;
const REFUSED: u32 = 1 << 7;
const STATUSES: u32 = 1 << 8;
const HEADERS: u32 = 1 << 9;
const GRPC_CANCELLED: u32 = 1 << 10;
const GRPC_DEADLINE: u32 = 1 << 11;
const GRPC_INTERNAL: u32 = 1 << 12;
const GRPC_EXHAUSTED: u32 = 1 << 13;
const GRPC_UNAVAILABLE: u32 = 1 << 14;

/// How an attempt ended without a response head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection came about.
    Connect,
    /// The connection broke; `sent`: after the request was sent.
    Reset { sent: bool },
    /// The endpoint refused the stream before looking at it (HTTP/2).
    Refused,
    /// The time for one attempt is over.
    PerTryTimeout,
    /// A limit of the cluster is reached: more of the same would not help.
    Overflow,
}

impl RetryRules {
    pub fn new(from: Option<&RetryPolicy>, path: &str, findings: &mut Vec<Finding>) -> Self {
        let Some(from) = from else { return Self::default() };
        let at = format!("{path}.retry_policy");
        let mut on = Conditions::default();
        for name in &from.on {
            on.add(name, &at, findings);
        }
        let headers = from.retriable_headers.iter();
        Self {
            on,
            retries: from.num_retries.unwrap_or(1),
            per_try: from.per_try_timeout,
            per_try_idle: from.per_try_idle_timeout,
            statuses: from.retriable_status_codes.clone(),
            headers: headers.map(|h| HeaderMatcher::new(h, &at, findings)).collect(),
            base: from.backoff.map(|b| b.base),
            max: from.backoff.and_then(|b| b.max),
            avoid_previous: from.avoid_previous_hosts,
            attempts_to_avoid: u32::try_from(from.host_selection_max_attempts).unwrap_or(1),
        }
    }

    /// The retries of one request. Request headers may ask for more (`x-envoy-retry-on` and its
    /// kin); they are taken out, since they are for this proxy only.
    pub fn begin(&self, request: &mut Request) -> Retries<'_> {
        let mut on = self.on;
        let mut left = self.retries;
        for name in [&b"x-envoy-retry-on"[..], b"x-envoy-retry-grpc-on"] {
            if let Some(value) = request.get(name) {
                let value = String::from_utf8_lossy(value).into_owned();
                for condition in value.split(',') {
                    on.add(condition.trim(), "", &mut Vec::new());
                }
                left = left.max(1);
                request.fields.remove(name);
            }
        }
        if let Some(n) = number(request, b"x-envoy-max-retries") {
            left = u32::try_from(n).unwrap_or(u32::MAX);
            request.fields.remove(b"x-envoy-max-retries");
        }
        let left = if on.0 == 0 { 0 } else { left };
        Retries { rules: self, on, left, limit: left }
    }

    /// A random wait before retry number `n`, counted from 1.
    pub fn wait(&self, n: u32, env: &impl Env) -> Duration {
        let base = self.base.unwrap_or(Duration::from_millis(25));
        let max = self.max.unwrap_or(base * 10);
        let bound = base.saturating_mul(1 << (n - 1).min(16)).min(max);
        Duration::from_nanos(env.below(bound.as_nanos() as u64))
    }
}

impl Conditions {
    fn add(&mut self, name: &str, path: &str, findings: &mut Vec<Finding>) {
        match CONDITIONS.iter().find(|(known, _)| *known == name) {
            Some((_, bit)) => self.0 |= bit,
            None => findings.push(Finding::warning(
                path,
                format!("retry condition '{name}' is unknown and has no effect"),
            )),
        }
    }

    fn any(self, bits: u32) -> bool {
        self.0 & bits != 0
    }
}

/// The retries that one request has left.
#[derive(Clone, Copy, Debug)]
pub struct Retries<'t> {
    rules: &'t RetryRules,
    on: Conditions,
    left: u32,
    limit: u32,
}

impl<'t> Retries<'t> {
    pub fn rules(&self) -> &'t RetryRules {
        self.rules
    }

    pub fn enabled(&self) -> bool {
        self.left > 0
    }

    /// How many retries were made, after taking one more.
    pub fn take(&mut self) -> u32 {
        self.left = self.left.saturating_sub(1);
        self.limit - self.left
    }

    /// Whether such a failure is of a kind that is retried.
    pub fn covers_failure(&self, failure: Failure) -> bool {
        let any_reset = self.on.any(S5XX | GATEWAY | RESET);
        match failure {
            Failure::Connect => any_reset || self.on.any(CONNECT),
            Failure::Reset { sent } => any_reset || (!sent && self.on.any(RESET_BEFORE)),
            Failure::Refused => any_reset || self.on.any(REFUSED),
            Failure::PerTryTimeout => any_reset,
            Failure::Overflow => false,
        }
    }

    /// Whether such an answer is of a kind that is retried.
    pub fn covers_response(&self, response: &Response) -> bool {
        if self.on.0 == 0 {
            return false;
        }
        if response.get(b"x-envoy-ratelimited").is_some() {
            return self.on.any(LIMITED);
        }
        let status = response.status;
        (self.on.any(S5XX) && status >= 500)
            || (self.on.any(GATEWAY) && matches!(status, 502..=504))
            || (self.on.any(S4XX) && status == 409)
            || (self.on.any(STATUSES) && self.rules.statuses.contains(&u32::from(status)))
            || (self.on.any(HEADERS) && self.covers_headers(response))
            || self.covers_grpc(response)
    }

    fn covers_headers(&self, response: &Response) -> bool {
        self.rules.headers.iter().any(|h| h.matches(&AsRequest(response)))
    }

    fn covers_grpc(&self, response: &Response) -> bool {
        let bit = match response.get(b"grpc-status") {
            Some(b"1") => GRPC_CANCELLED,
            Some(b"4") => GRPC_DEADLINE,
            Some(b"8") => GRPC_EXHAUSTED,
            Some(b"13") => GRPC_INTERNAL,
            Some(b"14") => GRPC_UNAVAILABLE,
            _ => return false,
        };
        self.on.any(bit)
    }
}

/// A response seen by a header matcher: it has no method, path or host.
struct AsRequest<'a>(&'a Response);

impl Head for AsRequest<'_> {
    fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.0.get(name)
    }
    fn each_value(&self, name: &[u8], each: &mut dyn FnMut(&[u8])) {
        self.0.each_value(name, each);
    }
}

impl RequestHead for AsRequest<'_> {
    fn method(&self) -> &[u8] {
        b""
    }
    fn path(&self) -> &[u8] {
        b""
    }
    fn authority(&self) -> &[u8] {
        b""
    }
    fn scheme(&self) -> &[u8] {
        b""
    }
}

fn number(request: &Request, name: &[u8]) -> Option<u64> {
    std::str::from_utf8(request.get(name)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::FixedEnv;

    fn rules(on: &str) -> RetryRules {
        let policy = RetryPolicy {
            on: on.split(',').map(Into::into).collect(),
            num_retries: Some(2),
            retriable_status_codes: vec![418],
            ..Default::default()
        };
        RetryRules::new(Some(&policy), "", &mut Vec::new())
    }

    #[test]
    fn istios_default_conditions() {
        let rules = rules("connect-failure,refused-stream,unavailable,cancelled");
        let mut request = Request::default();
        let retries = rules.begin(&mut request);
        let table = [
            (Failure::Connect, true),
            (Failure::Refused, true),
            (Failure::Reset { sent: false }, false),
            (Failure::Reset { sent: true }, false),
            (Failure::PerTryTimeout, false),
            (Failure::Overflow, false),
        ];
        for (failure, expected) in table {
            assert_eq!(retries.covers_failure(failure), expected, "{failure:?}");
        }
        assert!(!retries.covers_response(&Response::new(503)));
        let mut unavailable = Response::new(200);
        unavailable.fields.push(b"grpc-status", b"14");
        assert!(retries.covers_response(&unavailable));
    }

    #[test]
    fn what_overflows_is_never_tried_again() {
        let rules = rules("5xx,gateway-error,reset,reset-before-request,connect-failure");
        let retries = rules.begin(&mut Request::default());
        assert!(retries.covers_failure(Failure::Reset { sent: true }));
        assert!(!retries.covers_failure(Failure::Overflow));
    }

    #[test]
    fn conditions_on_statuses() {
        let table = [
            ("5xx", 500, true),
            ("gateway-error", 500, false),
            ("gateway-error", 504, true),
            ("retriable-4xx", 409, true),
            ("retriable-status-codes", 418, true),
            ("retriable-status-codes", 500, false),
            ("reset", 503, false),
        ];
        for (on, status, expected) in table {
            let rules = rules(on);
            let retries = rules.begin(&mut Request::default());
            assert_eq!(retries.covers_response(&Response::new(status)), expected, "{on} {status}");
        }
    }

    #[test]
    fn retries_run_out_and_waits_grow() {
        let rules = rules("5xx");
        let mut retries = rules.begin(&mut Request::default());
        assert_eq!((retries.enabled(), retries.take(), retries.take()), (true, 1, 2));
        assert!(!retries.enabled());
        let env = FixedEnv::seeded(1);
        for n in 1..20 {
            let bound = Duration::from_millis((25 << (n - 1).min(10)).min(250));
            assert!(rules.wait(n, &env) < bound);
        }
    }
}
