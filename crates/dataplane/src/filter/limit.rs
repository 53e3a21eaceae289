//! Limits of the rate of requests: by buckets of the proxy's own, and by a service that is asked.

use crate::forward::grpc::unary;
use crate::record::Record;
use crate::reply::Reply;
use policy::local::is_grpc;
use policy::rate_limit::{Descriptors, Judged, LimitRule, ServiceRule};
use policy::{Flag, Left, Scope};
use proto::envoy::envoy::config::core::v3::HeaderValue;
use proto::envoy::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use proto::envoy::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
use proto::envoy::envoy::service::ratelimit::v3::rate_limit_response::Code;
use proto::envoy::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use std::net::IpAddr;
use std::time::Duration;
use wire::Response;

/// What limits say to the client of a request that passed.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    pub left: Option<Left>,
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Told {
    pub fn answer(&self, response: &mut Response) {
        for (name, value) in self.left.iter().flat_map(told) {
            response.fields.set(name.as_bytes(), &value);
        }
        for (name, value) in &self.headers {
            response.fields.push(name, value);
        }
    }
}

/// Whether the rate of requests leaves room for this one, and what is left then.
pub(super) fn count<'v>(
    scope: &Scope<'_>,
    rule: &LimitRule,
    record: &mut Record,
) -> Result<Option<Left>, Box<Reply<'v>>> {
    let cluster = record.stream.cluster.clone().unwrap_or_default();
    let subject = scope.subject(&record.heads.request, &cluster, client(record));
    let judged = rule.judge(&subject, &record.worker.env);
    let stats = record.worker.limit_stats(&rule.stat_prefix);
    let shard = &record.worker.shard;
    if judged != Judged::NotAsked {
        shard.inc(stats.enabled);
    }
    match judged {
        Judged::NotAsked => Ok(None),
        Judged::Within(left) => {
            shard.inc(stats.ok);
            Ok(left.filter(|_| rule.tells))
        }
        Judged::Over { enforced: false, left } => {
            shard.inc(stats.rate_limited);
            rule.headers.apply_to_request(&mut record.heads.request, &record.stream);
            Ok(Some(left).filter(|_| rule.tells))
        }
        Judged::Over { enforced: true, left } => {
            shard.inc(stats.rate_limited);
            shard.inc(stats.enforced);
            Err(Box::new(refusal(rule, left, record)))
        }
    }
}

fn refusal(rule: &LimitRule, left: Left, record: &Record) -> Reply<'static> {
    let mut added = wire::Response::default();
    rule.headers.apply_to_response(&mut added, &record.heads.request, &record.stream);
    let mut reply = Reply::new(rule.status, "local_rate_limited")
        .text("local_rate_limited")
        .flag(Flag::RateLimited);
    for (name, value) in added.fields.iter() {
        reply.headers.push((String::from_utf8_lossy(name).into_owned().into(), value.to_vec()));
    }
    if rule.tells {
        reply.headers.extend(told(&left).map(|(name, value)| (name.into(), value)));
    }
    if rule.resource_exhausted { reply.grpc(8) } else { reply }
}

/// As draft 03 of the RateLimit fields has them; seconds are rounded up.
fn told(left: &Left) -> [(&'static str, Vec<u8>); 3] {
    let reset = left.reset.as_nanos().div_ceil(1_000_000_000);
    [
        ("x-ratelimit-limit", left.limit.to_string().into_bytes()),
        ("x-ratelimit-remaining", left.remaining.to_string().into_bytes()),
        ("x-ratelimit-reset", reset.to_string().into_bytes()),
    ]
}

fn client(record: &Record) -> Option<IpAddr> {
    record.stream.remote.as_deref()?.address.map(|a| a.ip())
}

const SHOULD_RATE_LIMIT: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

/// Asks the service; what it adds to the answer comes back.
pub(super) async fn ask<'v>(
    scope: &Scope<'_>,
    rule: &ServiceRule,
    record: &mut Record,
) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Box<Reply<'v>>> {
    let name = record.stream.cluster.clone().unwrap_or_default();
    let subject = scope.subject(&record.heads.request, &name, client(record));
    let descriptors = rule.descriptors(&subject);
    if descriptors.is_empty() {
        return Ok(Vec::new());
    }
    let question = question(&rule.config.domain, descriptors);
    let Some(answer) = answer_of(rule, &question, record).await else {
        if !rule.config.failure_mode_deny {
            return Ok(Vec::new());
        }
        let status = rule.config.status_on_error.filter(|s| *s >= 400).unwrap_or(500);
        let reply = Reply::new(status, "rate_limiter_error");
        return Err(Box::new(reply.flag(Flag::RateLimitServiceError)));
    };
    let to_client = answer.response_headers_to_add.iter().filter_map(header).collect();
    if answer.overall_code == i32::from(Code::OverLimit) {
        return Err(Box::new(over(rule, to_client, answer.raw_body, record)));
    }
    for (name, value) in answer.request_headers_to_add.iter().filter_map(header) {
        record.heads.request.fields.push(&name, &value);
    }
    Ok(to_client)
}

fn question(domain: &str, descriptors: Descriptors<'_>) -> RateLimitRequest {
    let entry = |(key, value): (&str, std::borrow::Cow<'_, str>)| Entry {
        key: key.to_owned(),
        value: value.into_owned(),
    };
    let descriptor = |entries: Vec<_>| RateLimitDescriptor {
        entries: entries.into_iter().map(entry).collect(),
        ..RateLimitDescriptor::default()
    };
    RateLimitRequest {
        domain: domain.to_owned(),
        descriptors: descriptors.into_iter().map(descriptor).collect(),
        hits_addend: 0,
    }
}

/// `None`: the service did not say anything of use, which the log tells.
async fn answer_of(
    rule: &ServiceRule,
    question: &RateLimitRequest,
    record: &Record,
) -> Option<RateLimitResponse> {
    let place = record.view.runtime.cluster(&rule.config.cluster);
    let cluster = place.and_then(|place| record.view.clusters.get(place as usize));
    let patience = rule.config.timeout.unwrap_or(Duration::from_millis(20));
    let asked = match cluster {
        Some(cluster) => {
            unary(&record.worker, cluster, SHOULD_RATE_LIMIT, question, patience).await
        }
        None => {
            tracing::debug!("rate limit service: there is no cluster {:?}", rule.config.cluster);
            return None;
        }
    };
    let known = |a: &RateLimitResponse| a.overall_code != i32::from(Code::Unknown);
    asked.inspect_err(|e| tracing::debug!("rate limit service: {e}")).ok().filter(known)
}

fn over<'v>(
    rule: &ServiceRule,
    to_client: Vec<(Vec<u8>, Vec<u8>)>,
    body: Vec<u8>,
    record: &Record,
) -> Reply<'v> {
    let status = rule.config.status.filter(|s| *s >= 400).unwrap_or(429);
    let mut reply = Reply::new(status, "request_rate_limited").flag(Flag::RateLimited);
    reply.body = body.into();
    if !rule.config.silent {
        reply = reply.header("x-envoy-ratelimited", "true");
    }
    let mut added = Response::default();
    rule.headers.apply_to_response(&mut added, &record.heads.request, &record.stream);
    let own = added.fields.iter().map(|(name, value)| (name.to_vec(), value.to_vec()));
    for (name, value) in to_client.into_iter().chain(own) {
        reply.headers.push((String::from_utf8_lossy(&name).into_owned().into(), value));
    }
    if rule.config.resource_exhausted && is_grpc(&record.heads.request) {
        return reply.header("grpc-status", "8");
    }
    reply
}

/// What would break a head is left out.
fn header(from: &HeaderValue) -> Option<(Vec<u8>, Vec<u8>)> {
    let value = match from.raw_value.is_empty() {
        true => from.value.as_bytes(),
        false => &from.raw_value,
    };
    let name = from.key.to_ascii_lowercase().into_bytes();
    let clean = wire::is_token(&name) && !value.iter().any(|b| matches!(b, b'\r' | b'\n' | 0));
    clean.then(|| (name, value.to_vec()))
}
