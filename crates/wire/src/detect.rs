//! What the first bytes of a connection say about its protocol (Envoy's TLS and HTTP inspectors).

use crate::client_hello::{self, ClientHello};

/// Bytes after which an answer is certain.
pub const ENOUGH: usize = 16 * 1024 + 5;

/// The protocol that a client speaks first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protocol {
    Tls(ClientHello),
    Http10,
    Http11,
    /// HTTP/2 by prior knowledge.
    Http2,
    /// None of these, so opaque bytes.
    Other,
}

/// What is looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    pub tls: bool,
    pub http: bool,
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes of a request line that are waited for.
const REQUEST_LINE: usize = 8 * 1024;

/// The protocol, or `None` if more bytes are needed.
pub fn detect(bytes: &[u8], wanted: Wanted) -> Option<Protocol> {
    if bytes.is_empty() {
        return None;
    }
    if wanted.tls && bytes[0] == 0x16 {
        return match client_hello::parse(bytes) {
            client_hello::Outcome::Hello(hello) => Some(Protocol::Tls(hello)),
            client_hello::Outcome::More if bytes.len() < ENOUGH => None,
            _ => Some(Protocol::Other),
        };
    }
    if wanted.http { http(bytes) } else { Some(Protocol::Other) }
}

fn http(bytes: &[u8]) -> Option<Protocol> {
    if bytes.len() < PREFACE.len() && PREFACE.starts_with(bytes) {
        return None;
    }
    if bytes.starts_with(PREFACE) {
        return Some(Protocol::Http2);
    }
    let line = &bytes[..bytes.len().min(REQUEST_LINE)];
    let Some(end) = memchr::memchr(b'\n', line) else {
        let open = line.len() < REQUEST_LINE && could_be_request(line);
        return (!open).then_some(Protocol::Other);
    };
    let line = line[..end].strip_suffix(b"\r").unwrap_or(&line[..end]);
    Some(match line.rsplit(|b| *b == b' ').next() {
        _ if !could_be_request(line) => Protocol::Other,
        Some(b"HTTP/1.1") => Protocol::Http11,
        Some(b"HTTP/1.0") => Protocol::Http10,
        _ => Protocol::Other,
    })
}

/// A method of letters (or a dash), then a blank, then printable characters.
fn could_be_request(line: &[u8]) -> bool {
    let method = line.iter().take_while(|b| b.is_ascii_alphabetic() || **b == b'-').count();
    let rest = &line[method..];
    (1..=32).contains(&method)
        && rest.first().is_none_or(|b| *b == b' ')
        && rest.iter().all(|b| *b == b'\r' || (0x20..0x7f).contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_decide() {
        let both = Wanted { tls: true, http: true };
        let table: [(&[u8], Option<Protocol>); 13] = [
            (b"", None),
            (b"G", None),
            (b"GET / HT", None),
            (b"GET / HTTP/1.1\r\n", Some(Protocol::Http11)),
            (b"get / HTTP/1.1\r\n", Some(Protocol::Http11)),
            (b"POST /a HTTP/1.0\r\nx", Some(Protocol::Http10)),
            (b"PRI * HTTP/2.0\r\n\r\nSM", None),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Some(Protocol::Http2)),
            (b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", Some(Protocol::Other)),
            (b"*1\r\n$4\r\nPING\r\n", Some(Protocol::Other)),
            (b"HELLO\n", Some(Protocol::Other)),
            (b"\x16\x03\x01", None),
            (b"\x00\x01\x02", Some(Protocol::Other)),
        ];
        for (bytes, expected) in table {
            assert_eq!(detect(bytes, both), expected, "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn only_what_is_wanted_is_looked_for() {
        assert_eq!(detect(b"GET / HTTP/1.1\r\n", Wanted::default()), Some(Protocol::Other));
        let http = Wanted { tls: false, http: true };
        assert_eq!(detect(&[0x16, 3, 1, 0, 5], http), Some(Protocol::Other));
    }
}
