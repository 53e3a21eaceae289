//! What a token that was looked at leaves behind: headers, metadata, and the request without it.

use super::extract::Found;
use super::provider::Provider;
use super::require::Run;
use ::jwt::{Refusal, Token};
use ir::{Str, Value};
use std::collections::BTreeMap;

pub(super) fn passed(run: &mut Run<'_>, provider: &Provider, token: &Token, found: &Found<'_>) {
    let config = &provider.config;
    let mut says_headers = false;
    if !config.forward_payload_header.is_empty() {
        let mut payload = token.payload().to_owned();
        while config.pad_forward_payload_header && !payload.len().is_multiple_of(4) {
            payload.push('=');
        }
        run.request.fields.push(config.forward_payload_header.as_bytes(), payload.as_bytes());
    }
    for copy in &config.claim_to_headers {
        if let Some(text) = token.claim(&copy.claim).and_then(plain).filter(|t| !t.is_empty()) {
            run.request.fields.push(copy.header.as_bytes(), text.as_bytes());
            says_headers = true;
        }
    }
    if !config.forward {
        found.place.clear(run.request);
    }
    let says_payload = !config.payload_in_metadata.is_empty();
    run.reroute |= config.clear_route_cache && (says_headers || says_payload);
    if !config.header_in_metadata.is_empty() {
        say(run, &config.header_in_metadata, token.header.clone());
    }
    if says_payload {
        say(run, &config.payload_in_metadata, claims(token, &config.space_delimited_claims));
    }
}

pub(super) fn failed(run: &mut Run<'_>, provider: &Provider, refusal: Refusal) {
    let name = &provider.config.failed_status_in_metadata;
    if !name.is_empty() {
        let message = Value::String(refusal.to_string().into());
        say(run, name, BTreeMap::from([("message".into(), message)]));
    }
}

fn say(run: &mut Run<'_>, name: &Str, fields: BTreeMap<Str, Value>) {
    run.said.insert(name.clone(), Value::Struct(fields));
}

/// The claims, with the words of some as lists.
fn claims(token: &Token, lists: &[Str]) -> BTreeMap<Str, Value> {
    let mut claims = token.claims.clone();
    for name in lists {
        if let Some(Value::String(text)) = claims.get(name) {
            let words = text.split(' ').filter(|word| !word.is_empty());
            let list = words.map(|word| Value::String(word.into())).collect();
            claims.insert(name.clone(), Value::List(list));
        }
    }
    claims
}

/// A claim as the value of a header; what would break a header is not said.
fn plain(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.to_string(),
        Value::Bool(b) => b.to_string(),
        Value::Number(n) if n.fract() == 0.0 && (0.0..u64::MAX as f64).contains(n) => {
            format!("{}", *n as u64)
        }
        Value::Number(n) => format!("{n:.6}"),
        Value::Null | Value::List(_) | Value::Struct(_) => return None,
    };
    (!text.contains(['\r', '\n', '\0'])).then_some(text)
}
