//! Tokens that requests carry: whether they are good, and what they say.

use crate::record::Record;
use crate::reply::Reply;
use policy::jwt::{Denial, Refusal, TokenRule};
use policy::{FilterRule, metadata};
use wire::{Head, Request, RequestHead};

/// Says whether the route is to be looked for again.
pub(super) fn judge(
    rule: &TokenRule,
    own: Option<&FilterRule>,
    record: &mut Record,
) -> Result<bool, Box<Reply<'static>>> {
    let own = if let Some(FilterRule::Tokens(own)) = own { Some(own) } else { None };
    let worker = record.worker.clone();
    let request = &mut record.heads.request;
    let mut tokens = worker.tokens.borrow_mut();
    let judged = rule.judge(own, request, &mut tokens, &worker.env);
    if !judged.said.is_empty() {
        metadata::add(&mut record.stream.metadata, &NAME.into(), judged.said);
    }
    match judged.refused {
        None => Ok(judged.reroute),
        Some(denial) => Err(Box::new(refusal(&denial, rule, &record.heads.request))),
    }
}

const NAME: &str = "envoy.filters.http.jwt_authn";

fn refusal(denial: &Denial, rule: &TokenRule, request: &Request) -> Reply<'static> {
    let reply = Reply::new(denial.status(), denial.details());
    if rule.strip_failure_response {
        return reply;
    }
    let reply = reply.text(denial.text());
    let Denial::Token(refusal) = denial else { return reply };
    let error: &[u8] = match refusal {
        Refusal::Missing => b"",
        _ => b", error=\"invalid_token\"",
    };
    let challenge = [b"Bearer realm=\"", &*realm(request), b"\"", error].concat();
    reply.header("www-authenticate", challenge)
}

/// Longer paths are cut off.
const LONGEST: usize = 256;

/// What was asked for, without tokens of other issuers that were good.
fn realm(request: &Request) -> Vec<u8> {
    let path = request.get(b"x-envoy-original-path").unwrap_or(request.path());
    let path = &path[..path.len().min(LONGEST)];
    let scheme = request.get(b"x-forwarded-proto").unwrap_or(request.scheme());
    [scheme, b"://", request.authority(), path].concat()
}
