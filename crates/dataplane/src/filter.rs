//! Step: filter. What stands between route and upstream, in the order of the chain: injected faults,
//! cross-origin rules, limits of the rate. A filter may answer instead of the upstream.

use crate::record::Record;
use crate::reply::Reply;
use crate::route::Routed;
use crate::runtime::{ManagerRt, Step};
use ir::AbortStatus;
use policy::cors::{CorsRule, Verdict};
use policy::local::is_grpc;
use policy::rate_limit::{Judged, LimitRule};
use policy::{Flag, Left};
use std::sync::Arc;

/// A request that passed all filters.
#[derive(Debug)]
pub struct Filtered<'v> {
    pub routed: Routed<'v>,
    /// The origin to which the answer is shown.
    cors: Option<(&'v CorsRule, Vec<u8>)>,
    /// What the limits of its rate leave, where answers tell it.
    left: Option<Left>,
}

impl Filtered<'_> {
    /// The filters' part in the answer.
    pub fn answer(&self, record: &mut Record) {
        if let Some((rule, origin)) = &self.cors {
            rule.answer(origin, &mut record.heads.response);
        }
        for (name, value) in self.left.iter().flat_map(told) {
            record.heads.response.fields.set(name.as_bytes(), &value);
        }
    }
}

pub async fn filter<'v>(
    manager: &'v ManagerRt,
    routed: Routed<'v>,
    record: &mut Record,
) -> Result<Filtered<'v>, Box<Reply<'v>>> {
    let mut passed = Filtered { routed, cors: None, left: None };
    for step in &manager.steps {
        match step {
            Step::Fault => inject_fault(manager, &passed.routed, record).await?,
            Step::Cors => passed.cors = share(&passed.routed, record)?,
            Step::Limit(name, chain) => {
                let left = limit(&passed.routed, name, chain, record)?;
                passed.left = left.or(passed.left);
            }
        }
    }
    Ok(passed)
}

/// Whether the answer may be shown to another origin.
fn share<'v>(
    routed: &Routed<'v>,
    record: &mut Record,
) -> Result<Option<(&'v CorsRule, Vec<u8>)>, Box<Reply<'v>>> {
    let Some(rule) = routed.forwarding.cors() else { return Ok(None) };
    match rule.judge(&record.heads.request, &record.worker.env) {
        Verdict::Pass => Ok(None),
        Verdict::Answer(origin) => Ok(Some((rule, origin))),
        Verdict::Preflight(response) => {
            let mut reply = Reply::new(response.status, "cors_response");
            let known = ALLOWED.iter();
            reply.headers = known
                .filter_map(|name| {
                    let value = wire::Head::get(&response, name.as_bytes())?;
                    Some(((*name).into(), value.to_vec()))
                })
                .collect();
            Err(Box::new(reply))
        }
    }
}

/// Whether the rate of requests leaves room for this one, and what is left then.
fn limit<'v>(
    routed: &Routed<'v>,
    filter: &str,
    chain: &'v Arc<LimitRule>,
    record: &mut Record,
) -> Result<Option<Left>, Box<Reply<'v>>> {
    let Some(rule) = routed.forwarding.limit(filter, chain) else { return Ok(None) };
    let remote = record.stream.remote.as_deref().and_then(|r| r.address);
    let remote = remote.map(|a| a.ip().to_string()).unwrap_or_default();
    let cluster = &routed.cluster.config.name;
    let subject = routed.forwarding.subject(&record.heads.request, cluster, &remote);
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
    if rule.resource_exhausted && is_grpc(&record.heads.request) {
        return reply.header("grpc-status", "8");
    }
    reply
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

const ALLOWED: [&str; 6] = [
    "access-control-allow-origin",
    "access-control-allow-credentials",
    "access-control-allow-methods",
    "access-control-allow-headers",
    "access-control-max-age",
    "access-control-expose-headers",
];

async fn inject_fault<'v>(
    manager: &'v ManagerRt,
    routed: &Routed<'v>,
    record: &mut Record,
) -> Result<(), Box<Reply<'v>>> {
    let chain = manager.fault.as_ref().map(|(_, rule)| rule);
    let Some(rule) = routed.forwarding.fault(chain) else { return Ok(()) };
    let cluster = &routed.cluster.config.name;
    let injected = rule.odds(&record.heads.request, cluster).draw(&record.worker.env);
    if let Some(delay) = injected.delay {
        record.stream.flags.set(Flag::DelayInjected);
        tokio::time::sleep(delay).await;
    }
    let Some(abort) = injected.abort else { return Ok(()) };
    let reply = match abort {
        AbortStatus::Http(status) => {
            Reply::new(status, "fault_filter_abort").text("fault filter abort")
        }
        AbortStatus::Grpc(status) => {
            let reply = Reply::new(200, "fault_filter_abort").text("fault filter abort");
            if is_grpc(&record.heads.request) {
                reply.header("grpc-status", status.to_string())
            } else {
                reply
            }
        }
    };
    Err(Box::new(reply.flag(Flag::FaultInjected)))
}
