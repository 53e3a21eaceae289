//! A socket, of whichever family.

use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};

#[derive(Debug)]
pub enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Runs the same code on whichever stream it is.
macro_rules! each {
    ($io:expr, $stream:ident => $run:expr) => {
        match $io {
            Socket::Tcp($stream) => $run,
            Socket::Unix($stream) => $run,
        }
    };
}

impl Socket {
    /// Ready when a read would give something: bytes, the end, or an error.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, s => s.poll_read_ready(cx))
    }

    /// Reads what is there; zero is the end.
    pub fn poll_read(&self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_readable(cx))?;
            match self.try_read(into) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                other => return Poll::Ready(other),
            }
        }
    }

    /// A short read has emptied the socket, so it is quiet until the next event. Saves the read that
    /// would find that out, and lets [`Socket::poll_readable`] tell without one.
    ///
    /// Also right for a connection that was accepted in this very poll: events of its own are still
    /// to come, and the readiness that it begins with is only assumed.
    pub fn emptied(&self) {
        let nothing = || -> io::Result<()> { Err(io::ErrorKind::WouldBlock.into()) };
        // The error is the message: it takes the readiness away.
        let _ = each!(self, s => s.try_io(Interest::READABLE, nothing));
    }

    pub fn poll_write(&self, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_writable(cx))?;
            match each!(self, s => s.try_write(from)) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                other => return Poll::Ready(other),
            }
        }
    }

    /// Writes two pieces in one call.
    pub fn poll_write_both(
        &self,
        cx: &mut Context<'_>,
        first: &[u8],
        second: &[u8],
    ) -> Poll<io::Result<usize>> {
        let both = [IoSlice::new(first), IoSlice::new(second)];
        loop {
            ready!(self.poll_writable(cx))?;
            match self.try_write_vectored(&both) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                other => return Poll::Ready(other),
            }
        }
    }

    /// Tells the peer that nothing more comes; reading goes on.
    pub fn shutdown_write(&self) {
        // A peer that is gone already needs no notice.
        let _ = each!(self, s => socket2::SockRef::from(s).shutdown(std::net::Shutdown::Write));
    }

    /// Makes closing this connection a reset.
    pub fn reset_on_close(&self) {
        let _ =
            each!(self, s => socket2::SockRef::from(s).set_linger(Some(std::time::Duration::ZERO)));
    }

    /// One read of what is there, or `WouldBlock`.
    pub fn try_read(&self, into: &mut [u8]) -> io::Result<usize> {
        let n = each!(self, s => s.try_read(into))?;
        if n > 0 && n < into.len() {
            self.emptied();
        }
        Ok(n)
    }

    /// One write of several pieces, or `WouldBlock`.
    pub fn try_write_vectored(&self, from: &[IoSlice<'_>]) -> io::Result<usize> {
        each!(self, s => s.try_write_vectored(from))
    }

    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, s => s.poll_write_ready(cx))
    }

    /// Bytes that the peer's kernel has taken so far, where that can be told.
    pub fn acknowledged(&self) -> Option<u64> {
        match self {
            Socket::Tcp(stream) => net::delivery::acknowledged(stream),
            Socket::Unix(_) => None,
        }
    }
}
