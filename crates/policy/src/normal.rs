//! One canonical form of path and host, for routing, authorization, log and upstream alike.

use ir::{EscapedSlashes, HttpManager, StripPort};
use std::borrow::Cow;

/// What to do with a path.
#[derive(Clone, Copy, Debug, Default)]
pub struct PathRules {
    pub normalize: bool,
    pub merge_slashes: bool,
    pub escaped_slashes: EscapedSlashes,
}

impl PathRules {
    pub fn of(manager: &HttpManager) -> Self {
        Self {
            normalize: manager.normalize_path,
            merge_slashes: manager.merge_slashes,
            escaped_slashes: manager.escaped_slashes,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Normalized {
    Unchanged,
    Changed(Vec<u8>),
    /// Tell the client to ask for this path instead (307).
    Redirect(Vec<u8>),
    /// The path holds what is forbidden.
    Rejected,
}

/// Makes a path (with its query, which is left alone) canonical.
pub fn path(path: &[u8], rules: PathRules) -> Normalized {
    if path.first() != Some(&b'/') || !needs_work(path, rules) {
        return Normalized::Unchanged;
    }
    let (mut only, query) = split(path);
    let mut owned;
    let mut redirect = false;
    if rules.escaped_slashes != EscapedSlashes::KeepUnchanged && has_escaped_slash(only) {
        match rules.escaped_slashes {
            EscapedSlashes::RejectRequest => return Normalized::Rejected,
            EscapedSlashes::UnescapeAndRedirect => redirect = true,
            _ => {}
        }
        owned = unescape_slashes(only);
        only = &owned;
    }
    let mut result;
    if rules.normalize {
        if has_nul(only) {
            return Normalized::Rejected;
        }
        result = remove_dots(&escape(&unescape_unreserved(only)));
    } else {
        result = only.to_vec();
    }
    if rules.merge_slashes {
        owned = std::mem::take(&mut result);
        result = merge(&owned);
    }
    result.extend_from_slice(query);
    match result == path {
        true => Normalized::Unchanged,
        false if redirect => Normalized::Redirect(result),
        false => Normalized::Changed(result),
    }
}

/// A quick look that clears nearly every path.
fn needs_work(path: &[u8], rules: PathRules) -> bool {
    let only = split(path).0;
    let suspicious = |b: &u8| matches!(*b, b'.' | b'%' | b'\\') || must_be_escaped(*b);
    (rules.normalize && only.iter().any(suspicious))
        || (rules.merge_slashes && memchr::memmem::find(only, b"//").is_some())
        || (rules.escaped_slashes != EscapedSlashes::KeepUnchanged && has_escaped_slash(only))
}

/// The path, and the query with its question mark.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    let cut = memchr::memchr(b'?', path).unwrap_or(path.len());
    path.split_at(cut)
}

/// A zero ends texts in some languages, so that a path with one has two readings.
fn has_nul(path: &[u8]) -> bool {
    path.contains(&0) || memchr::memmem::find(path, b"%00").is_some()
}

fn has_escaped_slash(path: &[u8]) -> bool {
    path.windows(3).any(|w| is_escaped_slash(w).is_some())
}

fn is_escaped_slash(w: &[u8]) -> Option<u8> {
    match w {
        [b'%', b'2', b'f' | b'F', ..] => Some(b'/'),
        [b'%', b'5', b'c' | b'C', ..] => Some(b'\\'),
        _ => None,
    }
}

fn unescape_slashes(path: &[u8]) -> Vec<u8> {
    unescape(path, is_escaped_slash)
}

/// What no URL has as it is.
fn must_be_escaped(byte: u8) -> bool {
    byte <= 0x20 || byte >= 0x7f || matches!(byte, b'"' | b'<' | b'>' | b'`' | b'{' | b'}')
}

fn escape(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    for &byte in path {
        if must_be_escaped(byte) {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        } else {
            out.push(byte);
        }
    }
    out
}

/// Escapes of characters that need none become the characters; `\` becomes `/`.
fn unescape_unreserved(path: &[u8]) -> Vec<u8> {
    let mut out = unescape(path, |w| {
        let [b'%', high, low, ..] = w else { return None };
        let digit = |b: &u8| (*b as char).to_digit(16);
        let byte = (digit(high)? * 16 + digit(low)?) as u8;
        (byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)).then_some(byte)
    });
    for byte in &mut out {
        if *byte == b'\\' {
            *byte = b'/';
        }
    }
    out
}

fn unescape(path: &[u8], decode: impl Fn(&[u8]) -> Option<u8>) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut at = 0;
    while at < path.len() {
        match decode(&path[at..]) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(path[at]);
                at += 1;
            }
        }
    }
    out
}

/// RFC 3986 section 5.2.4: a path that climbs above the root stays at it.
fn remove_dots(path: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(path.len());
    let mut segments = path[1..].split(|b| *b == b'/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            b"." => {
                if last {
                    out.push(b'/');
                }
            }
            b".." => {
                let cut = memchr::memrchr(b'/', &out).unwrap_or(0);
                out.truncate(cut);
                if last {
                    out.push(b'/');
                }
            }
            _ => {
                out.push(b'/');
                out.extend_from_slice(segment);
            }
        }
    }
    if out.is_empty() {
        out.push(b'/');
    }
    out
}

fn merge(path: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(path.len());
    for byte in path {
        if *byte != b'/' || out.last() != Some(&b'/') {
            out.push(*byte);
        }
    }
    if out == b"/" && path.len() > 1 {
        // Of slashes alone Envoy keeps the first and the last.
        out.push(b'/');
    }
    out
}

/// The authority without what the manager strips; `listener_port` is the port connected to.
pub fn strip_host<'a>(
    authority: &'a [u8],
    manager: &HttpManager,
    listener_port: u16,
) -> Cow<'a, [u8]> {
    let (mut host, port) = split_port(authority);
    let stripped = match (manager.strip_host_port, port) {
        (StripPort::Any, Some(_)) => true,
        (StripPort::Matching, Some(p)) => p == listener_port,
        _ => false,
    };
    let whole = host;
    if manager.strip_trailing_host_dot {
        host = host.strip_suffix(b".").unwrap_or(host);
    }
    if stripped || port.is_none() {
        return Cow::Borrowed(host);
    }
    if host.len() == whole.len() {
        return Cow::Borrowed(authority);
    }
    Cow::Owned([host, &authority[whole.len()..]].concat())
}

/// Host and port of an authority; brackets of an IPv6 address stay.
pub fn split_port(authority: &[u8]) -> (&[u8], Option<u16>) {
    let Some(colon) = memchr::memrchr(b':', authority) else { return (authority, None) };
    let (host, digits) = (&authority[..colon], &authority[colon + 1..]);
    if memchr::memchr(b':', host).is_some() && host.last() != Some(&b']') {
        return (authority, None);
    }
    let port = std::str::from_utf8(digits).ok().and_then(|s| s.parse().ok());
    if port.is_some() { (host, port) } else { (authority, None) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let all = PathRules { normalize: true, merge_slashes: true, ..Default::default() };
        let table = [
            ("/a/b", Some("/a/b")),
            ("/a/./b", Some("/a/b")),
            ("/a/../b?x=/../y", Some("/b?x=/../y")),
            ("/a/..", Some("/")),
            ("/a/b/.", Some("/a/b/")),
            ("/a/b/..", Some("/a/")),
            ("/..", Some("/")),
            ("/a/../../b", Some("/b")),
            ("/%2e%2E/a", Some("/a")),
            ("/a/%2e%2e/b", Some("/b")),
            ("/a%2fb", Some("/a%2fb")),
            ("/a\\b", Some("/a/b")),
            ("/a//b", Some("/a/b")),
            ("/%41", Some("/A")),
            ("/%zz", Some("/%zz")),
            ("/a.b", Some("/a.b")),
        ];
        for (input, expected) in table {
            let got = match path(input.as_bytes(), all) {
                Normalized::Unchanged => Some(input.to_owned()),
                Normalized::Changed(p) => Some(String::from_utf8(p).unwrap()),
                _ => None,
            };
            assert_eq!(got.as_deref(), expected, "{input}");
        }
    }

    #[test]
    fn escaped_slashes() {
        let rules = |escaped_slashes| PathRules { escaped_slashes, ..Default::default() };
        let table = [
            (EscapedSlashes::KeepUnchanged, Normalized::Unchanged),
            (EscapedSlashes::RejectRequest, Normalized::Rejected),
            (EscapedSlashes::UnescapeAndForward, Normalized::Changed(b"/a/b?q".to_vec())),
            (EscapedSlashes::UnescapeAndRedirect, Normalized::Redirect(b"/a/b?q".to_vec())),
        ];
        for (action, expected) in table {
            assert_eq!(path(b"/a%2Fb?q", rules(action)), expected);
        }
    }

    #[test]
    fn ports_are_split() {
        let table: [(&str, &str, Option<u16>); 5] = [
            ("a:80", "a", Some(80)),
            ("a", "a", None),
            ("[::1]:80", "[::1]", Some(80)),
            ("[::1]", "[::1]", None),
            ("a:x", "a:x", None),
        ];
        for (authority, host, port) in table {
            assert_eq!(split_port(authority.as_bytes()), (host.as_bytes(), port));
        }
    }
}
