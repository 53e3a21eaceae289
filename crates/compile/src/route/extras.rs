//! Faults, mirrors, CORS and fixed answers of a rule.

use super::{Place, action, matches};
use crate::build::Build;
use api::{
    CorsPolicy, HttpDirectResponse, HttpFaultInjection, HttpRoute, Percent, UnmatchedPreflights,
    VirtualService,
};
use base::{Finding, ObjectRef};
use ir::{
    AbortStatus, Cors, Denominator, Fault, FaultAbort, FaultDelay, Fraction, HttpFilterConfig,
    Mirror,
};
use registry::Item;

/// Without a percentage no request is delayed or aborted.
pub(super) fn fault(
    b: &mut Build<'_>,
    object: &ObjectRef,
    written: &HttpFaultInjection,
    path: &str,
) -> Option<HttpFilterConfig> {
    let mut fault = Fault::default();
    if let Some(delay) = &written.delay {
        let fraction = share(delay.percentage, delay.percent);
        fault.delay = delay.fixed_delay.map(|d| FaultDelay { duration: d.0, fraction });
    }
    if let Some(abort) = &written.abort {
        let fraction = share(abort.percentage, abort.percent);
        let http = abort.http_status.and_then(|s| u16::try_from(s).ok());
        let grpc = abort.grpc_status.as_deref();
        let status = match (http, grpc.map(grpc_code)) {
            (Some(status), _) => Some(AbortStatus::Http(status)),
            (None, Some(Some(code))) => Some(AbortStatus::Grpc(code)),
            (None, Some(None)) => {
                let say = format!("{:?} is not the name of a gRPC status", grpc.unwrap_or(""));
                b.say(object, Finding::error(format!("{path}.fault.abort.grpcStatus"), say));
                None
            }
            (None, None) => None,
        };
        fault.abort = status.map(|status| FaultAbort { status, fraction });
    }
    (fault != Fault::default()).then(|| HttpFilterConfig::Fault(Box::new(fault)))
}

fn share(percentage: Option<Percent>, whole: Option<i32>) -> Fraction {
    match (percentage, whole.and_then(|p| u32::try_from(p).ok())) {
        (Some(percentage), _) => fraction(percentage),
        (None, Some(percent)) => Fraction::percent(percent),
        (None, None) => Fraction::percent(0),
    }
}

const NONE: Fraction =
    Fraction { numerator: 0, denominator: Denominator::Million, runtime_key: None };

/// In parts of a million.
fn fraction(percentage: Percent) -> Fraction {
    let numerator = (percentage.value.clamp(0.0, 100.0) * 10_000.0).round() as u32;
    Fraction { numerator, denominator: Denominator::Million, runtime_key: None }
}

/// Codes of google.rpc.Code by name or number.
fn grpc_code(name: &str) -> Option<u32> {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    if let Ok(code) = name.parse::<u32>() {
        return (code < NAMES.len() as u32).then_some(code);
    }
    NAMES.iter().position(|n| *n == name).and_then(|i| u32::try_from(i).ok())
}

/// Copies of the request; what they are answered is thrown away.
pub(super) fn mirrors(
    b: &mut Build<'_>,
    place: &Place<'_>,
    item: &Item<VirtualService>,
    http: &HttpRoute,
    path: &str,
) -> Vec<Mirror> {
    let mut mirrors = Vec::new();
    let mut add = |b: &mut Build<'_>, to: Option<&api::Destination>, fraction, field: String| {
        if fraction == NONE {
            return;
        }
        if let Some(target) = action::resolve(b, place, item, to, &field) {
            mirrors.push(Mirror {
                cluster: target.cluster,
                fraction: Some(fraction),
                trace_sampled: None,
                disable_shadow_host_suffix: true,
            });
        }
    };
    if let Some(mirror) = &http.mirror {
        let fraction = match (http.mirror_percentage, http.mirror_percent) {
            (Some(percentage), _) => fraction(percentage),
            (None, Some(0)) => NONE,
            (None, percent) => Fraction::percent(percent.unwrap_or(100)),
        };
        add(b, Some(mirror), fraction, format!("{path}.mirror"));
    }
    for (index, mirror) in http.mirrors.iter().enumerate() {
        let fraction = mirror.percentage.map_or(Fraction::percent(100), fraction);
        add(
            b,
            mirror.destination.as_ref(),
            fraction,
            format!("{path}.mirrors[{index}].destination"),
        );
    }
    mirrors
}

pub(super) fn cors(written: &CorsPolicy) -> HttpFilterConfig {
    let exact = |o: &String| match o.as_str() {
        "*" => ir::StringMatch::regex(".*"),
        origin => ir::StringMatch::exact(origin),
    };
    let any = || ir::StringMatch::regex(".*");
    let origins = written.allow_origins.iter().map(|o| matches::string(o).unwrap_or_else(any));
    let origins: Vec<ir::StringMatch> = match written.allow_origins.is_empty() {
        true => written.allow_origin.iter().map(exact).collect(),
        false => origins.collect(),
    };
    HttpFilterConfig::Cors(Some(Box::new(Cors {
        allow_origins: origins,
        allow_methods: written.allow_methods.join(",").into(),
        allow_headers: written.allow_headers.join(",").into(),
        expose_headers: written.expose_headers.join(",").into(),
        max_age: written.max_age.map_or_else(String::new, |d| d.0.as_secs().to_string()).into(),
        allow_credentials: written.allow_credentials,
        enabled: Some(Fraction::percent(100)),
        forward_not_matching_preflights: Some(
            written.unmatched_preflights != Some(UnmatchedPreflights::Ignore),
        ),
    })))
}

pub(super) fn body(direct: &HttpDirectResponse) -> bytes::Bytes {
    let Some(body) = &direct.body else { return bytes::Bytes::new() };
    match (&body.string, &body.bytes) {
        (Some(text), _) => text.clone().into(),
        (None, Some(encoded)) => {
            use base64::Engine as _;
            base64::engine::general_purpose::STANDARD.decode(encoded).unwrap_or_default().into()
        }
        (None, None) => bytes::Bytes::new(),
    }
}
