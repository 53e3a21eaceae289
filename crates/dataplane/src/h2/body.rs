//! Bodies by HTTP/2 as [`Source`] and [`Sink`]: data is taken only as fast as the other side takes
//! it, since capacity is released when data leaves.

use super::heads;
use crate::stream::{Fill, Sink, Source, SourceError};
use ::h2::{RecvStream, SendStream};
use bytes::{Buf, Bytes};
use std::io;
use std::task::{Context, Poll, ready};
use wire::Fields;

/// The most that is handed to the connection's driver at once.
const PIECE: usize = 64 * 1024;

/// A body that comes in.
#[derive(Debug)]
pub struct Receive {
    stream: RecvStream,
    chunk: Bytes,
    trailers: Option<Fields>,
}

impl Receive {
    pub fn new(stream: RecvStream) -> Self {
        Self { stream, chunk: Bytes::new(), trailers: None }
    }

    /// Whether the body ended with the head.
    pub fn is_empty(&self) -> bool {
        self.chunk.is_empty() && self.stream.is_end_stream()
    }
}

impl Source for Receive {
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<Fill, SourceError>> {
        loop {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(chunk)) if chunk.is_empty() => {}
                Some(Ok(chunk)) => {
                    self.chunk = chunk;
                    return Poll::Ready(Ok(Fill::Data));
                }
                Some(Err(error)) => return Poll::Ready(Err(into_io(error).into())),
                None => break,
            }
        }
        let trailers = ready!(self.stream.poll_trailers(cx)).map_err(into_io)?;
        self.trailers = trailers.as_ref().map(heads::read_trailers);
        Poll::Ready(Ok(Fill::End))
    }

    fn data(&self) -> &[u8] {
        &self.chunk
    }

    fn consume(&mut self, n: usize) {
        self.chunk.advance(n.min(self.chunk.len()));
        // Fails only when the stream is over, and then nobody needs the capacity.
        let _ = self.stream.flow_control().release_capacity(n);
    }

    fn trailers(&self) -> Option<&Fields> {
        self.trailers.as_ref()
    }
}

/// A body that goes out.
#[derive(Debug)]
pub struct Send {
    stream: SendStream<Bytes>,
}

impl Send {
    pub fn new(stream: SendStream<Bytes>) -> Self {
        Self { stream }
    }

    /// Ready when the peer wants no more of this stream.
    pub fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<Result<::h2::Reason, ::h2::Error>> {
        self.stream.poll_reset(cx)
    }

    pub fn reset(&mut self, reason: ::h2::Reason) {
        self.stream.send_reset(reason);
    }
}

impl Sink for Send {
    fn poll_send(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let wanted = data.len().min(PIECE);
        self.stream.reserve_capacity(wanted);
        while self.stream.capacity() == 0 {
            match ready!(self.stream.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(into_io(error))),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
        let n = self.stream.capacity().min(wanted);
        let piece = Bytes::copy_from_slice(&data[..n]);
        self.stream.send_data(piece, false).map_err(into_io)?;
        Poll::Ready(Ok(n))
    }

    /// The driver sends by itself.
    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_finish(
        &mut self,
        _: &mut Context<'_>,
        trailers: Option<&Fields>,
    ) -> Poll<io::Result<()>> {
        let sent = match trailers {
            Some(trailers) => self.stream.send_trailers(heads::write_trailers(trailers)),
            None => self.stream.send_data(Bytes::new(), true),
        };
        Poll::Ready(sent.map_err(into_io))
    }
}

/// Keeps the kind of an I/O error; the rest are protocol errors.
pub fn into_io(error: ::h2::Error) -> io::Error {
    if error.is_io() {
        return error.into_io().unwrap_or_else(|| io::ErrorKind::Other.into());
    }
    io::Error::other(error)
}
