//! A connection as the crate `h2` wants it: bytes that were read to find out the protocol come first,
//! and frames that say nothing are left out.

use crate::buffer::Buffer;
use crate::io::Io;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use wire::Sieve;

#[derive(Debug)]
pub struct Transport {
    first: Buffer,
    io: Io,
    sieve: Sieve,
    /// Passed bytes that did not fit into what the crate offered.
    spare: Spare,
}

#[derive(Debug, Default)]
struct Spare {
    bytes: [u8; SMALL],
    at: usize,
    end: usize,
}

/// Room for a frame's head and some more. The crate rarely offers less.
const SMALL: usize = 32;

impl Transport {
    /// To a client, of which `first` was read already.
    pub fn of_client(first: Buffer, io: Io) -> Self {
        Self { first, io, sieve: Sieve::of_client(), spare: Spare::default() }
    }

    pub fn of_server(io: Io) -> Self {
        let (first, sieve) = (Buffer::default(), Sieve::of_server());
        Self { first, io, sieve, spare: Spare::default() }
    }

    /// Reads what is to be passed on into `space`, which has room for a head at least. Zero is the end.
    fn poll_pass(&mut self, cx: &mut Context<'_>, space: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            let carried = self.sieve.carried().len();
            space[..carried].copy_from_slice(self.sieve.carried());
            let n = ready!(self.poll_source(cx, &mut space[carried..]))?;
            let passed = self.sieve.pass(&mut space[..carried + n]);
            if n == 0 || passed > 0 {
                return Poll::Ready(Ok(passed));
            }
        }
    }

    fn poll_source(&mut self, cx: &mut Context<'_>, space: &mut [u8]) -> Poll<io::Result<usize>> {
        let first = self.first.unread();
        if first.is_empty() {
            return self.io.poll_read(cx, space);
        }
        let n = first.len().min(space.len());
        space[..n].copy_from_slice(&first[..n]);
        self.first.consume(n);
        if self.first.is_empty() {
            self.first = Buffer::default();
        }
        Poll::Ready(Ok(n))
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.spare.at == this.spare.end && into.remaining() >= SMALL {
            let n = ready!(this.poll_pass(cx, into.initialize_unfilled()))?;
            into.advance(n);
            return Poll::Ready(Ok(()));
        }
        if this.spare.at == this.spare.end {
            let mut bytes = [0; SMALL];
            let end = ready!(this.poll_pass(cx, &mut bytes))?;
            this.spare = Spare { bytes, at: 0, end };
        }
        let rest = &this.spare.bytes[this.spare.at..this.spare.end];
        let n = rest.len().min(into.remaining());
        into.put_slice(&rest[..n]);
        this.spare.at += n;
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
