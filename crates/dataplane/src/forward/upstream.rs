//! The upstream's side of one exchange, by whichever protocol the cluster wants.

use crate::pick::{self, Ends, Offer, Picked};
use crate::pool::Connection;
use crate::reply::Loss;
use crate::stream::{Fill, Sink, Source, SourceError};
use crate::worker::Worker;
use crate::{h1, h2};
use ir::UpstreamProtocol;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::time::Instant;
use wire::h1::{Body, Framing};
use wire::{Fields, Request, Response, Version};

/// A connection that a request can be sent on.
pub(super) enum Channel {
    Http1(Connection),
    Http2(h2::Lease),
}

/// An exchange under way.
pub enum Upstream {
    Http1(h1::Client),
    Http2(h2::Client),
}

impl Channel {
    /// A channel to the picked endpoint. `spare` allows a connection that was used before, and
    /// `upgrade` asks for one that can become a tunnel.
    pub async fn get(
        worker: &Rc<Worker>,
        version: Version,
        picked: &Picked,
        spare: bool,
        upgrade: bool,
    ) -> Result<Self, Loss> {
        let second = match picked.cluster.config.protocol {
            UpstreamProtocol::Http2 => true,
            UpstreamProtocol::Downstream => version == Version::Http2,
            UpstreamProtocol::Auto if picked.key.security.is_some() && !upgrade => {
                let carriers = &picked.cluster.carriers;
                return Ok(match carriers.lease_or(worker, picked, spare).await? {
                    h2::Either::First(connection) => Channel::Http1(connection),
                    h2::Either::Second(lease) => Channel::Http2(lease),
                });
            }
            // Without TLS there is no ALPN to ask.
            UpstreamProtocol::Http1 | UpstreamProtocol::Auto => false,
        };
        if second {
            return picked.cluster.carriers.lease(worker, picked).await.map(Channel::Http2);
        }
        let protocol: &[&[u8]] = &[b"http/1.1"];
        let offer = match upgrade {
            _ if picked.tells_protocol() => {
                Offer::Only(&[b"istio-http/1.1", b"istio", b"http/1.1"])
            }
            true => Offer::Only(protocol),
            false => Offer::Fallback(protocol),
        };
        pick::connection(worker, picked, spare, offer).await.map(Channel::Http1)
    }

    /// No request goes on it after all.
    pub fn give_back(self, picked: &Picked) {
        if let Channel::Http1(connection) = self {
            picked.cluster.pool.put(&picked.key, connection, Instant::now());
        }
    }

    /// What the endpoint's kernel has taken so far, on a connection of this request's own.
    pub fn acknowledged(&self) -> Option<u64> {
        match self {
            Channel::Http1(connection) => connection.io.acknowledged(),
            Channel::Http2(_) => None,
        }
    }

    pub fn ends(&self) -> &Rc<Ends> {
        match self {
            Channel::Http1(connection) => &connection.ends,
            Channel::Http2(lease) => lease.ends(),
        }
    }

    /// Whether it has carried a request before, so that the endpoint may have closed it unseen.
    pub fn is_reused(&self) -> bool {
        match self {
            Channel::Http1(connection) => connection.served > 0,
            Channel::Http2(lease) => lease.is_reused(),
        }
    }

    /// Begins the exchange.
    pub fn send(
        self,
        worker: &Worker,
        request: &Request,
        picked: &Picked,
        body: Body,
        upgrade: bool,
    ) -> Result<Upstream, Loss> {
        match self {
            Channel::Http1(connection) => {
                let options = &picked.cluster.config.http1;
                let client =
                    h1::Client::new(connection, options, &worker.stock, request, body, upgrade);
                Ok(Upstream::Http1(client))
            }
            Channel::Http2(lease) => {
                h2::Client::new(lease, request, body, upgrade).map(Upstream::Http2)
            }
        }
    }
}

/// Calls the same method of whichever it is.
macro_rules! each {
    ($upstream:expr, $client:ident => $run:expr) => {
        match $upstream {
            Upstream::Http1($client) => $run,
            Upstream::Http2($client) => $run,
        }
    };
}

impl Upstream {
    pub fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut Response,
    ) -> Poll<Result<Framing, Loss>> {
        each!(self, c => c.poll_head(cx, into))
    }

    /// From here on bytes go both ways.
    pub fn open_tunnel(&mut self) {
        each!(self, c => c.open_tunnel());
    }

    /// As for the channel it came from.
    pub fn acknowledged(&self) -> Option<u64> {
        match self {
            Upstream::Http1(client) => client.connection.io.acknowledged(),
            Upstream::Http2(_) => None,
        }
    }

    /// Something of the answer has arrived.
    pub fn answered(&self) -> bool {
        each!(self, c => c.answered)
    }

    /// Gives the connection back after an exchange, if the next request can use it. `clean`: the
    /// heads and the request allow it.
    pub fn keep(self, worker: &Worker, picked: &Picked, clean: bool) {
        let Upstream::Http1(client) = self else { return };
        let clean = clean && client.is_clean();
        let cluster = &picked.cluster;
        let mut connection = client.release(&worker.stock);
        connection.served = connection.served.saturating_add(1);
        let most = cluster.config.common.max_requests_per_connection;
        if clean && (most == 0 || connection.served < most) {
            cluster.pool.put(&picked.key, connection, Instant::now());
        }
    }
}

impl Source for Upstream {
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<Fill, SourceError>> {
        each!(self, c => c.poll_fill(cx))
    }

    fn data(&self) -> &[u8] {
        each!(self, c => c.data())
    }

    fn consume(&mut self, n: usize) {
        each!(self, c => c.consume(n));
    }

    fn trailers(&self) -> Option<&Fields> {
        each!(self, c => c.trailers())
    }
}

impl Sink for Upstream {
    fn poll_send(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, c => c.poll_send(cx, data))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, c => c.poll_flush(cx))
    }

    fn poll_finish(
        &mut self,
        cx: &mut Context<'_>,
        trailers: Option<&Fields>,
    ) -> Poll<io::Result<()>> {
        each!(self, c => c.poll_finish(cx, trailers))
    }
}
