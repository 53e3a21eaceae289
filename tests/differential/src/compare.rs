//! What must be equal, after taking out what cannot be: times and random identifiers.

use crate::client::Response;
use crate::http::{Headers, header};
use flate2::read::GzDecoder;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Read;

/// Everything that one request led to.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    pub response: Response,
    /// What arrived at the upstreams, sorted.
    pub arrivals: Vec<String>,
}

/// One thing that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub what: String,
    pub envoy: String,
    pub ours: String,
}

/// All differences between the two observations of one request.
pub fn compare(envoy: &Observed, ours: &Observed) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut check = |what: &str, envoy: String, ours: String| {
        if envoy != ours {
            found.push(Difference { what: what.into(), envoy, ours });
        }
    };
    let (e, o) = (&envoy.response, &ours.response);
    check("status", e.status.to_string(), o.status.to_string());
    check("failure", format!("{:?}", e.failure), format!("{:?}", o.failure));
    check("interim", format!("{:?}", e.interim), format!("{:?}", o.interim));
    check("arrivals", format!("{:?}", envoy.arrivals), format!("{:?}", ours.arrivals));
    check("trailers", lines(&e.trailers), lines(&o.trailers));
    let (envoys, own) = (unzipped(e), unzipped(o));
    let (ej, oj) = (echo(&envoys), echo(&own));
    let echoed = ej.is_some() && oj.is_some();
    headers(&mut check, "response", &plain(&e.headers, !echoed), &plain(&o.headers, !echoed));
    match (ej, oj) {
        (Some(e), Some(o)) => {
            for part in ["upstream", "line", "body", "trailers"] {
                check(
                    &format!("upstream request {part}"),
                    e[part].to_string(),
                    o[part].to_string(),
                );
            }
            headers(&mut check, "upstream request", &echoed_headers(&e), &echoed_headers(&o));
        }
        _ => check("body", text(&envoys), text(&own)),
    }
    found
}

fn headers(
    check: &mut impl FnMut(&str, String, String),
    whose: &str,
    envoy: &BTreeMap<String, Vec<String>>,
    ours: &BTreeMap<String, Vec<String>>,
) {
    let names: std::collections::BTreeSet<_> = envoy.keys().chain(ours.keys()).collect();
    for name in names {
        let shown = |h: &BTreeMap<String, Vec<String>>| {
            // Lines of one name say the same as one line with commas, but for cookies; blanks at the
            // end of a line are no part of its value, and before a comma no part of an item.
            let between = if name.eq_ignore_ascii_case("set-cookie") { " | " } else { "," };
            let joined = |v: &Vec<String>| v.join(between).replace(" ,", ",");
            h.get(name).map_or_else(|| "absent".to_owned(), joined)
        };
        let (envoy, mut ours) = (shown(envoy), shown(ours));
        let time = ["x-envoy-expected-rq-timeout-ms", "grpc-timeout"].contains(&name.as_str());
        if time && is_close(&envoy, &ours) {
            ours.clone_from(&envoy);
        }
        check(&format!("{whose} header {name}"), envoy, ours);
    }
}

/// Compressed bytes are the library's affair.
fn unzipped(response: &Response) -> Vec<u8> {
    let mut plain = Vec::new();
    match header(&response.headers, "content-encoding") {
        Some("gzip") => match GzDecoder::new(&*response.body).read_to_end(&mut plain) {
            Ok(_) => plain,
            Err(e) => format!("no gzip: {e}").into_bytes(),
        },
        _ => response.body.clone(),
    }
}

fn echo(body: &[u8]) -> Option<Value> {
    let value: Value = serde_json::from_slice(body).ok()?;
    value.get("upstream").is_some().then_some(value)
}

fn echoed_headers(echo: &Value) -> BTreeMap<String, Vec<String>> {
    let list: Headers = serde_json::from_value(echo["headers"].clone()).unwrap_or_default();
    plain(&list, true)
}

/// By name, in the case it had. The length counts only if the bodies must be equal byte for byte.
fn plain(headers: &Headers, sized: bool) -> BTreeMap<String, Vec<String>> {
    let mut out: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        // Only ours says which setting a head went beyond: a row of docs/envoy-differences.md.
        let own = name == "x-lateen-limit";
        let skip = own || name == "x-id" || (!sized && name == "content-length");
        if !skip {
            out.entry(name.clone()).or_default().push(same_each_time(name, value));
        }
    }
    out
}

fn same_each_time(name: &str, value: &str) -> String {
    let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    match name {
        "date" if value.ends_with(" GMT") => "(date)".into(),
        "x-envoy-upstream-service-time" if digits => "(milliseconds)".into(),
        "connection" => value.to_ascii_lowercase(),
        "x-request-id" if is_uuid(value) => "(uuid)".into(),
        "set-cookie" => hide_value(value),
        _ => value.to_owned(),
    }
}

/// What is left of a request's time depends on how long the attempts before took: within a half.
fn is_close(envoy: &str, ours: &str) -> bool {
    let number = |text: &str| text.trim_end_matches('m').parse::<u64>();
    let (Ok(a), Ok(b)) = (number(envoy), number(ours)) else { return false };
    a.abs_diff(b) * 2 <= a.max(b)
}

/// A generated session cookie has a random value.
fn hide_value(cookie: &str) -> String {
    let Some((name, rest)) = cookie.split_once('=') else { return cookie.to_owned() };
    let attributes = rest.split_once(';').map_or("", |(_, a)| a);
    format!("{name}=(value);{attributes}")
}

fn is_uuid(value: &str) -> bool {
    let parts: Vec<usize> = value.split('-').map(str::len).collect();
    parts == [8, 4, 4, 4, 12] && value.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit())
}

fn lines(headers: &Headers) -> String {
    headers.iter().map(|(n, v)| format!("{n}: {v}")).collect::<Vec<_>>().join(", ")
}

fn text(body: &[u8]) -> String {
    let shown = String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned();
    format!("{} bytes {:016x}: {shown}", body.len(), balance::xxh64(body))
}

/// How much each counter of interest grew.
pub fn growth(
    before: &BTreeMap<String, i64>,
    after: &BTreeMap<String, i64>,
) -> BTreeMap<String, i64> {
    // Listeners are named by their ports, which differ; the admin port is asked by this suite; and
    // ours keeps no splits of responses by origin and by attempt.
    let counted = |name: &str| {
        let own = name.starts_with("cluster.") || name.starts_with("http.");
        let split = [".external.", ".internal.", ".retry.", "http.admin."];
        own && !split.iter().any(|s| name.contains(s)) && COUNTERS.iter().any(|c| name.ends_with(c))
    };
    after
        .iter()
        .filter(|(name, _)| counted(name))
        .map(|(name, n)| (name.clone(), n - before.get(name).unwrap_or(&0)))
        .filter(|(_, grown)| *grown != 0)
        .collect()
}

/// The counters that must grow alike.
const COUNTERS: [&str; 12] = [
    ".upstream_rq_total",
    ".upstream_rq_1xx",
    ".upstream_rq_2xx",
    ".upstream_rq_3xx",
    ".upstream_rq_4xx",
    ".upstream_rq_5xx",
    ".upstream_rq_retry",
    ".upstream_rq_timeout",
    ".upstream_cx_connect_fail",
    ".downstream_rq_total",
    ".downstream_rq_2xx",
    ".downstream_rq_5xx",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn observed(headers: &[(&str, &str)], body: &str) -> Observed {
        let headers = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let response = Response {
            status: 200,
            headers,
            body: body.as_bytes().to_vec(),
            ..Response::default()
        };
        Observed { response, arrivals: Vec::new() }
    }

    #[test]
    fn times_and_identifiers_may_differ_and_nothing_else() {
        let one = observed(
            &[("date", "Mon, 01 Jan 2024 00:00:00 GMT"), ("x-envoy-upstream-service-time", "1")],
            "x",
        );
        let two = observed(
            &[("x-envoy-upstream-service-time", "22"), ("date", "Tue, 02 Jan 2024 00:00:00 GMT")],
            "x",
        );
        assert_eq!(compare(&one, &two), []);
        let other = observed(&[("Date", "Mon, 01 Jan 2024 00:00:00 GMT")], "y");
        let what: Vec<_> = compare(&one, &other).into_iter().map(|d| d.what).collect();
        assert_eq!(
            what,
            [
                "response header Date",
                "response header date",
                "response header x-envoy-upstream-service-time",
                "body"
            ]
        );
    }

    #[test]
    fn echoes_are_compared_part_by_part() {
        let echo = |path: &str| {
            format!(
                r#"{{"upstream":"a","line":"GET {path} HTTP/1.1","headers":[["x-id","{path}"]]}}"#
            )
        };
        let found = compare(&observed(&[], &echo("/a")), &observed(&[], &echo("/b")));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].what, "upstream request line");
    }

    #[test]
    fn growth_ignores_what_ours_does_not_count() {
        let counts = |list: &[(&str, i64)]| {
            list.iter().map(|(n, v)| ((*n).to_owned(), *v)).collect::<BTreeMap<_, _>>()
        };
        let after = [
            ("cluster.a.upstream_rq_2xx", 3),
            ("cluster.a.external.upstream_rq_2xx", 3),
            ("cluster.a.upstream_rq_total", 2),
            ("http.admin.downstream_rq_2xx", 9),
        ];
        let before =
            counts(&[("cluster.a.upstream_rq_2xx", 1), ("cluster.a.upstream_rq_total", 2)]);
        let expected = counts(&[("cluster.a.upstream_rq_2xx", 2)]);
        assert_eq!(growth(&before, &counts(&after)), expected);
    }
}
