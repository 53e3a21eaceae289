//! The client's side of an HTTP/1 connection: one request to an upstream and its answer.

use super::{Reader, Writer};
use crate::buffer::Stock;
use crate::pool::Connection;
use crate::reply::Loss;
use crate::stream::{Fill, Sink, Source, SourceError};
use std::io;
use std::task::{Context, Poll, ready};
use wire::h1::{Body, Framing, HeadScan, Limits, parse_response, write_request};
use wire::{Fields, Request, RequestHead, Response};

/// One exchange on an upstream connection.
#[derive(Debug)]
pub struct Client {
    pub connection: Connection,
    reader: Reader,
    writer: Writer,
    scan: HeadScan,
    method: &'static [u8],
    limits: Limits,
    /// Something of the answer has arrived.
    pub answered: bool,
    tunnel: bool,
}

impl Client {
    /// Prepares to send a request; nothing is sent yet.
    pub fn new(
        connection: Connection,
        options: &ir::Http1Options,
        stock: &Stock,
        request: &Request,
        body: Body,
        upgrade: bool,
    ) -> Self {
        let case = case(options.header_case);
        let mut writer = Writer::new(stock.output(), case, options.enable_trailers);
        write_request(request, body, upgrade, case, &mut writer.out);
        writer.begin(body);
        let method: &[u8] = match request.method() {
            b"HEAD" => b"HEAD",
            b"CONNECT" => b"CONNECT",
            _ => b"GET",
        };
        Self {
            connection,
            reader: Reader::new(stock.buffer()),
            writer,
            scan: HeadScan::default(),
            method,
            limits: Limits::default(),
            answered: false,
            tunnel: false,
        }
    }

    /// From here on bytes go both ways, as they are.
    pub fn open_tunnel(&mut self) {
        self.reader.begin(Body::UntilClose);
        self.writer.begin(Body::UntilClose);
        self.tunnel = true;
    }

    /// The next head of the answer; informational ones too.
    pub fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut Response,
    ) -> Poll<Result<Framing, Loss>> {
        loop {
            let unread = self.reader.buffer.unread();
            self.answered |= !unread.is_empty();
            if !unread.is_empty() {
                let parsed =
                    parse_response(unread, &mut self.scan, &self.limits, self.method, into)
                        .map_err(|_| Loss::Protocol)?;
                if let Some(parsed) = parsed {
                    self.reader.buffer.consume(parsed.range.end);
                    self.reader.begin(parsed.framing.body);
                    self.scan = HeadScan::default();
                    return Poll::Ready(Ok(parsed.framing));
                }
            }
            let most = self.limits.head + 1;
            match ready!(self.reader.buffer.poll_fill(&self.connection.io, cx, most)) {
                Ok(0) if self.answered => return Poll::Ready(Err(Loss::Protocol)),
                Ok(0) => return Poll::Ready(Err(Loss::Closed)),
                Err(_) => return Poll::Ready(Err(self.broken())),
                Ok(_) => {}
            }
        }
    }

    /// With TLS 1.3 a server refuses our certificate only after the handshake has ended for us.
    fn broken(&self) -> Loss {
        let refused = self.connection.io.failure().filter(|_| self.connection.served == 0);
        refused.filter(|_| !self.answered).map_or(Loss::Closed, Loss::Connect)
    }

    /// Whether the answer was read to its end and nothing follows it.
    pub fn is_clean(&self) -> bool {
        self.reader.is_done() && self.reader.buffer.is_empty() && self.writer.out.is_empty()
    }

    /// The connection, with what was read beyond the head.
    pub fn into_parts(self, stock: &Stock) -> (Connection, crate::buffer::Buffer) {
        self.writer.release(stock);
        (self.connection, self.reader.buffer)
    }

    pub fn release(self, stock: &Stock) -> Connection {
        let (connection, buffer) = self.into_parts(stock);
        stock.take_back(buffer);
        connection
    }
}

pub(super) fn case(from: ir::HeaderCase) -> wire::h1::HeaderCase {
    match from {
        ir::HeaderCase::Lower => wire::h1::HeaderCase::Lower,
        ir::HeaderCase::ProperCaseWords => wire::h1::HeaderCase::ProperWords,
        ir::HeaderCase::Preserve => wire::h1::HeaderCase::Preserve,
    }
}

impl Source for Client {
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<Fill, SourceError>> {
        self.reader.poll_fill(&self.connection.io, cx)
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

impl Sink for Client {
    fn poll_send(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.writer.poll_send(&self.connection.io, cx, data)
    }
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer.poll_flush(&self.connection.io, cx)
    }
    fn poll_finish(
        &mut self,
        cx: &mut Context<'_>,
        trailers: Option<&Fields>,
    ) -> Poll<io::Result<()>> {
        let io = &self.connection.io;
        ready!(self.writer.poll_finish(io, cx, trailers))?;
        if !self.tunnel {
            return Poll::Ready(Ok(()));
        }
        io.shutdown_write();
        io.poll_flush(cx)
    }
}
