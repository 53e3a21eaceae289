//! Whether an explanation is what a test expects; if not, what is and what was expected.

use super::{Destination, Expect};
use crate::{Explanation, Pick, Verdict};
use std::collections::BTreeMap;

/// Every expectation that does not hold.
pub fn check(expect: &Expect, told: &Explanation) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut same = |what: &str, expected: Option<String>, found: String| {
        if let Some(expected) = expected.filter(|e| *e != found) {
            wrong.push(format!("{what}: expected {expected}, found {found}"));
        }
    };
    same("verdict", expect.verdict.clone(), kind(&told.verdict).to_owned());
    let none = || "none".to_owned();
    let status = status(told).map_or_else(none, |s| s.to_string());
    same("status", expect.status.map(|s| s.to_string()), status);
    let location = match &told.verdict {
        Verdict::Redirected { location, .. } => location.clone(),
        _ => none(),
    };
    same("location", expect.location.clone(), location);
    let sent = told.sent.as_ref();
    same("path", expect.path.clone(), sent.map_or_else(none, |s| s.path.clone()));
    same("host", expect.host.clone(), sent.map_or_else(none, |s| s.authority.clone()));
    if let Some(expected) = &expect.route {
        wrong.extend(route(expected, told));
    }
    if let Some(expected) = &expect.destinations {
        wrong.extend(destinations(expected, told.verdict.picks()));
    }
    let sent = sent.map(|s| s.fields.as_slice()).unwrap_or_default();
    headers("request", &expect.request_headers, sent, &mut wrong);
    headers("response", &expect.response_headers, &told.answered_with, &mut wrong);
    for (name, expected) in &expect.facts {
        let all: Vec<&str> =
            told.facts.iter().filter(|f| f.name == name).map(|f| f.value.as_str()).collect();
        if !all.iter().any(|value| value.contains(expected.as_str())) {
            let found = if all.is_empty() { none() } else { all.join("; ") };
            wrong.push(format!("{name}: expected {expected}, found {found}"));
        }
    }
    wrong
}

fn kind(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Closed { .. } => "closed",
        Verdict::Answered { .. } => "answered",
        Verdict::Redirected { .. } => "redirected",
        Verdict::Forwarded { .. } => "forwarded",
        Verdict::Bytes { .. } => "bytes",
    }
}

/// What the client gets from the proxy itself.
fn status(told: &Explanation) -> Option<u16> {
    match &told.verdict {
        Verdict::Answered { .. } | Verdict::Redirected { .. } if told.grpc_status.is_some() => {
            Some(200)
        }
        Verdict::Answered { status, .. } | Verdict::Redirected { status, .. } => Some(*status),
        _ => None,
    }
}

/// By its name, or by the field that it comes from, or one around it.
fn route(expected: &str, told: &Explanation) -> Option<String> {
    let node = told.route.as_ref().or(told.chain.as_ref());
    let Some(node) = node else { return Some(format!("route: expected {expected}, found none")) };
    let field = node.origin.as_ref().map(|o| format!("{} {}", o.object, o.path));
    let around = |field: &String| {
        field
            .strip_prefix(expected)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    if node.name == expected || field.as_ref().is_some_and(around) {
        return None;
    }
    let found = field.map_or_else(|| node.name.clone(), |f| format!("{} ({f})", node.name));
    Some(format!("route: expected {expected}, found {found}"))
}

fn destinations(expected: &[Destination], picks: &[Pick]) -> Vec<String> {
    let mut wrong = Vec::new();
    for destination in expected {
        if !picks.iter().any(|p| is(destination, p)) {
            let all: Vec<String> =
                picks.iter().map(|p| format!("{} {:.0}%", p.cluster.name, p.percent)).collect();
            let found = if all.is_empty() { "none".to_owned() } else { all.join(", ") };
            wrong.push(format!("destination: expected {}, found {found}", shown(destination)));
        }
    }
    for pick in picks {
        if !expected.iter().any(|d| is(d, pick)) {
            wrong.push(format!("destination: {} is not expected", pick.cluster.name));
        }
    }
    wrong
}

fn is(destination: &Destination, pick: &Pick) -> bool {
    let parts: Vec<&str> = pick.cluster.name.split('|').collect();
    let [_, port, subset, host] = parts[..] else { return destination.host == pick.cluster.name };
    let first = host.strip_prefix(destination.host.as_str());
    first.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        && destination.subset.as_deref().is_none_or(|s| s == subset)
        && destination.port.is_none_or(|p| port == p.to_string())
        && destination.weight.is_none_or(|w| (w - pick.percent).abs() < 0.5)
}

fn shown(destination: &Destination) -> String {
    let mut out = destination.host.clone();
    if let Some(port) = destination.port {
        out += &format!(":{port}");
    }
    if let Some(subset) = &destination.subset {
        out += &format!(" subset {subset}");
    }
    if let Some(weight) = destination.weight {
        out += &format!(" {weight}%");
    }
    out
}

fn headers(
    side: &str,
    expected: &BTreeMap<String, Option<String>>,
    found: &[(String, String)],
    wrong: &mut Vec<String>,
) {
    for (name, expected) in expected {
        let mut values = found.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        let holds = match expected {
            None => values.next().is_none(),
            Some(value) => values.any(|(_, v)| v == value),
        };
        if !holds {
            let found = found.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
            let found = found.map_or("nothing", |(_, v)| v.as_str());
            let expected = expected.as_deref().unwrap_or("nothing");
            wrong.push(format!("{side} header {name}: expected {expected}, found {found}"));
        }
    }
}
