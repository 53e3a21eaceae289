//! The client's side of one HTTP/1 exchange: the body that it sends, the answer that it gets.

use super::{Reader, Writer};
use crate::buffer::{Buffer, Stock};
use crate::exchange;
use crate::forward::Downstream;
use crate::io::Io;
use crate::record::Record;
use crate::reply::Reply;
use crate::runtime::ManagerRt;
use crate::stream::{Fill, Sink, Source, SourceError};
use std::io;
use std::task::{Context, Poll};
use wire::h1::{Body, write_response};
use wire::{Fields, Response, Version};

/// Bytes of pipelined requests that are read ahead.
pub(super) const AHEAD: usize = 16 * 1024;

/// Whether the connection lives on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Again,
    Close,
    /// The client must see that the answer is cut.
    Abort,
}

/// The client's side of one exchange.
pub(super) struct Down<'c> {
    pub io: &'c Io,
    pub reader: Reader,
    pub writer: Writer,
    pub version: Version,
    /// Answers have no body.
    pub head_only: bool,
    pub close: bool,
}

impl Down<'_> {
    /// Sends a local answer to its end.
    pub async fn reply(
        &mut self,
        reply: Reply<'_>,
        manager: &ManagerRt,
        record: &mut Record,
    ) -> Next {
        match exchange::reply(self, reply, manager, record).await {
            Ok(()) => self.after(),
            Err(_) => Next::Abort,
        }
    }

    /// Adds a line to a head that was just written.
    fn add_line(&mut self, line: &[u8]) {
        let out = &mut self.writer.out;
        out.truncate(out.len() - 2);
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
    }

    pub fn after(&self) -> Next {
        if self.close || !self.reader.is_done() { Next::Close } else { Next::Again }
    }

    pub fn release(self, stock: &Stock) -> Buffer {
        self.writer.release(stock);
        self.reader.buffer
    }
}

/// Bytes of a request's body that are read to keep its connection.
const SKIPPED: usize = 64 * 1024;

impl Downstream for Down<'_> {
    fn close(&mut self) {
        self.close = true;
    }

    fn skip_request(&mut self) -> bool {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut skipped = 0;
        while skipped < SKIPPED {
            match self.poll_fill(&mut cx) {
                Poll::Ready(Ok(Fill::End)) => return true,
                Poll::Ready(Ok(Fill::Data)) => {
                    let n = self.data().len();
                    skipped += n;
                    self.consume(n);
                }
                _ => return false,
            }
        }
        false
    }

    const RAW: bool = true;

    fn open_tunnel(&mut self) {
        self.reader.begin(Body::UntilClose);
        self.writer.begin(Body::UntilClose);
        self.close = true;
    }

    fn start(&mut self, response: &Response, body: Body, upgraded: bool) {
        // HTTP/1.0 knows no chunks, and an end of the connection becomes chunks otherwise.
        let body = match (body, self.version) {
            (Body::Chunked | Body::UntilClose, Version::Http10) => {
                self.close = true;
                Body::UntilClose
            }
            (Body::UntilClose, _) => Body::Chunked,
            (body, _) => body,
        };
        self.close &= !upgraded;
        let case = self.writer.case();
        write_response(response, body, self.close, upgraded, case, &mut self.writer.out);
        if self.version == Version::Http10 && !self.close && !upgraded {
            // The default of HTTP/1.0 is to close.
            self.add_line(b"connection: keep-alive\r\n");
        }
        let bodiless =
            upgraded || self.head_only || matches!(response.status, 100..=199 | 204 | 304);
        if body == Body::Empty && !bodiless && !response.fields.contains(b"content-length") {
            // By HTTP/2 it was clear without it.
            self.add_line(b"content-length: 0\r\n");
        }
        let unsaid = body == Body::Empty && !response.fields.contains(b"content-length");
        let may_have_one = !matches!(response.status, 100..=199 | 204);
        if unsaid && may_have_one && self.head_only && self.version == Version::Http11 {
            // How long an answer with a body would be nobody knows.
            self.add_line(b"transfer-encoding: chunked\r\n");
        }
        self.writer.begin(body);
    }

    fn inform(&mut self, response: &Response) {
        if self.version == Version::Http11 {
            let case = self.writer.case();
            write_response(response, Body::Empty, false, false, case, &mut self.writer.out);
        }
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // An informational answer, or the head of a slow one, may wait here.
        if matches!(self.writer.poll_flush(self.io, cx), Poll::Ready(Err(_))) {
            return Poll::Ready(());
        }
        while self.reader.buffer.unread().len() < AHEAD {
            match self.reader.buffer.poll_fill(self.io, cx, AHEAD) {
                Poll::Ready(Ok(n)) if n > 0 => {}
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Pending
    }
}

impl Source for Down<'_> {
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<Fill, SourceError>> {
        // The client may wait for `100 Continue` before it sends anything.
        if matches!(self.writer.poll_flush(self.io, cx), Poll::Ready(Err(_))) {
            return Poll::Ready(Err(io::Error::from(io::ErrorKind::BrokenPipe).into()));
        }
        self.reader.poll_fill(self.io, cx)
    }
    fn data(&self) -> &[u8] {
        self.reader.data()
    }
    fn consume(&mut self, n: usize) {
        self.reader.consume(n);
    }
    fn trailers(&self) -> Option<&Fields> {
        self.reader.trailers().filter(|_| self.writer.has_trailers())
    }
}

impl Sink for Down<'_> {
    fn poll_send(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.writer.poll_send(self.io, cx, data)
    }
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer.poll_flush(self.io, cx)
    }
    fn poll_finish(
        &mut self,
        cx: &mut Context<'_>,
        trailers: Option<&Fields>,
    ) -> Poll<io::Result<()>> {
        self.writer.poll_finish(self.io, cx, trailers)
    }
}
