//! Step: forward. Attempts to get an answer from the cluster, within timeouts and retries; then the
//! answer on its way to the client.

pub mod answer;
mod attempt;
pub mod call;
pub mod grpc;
mod mirror;
mod upstream;

use crate::alarm::Alarm;
use crate::h1::Client;
use crate::istio;
use crate::pick::Picked;
use crate::record::Record;
use crate::replay::Replay;
use crate::reply::{Loss, Reply};
use crate::runtime::ManagerRt;
use crate::stream::{Sink, Source};
use crate::verdict::Destined;
use attempt::{Attempt, Lost};
use balance::{EndpointId, Limit};
use policy::Flag;
use policy::hash::Hashed;
use policy::retry::{Failure, Retries};
use policy::timeout::Timeouts;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;
use upstream::Upstream;
use wire::h1::Body;
use wire::{RequestHead, Response, Version};

/// The client's side of one exchange, whatever its protocol.
pub trait Downstream: Source + Sink {
    /// A tunnel may be made of this connection's own bytes.
    const RAW: bool;
    /// From here on what the client sends, and gets, is what it asked to go on with.
    fn open_tunnel(&mut self);
    /// The connection is to end after this answer.
    fn close(&mut self);
    /// Skips what is there of the request's body; says whether that was all of it.
    fn skip_request(&mut self) -> bool;
    /// Begins the answer. The head may wait for the first data.
    fn start(&mut self, response: &Response, body: Body, upgraded: bool);
    /// Passes an informational answer on.
    fn inform(&mut self, response: &Response);
    /// Ready when the client is gone. Called when its request was read to the end.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// What is to be forwarded, besides the head in the record.
pub struct Job<'a, 'v> {
    pub to: &'a Destined<'v>,
    pub manager: &'a ManagerRt,
    pub body: Body,
    pub upgrade: bool,
    /// Where the client's connection was meant for.
    pub original: Option<SocketAddr>,
    /// Source and destination of the client's connection.
    pub client: Option<(SocketAddr, SocketAddr)>,
}

/// How it ended.
pub enum Ending {
    /// The answer was sent to its end.
    Done,
    /// The answer cannot be completed, so the connection must show that it is cut.
    Broken,
    /// The client is gone.
    Gone,
    /// From here on bytes go both ways; it ends when none have for so long.
    Tunnel(Box<Client>, Option<Duration>),
}

/// Bytes of a request body that are kept only in case that a spare connection turns out to be closed.
const KEPT: usize = 64 * 1024;

/// Envoy's window of a stream, up to which it keeps the bodies of HTTP/2 requests.
const STREAM: u32 = 16 << 20;

/// Attempts on other connections after one that turned out to be closed already.
const STALE: u32 = 3;

/// The state of one request over its attempts.
struct Effort<'a, 'v> {
    job: &'a Job<'a, 'v>,
    retries: Retries<'v>,
    replay: Replay,
    tried: Vec<EndpointId>,
    /// Of the request, for clusters that keep like requests together.
    hash: Option<u64>,
    set_cookie: Option<String>,
    /// The copies were sent.
    mirrored: bool,
    times: Timeouts,
    began: Instant,
    whole: Option<Instant>,
    per_try: Option<Duration>,
    /// The end of the stream, whatever is under way.
    stream: Option<Instant>,
    stale: u32,
}

/// Forwards; `ahead` is what was read of the body before. Where nothing was sent to the client yet, what is to be sent is the error.
pub async fn forward<D: Downstream>(
    job: &Job<'_, '_>,
    ahead: Replay,
    record: &mut Record,
    down: &mut D,
    alarm: &mut Alarm,
) -> Result<Ending, Box<Reply<'static>>> {
    let to = job.to;
    let forwarding = &to.forwarding;
    let envoy_headers = !job.manager.config.suppress_envoy_headers;
    let rules = &forwarding.rule.retry;
    record.cluster = Some(job.to.cluster.clone());
    let request = &mut record.heads.request;
    let retries = rules.begin(request);
    let streams = job.manager.config.common.max_stream_duration;
    let time = &forwarding.rule.time;
    let timeouts = Timeouts::begin(time, rules, streams, request, envoy_headers);
    forwarding.rewrite(request, &record.stream, envoy_headers);
    istio::send(job.manager, record);
    let hashed = hash(job, record);
    let now = Instant::now();
    let again = retries.enabled() || !to.mirrors.is_empty();
    let keep = kept(job, record.heads.request.version, again);
    let mut effort = Effort {
        hash: hashed.hash,
        set_cookie: hashed.set_cookie,
        mirrored: false,
        job,
        retries,
        replay: ahead.limited(keep),
        tried: Vec::new(),
        times: timeouts,
        began: now,
        whole: timeouts.whole.filter(|_| !job.upgrade).map(|d| now + d),
        per_try: timeouts.per_try,
        stream: timeouts.stream.map(|d| now + d),
        stale: 0,
    };
    effort.run(record, down, alarm).await
}

/// Bytes of the request's body that are kept. `again`: for another attempt or a copy.
fn kept(job: &Job<'_, '_>, version: Version, again: bool) -> usize {
    let most = match version {
        Version::Http2 => job.manager.config.http2.initial_stream_window.unwrap_or(STREAM) as usize,
        _ => job.manager.buffer_limit,
    };
    match job.body {
        Body::Empty => 0,
        // Never whole, so that keeping more of it is in vain.
        Body::Length(n) if n > most as u64 => KEPT.min(most),
        _ if again => most,
        _ => KEPT.min(most),
    }
}

fn hash(job: &Job<'_, '_>, record: &Record) -> Hashed {
    let policies = &job.to.forwarding.rule.hash;
    let address = |shown: Option<&policy::format::Shown>| shown.and_then(|s| s.address);
    let ends = record.stream.downstream.as_ref();
    let (remote, local) = (address(ends.map(|e| &e.remote)), address(ends.map(|e| &e.local)));
    let source = address(record.stream.remote.as_deref()).or(remote);
    let (Some(source), Some(remote), Some(local)) = (source, remote, local) else {
        return Hashed::default();
    };
    let client = policy::hash::Client { source: source.ip(), remote, local };
    policy::hash::of_request(policies, &record.heads.request, &client)
}

impl Effort<'_, '_> {
    async fn run<D: Downstream>(
        &mut self,
        record: &mut Record,
        down: &mut D,
        alarm: &mut Alarm,
    ) -> Result<Ending, Box<Reply<'static>>> {
        let _budget;
        let mut budget = None;
        loop {
            record.stream.attempts += 1;
            self.announce(record);
            let attempt = self.attempt(record, down, alarm).await;
            let retry = match &attempt {
                Attempt::Answered(_) => self.retries.covers_response(&record.heads.response),
                Attempt::Lost(lost) if self.is_harmless(lost, record) => {
                    self.stale += 1;
                    self.replay.rewind();
                    record.stream.attempts -= 1;
                    continue;
                }
                Attempt::Lost(lost) => self.retries.covers_failure(lost.failure),
                _ => false,
            };
            if retry && self.may_retry(record, &mut budget) {
                drop(attempt);
                self.replay.rewind();
                self.wait(record).await?;
                continue;
            }
            _budget = budget;
            return match attempt {
                Attempt::Answered(answer) => self.deliver(*answer, record, down, alarm).await,
                Attempt::Lost(lost) => {
                    let reply = Reply::upstream_lost(&lost.loss, record.stream.attempts > 1);
                    Err(Box::new(self.counted(reply, record)))
                }
                Attempt::Refused(reply) => Err(Box::new(self.counted(*reply, record))),
                Attempt::Nowhere => {
                    Err(Box::new(self.counted(Reply::no_healthy_upstream(), record)))
                }
                Attempt::Gone => Ok(Ending::Gone),
            };
        }
    }

    /// A local answer that says how many attempts there were, where that is asked for.
    fn counted(&self, reply: Reply<'static>, record: &Record) -> Reply<'static> {
        if !self.job.to.forwarding.host.attempt_count_in_response {
            return reply;
        }
        reply.header("x-envoy-attempt-count", record.stream.attempts.to_string())
    }

    /// Tells the upstream which attempt this is, and how long it may take.
    fn announce(&self, record: &mut Record) {
        self.times.tell(&mut record.heads.request, self.began.elapsed());
        if self.job.to.forwarding.host.attempt_count {
            let count = record.stream.attempts.to_string();
            record.heads.request.fields.set(b"x-envoy-attempt-count", count.as_bytes());
        }
    }

    /// A spare connection that the endpoint had closed before it saw the request: nobody acted on
    /// the request, or doing so twice is the same as once.
    fn is_harmless(&self, lost: &Lost, record: &Record) -> bool {
        lost.stale
            && self.stale < STALE
            && self.replay.is_whole()
            && (is_idempotent(record) || lost.unseen)
    }

    /// Takes one retry, if there is one and the cluster has room for it.
    fn may_retry(&mut self, record: &mut Record, budget: &mut Option<balance::Permit>) -> bool {
        let cluster = &self.job.to.cluster;
        let shard = &record.worker.shard;
        if !self.retries.enabled() {
            shard.inc(cluster.stats.rq_retry_limit_exceeded);
            record.stream.flags.set(Flag::UpstreamRetryLimitExceeded);
            return false;
        }
        if !self.replay.is_whole() {
            return false;
        }
        if budget.is_none() {
            *budget = cluster.breakers.enter(Limit::Retries);
        }
        if budget.is_none() {
            shard.inc(cluster.stats.rq_retry_overflow);
            record.stream.flags.set(Flag::UpstreamOverflow);
            return false;
        }
        shard.inc(cluster.stats.rq_retry);
        true
    }

    /// Waits before a retry; the answer to give when the request's time is over before.
    async fn wait(&mut self, record: &Record) -> Result<(), Box<Reply<'static>>> {
        let n = self.retries.take();
        let wait = self.retries.rules().wait(n, &record.worker.env);
        let until = Instant::now() + wait;
        match self.earliest() {
            Some(deadline) if until >= deadline => {
                tokio::time::sleep_until(deadline).await;
                Err(Box::new(if self.is_stream_over() {
                    Reply::stream_over(true)
                } else {
                    Reply::timeout("response_timeout")
                }))
            }
            _ => {
                tokio::time::sleep_until(until).await;
                Ok(())
            }
        }
    }

    /// When the time of the request or of its stream is over.
    fn earliest(&self) -> Option<Instant> {
        [self.whole, self.stream].into_iter().flatten().min()
    }

    fn is_stream_over(&self) -> bool {
        self.stream.is_some_and(|end| Instant::now() >= end)
    }
}

/// An answer whose head was read.
struct Answer {
    upstream: Upstream,
    picked: Picked,
    framing: wire::h1::Framing,
    request: crate::stream::Pump,
    send_failed: bool,
    /// Its place among the cluster's requests.
    _permit: balance::Permit,
}

/// Whether doing the request twice is the same as doing it once.
fn is_idempotent(record: &Record) -> bool {
    matches!(
        record.heads.request.method(),
        b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" | b"PUT" | b"DELETE"
    )
}

/// How a loss looks to retry conditions.
fn failure(loss: &Loss, sent: bool) -> Failure {
    match loss {
        Loss::Connect(_) | Loss::ConnectTimeout => Failure::Connect,
        Loss::Refused => Failure::Refused,
        Loss::Closed | Loss::Reset | Loss::Protocol => Failure::Reset { sent },
        Loss::Overflow => Failure::Overflow,
        Loss::PerTryTimeout => Failure::PerTryTimeout,
    }
}
