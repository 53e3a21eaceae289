//! A connection as bytes, whatever carries it. All methods take `&self`, so that both directions of a
//! connection can be driven in one poll; each direction belongs to one task at a time.

use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};

#[derive(Debug)]
pub enum Io {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Runs the same code on whichever stream it is.
macro_rules! each {
    ($io:expr, $stream:ident => $run:expr) => {
        match $io {
            Io::Tcp($stream) => $run,
            Io::Unix($stream) => $run,
        }
    };
}

impl Io {
    /// Ready when a read would give something: bytes, the end, or an error.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, s => s.poll_read_ready(cx))
    }

    /// Reads what is there; zero is the end.
    pub fn poll_read(&self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_readable(cx))?;
            match each!(self, s => s.try_read(into)) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Ok(n) if n > 0 && n < into.len() => {
                    self.emptied();
                    return Poll::Ready(Ok(n));
                }
                other => return Poll::Ready(other),
            }
        }
    }

    /// A short read has emptied the socket, so it is quiet until the next event. Saves the read that
    /// would find that out, and lets [`Io::is_quiet`] tell without one.
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
            ready!(each!(self, s => s.poll_write_ready(cx)))?;
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
            ready!(each!(self, s => s.poll_write_ready(cx)))?;
            match each!(self, s => s.try_write_vectored(&both)) {
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

    /// Whether the connection is quiet: nothing to read, and not closed by the peer.
    pub fn is_quiet(&self) -> bool {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        self.poll_readable(&mut cx).is_pending()
    }

    /// Bytes that the peer's kernel has taken so far, where that can be told.
    pub fn acknowledged(&self) -> Option<u64> {
        match self {
            Io::Tcp(stream) => net::delivery::acknowledged(stream),
            Io::Unix(_) => None,
        }
    }
}
