//! Why a route or a filter chain did not match, in words: the condition as it was written, and what the
//! request has instead.

use ir::{HeaderCondition, PathMatch, Pattern, RouteMatch, StringMatch};
use policy::Miss;
use wire::{Request, RequestHead};

/// A condition that failed, as in `header end-user is not exact "jason" (it is absent)`.
pub(crate) fn route(miss: Miss<'_>, matches: Option<&RouteMatch>, head: &Request) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match miss {
        Miss::Path => {
            let path = text(policy::matching::split_query(head.path()).0);
            match matches {
                Some(m) => format!("path {path} is not {}", self::path(m)),
                None => format!("path {path} is another"),
            }
        }
        Miss::Header(place, name) => {
            let own = head.field(name).map(text);
            let own = own.map_or_else(|| "it is absent".into(), |v| format!("it is {v:?}"));
            let name = text(name);
            match matches.and_then(|m| m.headers.get(place)) {
                Some(h) => {
                    let not = if h.invert { "must not be" } else { "is not" };
                    format!("header {name} {not} {} ({own})", condition(&h.condition))
                }
                None => format!("header {name} is another ({own})"),
            }
        }
        Miss::Query(place, name) => {
            let query = policy::matching::split_query(head.path()).1;
            let own = policy::matching::query_parameter(query, name).map(text);
            let own = own.map_or_else(|| "it is absent".into(), |v| format!("it is {v:?}"));
            let wanted = matches.and_then(|m| m.query.get(place)).and_then(|q| q.value.as_ref());
            let wanted = wanted.map_or_else(|| "there".to_owned(), string);
            format!("query parameter {} is not {wanted} ({own})", text(name))
        }
        Miss::Grpc => "it is not gRPC".to_owned(),
        Miss::Said(filter, path) => {
            format!("what filter {filter} says at {} is another, or nothing", path.join("."))
        }
        Miss::Fraction => "it is outside the fraction of requests that is meant".to_owned(),
    }
}

fn path(m: &RouteMatch) -> String {
    let case = if m.ignore_case { ", whatever its case" } else { "" };
    let text = match &m.path {
        PathMatch::Prefix(p) => format!("prefix {p:?}"),
        PathMatch::Exact(p) => format!("exact {p:?}"),
        PathMatch::Regex(p) => format!("regex {p:?}"),
        PathMatch::PathSeparatedPrefix(p) => format!("below {p:?}"),
        PathMatch::Connect => "that of CONNECT".to_owned(),
    };
    text + case
}

fn condition(condition: &HeaderCondition) -> String {
    match condition {
        HeaderCondition::Present(true) => "there".to_owned(),
        HeaderCondition::Present(false) => "absent".to_owned(),
        HeaderCondition::Value(value) => string(value),
        HeaderCondition::Range(from, to) => format!("a number from {from} to below {to}"),
    }
}

fn string(m: &StringMatch) -> String {
    match &m.pattern {
        Pattern::Exact(s) => format!("exact {s:?}"),
        Pattern::Prefix(s) => format!("prefix {s:?}"),
        Pattern::Suffix(s) => format!("suffix {s:?}"),
        Pattern::Contains(s) => format!("a text with {s:?}"),
        Pattern::Regex(s) => format!("regex {s:?}"),
    }
}
