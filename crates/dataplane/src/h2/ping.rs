//! Drivers that keep connections going, with PINGs where configured: a peer that does not answer in
//! time is given up.

use ::h2::{Ping, PingPong, client};
use bytes::Bytes;
use ir::Http2Options;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep};

use super::transport::Transport;

/// When to ask whether the peer is still there.
#[derive(Clone, Copy, Debug)]
pub struct Keepalive {
    interval: Option<Duration>,
    timeout: Duration,
}

impl Keepalive {
    pub fn new(options: &Http2Options) -> Self {
        let interval = options.keepalive_interval.filter(|i| !i.is_zero());
        Self { interval, timeout: options.keepalive_timeout.unwrap_or(Duration::from_secs(20)) }
    }

    /// The pinger of one connection, if there is to be one.
    pub fn start(self, pings: Option<PingPong>) -> Option<Pinger> {
        let (interval, pings) = (self.interval?, pings?);
        let timer = Box::pin(sleep(interval));
        Some(Pinger { pings, interval, timeout: self.timeout, timer, waiting: false })
    }
}

/// Asks at an interval; ready when an answer is overdue.
#[derive(Debug)]
pub struct Pinger {
    pings: PingPong,
    interval: Duration,
    timeout: Duration,
    timer: Pin<Box<Sleep>>,
    waiting: bool,
}

impl Pinger {
    pub fn poll_overdue(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.waiting && self.pings.poll_pong(cx).is_ready() {
                self.waiting = false;
                self.timer.as_mut().reset(Instant::now() + self.interval);
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if self.waiting || self.pings.send_ping(Ping::opaque()).is_err() {
                return Poll::Ready(());
            }
            self.waiting = true;
            self.timer.as_mut().reset(Instant::now() + self.timeout);
        }
    }
}

/// Runs a connection that we made until it is over.
pub async fn drive_client(
    mut connection: client::Connection<Transport, Bytes>,
    keepalive: Keepalive,
) {
    let mut pinger = keepalive.start(connection.ping_pong());
    let ended = poll_fn(|cx| {
        if let Poll::Ready(ended) = Pin::new(&mut connection).poll(cx) {
            return Poll::Ready(ended);
        }
        match &mut pinger {
            Some(pinger) => pinger.poll_overdue(cx).map(Ok),
            None => Poll::Pending,
        }
    });
    if let Err(error) = ended.await {
        tracing::debug!(%error, "upstream HTTP/2 connection ended");
    }
}
