//! Writes heads and bodies. A head is written once, into a buffer that is reused.

use super::framing::Body;
use crate::{Fields, Request, RequestHead, Response};

/// How field names are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeaderCase {
    #[default]
    Lower,
    ProperWords,
    Preserve,
}

/// Writes the head of a request to an upstream. `upgrade` keeps the connection's wish to change
/// protocol.
pub fn write_request(
    request: &Request,
    body: Body,
    upgrade: bool,
    case: HeaderCase,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(request.method());
    out.push(b' ');
    let target = if request.method() == b"CONNECT" { request.authority() } else { request.path() };
    out.extend_from_slice(target);
    out.extend_from_slice(b" HTTP/1.1\r\n");
    write_field(b"host", request.authority(), case, out);
    write_fields(&request.fields, case, out);
    if upgrade && request.fields.contains(b"upgrade") {
        write_field(b"connection", b"upgrade", case, out);
    }
    if body == Body::Empty
        && may_have_body(request.method())
        && !request.fields.contains(b"content-length")
    {
        write_field(b"content-length", b"0", case, out);
    }
    write_coding(body, case, out);
    out.extend_from_slice(b"\r\n");
}

/// Methods whose requests are expected to say how long they are, even if they are empty.
fn may_have_body(method: &[u8]) -> bool {
    !matches!(method, b"GET" | b"HEAD" | b"DELETE" | b"TRACE" | b"CONNECT")
}

/// Writes the head of a response. `close` announces that the connection ends after it; `upgrade`
/// that it changes protocol.
pub fn write_response(
    response: &Response,
    body: Body,
    close: bool,
    upgrade: bool,
    case: HeaderCase,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(b"HTTP/1.1 ");
    push_status(response.status, out);
    out.push(b' ');
    out.extend_from_slice(reason(response.status).as_bytes());
    out.extend_from_slice(b"\r\n");
    write_fields(&response.fields, case, out);
    if upgrade && response.status == 101 {
        write_field(b"connection", b"upgrade", case, out);
    } else if close {
        write_field(b"connection", b"close", case, out);
    }
    write_coding(body, case, out);
    out.extend_from_slice(b"\r\n");
}

fn write_coding(body: Body, case: HeaderCase, out: &mut Vec<u8>) {
    if body == Body::Chunked {
        write_field(b"transfer-encoding", b"chunked", case, out);
    }
}

fn write_fields(fields: &Fields, case: HeaderCase, out: &mut Vec<u8>) {
    for (name, value) in fields.iter() {
        write_field(name, value, case, out);
    }
}

fn write_field(name: &[u8], value: &[u8], case: HeaderCase, out: &mut Vec<u8>) {
    match case {
        HeaderCase::Lower => out.extend(name.iter().map(u8::to_ascii_lowercase)),
        HeaderCase::Preserve => out.extend_from_slice(name),
        HeaderCase::ProperWords => proper_words(name, out),
    }
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// `content-type` as `Content-Type`.
fn proper_words(name: &[u8], out: &mut Vec<u8>) {
    let mut start = true;
    for byte in name {
        out.push(if start { byte.to_ascii_uppercase() } else { byte.to_ascii_lowercase() });
        start = !byte.is_ascii_alphanumeric();
    }
}

fn push_status(status: u16, out: &mut Vec<u8>) {
    let digit = |n: u16| b'0' + (n % 10) as u8;
    out.extend_from_slice(&[digit(status / 100), digit(status / 10), digit(status)]);
}

/// Frames the body of a message that is being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoder {
    /// Data as it is: the length was announced, or the connection's end is the body's.
    Plain,
    Chunked,
    /// Data is dropped (responses to HEAD and their kin).
    Nothing,
}

impl Encoder {
    pub fn new(body: Body) -> Self {
        match body {
            Body::Empty => Encoder::Nothing,
            Body::Length(_) | Body::UntilClose => Encoder::Plain,
            Body::Chunked => Encoder::Chunked,
        }
    }

    /// Writes what precedes `len` bytes of data.
    pub fn before(self, len: usize, out: &mut Vec<u8>) {
        if self == Encoder::Chunked && len > 0 {
            push_hex(len, out);
            out.extend_from_slice(b"\r\n");
        }
    }

    /// Writes what follows the data announced by `before`.
    pub fn after(self, out: &mut Vec<u8>) {
        if self == Encoder::Chunked {
            out.extend_from_slice(b"\r\n");
        }
    }

    /// Writes the end of the body.
    pub fn end(self, trailers: Option<&Fields>, case: HeaderCase, out: &mut Vec<u8>) {
        if self == Encoder::Chunked {
            out.extend_from_slice(b"0\r\n");
            if let Some(trailers) = trailers {
                write_fields(trailers, case, out);
            }
            out.extend_from_slice(b"\r\n");
        }
    }
}

fn push_hex(n: usize, out: &mut Vec<u8>) {
    let digits = (usize::BITS - n.leading_zeros()).div_ceil(4).max(1);
    for i in (0..digits).rev() {
        out.push(b"0123456789abcdef"[(n >> (4 * i)) & 15]);
    }
}

/// The reason phrase of a status.
pub fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        102 => "Processing",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        207 => "Multi-Status",
        208 => "Already Reported",
        226 => "IM Used",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        305 => "Use Proxy",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Payload Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Entity",
        423 => "Locked",
        424 => "Failed Dependency",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        506 => "Variant Also Negotiates",
        507 => "Insufficient Storage",
        508 => "Loop Detected",
        510 => "Not Extended",
        511 => "Network Authentication Required",
        _ => "Unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_written_host_first_and_in_the_wanted_case() {
        let mut request = Request::new(b"GET", b"a.example", b"/x?y");
        request.fields.push(b"X-Request-Id", b"1");
        let table = [
            (HeaderCase::Lower, "host: a.example\r\nx-request-id: 1\r\ntransfer-encoding"),
            (HeaderCase::Preserve, "host: a.example\r\nX-Request-Id: 1\r\ntransfer-encoding"),
            (HeaderCase::ProperWords, "Host: a.example\r\nX-Request-Id: 1\r\nTransfer-Encoding"),
        ];
        for (case, expected) in table {
            let mut out = Vec::new();
            write_request(&request, Body::Chunked, false, case, &mut out);
            let expected = format!("GET /x?y HTTP/1.1\r\n{expected}: chunked\r\n\r\n");
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn chunks_are_framed() {
        let mut out = Vec::new();
        Encoder::Chunked.before(26, &mut out);
        out.extend_from_slice(&[b'x'; 26]);
        Encoder::Chunked.after(&mut out);
        let mut trailers = Fields::default();
        trailers.push(b"T", b"1");
        Encoder::Chunked.end(Some(&trailers), HeaderCase::Lower, &mut out);
        assert_eq!(out, b"1a\r\nxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n0\r\nt: 1\r\n\r\n");
    }
}
