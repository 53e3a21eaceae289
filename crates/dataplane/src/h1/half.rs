//! The reading and the writing half of an HTTP/1 connection.

use crate::buffer::{Buffer, LARGE, Stock};
use crate::io::Io;
use crate::stream::{Fill, SourceError};
use std::io;
use std::task::{Context, Poll, ready};
use wire::Fields;
use wire::h1::{Body, Decoder, Encoder, HeaderCase, Piece};

/// Received bytes, and where in a body they are.
#[derive(Debug)]
pub struct Reader {
    pub buffer: Buffer,
    decoder: Decoder,
    /// Data of the body at the start of the buffer.
    ready: usize,
}

impl Reader {
    pub fn new(buffer: Buffer) -> Self {
        Self { buffer, decoder: Decoder::new(Body::Empty), ready: 0 }
    }

    /// What follows in the buffer is a body of this kind.
    pub fn begin(&mut self, body: Body) {
        self.decoder = Decoder::new(body);
        self.ready = 0;
    }

    /// Whether the body is read to its end.
    pub fn is_done(&self) -> bool {
        self.decoder.is_done() && self.ready == 0
    }

    pub fn poll_fill(&mut self, io: &Io, cx: &mut Context<'_>) -> Poll<Result<Fill, SourceError>> {
        loop {
            match self.decoder.decode(self.buffer.unread())? {
                Piece::Data { skip, len } => {
                    self.buffer.consume(skip);
                    self.ready = len;
                    return Poll::Ready(Ok(Fill::Data));
                }
                Piece::End { skip } => {
                    self.buffer.consume(skip);
                    return Poll::Ready(Ok(Fill::End));
                }
                Piece::More { skip } => {
                    self.buffer.consume(skip);
                    if ready!(self.buffer.poll_fill(io, cx, LARGE))? == 0 {
                        self.decoder.finish()?;
                        return Poll::Ready(Ok(Fill::End));
                    }
                }
            }
        }
    }

    pub fn data(&self) -> &[u8] {
        &self.buffer.unread()[..self.ready]
    }

    pub fn consume(&mut self, n: usize) {
        self.buffer.consume(n);
        self.ready -= n;
    }

    pub fn trailers(&self) -> Option<&Fields> {
        self.decoder.trailers()
    }
}

/// Bytes that wait to be sent: heads and framing; data only where it is small.
#[derive(Debug)]
pub struct Writer {
    pub out: Vec<u8>,
    sent: usize,
    encoder: Encoder,
    case: HeaderCase,
    trailers: bool,
    ended: bool,
}

/// Data up to this size is copied behind what waits, so that one call sends both.
const COPIED: usize = 4 * 1024;

impl Writer {
    pub fn new(out: Vec<u8>, case: HeaderCase, trailers: bool) -> Self {
        let encoder = Encoder::Nothing;
        Self { out, sent: 0, encoder, case, trailers, ended: false }
    }

    /// What follows is a body of this kind.
    pub fn begin(&mut self, body: Body) {
        self.encoder = Encoder::new(body);
        self.ended = false;
    }

    /// Whether trailers are carried; a side that does not send them does not read them either.
    pub fn has_trailers(&self) -> bool {
        self.trailers
    }

    pub fn case(&self) -> HeaderCase {
        self.case
    }

    pub fn release(self, stock: &Stock) {
        stock.take_back_output(self.out);
    }

    pub fn poll_send(
        &mut self,
        io: &Io,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.encoder {
            Encoder::Nothing => Poll::Ready(Ok(data.len())),
            Encoder::Plain if data.len() > COPIED => {
                if self.sent == self.out.len() {
                    return io.poll_write(cx, data);
                }
                let waiting = self.out.len() - self.sent;
                let n = ready!(io.poll_write_both(cx, &self.out[self.sent..], data))?;
                self.advance(n.min(waiting));
                match n.saturating_sub(waiting) {
                    // Only what waited went out: the sink is busy, and asks again.
                    0 => self.poll_send(io, cx, data),
                    of_data => Poll::Ready(Ok(of_data)),
                }
            }
            _ => {
                if self.out.len() - self.sent > COPIED {
                    ready!(self.poll_flush(io, cx))?;
                }
                let part = &data[..data.len().min(LARGE / 2)];
                self.encoder.before(part.len(), &mut self.out);
                self.out.extend_from_slice(part);
                self.encoder.after(&mut self.out);
                if self.out.len() - self.sent > COPIED {
                    // What does not fit now is kept and sent before anything else.
                    if let Poll::Ready(Err(e)) = self.poll_flush(io, cx) {
                        return Poll::Ready(Err(e));
                    }
                }
                Poll::Ready(Ok(part.len()))
            }
        }
    }

    pub fn poll_flush(&mut self, io: &Io, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.out.len() {
            let n = ready!(io.poll_write(cx, &self.out[self.sent..]))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(n);
        }
        io.poll_flush(cx)
    }

    pub fn poll_finish(
        &mut self,
        io: &Io,
        cx: &mut Context<'_>,
        trailers: Option<&Fields>,
    ) -> Poll<io::Result<()>> {
        if !self.ended {
            let trailers = trailers.filter(|_| self.trailers);
            self.encoder.end(trailers, self.case, &mut self.out);
            self.ended = true;
        }
        self.poll_flush(io, cx)
    }

    fn advance(&mut self, n: usize) {
        self.sent += n;
        if self.sent == self.out.len() {
            self.out.clear();
            self.sent = 0;
        }
    }
}
