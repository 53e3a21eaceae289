//! TLS handshakes, on the task of the connection they begin.

use super::Socket;
use super::session::{Direct, Session};
use crate::buffer::Buffer;
use crate::pick::Offer;
use rustls::server::{Accepted, Acceptor};
use rustls::{CertificateError, Connection, HandshakeKind};
use std::future::poll_fn;
use std::io::{self, ErrorKind, Read};
use std::time::{SystemTime, UNIX_EPOCH};
use tls::{ClientContext, ServerContext, TlsError};

#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    #[error("the peer has closed the connection during the handshake")]
    Closed,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{}", tls::describe(.0))]
    Tls(rustls::Error),
    #[error("the client names no server")]
    NoName,
    #[error("{0}")]
    Context(#[from] TlsError),
}

/// The server's side. `first` was read to find out what the client speaks.
pub async fn accept(
    socket: Socket,
    mut first: Buffer,
    context: &ServerContext,
) -> Result<Session, HandshakeError> {
    let accepted = hello(&socket, &mut first).await?;
    let config = context.config_for(&accepted).ok_or(HandshakeError::NoName)?;
    let tls = accepted.into_connection(config).map_err(|(e, mut alert)| {
        let _ = alert.write(&mut Direct(&socket));
        HandshakeError::Tls(e)
    })?;
    finish(socket, first, tls.into()).await
}

/// The client's side. `name` is the server that is asked for.
pub async fn connect(
    socket: Socket,
    context: &ClientContext,
    name: Option<&str>,
    offer: Offer<'_>,
) -> Result<Session, HandshakeError> {
    let tls = match offer {
        Offer::Fallback(protocols) => context.connect(name, protocols)?,
        Offer::Only(protocols) => context.connect_with(name, protocols)?,
    };
    finish(socket, Buffer::default(), tls.into()).await
}

async fn hello(socket: &Socket, first: &mut Buffer) -> Result<Accepted, HandshakeError> {
    let mut acceptor = Acceptor::default();
    loop {
        match acceptor.read_tls(&mut Input { first, socket }) {
            Ok(0) => return Err(HandshakeError::Closed),
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => readable(socket).await?,
            Err(e) => return Err(e.into()),
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => return Ok(accepted),
            Ok(None) => {}
            Err((e, mut alert)) => {
                let _ = alert.write(&mut Direct(socket));
                return Err(HandshakeError::Tls(e));
            }
        }
    }
}

async fn finish(
    socket: Socket,
    mut first: Buffer,
    mut tls: Connection,
) -> Result<Session, HandshakeError> {
    loop {
        send(&socket, &mut tls).await?;
        if !tls.is_handshaking() && first.is_empty() {
            if is_outlived(&tls) {
                return Err(HandshakeError::Tls(CertificateError::Expired.into()));
            }
            return Ok(Session::new(socket, tls)?);
        }
        match tls.read_tls(&mut Input { first: &mut first, socket: &socket }) {
            Ok(0) => return Err(HandshakeError::Closed),
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => readable(&socket).await?,
            Err(e) => return Err(e.into()),
        }
        if let Err(e) = tls.process_new_packets() {
            // The alert that says why, if it can be sent at once.
            let _ = tls.write_tls(&mut Direct(&socket));
            return Err(HandshakeError::Tls(e));
        }
    }
}

/// A session that is resumed is not checked again, and its peer's certificate may have ended since.
fn is_outlived(tls: &Connection) -> bool {
    if tls.handshake_kind() != Some(HandshakeKind::Resumed) {
        return false;
    }
    let leaf = tls.peer_certificates().and_then(<[_]>::first);
    let facts = leaf.and_then(|leaf| tls::facts(leaf).ok());
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    facts.is_some_and(|f| u128::from(f.not_after.0) < since.as_nanos())
}

async fn send(socket: &Socket, tls: &mut Connection) -> io::Result<()> {
    while tls.wants_write() {
        match tls.write_tls(&mut Direct(socket)) {
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                poll_fn(|cx| socket.poll_writable(cx)).await?;
            }
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

async fn readable(socket: &Socket) -> io::Result<()> {
    poll_fn(|cx| socket.poll_readable(cx)).await
}

/// What was read already, then the socket.
struct Input<'a> {
    first: &'a mut Buffer,
    socket: &'a Socket,
}

impl Read for Input<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.first.is_empty() {
            return self.socket.try_read(into);
        }
        let n = self.first.unread().read(into)?;
        self.first.consume(n);
        Ok(n)
    }
}
