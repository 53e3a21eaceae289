//! A tunnel through an HTTP/1.1 proxy: the bytes of a TCP connection follow a CONNECT that it has agreed to.

use crate::buffer::Buffer;
use crate::io::Io;
use std::future::poll_fn;
use std::io;
use std::task::ready;

/// The longest head that the proxy may answer with.
const MAX_HEAD: usize = 16 * 1024;

/// Asks for the tunnel; what the far end has said already comes back. An error is a reason.
pub async fn open(io: &Io, to: &str) -> Result<Buffer, String> {
    let request = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n");
    write(io, request.as_bytes()).await.map_err(|e| e.to_string())?;
    let mut read = Buffer::default();
    loop {
        if let Some(length) = agreed(read.unread())? {
            read.consume(length);
            return Ok(read);
        }
        match poll_fn(|cx| read.poll_fill(io, cx, MAX_HEAD)).await {
            Ok(0) => return Err("the proxy closed the connection instead of a tunnel".to_owned()),
            Ok(_) => {}
            Err(e) => return Err(e.to_string()),
        }
    }
}

async fn write(io: &Io, bytes: &[u8]) -> io::Result<()> {
    let mut sent = 0;
    poll_fn(|cx| {
        while sent < bytes.len() {
            sent += ready!(io.poll_write(cx, &bytes[sent..]))?;
        }
        io.poll_flush(cx)
    })
    .await
}

/// The length of the answer's head, once it is there and agrees. Interim answers are passed over.
fn agreed(bytes: &[u8]) -> Result<Option<usize>, String> {
    const END: &[u8] = b"\r\n\r\n";
    let mut begins = 0;
    while let Some(at) = bytes[begins..].windows(END.len()).position(|w| w == END) {
        let head = &bytes[begins..begins + at];
        begins += at + END.len();
        match status(head) {
            Some(100..=199) => {}
            Some(200..=299) => return Ok(Some(begins)),
            Some(status) => return Err(format!("the proxy refuses the tunnel with {status}")),
            None => return Err("the proxy does not answer with HTTP/1.1".to_owned()),
        }
    }
    Ok(None)
}

/// `HTTP/1.x 200 ...`
fn status(head: &[u8]) -> Option<u16> {
    let line = head.split(|b| *b == b'\r').next()?;
    let rest = line.strip_prefix(b"HTTP/1.1 ").or(line.strip_prefix(b"HTTP/1.0 "))?;
    let (digits, after) = rest.split_at_checked(3)?;
    let alone = after.is_empty() || after[0] == b' ';
    std::str::from_utf8(digits).ok().filter(|_| alone)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_agreement_opens_the_tunnel() {
        let ok = b"HTTP/1.1 200 Connection established\r\nvia: x\r\n\r\nhello";
        assert_eq!(agreed(ok), Ok(Some(ok.len() - 5)));
        assert_eq!(agreed(b"HTTP/1.0 200\r\n\r\n"), Ok(Some(16)));
        assert_eq!(agreed(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 \r\n\r\n"), Ok(Some(42)));
        assert_eq!(agreed(&ok[..30]), Ok(None));
        for refused in [
            &b"HTTP/1.1 403 Forbidden\r\n\r\n"[..],
            b"HTTP/2 200\r\n\r\n",
            b"HTTP/1.1 2000 x\r\n\r\n",
            b"220 mail\r\n\r\n",
            b"\r\n\r\n",
        ] {
            assert!(agreed(refused).is_err(), "{refused:?}");
        }
    }
}
