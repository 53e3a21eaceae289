//! One attempt: an endpoint, a connection, the request on its way, the head of the answer.

use super::upstream::{Channel, Upstream};
use super::{Answer, Downstream, Effort, failure, is_idempotent};
use crate::alarm::Alarm;
use crate::istio;
use crate::pick::{self, Picked, Purpose};
use crate::record::Record;
use crate::replay::Replayed;
use crate::reply::{Loss, Reply};
use crate::stream::{Pump, PumpError, SourceError};
use crate::worker::Worker;
use balance::{Limit, LocalFailure, Outcome, Want};
use policy::coding::Unreadable;
use policy::local::judged_by;
use policy::retry::Failure;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use tokio::time::Instant;
use wire::h1::{Body, BodyError, Framing};
use wire::{RequestHead, Version};

pub(super) enum Attempt {
    Answered(Box<Answer>),
    Lost(Lost),
    /// Another attempt would not help.
    Refused(Box<Reply<'static>>),
    /// There is no endpoint to send it to.
    Nowhere,
    Gone,
}

/// No answer came.
pub(super) struct Lost {
    pub loss: Loss,
    pub failure: Failure,
    /// The connection had carried requests before, and gave nothing back this time.
    pub stale: bool,
    /// The endpoint cannot have seen the request.
    pub unseen: bool,
}

/// A request on its way.
struct Sent {
    upstream: Upstream,
    request: Pump,
    send_failed: bool,
    used_before: bool,
    /// What the endpoint's kernel had taken before.
    taken: Option<u64>,
    permit: balance::Permit,
}

/// What the wait for an answer ended with.
enum Event {
    Head(Framing),
    Lost(Loss),
    Gone,
    /// The request's body cannot be read.
    BadBody,
    /// It is not what its head says.
    Unreadable(Unreadable),
    /// Nothing moved for too long.
    Idle,
    Timeout,
    PerTry,
    /// The stream has lived as long as it may.
    StreamOver,
}

impl Effort<'_, '_> {
    pub(super) async fn attempt<D: Downstream>(
        &mut self,
        record: &mut Record,
        down: &mut D,
        alarm: &mut Alarm,
    ) -> Attempt {
        let to = self.job.to;
        let rules = self.retries.rules();
        let avoid = if rules.avoid_previous { self.tried.as_slice() } else { &[] };
        let want = Want { hash: self.hash, avoid, attempts: rules.attempts_to_avoid };
        let worker = record.worker.clone();
        let authority = record.heads.request.authority();
        let (original, client) = (self.job.original, self.job.client);
        let tells_protocol = self.job.manager.tells_protocol;
        let purpose = Purpose { original, authority, client, tells_protocol };
        let Some(picked) = pick::pick(&worker, &self.job.to.cluster, &want, purpose) else {
            worker.shard.inc(self.job.to.cluster.stats.cx_none_healthy);
            return Attempt::Nowhere;
        };
        if rules.avoid_previous {
            self.tried.extend(picked.id());
        }
        let envoy_headers = !self.job.manager.config.suppress_envoy_headers;
        istio::picked(self.job.manager, record, picked.workload.as_deref());
        let request = &mut record.heads.request;
        to.forwarding.rewrite_host(request, &picked.hostname, envoy_headers);
        let version = record.heads.request.version;
        self.mirror(&worker, &record.heads.request);
        let channel = match self.channel(&worker, version, &picked, down).await {
            Some(None) => return Attempt::Gone,
            Some(Some(Ok(channel))) => channel,
            Some(Some(Err(loss))) => {
                if let Loss::Connect(_) | Loss::ConnectTimeout = loss {
                    record.stream.upstream = Some(Rc::new(picked.unconnected()));
                }
                return Attempt::Lost(self.lost(loss, record, &picked));
            }
            None if self.is_stream_over() => {
                let reply = Reply::stream_over(matches!(self.job.body, Body::Empty));
                return Attempt::Refused(Box::new(reply));
            }
            // Nobody was asked yet, so that nobody is to blame.
            None => return timed_out(&worker, &picked),
        };
        picked.report(&worker, Outcome::Connected);
        record.stream.upstream = Some(channel.ends().clone());
        record.stream.transport_failure = Default::default();
        self.exchange(channel, picked, record, down, alarm).await
    }

    /// A channel to the endpoint: `None` if it takes too long, and nothing once the client has left.
    async fn channel<D: Downstream>(
        &self,
        worker: &Rc<Worker>,
        version: Version,
        picked: &Picked,
        down: &mut D,
    ) -> Option<Option<Result<Channel, Loss>>> {
        let job = self.job;
        // Pinned here, since each hand that it passes through would be as large as it is.
        let getting = pin!(Channel::get(worker, version, picked, self.stale == 0, job.upgrade));
        // A body is read no further than the connection takes it, so only without one is it seen that the
        // client has left.
        let is_whole = matches!(job.body, Body::Empty);
        self.before_deadline(pin!(unless_gone(getting, down, is_whole))).await
    }

    /// Connecting may take no longer than the request. The time of one attempt begins after it.
    async fn before_deadline<T>(&self, work: Pin<&mut impl Future<Output = T>>) -> Option<T> {
        match self.earliest() {
            None => Some(work.await),
            Some(deadline) => tokio::time::timeout_at(deadline, work).await.ok(),
        }
    }

    async fn exchange<D: Downstream>(
        &mut self,
        channel: Channel,
        picked: Picked,
        record: &mut Record,
        down: &mut D,
        alarm: &mut Alarm,
    ) -> Attempt {
        let worker = record.worker.clone();
        let Some(permit) = picked.cluster.breakers.enter(Limit::Requests) else {
            channel.give_back(&picked);
            return Attempt::Lost(self.lost(Loss::Overflow, record, &picked));
        };
        worker.shard.inc(picked.cluster.stats.rq_total);
        let used_before = channel.is_reused();
        // Only where it decides whether the request may be sent again.
        let asks = used_before && !is_idempotent(record);
        let taken = if asks { channel.acknowledged() } else { None };
        let (head, job) = (&record.heads.request, self.job);
        let upstream = match channel.send(&worker, head, &picked, job.body, job.upgrade) {
            Ok(upstream) => upstream,
            Err(loss) => return Attempt::Lost(self.lost(loss, record, &picked)),
        };
        let request = Pump::default();
        let mut sent = Sent { upstream, request, send_failed: false, used_before, taken, permit };
        let per_try = self.per_try.map(|d| Instant::now() + d);
        let deadline = [self.earliest(), per_try].into_iter().flatten().min();
        let mut informed = false;
        let event = loop {
            let event = self.wait_for_head(&mut sent, record, down, alarm, deadline).await;
            match event {
                Event::Head(_) if self.passes_by(record, down, informed) => {
                    if std::mem::replace(&mut informed, true) {
                        continue;
                    }
                    let codes = &mut picked.cluster.codes.borrow_mut();
                    let registry = &worker.shared.registry;
                    codes.count(record.heads.response.status, registry, &worker.shard);
                }
                event => break event,
            }
        };
        self.conclude(event, sent, picked, record)
    }

    /// Sends the request and waits for a head of the answer, or for what prevents it.
    async fn wait_for_head<D: Downstream>(
        &mut self,
        sent: &mut Sent,
        record: &mut Record,
        down: &mut D,
        alarm: &mut Alarm,
        deadline: Option<Instant>,
    ) -> Event {
        let idle = self.idle_timeout();
        let (mut moved, mut since) = (sent.request.bytes, Instant::now());
        let (worker, heads, stream) = (&record.worker, &mut record.heads, &mut record.stream);
        poll_fn(|cx| {
            if !sent.request.is_done() && !sent.send_failed {
                let mut source = Replayed { replay: &mut self.replay, inner: down };
                match sent.request.poll(cx, &mut source, &mut sent.upstream) {
                    Poll::Ready(Err(PumpError::Source(e))) => {
                        tracing::debug!("request body: {e}");
                        return Poll::Ready(match e {
                            SourceError::Body(b) if b != BodyError::Truncated => Event::BadBody,
                            SourceError::Coding(why) => Event::Unreadable(why),
                            _ => Event::Gone,
                        });
                    }
                    // The answer may have been sent before the connection broke.
                    Poll::Ready(Err(PumpError::Sink(_))) => sent.send_failed = true,
                    _ => {}
                }
                if sent.request.source_done() && stream.request_duration.is_none() {
                    let now = base::Env::now(&worker.env);
                    stream.request_duration = Some(now.since(stream.began));
                    self.mirror(worker, &heads.request);
                }
            }
            match sent.upstream.poll_head(cx, &mut heads.response) {
                Poll::Ready(Ok(framing)) => return Poll::Ready(Event::Head(framing)),
                Poll::Ready(Err(loss)) => return Poll::Ready(Event::Lost(loss)),
                Poll::Pending => {}
            }
            if sent.request.source_done() && down.poll_gone(cx).is_ready() {
                return Poll::Ready(Event::Gone);
            }
            while let Some(idle) = idle
                && alarm.poll(cx, Some(since + idle)).is_ready()
            {
                if sent.request.bytes == moved {
                    return Poll::Ready(Event::Idle);
                }
                moved = sent.request.bytes;
                since = Instant::now();
            }
            if alarm.poll(cx, deadline).is_ready() {
                let whole = self.whole.is_some_and(|w| Instant::now() >= w);
                return Poll::Ready(match whole {
                    _ if self.is_stream_over() => Event::StreamOver,
                    true => Event::Timeout,
                    false => Event::PerTry,
                });
            }
            Poll::Pending
        })
        .await
    }

    fn conclude(&self, event: Event, sent: Sent, picked: Picked, record: &mut Record) -> Attempt {
        let worker = record.worker.clone();
        let (shard, stats) = (&worker.shard, &picked.cluster.stats);
        match event {
            Event::Head(framing) => {
                let status = judged_by(&record.heads.request, &record.heads.response);
                picked.report(&worker, Outcome::Status(status));
                let Sent { upstream, request, send_failed, permit, .. } = sent;
                Attempt::Answered(Box::new(Answer {
                    upstream,
                    picked,
                    framing,
                    request,
                    send_failed,
                    _permit: permit,
                }))
            }
            Event::Lost(loss) => {
                let stale = sent.used_before && !sent.upstream.answered() && loss == Loss::Closed;
                let unseen =
                    stale && sent.taken.is_some() && sent.upstream.acknowledged() == sent.taken;
                let lost = self.lost(loss, record, &picked);
                let failure = failure(&lost.loss, sent.request.is_done());
                Attempt::Lost(Lost { stale, unseen, failure, ..lost })
            }
            Event::Gone => {
                shard.inc(stats.rq_tx_reset);
                Attempt::Gone
            }
            Event::BadBody => {
                shard.inc(stats.rq_tx_reset);
                Attempt::Refused(Box::new(Reply::bad_body()))
            }
            Event::Unreadable(why) => {
                // No fault of the cluster's, and nothing that it has answered.
                record.cluster = None;
                shard.inc(stats.rq_tx_reset);
                Attempt::Refused(Box::new(Reply::unreadable(why)))
            }
            Event::Idle => {
                shard.inc(stats.rq_tx_reset);
                Attempt::Refused(Box::new(Reply::idle(sent.request.source_done())))
            }
            Event::StreamOver => {
                shard.inc(stats.rq_tx_reset);
                Attempt::Refused(Box::new(Reply::stream_over(sent.request.source_done())))
            }
            Event::Timeout => {
                picked.report(&worker, Outcome::Local(LocalFailure::Timeout));
                timed_out(&worker, &picked)
            }
            Event::PerTry => {
                shard.inc(stats.rq_per_try_timeout);
                Attempt::Lost(self.lost(Loss::PerTryTimeout, record, &picked))
            }
        }
    }

    /// Informational answers are passed on where that is configured, and otherwise dropped.
    /// Of several, only the first: `informed` says that it came.
    fn passes_by<D: Downstream>(&self, record: &Record, down: &mut D, informed: bool) -> bool {
        let response = &record.heads.response;
        if !response.is_informational() || (response.status == 101 && self.job.upgrade) {
            return false;
        }
        if self.job.manager.config.proxy_100_continue && !informed {
            down.inform(response);
        }
        true
    }

    fn lost(&self, loss: Loss, record: &mut Record, picked: &Picked) -> Lost {
        if let Loss::Connect(why) = &loss {
            record.stream.transport_failure = why.clone().into();
        }
        let (shard, stats) = (&record.worker.shard, &picked.cluster.stats);
        if loss == Loss::Closed || loss == Loss::Protocol {
            shard.inc(stats.rq_rx_reset);
        }
        picked.report_loss(&record.worker, &loss);
        let failure = failure(&loss, true);
        Lost { loss, failure, stale: false, unseen: false }
    }
}

/// The time of the whole request is over.
fn timed_out(worker: &Worker, picked: &Picked) -> Attempt {
    worker.shard.inc(picked.cluster.stats.rq_timeout);
    Attempt::Refused(Box::new(Reply::timeout("response_timeout")))
}

/// The work's result; `None` once the client has left, if that is watched.
async fn unless_gone<T, D: Downstream>(
    mut work: Pin<&mut impl Future<Output = T>>,
    down: &mut D,
    is_watched: bool,
) -> Option<T> {
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending if is_watched && down.poll_gone(cx).is_ready() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await
}
