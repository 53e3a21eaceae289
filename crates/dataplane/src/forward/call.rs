//! Requests of the proxy's own making: copies of a client's, and questions to services that filters ask.
//! They go the way of any request (breakers, load balancing, pools, counters), once.

use super::upstream::{Channel, Upstream};
use crate::pick::{self, Picked, Purpose};
use crate::reply::Loss;
use crate::stream::{Fill, Pump, Sink, Source, SourceError};
use crate::view::ClusterState;
use crate::worker::Worker;
use balance::{Limit, Outcome, Want};
use policy::local::judged_by;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use wire::h1::{Body, Framing};
use wire::{Fields, Request, RequestHead, Response};

/// Sends a request and reads the answer to its end, so that the connection can be used again.
async fn call(
    worker: &Rc<Worker>,
    cluster: &Rc<ClusterState>,
    request: &Request,
    kind: Body,
    source: &mut impl Source,
    sink: &mut impl Sink,
) -> Result<Response, Loss> {
    let authority = request.authority();
    let purpose = Purpose { authority, tells_protocol: true, ..Purpose::default() };
    let picked = pick::pick(worker, cluster, &Want::default(), purpose).ok_or(Loss::Overflow)?;
    let mut response = Response::default();
    let begun = begin(worker, &picked, request, kind, source, &mut response).await;
    let (upstream, framing, _permit) =
        begun.inspect_err(|loss| picked.report_loss(worker, loss))?;
    picked.report(worker, Outcome::Status(judged_by(request, &response)));
    cluster.codes.borrow_mut().count(response.status, &worker.shared.registry, &worker.shard);
    let whole = finish(worker, upstream, framing, &picked, sink).await;
    if whole { Ok(response) } else { Err(Loss::Closed) }
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Unanswered {
    Lost(Loss),
    Late,
}

/// As [`call`], and no longer than `patience`; an answer that does not come is counted as one of the
/// proxy's own.
pub async fn call_within(
    worker: &Rc<Worker>,
    cluster: &Rc<ClusterState>,
    request: &Request,
    kind: Body,
    (source, sink): (&mut impl Source, &mut impl Sink),
    patience: Duration,
) -> Result<Response, Unanswered> {
    let called = call(worker, cluster, request, kind, source, sink);
    let (status, why) = match tokio::time::timeout(patience, called).await {
        Ok(Ok(response)) => return Ok(response),
        Ok(Err(loss)) => (503, Unanswered::Lost(loss)),
        Err(_) => {
            worker.shard.inc(cluster.stats.rq_timeout);
            (504, Unanswered::Late)
        }
    };
    cluster.codes.borrow_mut().count(status, &worker.shared.registry, &worker.shard);
    Err(why)
}

/// Sends the request on a connection to the endpoint, up to the head of the answer.
async fn begin(
    worker: &Rc<Worker>,
    picked: &Picked,
    request: &Request,
    kind: Body,
    source: &mut impl Source,
    response: &mut Response,
) -> Result<(Upstream, Framing, balance::Permit), Loss> {
    let channel = Channel::get(worker, request.version, picked, true, false).await?;
    picked.report(worker, Outcome::Connected);
    let Some(permit) = picked.cluster.breakers.enter(Limit::Requests) else {
        channel.give_back(picked);
        return Err(Loss::Overflow);
    };
    worker.shard.inc(picked.cluster.stats.rq_total);
    let mut upstream = channel.send(worker, request, picked, kind, false)?;
    let framing = exchange(&mut upstream, source, response).await?;
    Ok((upstream, framing, permit))
}

/// Whether the answer came to its end.
async fn finish(
    worker: &Worker,
    mut upstream: Upstream,
    framing: Framing,
    picked: &Picked,
    sink: &mut impl Sink,
) -> bool {
    let mut pump = Pump::default();
    let whole = poll_fn(|cx| pump.poll(cx, &mut upstream, sink)).await.is_ok();
    let clean = whole && framing.keep_alive && framing.body != Body::UntilClose;
    upstream.keep(worker, picked, clean);
    whole
}

/// Sends the request and reads the head of the answer.
async fn exchange(
    upstream: &mut Upstream,
    source: &mut impl Source,
    response: &mut Response,
) -> Result<Framing, Loss> {
    let mut request = Pump::default();
    loop {
        let framing = poll_fn(|cx| {
            if !request.is_done()
                && let Poll::Ready(Err(_)) = request.poll(cx, source, upstream)
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
pub struct Whole<B> {
    body: B,
    at: usize,
}

impl<B: AsRef<[u8]>> Whole<B> {
    pub fn new(body: B) -> Self {
        Self { body, at: 0 }
    }
}

impl<B: AsRef<[u8]>> Source for Whole<B> {
    fn poll_fill(&mut self, _: &mut Context<'_>) -> Poll<Result<Fill, SourceError>> {
        Poll::Ready(Ok(Fill::End))
    }

    fn data(&self) -> &[u8] {
        &self.body.as_ref()[self.at..]
    }

    fn consume(&mut self, n: usize) {
        self.at += n;
    }

    fn trailers(&self) -> Option<&Fields> {
        None
    }
}

/// Takes everything.
pub struct Nowhere;

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

/// Keeps a short answer; a longer one is an error.
#[derive(Debug, Default)]
pub struct Short {
    pub body: Vec<u8>,
    pub trailers: Fields,
}

/// Bytes of an answer to the proxy itself.
const MAX_ANSWER: usize = 64 * 1024;

impl Sink for Short {
    fn poll_send(&mut self, _: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        if self.body.len() + data.len() > MAX_ANSWER {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        self.body.extend_from_slice(data);
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_finish(
        &mut self,
        _: &mut Context<'_>,
        trailers: Option<&Fields>,
    ) -> Poll<io::Result<()>> {
        for (name, value) in trailers.into_iter().flat_map(Fields::iter) {
            self.trailers.push(name, value);
        }
        Poll::Ready(Ok(()))
    }
}
