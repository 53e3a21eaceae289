//! Copies of requests for other clusters, whose answers nobody waits for. A copy is sent when the
//! body is known to its end; bodies that are too long to be kept are not copied.

use super::Effort;
use super::upstream::{Channel, Upstream};
use crate::pick::{self, Picked, Purpose};
use crate::record::Record;
use crate::replay::Kept;
use crate::reply::Loss;
use crate::stream::{Fill, Pump, Sink, Source, SourceError};
use crate::view::ClusterState;
use crate::worker::Worker;
use balance::{Limit, Want};
use base::Env;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use wire::h1::{Body, Framing};
use wire::{Fields, Request, RequestHead, Response};

/// A copy that takes longer than this is given up.
const TIMEOUT: Duration = Duration::from_secs(15);

impl Effort<'_, '_> {
    /// Sends the copies that the route asks for, once.
    pub(super) fn mirror(&mut self, record: &Record) {
        let routed = &self.job.filtered.routed;
        if std::mem::replace(&mut self.mirrored, true) || routed.mirrors.is_empty() {
            return;
        }
        let Some(body) = self.replay.copy(self.job.body == Body::Empty) else { return };
        let body = Rc::new(body);
        let env = &record.worker.env;
        for (rule, cluster) in &routed.mirrors {
            if env.below(1_000_000) >= u64::from(rule.fraction) {
                continue;
            }
            let mut request = record.heads.request.clone();
            if rule.host_suffix {
                let host = shadow(request.authority());
                request.set_authority(&host);
            }
            let kind = self.job.body;
            let copy = Copy { worker: record.worker.clone(), cluster: cluster.clone(), request };
            let body = body.clone();
            tokio::task::spawn_local(async move {
                // Whatever becomes of a copy is for the counters of its cluster only.
                let _ = tokio::time::timeout(TIMEOUT, copy.send(body, kind)).await;
            });
        }
    }
}

/// `host:port` as `host-shadow:port`.
fn shadow(authority: &[u8]) -> Vec<u8> {
    let (host, port) = policy::normal::split_port(authority);
    [host, b"-shadow", if port.is_some() { &authority[host.len()..] } else { b"" }].concat()
}

struct Copy {
    worker: Rc<Worker>,
    cluster: Rc<ClusterState>,
    request: Request,
}

impl Copy {
    async fn send(self, body: Rc<Kept>, kind: Body) -> Result<(), Loss> {
        let (worker, cluster) = (&self.worker, &self.cluster);
        let _permit = cluster.breakers.enter(Limit::Requests).ok_or(Loss::Overflow)?;
        let purpose = Purpose { authority: self.request.authority(), ..Purpose::default() };
        let picked =
            pick::pick(worker, cluster, &Want::default(), purpose).ok_or(Loss::Overflow)?;
        let version = self.request.version;
        let channel = Channel::get(worker, version, &picked, true, false).await?;
        worker.shard.inc(cluster.stats.rq_total);
        let mut upstream = channel.send(worker, &self.request, &picked, kind, false)?;
        let mut response = Response::default();
        let framing = exchange(&mut upstream, body, &mut response).await?;
        cluster.codes.borrow_mut().count(response.status, &worker.shared.registry, &worker.shard);
        self.finish(upstream, framing, &picked).await;
        Ok(())
    }

    /// Reads the answer to its end, so that the connection can be used again.
    async fn finish(&self, mut upstream: Upstream, framing: Framing, picked: &Picked) {
        let mut pump = Pump::default();
        let read = poll_fn(|cx| pump.poll(cx, &mut upstream, &mut Nowhere)).await;
        let clean = read.is_ok() && framing.keep_alive && framing.body != Body::UntilClose;
        upstream.keep(&self.worker, picked, clean);
    }
}

/// Sends the request and reads the head of the answer.
async fn exchange(
    upstream: &mut Upstream,
    body: Rc<Kept>,
    response: &mut Response,
) -> Result<Framing, Loss> {
    let mut source = Whole { body, at: 0 };
    let mut request = Pump::default();
    loop {
        let framing = poll_fn(|cx| {
            if !request.is_done()
                && let Poll::Ready(Err(_)) = request.poll(cx, &mut source, upstream)
            {
                return Poll::Ready(Err(Loss::Closed));
            }
            upstream.poll_head(cx, response)
        })
        .await?;
        if !response.is_informational() {
            return Ok(framing);
        }
    }
}

/// A body that is there already.
struct Whole {
    body: Rc<Kept>,
    at: usize,
}

impl Source for Whole {
    fn poll_fill(&mut self, _: &mut Context<'_>) -> Poll<Result<Fill, SourceError>> {
        Poll::Ready(Ok(Fill::End))
    }

    fn data(&self) -> &[u8] {
        &self.body.bytes()[self.at..]
    }

    fn consume(&mut self, n: usize) {
        self.at += n;
    }

    fn trailers(&self) -> Option<&Fields> {
        None
    }
}

/// Takes everything.
struct Nowhere;

impl Sink for Nowhere {
    fn poll_send(&mut self, _: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_finish(&mut self, _: &mut Context<'_>, _: Option<&Fields>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
