//! The client's side of one stream, as whoever forwards it sees it.

use super::body::{Receive, Send};
use super::heads;
use crate::forward::Downstream;
use crate::stream::{Fill, Sink, Source, SourceError};
use ::h2::Reason;
use ::h2::server::SendResponse;
use bytes::Bytes;
use std::io;
use std::task::{Context, Poll, ready};
use wire::h1::Body;
use wire::{Fields, Response};

#[derive(Debug)]
pub struct Down {
    pub receive: Receive,
    respond: SendResponse<Bytes>,
    send: Option<Send>,
    ended: bool,
    failed: bool,
    /// What the client sends is not for us to read before its wish is granted.
    held: bool,
}

impl Down {
    pub fn new(receive: Receive, respond: SendResponse<Bytes>) -> Self {
        Self { receive, respond, send: None, ended: false, failed: false, held: false }
    }

    /// The request has no body; what follows it belongs to the tunnel that it asks for.
    pub fn hold(&mut self) {
        self.held = true;
    }

    /// Ends the stream so that the client sees that the answer is cut.
    pub fn reset(&mut self, reason: Reason) {
        match &mut self.send {
            Some(send) => send.reset(reason),
            None => self.respond.send_reset(reason),
        }
    }

    fn broken(&self) -> io::Error {
        io::ErrorKind::BrokenPipe.into()
    }
}

impl Downstream for Down {
    const RAW: bool = false;

    fn open_tunnel(&mut self) {
        self.held = false;
    }

    fn start(&mut self, response: &Response, body: Body, upgraded: bool) {
        self.ended = !upgraded && matches!(body, Body::Empty | Body::Length(0));
        let sent = heads::write_response(response)
            .map_err(drop)
            .and_then(|head| self.respond.send_response(head, self.ended).map_err(drop));
        match sent {
            Ok(send) => self.send = Some(Send::new(send)),
            Err(()) => self.failed = true,
        }
    }

    fn inform(&mut self, response: &Response) {
        if let Ok(head) = heads::write_response(response) {
            // A client that is gone needs no hints.
            let _ = self.respond.send_informational(head);
        }
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.send {
            Some(send) => send.poll_reset(cx).map(drop),
            None => self.respond.poll_reset(cx).map(drop),
        }
    }

    fn close(&mut self) {}

    fn skip_request(&mut self) -> bool {
        true
    }
}

impl Source for Down {
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<Fill, SourceError>> {
        if self.held {
            return Poll::Ready(Ok(Fill::End));
        }
        self.receive.poll_fill(cx)
    }

    fn data(&self) -> &[u8] {
        self.receive.data()
    }

    fn consume(&mut self, n: usize) {
        self.receive.consume(n);
    }

    fn trailers(&self) -> Option<&Fields> {
        self.receive.trailers()
    }
}

impl Sink for Down {
    fn poll_send(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        if self.ended {
            return Poll::Ready(Ok(data.len()));
        }
        match &mut self.send {
            Some(send) if !self.failed => send.poll_send(cx, data),
            _ => Poll::Ready(Err(self.broken())),
        }
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.failed { Poll::Ready(Err(self.broken())) } else { Poll::Ready(Ok(())) }
    }

    fn poll_finish(
        &mut self,
        cx: &mut Context<'_>,
        trailers: Option<&Fields>,
    ) -> Poll<io::Result<()>> {
        if self.failed {
            return Poll::Ready(Err(self.broken()));
        }
        if let Some(send) = self.send.as_mut().filter(|_| !self.ended) {
            ready!(send.poll_finish(cx, trailers))?;
            self.ended = true;
        }
        Poll::Ready(Ok(()))
    }
}
