//! One request to an upstream by HTTP/2, and its answer.

use super::body::{Receive, Send};
use super::carrier::Lease;
use super::heads;
use crate::reply::Loss;
use crate::stream::{Fill, Sink, Source, SourceError};
use ::h2::Reason;
use ::h2::client::ResponseFuture;
use ::h2::ext::Protocol;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use wire::h1::{Body, Framing};
use wire::{Fields, Request, RequestHead, Response};

/// One exchange on a shared connection. Dropping it before its end resets the stream; the others of the
/// connection go on.
#[derive(Debug)]
pub struct Client {
    /// Holds the place on the connection.
    _lease: Lease,
    response: ResponseFuture,
    send: Send,
    receive: Option<Receive>,
    /// No answer to this request has a body.
    bodiless: bool,
    /// The request ended with its head.
    ended: bool,
    /// The protocol that it wishes for.
    asked: Option<Protocol>,
    /// Nothing goes out until what the request asks for is granted.
    held: bool,
    /// Something of the answer has arrived.
    pub answered: bool,
}

impl Client {
    /// Sends the head of a request.
    pub fn new(
        mut lease: Lease,
        request: &Request,
        body: Body,
        upgrade: bool,
    ) -> Result<Self, Loss> {
        let head = heads::write_request(request, upgrade).map_err(|_| Loss::Protocol)?;
        let asked = head.extensions().get().cloned();
        let ended = !upgrade && matches!(body, Body::Empty | Body::Length(0));
        let (response, send) = lease.send.send_request(head, ended).map_err(|e| loss(&e))?;
        let send = Send::new(send);
        let bodiless = request.method() == b"HEAD";
        Ok(Self {
            _lease: lease,
            response,
            send,
            receive: None,
            bodiless,
            ended,
            asked,
            held: upgrade,
            answered: false,
        })
    }

    /// What was asked for is granted: from here on both sides send what they like.
    pub fn open_tunnel(&mut self) {
        self.held = false;
    }

    /// The next head of the answer; informational ones too.
    pub fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut Response,
    ) -> Poll<Result<Framing, Loss>> {
        if let Poll::Ready(Some(Ok(head))) = self.response.poll_informational(cx) {
            self.answered = true;
            heads::read_response(&head.into_parts().0, None, into).map_err(|_| Loss::Protocol)?;
            return Poll::Ready(Ok(Framing { keep_alive: true, ..Framing::default() }));
        }
        let response = ready!(Pin::new(&mut self.response).poll(cx));
        let (head, body) = response.map_err(|e| loss(&e))?.into_parts();
        self.answered = true;
        heads::read_response(&head, self.asked.as_ref(), into).map_err(|_| Loss::Protocol)?;
        let receive = Receive::new(body);
        let bodiless = self.bodiless || matches!(into.status, 204 | 304);
        let body = heads::kind_of_body(into, bodiless || receive.is_empty());
        self.receive = Some(receive);
        Poll::Ready(Ok(Framing { body, keep_alive: true, ..Framing::default() }))
    }
}

/// What an error of the crate means for the exchange.
fn loss(error: &::h2::Error) -> Loss {
    match error.reason() {
        Some(Reason::REFUSED_STREAM) => Loss::Refused,
        _ if error.is_io() => Loss::Closed,
        _ if error.is_go_away() && error.is_remote() => Loss::Closed,
        _ if error.is_remote() => Loss::Reset,
        _ => Loss::Protocol,
    }
}

impl Source for Client {
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<Fill, SourceError>> {
        match &mut self.receive {
            Some(receive) => receive.poll_fill(cx),
            None => Poll::Ready(Ok(Fill::End)),
        }
    }

    fn data(&self) -> &[u8] {
        self.receive.as_ref().map_or(&[], |r| r.data())
    }

    fn consume(&mut self, n: usize) {
        if let Some(receive) = &mut self.receive {
            receive.consume(n);
        }
    }

    fn trailers(&self) -> Option<&Fields> {
        self.receive.as_ref()?.trailers()
    }
}

impl Sink for Client {
    fn poll_send(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.send.poll_send(cx, data)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.send.poll_flush(cx)
    }

    fn poll_finish(
        &mut self,
        cx: &mut Context<'_>,
        trailers: Option<&Fields>,
    ) -> Poll<io::Result<()>> {
        if self.ended || self.held {
            return Poll::Ready(Ok(()));
        }
        ready!(self.send.poll_finish(cx, trailers))?;
        self.ended = true;
        Poll::Ready(Ok(()))
    }
}
