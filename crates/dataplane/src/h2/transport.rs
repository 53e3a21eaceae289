//! A connection as the crate `h2` wants it: bytes that were read to find out the protocol come first.

use crate::buffer::Buffer;
use crate::io::Io;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

#[derive(Debug)]
pub struct Transport {
    first: Buffer,
    io: Io,
}

impl Transport {
    pub fn new(first: Buffer, io: Io) -> Self {
        Self { first, io }
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let first = self.first.unread();
        if !first.is_empty() {
            let n = first.len().min(into.remaining());
            into.put_slice(&first[..n]);
            self.first.consume(n);
            if self.first.is_empty() {
                self.first = Buffer::default();
            }
            return Poll::Ready(Ok(()));
        }
        let n = ready!(self.io.poll_read(cx, into.initialize_unfilled()))?;
        into.advance(n);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.io.poll_write(cx, from)
    }

    /// The crate gathers a frame's head and its data.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut filled = from.iter().filter(|s| !s.is_empty());
        match (filled.next(), filled.next()) {
            (Some(first), Some(second)) => self.io.poll_write_both(cx, first, second),
            (Some(only), None) => self.io.poll_write(cx, only),
            _ => Poll::Ready(Ok(0)),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.shutdown_write();
        self.io.poll_flush(cx)
    }
}
