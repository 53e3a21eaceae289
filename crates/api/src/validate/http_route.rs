//! The HTTP rules of a VirtualService.

use super::virtual_service::{destination, gateway_name};
use super::{Report, check_regex, is_header_name};
use crate::{
    CorsPolicy, HeaderOperations, Headers, HttpFaultInjection, HttpMatchRequest, HttpRedirect,
    HttpRetry, HttpRewrite, HttpRoute, Percent, StringMatch, VirtualService,
};
use std::collections::BTreeMap;

pub(super) fn check(http: &HttpRoute, spec: &VirtualService, path: &str, report: &mut Report) {
    conflicts(http, spec.is_delegate(), path, report);
    for (index, m) in http.r#match.iter().enumerate() {
        request(m, &format!("{path}.match[{index}]"), report);
    }
    destinations(http, path, report);
    mirrors(http, path, report);
    operations(http.headers.as_ref(), path, report);
    if let Some(redirect) = &http.redirect {
        check_redirect(redirect, http, path, report);
    }
    if let Some(rewrite) = &http.rewrite {
        check_rewrite(rewrite, path, report);
    }
    if let Some(direct) = &http.direct_response {
        status(i64::from(direct.status), &format!("{path}.directResponse.status"), report);
        let size = direct.body.as_ref().and_then(|b| b.string.as_ref()).map_or(0, String::len);
        let at = format!("{path}.directResponse.body");
        if size > 1 << 20 {
            report.error(&at, "large direct_responses may impact control plane performance, must be less than 1MB");
        } else if size > 100 << 10 {
            report.warning(&at, "large direct_responses may impact control plane performance");
        }
    }
    if let Some(fault) = &http.fault {
        check_fault(fault, path, report);
    }
    if let Some(cors) = &http.cors_policy {
        check_cors(cors, path, report);
    }
    if let Some(retries) = &http.retries {
        check_retries(retries, path, report);
    }
    if http.websocket_upgrade.is_some() {
        report.warning(&format!("{path}.websocketUpgrade"), "upgrades are always possible");
    }
}

/// What a rule cannot do at the same time.
fn conflicts(http: &HttpRoute, delegate: bool, path: &str, report: &mut Report) {
    let route = !http.route.is_empty();
    let (redirect, direct) = (http.redirect.is_some(), http.direct_response.is_some());
    let (fault, rewrite) = (http.fault.is_some(), http.rewrite.is_some());
    if http.delegate.is_some() {
        let root = format!("root HTTP route {} must not specify", http.name);
        report.require(!delegate, path, "delegate HTTP route cannot contain delegate");
        report.require(!route, path, &format!("{root} route"));
        report.require(!redirect, path, &format!("{root} redirect"));
        return;
    }
    let table = [
        (route && redirect, "HTTP route cannot contain both route and redirect"),
        (fault && redirect, "HTTP route cannot contain both fault and redirect"),
        (rewrite && redirect, "HTTP route rule cannot contain both rewrite and redirect"),
        (direct && redirect, "HTTP route rule cannot contain both direct_response and redirect"),
        (route && direct, "HTTP route cannot contain both route and direct_response"),
        (fault && direct, "HTTP route cannot contain both fault and direct_response"),
        (rewrite && direct, "HTTP route rule cannot contain both rewrite and direct_response"),
        (!route && !redirect && !direct, "HTTP route, redirect or direct_response is required"),
        (
            http.mirror.is_some() && !http.mirrors.is_empty(),
            "HTTP route cannot contain both mirror and mirrors",
        ),
    ];
    for (wrong, say) in table {
        report.require(!wrong, path, say);
    }
}

fn request(m: &HttpMatchRequest, path: &str, report: &mut Report) {
    let fields = [
        ("uri", &m.uri),
        ("scheme", &m.scheme),
        ("method", &m.method),
        ("authority", &m.authority),
    ];
    for (name, value) in fields {
        if let Some(value) = value {
            string(value, &format!("{path}.{name}"), report);
        }
    }
    for (name, headers) in [("headers", &m.headers), ("withoutHeaders", &m.without_headers)] {
        header_values(headers, &format!("{path}.{name}"), report);
    }
    for (name, value) in &m.query_params {
        string(value, &format!("{path}.queryParams[{name}]"), report);
    }
    if let Some(port) = m.port {
        report.port(port, &format!("{path}.port"));
    }
    for (index, gateway) in m.gateways.iter().enumerate() {
        gateway_name(gateway, &format!("{path}.gateways[{index}]"), report);
    }
}

fn header_values(headers: &BTreeMap<String, StringMatch>, path: &str, report: &mut Report) {
    for (name, value) in headers {
        let path = format!("{path}[{name}]");
        let pseudo = name.starts_with(':') || name.starts_with("@request.auth.claims");
        if name.is_empty() {
            report.error(&path, "header name cannot be empty");
        } else if !pseudo && !is_header_name(name) {
            report.error(&path, format!("header name {name} is not a valid header name"));
        }
        string(value, &path, report);
    }
}

fn string(value: &StringMatch, path: &str, report: &mut Report) {
    let set = [&value.exact, &value.prefix, &value.regex];
    let several = set.iter().filter(|v| v.is_some()).count() > 1;
    report.require(!several, path, "only one of exact, prefix and regex can be set");
    if value.prefix.as_deref() == Some("") {
        report.error(path, "prefix string match should not be empty");
    }
    match value.regex.as_deref() {
        None | Some("*") => {}
        Some("") => report.error(path, "regex string match should not be empty"),
        Some(regex) => {
            if let Err(say) = check_regex(regex) {
                report.error(path, say);
            }
        }
    }
}

fn destinations(http: &HttpRoute, path: &str, report: &mut Report) {
    for (index, route) in http.route.iter().enumerate() {
        let path = format!("{path}.route[{index}]");
        destination(route.destination.as_ref(), &path, report);
        report.require(route.weight >= 0, &format!("{path}.weight"), "weight must be >= 0");
        operations(route.headers.as_ref(), &path, report);
        let sets_host = |h: &Headers| {
            let set = h.request.as_ref().map(|r| &r.set);
            set.is_some_and(|s| {
                s.keys().any(|k| k.eq_ignore_ascii_case("host") || k == ":authority")
            })
        };
        let rewritten = http.rewrite.as_ref().is_some_and(|r| !r.authority.is_empty());
        let twice = [http.headers.as_ref(), route.headers.as_ref()];
        let times = twice.into_iter().flatten().filter(|h| sets_host(h)).count();
        let once = times + usize::from(rewritten) <= 1;
        report.require(once, &path, "authority header cannot be set multiple times");
    }
    if http.route.len() > 1 && http.route.iter().all(|r| r.weight <= 0) {
        report.error(&format!("{path}.route"), "total destination weight = 0");
    }
}

fn mirrors(http: &HttpRoute, path: &str, report: &mut Report) {
    if let Some(mirror) = &http.mirror {
        destination(Some(mirror), &format!("{path}.mirror"), report);
    }
    if let Some(percent) = http.mirror_percent {
        let at = format!("{path}.mirrorPercent");
        report.deprecated(
            &at,
            "using deprecated setting \"mirrorPercent\", use \"mirrorPercentage\" instead",
        );
        report.require(percent <= 100, &at, "mirror_percent must have a max value of 100");
    }
    percentage(http.mirror_percentage, &format!("{path}.mirrorPercentage"), report);
    for (index, mirror) in http.mirrors.iter().enumerate() {
        let path = format!("{path}.mirrors[{index}]");
        destination(mirror.destination.as_ref(), &path, report);
        percentage(mirror.percentage, &format!("{path}.percentage"), report);
    }
}

fn percentage(percent: Option<Percent>, path: &str, report: &mut Report) {
    let ok = percent.is_none_or(|p| p.value == 0.0 || (0.0001..=100.0).contains(&p.value));
    report.require(ok, path, "percentage must be 0, or between 0.0001 and 100");
}

fn operations(headers: Option<&Headers>, path: &str, report: &mut Report) {
    let Some(headers) = headers else { return };
    let sides = [("request", &headers.request, true), ("response", &headers.response, false)];
    for (name, ops, request) in sides {
        if let Some(ops) = ops {
            header_operations(ops, request, &format!("{path}.headers.{name}"), report);
        }
    }
}

fn header_operations(ops: &HeaderOperations, request: bool, path: &str, report: &mut Report) {
    let check = |name: &str, at: String, may_be_host: bool, report: &mut Report| {
        let authority = name.eq_ignore_ascii_case("host") || name == ":authority";
        if name.is_empty() {
            report.error(&at, "header name cannot be empty");
        } else if authority && may_be_host {
        } else if name.starts_with(':') {
            report.error(&at, format!("invalid header {name:?}: header cannot have \":\" prefix"));
        } else if authority {
            report.error(&at, format!("invalid header {name:?}: cannot set Host header"));
        } else if !is_header_name(name) {
            report.error(&at, format!("header name {name} is not a valid header name"));
        }
    };
    for name in ops.set.keys() {
        check(name, format!("{path}.set[{name}]"), request, report);
    }
    for name in ops.add.keys() {
        check(name, format!("{path}.add[{name}]"), false, report);
    }
    for name in &ops.remove {
        check(name, format!("{path}.remove"), false, report);
    }
}

fn check_redirect(redirect: &HttpRedirect, http: &HttpRoute, path: &str, report: &mut Report) {
    let path = format!("{path}.redirect");
    let (uri, prefix) = (!redirect.uri.is_empty(), !redirect.prefix_rewrite.is_empty());
    report.require(
        !(uri && prefix),
        &path,
        "redirect may only specify one of uri or prefix_rewrite",
    );
    let by_prefix = |m: &HttpMatchRequest| m.uri.as_ref().is_some_and(|u| u.prefix.is_some());
    report.require(
        !prefix || (!http.r#match.is_empty() && http.r#match.iter().all(by_prefix)),
        &path,
        "redirect prefix_rewrite requires all URI matches to use prefix match type",
    );
    let says_something = uri
        || prefix
        || !redirect.authority.is_empty()
        || !redirect.scheme.is_empty()
        || redirect.port.is_some()
        || redirect.derive_port.is_some();
    report.require(says_something, &path, "redirect must specify URI, authority, scheme, or port");
    let code = redirect.redirect_code;
    if !matches!(code, 0 | 301 | 302 | 303 | 307 | 308) {
        report.error(
            &path,
            format!("{code} is not a valid redirect code, must be 301, 302, 303, 307 or 308"),
        );
    }
    if !matches!(redirect.scheme.as_str(), "" | "http" | "https") {
        report.error(&path, "invalid redirect scheme, must be \"http\" or \"https\"");
    }
}

fn check_rewrite(rewrite: &HttpRewrite, path: &str, report: &mut Report) {
    let path = format!("{path}.rewrite");
    let regex = rewrite.uri_regex_rewrite.as_ref();
    if !rewrite.uri.is_empty() && regex.is_some() {
        report.error(&path, "rewrite may only contain one of URI or UriRegexRewrite");
    }
    if rewrite.uri.is_empty() && regex.is_none() && rewrite.authority.is_empty() {
        report.error(&path, "rewrite must specify at least one of URI, UriRegexRewrite, or authority. Only one of URI or UriRegexRewrite may be specified");
    }
    if let Some(regex) = regex {
        if regex.r#match.is_empty() || regex.rewrite.is_empty() {
            let say = "UriRegexRewrite requires both Rewrite and Match fields to be specified";
            report.error(&path, say);
        } else if let Err(say) = check_regex(&regex.r#match) {
            report.error(&format!("{path}.uriRegexRewrite.match"), say);
        }
    }
}

fn status(code: i64, path: &str, report: &mut Report) {
    if !(200..=599).contains(&code) {
        report.error(path, format!("HTTP status {code} is not in range 200-599"));
    }
}

fn check_fault(fault: &HttpFaultInjection, path: &str, report: &mut Report) {
    let path = format!("{path}.fault");
    if fault.delay.is_none() && fault.abort.is_none() {
        report.error(&path, "HTTP fault injection must have an abort and/or a delay");
    }
    if let Some(delay) = &fault.delay {
        let at = format!("{path}.delay");
        percentage(delay.percentage, &format!("{at}.percentage"), report);
        report.require(
            delay.exponential_delay.is_none(),
            &at,
            "exponentialDelay not supported yet",
        );
        let long_enough = delay.fixed_delay.is_none_or(|d| d.0.as_millis() >= 1);
        report.require(long_enough, &format!("{at}.fixedDelay"), "must be 1ms or longer");
        if delay.percentage.is_none() && delay.percent.is_none() {
            report.warning(&at, "without a percentage no request is delayed");
        }
    }
    if let Some(abort) = &fault.abort {
        let at = format!("{path}.abort");
        percentage(abort.percentage, &format!("{at}.percentage"), report);
        if abort.http2_error.is_some() {
            report.error(&at, "HTTP/2 abort fault injection not supported yet");
        }
        match (abort.http_status, &abort.grpc_status) {
            (Some(code), _) => status(i64::from(code), &format!("{at}.httpStatus"), report),
            (None, None) => report.warning(&at, "abort configured, but error type not set"),
            _ => {}
        }
        if abort.percentage.is_none() && abort.percent.is_none() {
            report.warning(&at, "without a percentage no request is aborted");
        }
    }
}

fn check_cors(cors: &CorsPolicy, path: &str, report: &mut Report) {
    let path = format!("{path}.corsPolicy");
    const METHODS: [&str; 10] =
        ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "*"];
    for method in cors.allow_methods.iter().filter(|m| !METHODS.contains(&m.as_str())) {
        let say = format!("{method:?} is not a supported HTTP method");
        report.error(&format!("{path}.allowMethods"), say);
    }
    for (index, origin) in cors.allow_origins.iter().enumerate() {
        string(origin, &format!("{path}.allowOrigins[{index}]"), report);
    }
    let names = cors.allow_headers.iter().chain(&cors.expose_headers);
    for name in names.filter(|n| *n != "*" && !is_header_name(n)) {
        report.error(&path, format!("header name {name} is not a valid header name"));
    }
    if cors.max_age.is_some_and(|d| d.0.subsec_nanos() != 0) {
        let say = "max_age duration is accurate only to seconds precision";
        report.error(&format!("{path}.maxAge"), say);
    }
}

fn check_retries(retries: &HttpRetry, path: &str, report: &mut Report) {
    let path = format!("{path}.retries");
    report.require(retries.attempts >= 0, &path, "attempts cannot be negative");
    let more = retries.per_try_timeout.is_some() || !retries.retry_on.is_empty();
    if retries.attempts == 0 && more {
        report.error(&path, "http retry policy configured when attempts are set to 0 (disabled)");
    }
    const CONDITIONS: [&str; 16] = [
        "5xx",
        "gateway-error",
        "reset",
        "reset-before-request",
        "connect-failure",
        "envoy-ratelimited",
        "retriable-4xx",
        "refused-stream",
        "retriable-status-codes",
        "retriable-headers",
        "http3-post-connect-failure",
        "cancelled",
        "deadline-exceeded",
        "internal",
        "resource-exhausted",
        "unavailable",
    ];
    for part in retries.retry_on.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        let code = part.parse::<u16>().is_ok_and(|c| (100..600).contains(&c));
        if !code && !CONDITIONS.contains(&part) {
            report.error(
                &format!("{path}.retryOn"),
                format!("{part:?} is not a valid retryOn policy"),
            );
        }
    }
}
