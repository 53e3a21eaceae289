//! The answer on its way to the client.

use super::upstream::Upstream;
use super::{Answer, Downstream, Effort, Ending};
use crate::alarm::Alarm;
use crate::filter::Coded;
use crate::istio;
use crate::recode::Recoded;
use crate::record::Record;
use crate::replay::Replayed;
use crate::reply::Reply;
use crate::stream::{Pump, PumpError, Sink, Source};
use policy::coding::{Recoding, web};
use policy::{Flag, edge};
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;
use wire::h1::Body;
use wire::{Fields, Head};

/// A stream on which nothing moves ends after this, where the configuration does not say.
pub const IDLE: Duration = Duration::from_secs(300);

/// What the way of the answer ended with.
enum Event {
    Done,
    UpstreamBroke,
    Gone,
    Timeout,
    StreamOver,
    Idle,
}

impl Effort<'_, '_> {
    pub(super) async fn deliver<D: Downstream>(
        &mut self,
        mut answer: Answer,
        record: &mut Record,
        down: &mut D,
        alarm: &mut Alarm,
    ) -> Result<Ending, Box<Reply<'static>>> {
        let status = record.heads.response.status;
        record.stream.status = status;
        istio::answered(self.job.manager, record);
        self.dress(record);
        let framed = answer.framing.body;
        let bodiless = matches!(framed, Body::Empty | Body::Length(0));
        let response = &mut record.heads.response;
        let coded = (!self.job.upgrade).then(|| self.job.to.passed.code(response, bodiless));
        let Coded { recoding, message } = coded.unwrap_or_default();
        let tunnel = self.job.upgrade && (status == 101 || is_connected(status, record));
        if self.job.upgrade && !tunnel {
            if status == 200 {
                // Neither a refusal nor an upgrade: Envoy neither shows nor counts it either.
                record.cluster = None;
                return Err(Box::new(Reply::new(200, "via_upstream").closing()));
            }
            down.close();
            // Who refuses may think otherwise of what comes next on the connection.
            answer.framing.keep_alive = false;
        }
        let body = match framed {
            _ if tunnel => Body::Empty,
            _ if recoding.is_some() => Body::Chunked,
            body => body,
        };
        record.stream.details = "via_upstream".into();
        let mut way = Way { recoding, message: message.then(Vec::new) };
        if !message {
            down.start(&record.heads.response, body, tunnel);
            record.has_response = true;
        }
        if tunnel {
            match answer.upstream {
                Upstream::Http1(client) if D::RAW => {
                    return Ok(Ending::Tunnel(Box::new(client), self.idle_timeout()));
                }
                _ => self.open_tunnel(&mut answer, down),
            }
        }
        self.replay.forget();
        let mut response = Pump::default();
        let event = self.run_answer(&mut answer, &mut response, &mut way, down, alarm).await;
        let event = match (event, &way.message) {
            (Event::Done, Some(message)) => say(message, record, down).await,
            (event, _) => event,
        };
        record.stream.bytes_sent = response.bytes;
        record.stream.bytes_received = self.replay.received(answer.request.bytes);
        Ok(self.ended(event, answer, record))
    }

    /// What the end of the answer's way says of the exchange.
    fn ended(&self, event: Event, answer: Answer, record: &mut Record) -> Ending {
        match event {
            Event::Done => {
                record.grpc_status = grpc_status(answer.upstream.trailers(), record);
                self.keep(answer, record);
                Ending::Done
            }
            Event::UpstreamBroke => {
                record.stream.flags.set(Flag::UpstreamConnectionTermination);
                record.stream.details =
                    "upstream_reset_after_response_started{connection_termination}".into();
                Ending::Broken
            }
            Event::Timeout => {
                record.stream.flags.set(Flag::UpstreamRequestTimeout);
                record.stream.details = "response_timeout".into();
                Ending::Broken
            }
            Event::StreamOver => {
                record.stream.flags.set(Flag::DurationTimeout);
                record.stream.details = "max_duration_timeout".into();
                Ending::Broken
            }
            Event::Idle => {
                record.stream.flags.set(Flag::StreamIdleTimeout);
                record.stream.details = "stream_idle_timeout".into();
                Ending::Broken
            }
            Event::Gone => Ending::Gone,
        }
    }

    /// What follows the heads is a body each way, of a request and an answer that end when they end.
    fn open_tunnel<D: Downstream>(&mut self, answer: &mut Answer, down: &mut D) {
        down.open_tunnel();
        answer.upstream.open_tunnel();
        answer.framing.keep_alive = false;
        answer.request = Pump::default();
        self.replay.restart();
    }

    /// Changes the head of the answer: what routes and filters ask for, and what a proxy adds.
    fn dress(&self, record: &mut Record) {
        let forwarding = &self.job.to.forwarding;
        let elapsed = record.elapsed();
        record.stream.response_duration = Some(elapsed);
        let heads = &mut record.heads;
        if !self.job.manager.config.suppress_envoy_headers && !self.job.upgrade {
            let sent = record.stream.request_duration.unwrap_or(elapsed);
            let took = elapsed.saturating_sub(sent).as_millis() as u64;
            let mut digits = Vec::with_capacity(8);
            policy::format::number(took, &mut digits);
            heads.response.fields.set(b"x-envoy-upstream-service-time", &digits);
        }
        if forwarding.host.attempt_count_in_response {
            let count = record.stream.attempts.to_string();
            heads.response.fields.set(b"x-envoy-attempt-count", count.as_bytes());
        }
        forwarding.rewrite_response(&mut heads.response, &heads.request, &record.stream);
        if let Some(cookie) = &self.set_cookie {
            heads.response.fields.push(b"set-cookie", cookie.as_bytes());
        }
        self.job.to.passed.answer(&mut record.heads.response);
        finish(record, &self.job.manager.config, false);
    }

    async fn run_answer<D: Downstream>(
        &mut self,
        answer: &mut Answer,
        response: &mut Pump,
        way: &mut Way,
        down: &mut D,
        alarm: &mut Alarm,
    ) -> Event {
        let idle = self.idle_timeout();
        let mut moved = 0;
        let mut since = Instant::now();
        poll_fn(|cx| {
            if !answer.request.is_done() && !answer.send_failed {
                let mut source = Replayed { replay: &mut self.replay, inner: down };
                match answer.request.poll(cx, &mut source, &mut answer.upstream) {
                    Poll::Ready(Err(PumpError::Source(_))) => return Poll::Ready(Event::Gone),
                    Poll::Ready(Err(PumpError::Sink(_))) => answer.send_failed = true,
                    _ => {}
                }
            }
            match way.poll(cx, response, &mut answer.upstream, down) {
                Poll::Ready(Ok(())) => return Poll::Ready(Event::Done),
                Poll::Ready(Err(PumpError::Source(e))) => {
                    tracing::debug!("answer: {e}");
                    return Poll::Ready(Event::UpstreamBroke);
                }
                Poll::Ready(Err(PumpError::Sink(e))) => {
                    tracing::debug!("client: {e}");
                    return Poll::Ready(Event::Gone);
                }
                Poll::Pending => {}
            }
            if alarm.poll(cx, self.earliest()).is_ready() {
                let over = self.is_stream_over();
                return Poll::Ready(if over { Event::StreamOver } else { Event::Timeout });
            }
            while let Some(idle) = idle
                && alarm.poll(cx, Some(since + idle)).is_ready()
            {
                let total = response.bytes + answer.request.bytes;
                if total == moved {
                    return Poll::Ready(Event::Idle);
                }
                moved = total;
                since = Instant::now();
            }
            Poll::Pending
        })
        .await
    }

    pub(super) fn idle_timeout(&self) -> Option<Duration> {
        let of_route = self.job.to.forwarding.rule.idle_timeout;
        let timeout = of_route.or(self.job.manager.config.stream_idle_timeout).unwrap_or(IDLE);
        (!timeout.is_zero()).then_some(timeout)
    }

    /// Gives the connection back, if the next request can use it.
    fn keep(&self, answer: Answer, record: &Record) {
        let clean = answer.framing.keep_alive
            && answer.framing.body != Body::UntilClose
            && answer.request.is_done();
        answer.upstream.keep(&record.worker, &answer.picked, clean);
    }
}

/// What becomes of the body of an answer.
struct Way {
    recoding: Option<Box<Recoding>>,
    /// It goes nowhere; its beginning is kept.
    message: Option<Vec<u8>>,
}

impl Way {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        pump: &mut Pump,
        from: &mut Upstream,
        to: &mut impl Sink,
    ) -> Poll<Result<(), PumpError>> {
        match self {
            Way { message: Some(kept), .. } => pump.poll(cx, from, &mut Beginning(kept)),
            Way { recoding: Some(recoding), .. } => {
                pump.poll(cx, &mut Recoded { recoding, inner: from }, to)
            }
            _ => pump.poll(cx, from, to),
        }
    }
}

/// Sends an answer that is nothing but its head, which has this message.
async fn say<D: Downstream>(message: &[u8], record: &mut Record, down: &mut D) -> Event {
    let response = &mut record.heads.response;
    web::message(response, message);
    down.start(response, Body::Length(0), false);
    record.has_response = true;
    match poll_fn(|cx| down.poll_finish(cx, None)).await {
        Ok(()) => Event::Done,
        Err(_) => Event::Gone,
    }
}

/// Keeps the beginning of a body.
struct Beginning<'b>(&'b mut Vec<u8>);

impl Sink for Beginning<'_> {
    fn poll_send(&mut self, _: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let room = web::LONGEST.saturating_sub(self.0.len());
        self.0.extend_from_slice(&data[..data.len().min(room)]);
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_finish(&mut self, _: &mut Context<'_>, _: Option<&Fields>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// From the trailers, or from the head of an answer that has nothing else.
fn grpc_status(trailers: Option<&wire::Fields>, record: &Record) -> Option<u32> {
    let said = trailers.and_then(|t| t.get(b"grpc-status"));
    let said = said.or_else(|| record.heads.response.get(b"grpc-status"))?;
    std::str::from_utf8(said).ok()?.parse().ok()
}

fn is_connected(status: u16, record: &Record) -> bool {
    use wire::RequestHead;
    (200..300).contains(&status) && record.heads.request.method() == b"CONNECT"
}

/// What every answer gets, local ones too.
pub fn finish(record: &mut Record, manager: &ir::HttpManager, local: bool) {
    let heads = &mut record.heads;
    if heads.response.get(b"date").is_none() {
        let date = record.worker.date.get(base::Env::wall(&record.worker.env));
        heads.response.fields.push(b"date", &date);
    }
    edge::finish(&mut heads.response, &heads.request, manager, local);
}
