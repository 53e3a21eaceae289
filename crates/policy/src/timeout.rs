//! How long a request may take: what its route says, what its head asks for, and what the upstream is
//! told of it.

use crate::local::is_grpc;
use crate::retry::RetryRules;
use ir::{Forward, GrpcTimeout, MaxStream};
use std::time::Duration;
use wire::{Head, Request};

/// What a route says about time.
#[derive(Clone, Debug, Default)]
pub struct TimeRules {
    whole: Option<Duration>,
    stream: Option<MaxStream>,
    grpc: Option<GrpcTimeout>,
}

impl TimeRules {
    pub fn new(from: &Forward) -> Self {
        Self {
            whole: from.timeout,
            stream: from.max_stream.clone(),
            grpc: from.grpc_timeout.clone(),
        }
    }

    /// How long the client may wait for the whole answer, without a word of its own about it.
    fn whole(&self, request: &Request) -> Option<Duration> {
        if self.stream.is_some() {
            // Envoy leaves the time to the limit of the stream then.
            return None;
        }
        match self.grpc.as_ref().and_then(|g| Some((g.max?, g.offset))) {
            Some((max, offset)) if is_grpc(request) => grpc_time(request, max, offset),
            _ => nonzero(self.whole.unwrap_or(DEFAULT_TIMEOUT)),
        }
    }

    /// How long the stream may live; `connection`: any stream of the connection.
    fn stream(&self, request: &Request, connection: Option<Duration>) -> Option<Duration> {
        let Some(limit) = &self.stream else { return connection.and_then(nonzero) };
        match (asked(request), limit.grpc_timeout_header_max) {
            (Some(asked), Some(max)) => {
                let time = nonzero(max).map_or(asked, |max| asked.min(max));
                Some(time.saturating_sub(limit.grpc_timeout_header_offset.unwrap_or_default()))
            }
            _ => limit.max_stream_duration.or(connection).and_then(nonzero),
        }
    }
}

/// The limits of one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    pub whole: Option<Duration>,
    pub per_try: Option<Duration>,
    /// From the request's head to the end of the answer, whatever the upstream does.
    pub stream: Option<Duration>,
    /// Which headers tell the upstream.
    told: Told,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Told {
    envoy: bool,
    grpc: bool,
}

/// The timeout of a route that names none.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(15);

impl Timeouts {
    /// From the route and from request headers, which are taken out. `connection` is the limit for streams of the client's connection.
    pub fn begin(
        route: &TimeRules,
        rules: &RetryRules,
        connection: Option<Duration>,
        request: &mut Request,
        envoy_headers: bool,
    ) -> Self {
        let stream = route.stream(request, connection);
        let mut whole = route.whole(request);
        let mut per_try = rules.per_try.and_then(nonzero);
        for (name, place) in [
            (&b"x-envoy-upstream-rq-timeout-ms"[..], &mut whole),
            (b"x-envoy-upstream-rq-per-try-timeout-ms", &mut per_try),
        ] {
            if let Some(ms) = number(request, name) {
                *place = nonzero(Duration::from_millis(ms));
                request.fields.remove(name);
            }
        }
        if whole.is_some_and(|w| per_try.is_some_and(|p| p >= w)) {
            per_try = None;
        }
        let old = route.stream.is_none() && route.grpc.as_ref().is_some_and(|g| g.max.is_some());
        let told = Told { envoy: envoy_headers, grpc: old && is_grpc(request) };
        Self { whole, per_try, stream, told }
    }

    /// Tells the upstream how long it may take, after so much of the time has passed.
    pub fn tell(&self, request: &mut Request, passed: Duration) {
        let Some(expected) = self.per_try.or(self.whole) else { return };
        // Zero would mean without limit.
        let least = Duration::from_millis(1);
        let left = self.whole.map_or(expected, |w| w.saturating_sub(passed).max(least));
        let expected = expected.min(left);
        if self.told.envoy {
            let mut digits = Vec::with_capacity(8);
            crate::format::number(expected.as_millis() as u64, &mut digits);
            request.fields.set(b"x-envoy-expected-rq-timeout-ms", &digits);
        }
        if self.told.grpc {
            request.fields.set(b"grpc-timeout", written(expected).as_bytes());
        }
    }
}

fn nonzero(d: Duration) -> Option<Duration> {
    (!d.is_zero()).then_some(d)
}

/// The older rules: what is asked for, less the offset if something is left of it, at most `max`.
fn grpc_time(request: &Request, max: Duration, offset: Option<Duration>) -> Option<Duration> {
    let asked = asked(request).and_then(nonzero);
    let asked = asked.map(|a| offset.filter(|o| *o < a).map_or(a, |o| a - o));
    match (asked, nonzero(max)) {
        (Some(asked), Some(max)) => Some(asked.min(max)),
        (asked, max) => asked.or(max),
    }
}

/// `grpc-timeout`: at most eight digits and a unit.
fn asked(request: &Request) -> Option<Duration> {
    let text = std::str::from_utf8(request.get(b"grpc-timeout")?).ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let n: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(n * 3600),
        "M" => Duration::from_secs(n * 60),
        "S" => Duration::from_secs(n),
        "m" => Duration::from_millis(n),
        // Less than a millisecond counts as one, since zero is no limit.
        "u" => Duration::from_millis(n.div_ceil(1000)),
        "n" => Duration::from_millis(n.div_ceil(1_000_000)),
        _ => return None,
    })
}

/// A time as gRPC writes it.
fn written(time: Duration) -> String {
    const MOST: u64 = 99_999_999;
    let (ms, seconds) = (time.as_millis() as u64, time.as_secs());
    match (ms, seconds) {
        (ms, _) if ms <= MOST => format!("{ms}m"),
        (_, s) if s <= MOST => format!("{s}S"),
        (_, s) => format!("{}M", (s / 60).min(MOST)),
    }
}

fn number(request: &Request, name: &[u8]) -> Option<u64> {
    std::str::from_utf8(request.get(name)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ir::Destination;

    const HEADER: &[u8] = b"x-envoy-upstream-rq-timeout-ms";

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn timeouts_come_from_the_route_or_the_request() {
        let table = [
            (None, None, None, Some(15_000), "15000"),
            (Some(ms(0)), None, None, None, ""),
            (Some(ms(300)), Some(ms(100)), None, Some(300), "100"),
            (Some(ms(300)), Some(ms(300)), None, Some(300), "300"),
            (Some(ms(300)), None, Some("70"), Some(70), "70"),
        ];
        for (route, per_try, asked, whole, expected) in table {
            let mut rules = RetryRules::default();
            rules.per_try = per_try;
            let mut request = Request::default();
            if let Some(asked) = asked {
                request.fields.push(HEADER, asked.as_bytes());
            }
            let route = TimeRules { whole: route, ..Default::default() };
            let timeouts = Timeouts::begin(&route, &rules, None, &mut request, true);
            timeouts.tell(&mut request, Duration::ZERO);
            assert_eq!(timeouts.whole, whole.map(ms));
            let told = request.get(b"x-envoy-expected-rq-timeout-ms").unwrap_or_default();
            assert_eq!(told, expected.as_bytes());
            assert_eq!(request.get(HEADER), None);
        }
    }

    /// `(max, asked, content type)` by the older fields, then what holds and what the upstream is told.
    #[test]
    fn grpc_requests_say_how_long_they_may_take() {
        let grpc = "application/grpc";
        let table = [
            (300, "100m", grpc, Some(100), "100m"),
            (300, "5S", grpc, Some(300), "300m"),
            (0, "2M", grpc, Some(120_000), "120000m"),
            (300, "", grpc, Some(300), "300m"),
            (0, "", grpc, None, ""),
            (300, "100m", "text/plain", Some(700), "100m"),
            (300, "100x", grpc, Some(300), "300m"),
            (300, "123456789m", grpc, Some(300), "300m"),
        ];
        for (max, asked, kind, whole, told) in table {
            let mut forward = Forward::to(Destination::Cluster("c".into()));
            forward.timeout = Some(ms(700));
            forward.grpc_timeout = Some(GrpcTimeout { max: Some(ms(max)), offset: None });
            let mut request = Request::default();
            request.fields.push(b"content-type", kind.as_bytes());
            if !asked.is_empty() {
                request.fields.push(b"grpc-timeout", asked.as_bytes());
            }
            let rules = RetryRules::default();
            let route = TimeRules::new(&forward);
            let timeouts = Timeouts::begin(&route, &rules, None, &mut request, true);
            timeouts.tell(&mut request, Duration::ZERO);
            assert_eq!(timeouts.whole, whole.map(ms), "{asked} {kind}");
            let header = request.get(b"grpc-timeout").unwrap_or_default();
            assert_eq!(String::from_utf8_lossy(header), told);
        }
    }

    #[test]
    fn a_retry_has_what_is_left_of_the_time() {
        let route = TimeRules { whole: Some(ms(300)), ..Default::default() };
        let mut request = Request::default();
        let rules = RetryRules::default();
        let timeouts = Timeouts::begin(&route, &rules, None, &mut request, true);
        for (passed, told) in [(0, "300"), (100, "200"), (400, "1")] {
            timeouts.tell(&mut request, ms(passed));
            let header = request.get(b"x-envoy-expected-rq-timeout-ms").unwrap();
            assert_eq!(String::from_utf8_lossy(header), told);
        }
    }

    /// `max_stream_duration` takes the place of the timeout.
    #[test]
    fn a_limit_for_the_stream_stands_in_place_of_the_timeout() {
        let limit = |most: Option<u64>, grpc: Option<u64>| MaxStream {
            max_stream_duration: most.map(ms),
            grpc_timeout_header_max: grpc.map(ms),
            grpc_timeout_header_offset: None,
        };
        let table = [
            (limit(Some(0), Some(300)), "", None),
            (limit(Some(0), Some(300)), "100m", Some(100)),
            (limit(Some(50), Some(300)), "5S", Some(300)),
            (limit(Some(50), None), "5S", Some(50)),
            (limit(None, None), "", Some(900)),
        ];
        for (stream, asked, expected) in table {
            let mut forward = Forward::to(Destination::Cluster("c".into()));
            forward.timeout = Some(ms(700));
            forward.max_stream = Some(stream.clone());
            let mut request = Request::default();
            if !asked.is_empty() {
                request.fields.push(b"grpc-timeout", asked.as_bytes());
            }
            let (route, rules) = (TimeRules::new(&forward), RetryRules::default());
            let timeouts = Timeouts::begin(&route, &rules, Some(ms(900)), &mut request, true);
            assert_eq!((timeouts.whole, timeouts.stream), (None, expected.map(ms)), "{stream:?}");
        }
    }
}
