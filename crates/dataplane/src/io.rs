//! A connection as bytes, whatever carries it. All methods take `&self`, so that both directions of a
//! connection can be driven in one poll; each direction belongs to one task at a time.

mod handshake;
mod session;
mod socket;

pub use handshake::{HandshakeError, accept, connect};
pub use session::Session;
pub use socket::Socket;

use std::io;
use std::task::{Context, Poll};

#[derive(Debug)]
pub enum Io {
    Plain(Socket),
    Secure(Box<Session>),
}

/// Calls the same method of whichever it is.
macro_rules! each {
    ($io:expr, $carrier:ident => $run:expr) => {
        match $io {
            Io::Plain($carrier) => $run,
            Io::Secure($carrier) => $run,
        }
    };
}

impl Io {
    /// Ready when a read would give something: bytes, the end, or an error.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, c => c.poll_readable(cx))
    }

    /// Reads what is there; zero is the end.
    pub fn poll_read(&self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        each!(self, c => c.poll_read(cx, into))
    }

    /// Takes bytes. What was taken may wait for [`Io::poll_flush`] where it is encrypted.
    pub fn poll_write(&self, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, c => c.poll_write(cx, from))
    }

    /// Writes two pieces in one call.
    pub fn poll_write_both(
        &self,
        cx: &mut Context<'_>,
        first: &[u8],
        second: &[u8],
    ) -> Poll<io::Result<usize>> {
        each!(self, c => c.poll_write_both(cx, first, second))
    }

    /// Ready when all that was taken is with the kernel.
    pub fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Io::Plain(_) => Poll::Ready(Ok(())),
            Io::Secure(session) => session.poll_flush(cx),
        }
    }

    /// Tells the peer that nothing more comes; reading goes on.
    pub fn shutdown_write(&self) {
        each!(self, c => c.shutdown_write());
    }

    /// Makes closing this connection a reset.
    pub fn reset_on_close(&self) {
        each!(self, c => c.reset_on_close());
    }

    /// Whether the connection is quiet: nothing to read, and not closed by the peer.
    pub fn is_quiet(&self) -> bool {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        self.poll_readable(&mut cx).is_pending()
    }

    /// Bytes that the peer's kernel has taken so far, where that can be told.
    pub fn acknowledged(&self) -> Option<u64> {
        match self {
            Io::Plain(socket) => socket.acknowledged(),
            Io::Secure(session) => session.socket().acknowledged(),
        }
    }

    /// Why reading has failed, if TLS is the reason.
    pub fn failure(&self) -> Option<String> {
        match self {
            Io::Plain(_) => None,
            Io::Secure(session) => session.failure().map(|e| tls::describe(&e)),
        }
    }

    /// The protocol that TLS agreed on.
    pub fn alpn(&self) -> Option<Vec<u8>> {
        match self {
            Io::Plain(_) => None,
            Io::Secure(session) => session.alpn(),
        }
    }
}
