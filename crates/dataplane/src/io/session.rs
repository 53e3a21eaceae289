//! A TLS session over a socket, after its handshake. rustls encrypts and decrypts in place of the
//! caller's reads and writes: there is no task and no queue between. What was encrypted and does not
//! fit into the socket waits within rustls, at most [`WAITING`].

use super::Socket;
use rustls::Connection;
use std::cell::{Cell, RefCell};
use std::io::{self, BufRead, IoSlice, Read, Write};
use std::task::{Context, Poll, ready};

/// Plain bytes that may wait encrypted.
const WAITING: usize = 64 * 1024;

pub struct Session {
    socket: Socket,
    tls: RefCell<Connection>,
    /// Decrypted bytes wait to be read.
    readable: Cell<bool>,
    /// The peer sends nothing more.
    ended: Cell<bool>,
    /// It said so by its connection alone.
    cut: Cell<bool>,
    /// The peer was told something.
    told: Cell<bool>,
    sending: Cell<Sending>,
    /// Why reading has failed; every later read says so too.
    failed: RefCell<Option<rustls::Error>>,
    reset: Cell<bool>,
}

/// How far our direction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sending {
    Open,
    /// Nothing more is taken; the socket is shut down when what waits is sent.
    Closing,
    Closed,
    Failed(io::ErrorKind),
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl Session {
    /// Takes over after a handshake, with which data may have come.
    pub(super) fn new(socket: Socket, mut tls: Connection) -> io::Result<Self> {
        tls.set_buffer_limit(Some(WAITING));
        let state = tls.process_new_packets().map_err(io::Error::other)?;
        Ok(Self {
            socket,
            tls: RefCell::new(tls),
            readable: Cell::new(state.plaintext_bytes_to_read() > 0),
            ended: Cell::new(state.peer_has_closed()),
            cut: Cell::new(false),
            told: Cell::new(false),
            sending: Cell::new(Sending::Open),
            failed: RefCell::default(),
            reset: Cell::new(false),
        })
    }

    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    pub fn alpn(&self) -> Option<Vec<u8>> {
        self.tls.borrow().alpn_protocol().map(<[u8]>::to_vec)
    }

    /// What the handshake has found out.
    pub fn with<T>(&self, look: impl FnOnce(&Connection) -> T) -> T {
        look(&self.tls.borrow())
    }

    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.readable.get() && !self.ended.get() {
            if self.failed.borrow().is_some() {
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
            // Reading may have made something to send; if that fails, there may still be an answer.
            let _ = self.poll_flush(cx);
            ready!(self.socket.poll_readable(cx))?;
            match self.pull() {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                other => other?,
            }
        }
        Poll::Ready(Ok(()))
    }

    pub fn poll_read(&self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_readable(cx))?;
        if !self.readable.get() || into.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let mut tls = self.tls.borrow_mut();
        let mut reader = tls.reader();
        let mut n = 0;
        // Records may be small; what is there comes at once.
        while n < into.len() {
            match reader.read(&mut into[n..]) {
                Ok(more) if more > 0 => n += more,
                _ => break,
            }
        }
        self.readable.set(n == into.len() && reader.fill_buf().is_ok_and(|rest| !rest.is_empty()));
        Poll::Ready(Ok(n))
    }

    /// One read from the socket, decrypted.
    fn pull(&self) -> io::Result<()> {
        let mut tls = self.tls.borrow_mut();
        if tls.read_tls(&mut Direct(&self.socket))? == 0 {
            // Also without the peer's notice: like other proxies, not an error by itself.
            self.ended.set(true);
            self.cut.set(true);
        }
        match tls.process_new_packets() {
            Ok(state) => {
                self.readable.set(state.plaintext_bytes_to_read() > 0);
                if state.peer_has_closed() {
                    self.ended.set(true);
                }
                Ok(())
            }
            Err(e) => {
                // The alert that says why.
                let _ = tls.write_tls(&mut Direct(&self.socket));
                tracing::debug!("TLS: {e}");
                *self.failed.borrow_mut() = Some(e);
                Err(io::ErrorKind::InvalidData.into())
            }
        }
    }

    /// Why reading has failed, if TLS is the reason.
    pub fn failure(&self) -> Option<rustls::Error> {
        self.failed.borrow().clone()
    }

    pub fn poll_write(&self, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_both(cx, from, &[])
    }

    pub fn poll_write_both(
        &self,
        cx: &mut Context<'_>,
        first: &[u8],
        second: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_flush(cx))?;
        if self.sending.get() != Sending::Open {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        self.told.set(true);
        let both = [IoSlice::new(first), IoSlice::new(second)];
        let n = self.tls.borrow_mut().writer().write_vectored(&both)?;
        // What does not fit now is sent by the next flush.
        match self.poll_flush(cx) {
            Poll::Ready(Err(e)) => Poll::Ready(Err(e)),
            _ => Poll::Ready(Ok(n)),
        }
    }

    pub fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Sending::Failed(kind) = self.sending.get() {
            return Poll::Ready(Err(kind.into()));
        }
        while self.tls.borrow().wants_write() {
            match self.tls.borrow_mut().write_tls(&mut Direct(&self.socket)) {
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.socket.poll_writable(cx))?;
                }
                Err(e) => {
                    self.sending.set(Sending::Failed(e.kind()));
                    return Poll::Ready(Err(e));
                }
            }
        }
        if self.sending.get() == Sending::Closing {
            self.socket.shutdown_write();
            self.sending.set(Sending::Closed);
        }
        Poll::Ready(Ok(()))
    }

    /// A peer that is slow is told by the next poll of whichever direction.
    pub fn shutdown_write(&self) {
        if self.sending.get() == Sending::Open {
            self.tls.borrow_mut().send_close_notify();
            self.sending.set(Sending::Closing);
            let _ = self.poll_flush(&mut Context::from_waker(std::task::Waker::noop()));
        }
    }

    pub fn reset_on_close(&self) {
        self.reset.set(true);
        self.socket.reset_on_close();
    }
}

impl Drop for Session {
    /// The peer is told that this was all; it could have been cut otherwise. Who went away before anything was
    /// said does not ask.
    fn drop(&mut self) {
        let asks = self.told.get() || !self.cut.get();
        if asks && !self.reset.get() && self.sending.get() == Sending::Open {
            let tls = self.tls.get_mut();
            tls.send_close_notify();
            let _ = tls.write_tls(&mut Direct(&self.socket));
        }
    }
}

/// The socket as rustls reads and writes it.
pub(super) struct Direct<'a>(pub &'a Socket);

impl Read for Direct<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(into)
    }
}

impl Write for Direct<'_> {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.0.try_write_vectored(&[IoSlice::new(from)])
    }

    fn write_vectored(&mut self, from: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(from)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
