//! gRPC's C core calls a Unix socket by its path, percent-encoded, which no authority may be (RFC 3986, section 3.2.2
//! takes such names, our HTTP library does not). Its bytes are made harmless where they stand in the heads of
//! streams: the name has the same length after it, so that nothing else has to be understood.

use bytes::{Buf, BytesMut};
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const PREFACE: usize = 24;
const FRAME_HEAD: usize = 9;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
/// Heads in longer frames than this are not looked into; they are refused anyway.
const LONGEST: usize = 16 << 10;
const PIECE: usize = 8 << 10;

/// A connection whose heads have no percent-encoded path in them.
pub struct Readable<S> {
    io: S,
    rewriter: Rewriter,
    ready: BytesMut,
}

impl<S> Readable<S> {
    pub fn new(io: S, socket: &Path) -> Self {
        Self { io, rewriter: Rewriter::new(socket), ready: BytesMut::new() }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Readable<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.ready.is_empty() {
            let mut piece = [0; PIECE];
            let mut read = ReadBuf::new(&mut piece);
            ready!(Pin::new(&mut self.io).poll_read(context, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            let this = &mut *self;
            this.rewriter.take(read.filled(), &mut this.ready);
        }
        let length = self.ready.len().min(out.remaining());
        out.put_slice(&self.ready[..length]);
        self.ready.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Readable<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

/// Follows the frames of one direction.
struct Rewriter {
    encoded: Vec<u8>,
    harmless: Vec<u8>,
    /// Bytes that pass as they are.
    passing: usize,
    /// A frame that has not come whole.
    held: BytesMut,
}

impl Rewriter {
    fn new(socket: &Path) -> Rewriter {
        let path = socket.display().to_string();
        let encoded = path.trim_start_matches('/').replace('/', "%2F");
        let harmless = encoded.replace('%', "-").into_bytes();
        Rewriter {
            encoded: encoded.into_bytes(),
            harmless,
            passing: PREFACE,
            held: BytesMut::new(),
        }
    }

    fn take(&mut self, bytes: &[u8], out: &mut BytesMut) {
        self.held.extend_from_slice(bytes);
        loop {
            let pass = self.passing.min(self.held.len());
            out.extend_from_slice(&self.held.split_to(pass));
            self.passing -= pass;
            let Some(head) = self.held.get(..FRAME_HEAD).filter(|_| self.passing == 0) else {
                return;
            };
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let whole = FRAME_HEAD + length;
            match head[3] {
                HEADERS | CONTINUATION if length <= LONGEST => {
                    if self.held.len() < whole {
                        return;
                    }
                    self.make_harmless(whole);
                    self.passing = whole;
                }
                _ => self.passing = whole,
            }
        }
    }

    fn make_harmless(&mut self, until: usize) {
        let frame = &mut self.held[FRAME_HEAD..until];
        let mut at = 0;
        while let Some(rest) = frame.get_mut(at..at + self.encoded.len()) {
            if *rest == *self.encoded {
                rest.copy_from_slice(&self.harmless);
            }
            at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, 0, 0, 0, 0, 1], payload].concat()
    }

    #[test]
    fn heads_are_made_harmless_and_nothing_else_is_touched() {
        let name = b"\n:authority\x19etc%2Fistio%2Fproxy%2FXDS\x83";
        let changed = b"\n:authority\x19etc-2Fistio-2Fproxy-2FXDS\x83";
        let long = vec![7; LONGEST + 1];
        let stream = |of_head: &[u8]| {
            let frames = [
                frame(4, b""),
                frame(HEADERS, of_head),
                frame(0, name),
                frame(CONTINUATION, of_head),
                frame(HEADERS, &long),
            ];
            [&[b'P'; PREFACE][..], &frames.concat()].concat()
        };
        for piece in [1, 7, 4096, usize::MAX] {
            let mut rewriter = Rewriter::new(Path::new("/etc/istio/proxy/XDS"));
            let mut out = BytesMut::new();
            let all = stream(name);
            all.chunks(piece.min(all.len())).for_each(|bytes| rewriter.take(bytes, &mut out));
            assert_eq!(out, stream(changed), "in pieces of {piece}");
        }
    }
}
