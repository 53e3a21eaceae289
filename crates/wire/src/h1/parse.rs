//! Heads of requests and responses from bytes. `httparse` splits lines and checks characters; what
//! the parts mean, and which combinations are refused, is decided here.

use super::framing::{Body, Framing, declared_body, take_connection};
use super::{HeadError, HeadScan};
use crate::fields::span_of;
use crate::{Fields, Head, Request, RequestHead, Response, Scheme, Version};
use std::mem::MaybeUninit;
use std::ops::Range;

/// How much of a head is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the whole head.
    pub head: usize,
    pub headers: usize,
    /// Accept Content-Length beside `chunked` and ignore it (`allow_chunked_length`).
    pub chunked_length: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { head: 60 * 1024, headers: 100, chunked_length: false }
    }
}

/// Header lines that are looked at, whatever the configured limit.
const MOST_HEADERS: usize = 1024;

type Lines<'a> = [MaybeUninit<httparse::Header<'a>>; MOST_HEADERS];

/// Reads the head of a request into `into`. Gives the range of the head in `input` (what precedes
/// it is to be skipped, what follows is its body), or `None` if it is not complete.
pub fn parse_request(
    input: &[u8],
    scan: &mut HeadScan,
    limits: &Limits,
    into: &mut Request,
) -> Result<Option<(Range<usize>, Framing)>, HeadError> {
    let Some(range) = scan.find(input, limits.head)? else { return Ok(None) };
    let head = &input[range.clone()];
    let mut lines: Lines = [const { MaybeUninit::uninit() }; MOST_HEADERS];
    let mut parsed = httparse::Request::new(&mut []);
    httparse::ParserConfig::default()
        .parse_request_with_uninit_headers(&mut parsed, head, &mut lines)
        .map_err(|e| refused(e, head))?;
    let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version)
    else {
        return Err(HeadError::StartLine);
    };
    if !METHODS.contains(&method.as_bytes()) {
        return Err(HeadError::Method);
    }
    into.clear();
    into.version = if version == 0 { Version::Http10 } else { Version::Http11 };
    let base = into.fields.adopt(head);
    into.method = span_of(head, base, method.as_bytes());
    take_fields(&mut into.fields, head, base, parsed.headers, limits)?;
    let has_host = take_host(into)?;
    take_target(into, target.as_bytes(), has_host)?;
    let framing = frame_request(into, limits.chunked_length)?;
    Ok(Some((range, framing)))
}

/// What the head of a request says of its body and its connection. Fields that concern this connection only
/// are taken out. Heads that were read have passed this; it is for those that were put together.
pub fn frame_request(request: &mut Request, chunked_length: bool) -> Result<Framing, HeadError> {
    let mut framing = Framing::default();
    let declared = declared_body(&request.fields, request.version, chunked_length)?;
    framing.body = declared.unwrap_or(Body::Empty);
    if framing.body == Body::Chunked {
        request.fields.remove(b"content-length");
    }
    take_connection(&mut request.fields, request.version, true, &mut framing)?;
    framing.expect_continue = request.version == Version::Http11
        && request.get(b"expect").is_some_and(|v| v.eq_ignore_ascii_case(b"100-continue"));
    Ok(framing)
}

fn take_fields(
    fields: &mut Fields,
    head: &[u8],
    base: usize,
    lines: &[httparse::Header<'_>],
    limits: &Limits,
) -> Result<(), HeadError> {
    if lines.len() > limits.headers {
        return Err(HeadError::TooManyHeaders);
    }
    for line in lines {
        let value = line.value.trim_ascii_end();
        fields.push_spans(span_of(head, base, line.name.as_bytes()), span_of(head, base, value));
    }
    Ok(())
}

fn refused(e: httparse::Error, head: &[u8]) -> HeadError {
    match e {
        httparse::Error::Version if !has_other_version(head) => HeadError::StartLine,
        httparse::Error::TooManyHeaders => HeadError::TooManyHeaders,
        httparse::Error::HeaderName | httparse::Error::HeaderValue => HeadError::HeaderLine,
        httparse::Error::Version => HeadError::Version,
        _ => HeadError::StartLine,
    }
}

/// Whether the request line ends with a version such as `HTTP/2.0`, and not with ours.
fn has_other_version(head: &[u8]) -> bool {
    let line = &head[..memchr::memchr(b'\r', head).unwrap_or(head.len())];
    let [.., b' ', b'H', b'T', b'T', b'P', b'/', major, b'.', minor] = line else { return false };
    major.is_ascii_digit()
        && minor.is_ascii_digit()
        && !matches!((major, minor), (b'1', b'0' | b'1'))
}

/// Moves Host from the fields to the authority; says whether it was there.
fn take_host(into: &mut Request) -> Result<bool, HeadError> {
    let host = into.fields.take_only(b"host").map_err(|_| HeadError::Host)?;
    let Some(host) = host else { return Ok(false) };
    if !into.fields.at(host).iter().all(|b| is_authority_byte(*b)) {
        return Err(HeadError::Host);
    }
    into.authority = host;
    Ok(true)
}

/// Splits the target into authority and path (RFC 9112 section 3.2).
fn take_target(into: &mut Request, target: &[u8], has_host: bool) -> Result<(), HeadError> {
    if !target.iter().all(|b| (0x21..0x7f).contains(b)) {
        return Err(HeadError::Target);
    }
    match target {
        _ if into.method() == b"CONNECT" => {
            if !is_host_and_port(target) {
                return Err(HeadError::Target);
            }
            into.set_authority(target);
        }
        _ if !has_host && into.version == Version::Http11 => return Err(HeadError::MissingHost),
        [b'/', ..] => into.set_path(target),
        b"*" if into.method() == b"OPTIONS" => into.set_path(target),
        _ => return take_absolute(into, target),
    }
    if memchr::memchr(b'#', into.path()).is_some() { Err(HeadError::Fragment) } else { Ok(()) }
}

/// The methods that are understood; others, and other cases, are refused as Envoy refuses them.
const METHODS: [&[u8]; 34] = [
    b"GET",
    b"POST",
    b"PUT",
    b"DELETE",
    b"HEAD",
    b"OPTIONS",
    b"PATCH",
    b"CONNECT",
    b"TRACE",
    b"ACL",
    b"BIND",
    b"CHECKOUT",
    b"COPY",
    b"LINK",
    b"LOCK",
    b"MERGE",
    b"MKACTIVITY",
    b"MKCALENDAR",
    b"MKCOL",
    b"MOVE",
    b"MSEARCH",
    b"NOTIFY",
    b"PROPFIND",
    b"PROPPATCH",
    b"PURGE",
    b"REBIND",
    b"REPORT",
    b"SEARCH",
    b"SOURCE",
    b"SUBSCRIBE",
    b"UNBIND",
    b"UNLINK",
    b"UNLOCK",
    b"UNSUBSCRIBE",
];

fn take_absolute(into: &mut Request, target: &[u8]) -> Result<(), HeadError> {
    let starts = |p: &[u8]| target.len() > p.len() && target[..p.len()].eq_ignore_ascii_case(p);
    let rest = if starts(b"http://") {
        &target[7..]
    } else if starts(b"https://") {
        into.scheme = Scheme::Https;
        &target[8..]
    } else {
        return Err(HeadError::Target);
    };
    let cut = rest.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(cut);
    if authority.is_empty() || !authority.iter().all(|b| is_authority_byte(*b)) {
        return Err(HeadError::Target);
    }
    into.set_authority(authority);
    match path {
        [] => into.set_path(b"/"),
        [b'?', ..] => into.set_path(&[b"/", path].concat()),
        _ => into.set_path(path),
    }
    Ok(())
}

fn is_authority_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"-._~%!$&'()[]*+,;=:@".contains(&b)
}

fn is_host_and_port(target: &[u8]) -> bool {
    let Some(colon) = target.iter().rposition(|b| *b == b':') else { return false };
    let (host, port) = (&target[..colon], &target[colon + 1..]);
    let digits = !port.is_empty() && port.len() <= 5 && port.iter().all(u8::is_ascii_digit);
    digits && !host.is_empty() && host.iter().all(|b| is_authority_byte(*b) && *b != b'@')
}

/// What a response head says, for a request of the given method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedResponse {
    pub range: Range<usize>,
    pub framing: Framing,
}

/// Reads the head of a response; `method` is that of the request it answers.
pub fn parse_response(
    input: &[u8],
    scan: &mut HeadScan,
    limits: &Limits,
    method: &[u8],
    into: &mut Response,
) -> Result<Option<ParsedResponse>, HeadError> {
    let Some(range) = scan.find(input, limits.head)? else { return Ok(None) };
    let head = &input[range.clone()];
    let mut lines: Lines = [const { MaybeUninit::uninit() }; MOST_HEADERS];
    let mut parsed = httparse::Response::new(&mut []);
    httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(&mut parsed, head, &mut lines)
        .map_err(|e| refused(e, head))?;
    let (Some(code), Some(version)) = (parsed.code, parsed.version) else {
        return Err(HeadError::StartLine);
    };
    if !(100..=999).contains(&code) {
        return Err(HeadError::StartLine);
    }
    into.clear();
    into.status = code;
    into.version = if version == 0 { Version::Http10 } else { Version::Http11 };
    let base = into.fields.adopt(head);
    take_fields(&mut into.fields, head, base, parsed.headers, limits)?;
    let framing = response_framing(into, method)?;
    Ok(Some(ParsedResponse { range, framing }))
}

fn response_framing(into: &mut Response, method: &[u8]) -> Result<Framing, HeadError> {
    let mut framing = Framing::default();
    let without_body = matches!(into.status, 100..=199 | 204 | 304)
        || method == b"HEAD"
        || (method == b"CONNECT" && (200..300).contains(&into.status));
    let declared = declared_body(&into.fields, into.version, false)?;
    framing.body = match declared {
        _ if without_body => Body::Empty,
        Some(body) => body,
        None => Body::UntilClose,
    };
    take_connection(&mut into.fields, into.version, false, &mut framing)?;
    framing.keep_alive &= framing.body != Body::UntilClose;
    Ok(framing)
}

#[cfg(test)]
mod tests;
