//! What the head of a message says about the rest of it: where its body ends, whether the
//! connection lives on, whether it becomes something else. Hop-by-hop fields are taken out here.

use super::HeadError;
use crate::{Fields, Version};
use memchr::memchr;

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Body {
    #[default]
    Empty,
    Length(u64),
    Chunked,
    /// Responses only.
    UntilClose,
}

/// What the head says about its connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Framing {
    pub body: Body,
    /// The peer will take another message on this connection.
    pub keep_alive: bool,
    pub expect_continue: bool,
    /// `Connection: upgrade` with an `Upgrade` field, which is then kept.
    pub upgrade: bool,
}

/// Content-Length and Transfer-Encoding as given, checked for contradictions.
pub(super) fn declared_body(
    fields: &Fields,
    version: Version,
    allow_both: bool,
) -> Result<Option<Body>, HeadError> {
    let mut length = None;
    let mut coding = None;
    for (name, value) in fields.iter() {
        if name.len() == 14 && name.eq_ignore_ascii_case(b"content-length") {
            let this = decimal(value).ok_or(HeadError::ContentLength)?;
            if length.replace(this).is_some() {
                return Err(HeadError::ContentLength);
            }
        } else if name.len() == 17
            && name.eq_ignore_ascii_case(b"transfer-encoding")
            && coding.replace(value).is_some()
        {
            return Err(HeadError::UnknownCoding);
        }
    }
    match (length, coding) {
        (None, None) => Ok(None),
        (Some(n), None) => Ok(Some(Body::Length(n))),
        (_, Some(_)) if version == Version::Http10 => Err(HeadError::Coding),
        (_, Some(c)) if !c.eq_ignore_ascii_case(b"chunked") => Err(HeadError::UnknownCoding),
        (Some(_), Some(_)) if !allow_both => Err(HeadError::LengthAndCoding),
        (_, Some(_)) => Ok(Some(Body::Chunked)),
    }
}

/// One number of digits only.
fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 19 {
        return None;
    }
    value.iter().try_fold(0u64, |n, b| {
        b.is_ascii_digit().then(|| n.checked_mul(10)?.checked_add(u64::from(b - b'0'))).flatten()
    })
}

/// Fields that concern one connection only, besides those that `Connection` names.
const HOP_BY_HOP: [&[u8]; 4] =
    [b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding"];

/// Fields that `Connection` must not make us forget.
const PROTECTED: [&[u8]; 4] =
    [b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"host"];

/// Reads the connection options and takes hop-by-hop fields out. What `Connection` names besides is
/// taken out of requests only, as Envoy does.
pub(super) fn take_connection(
    fields: &mut Fields,
    version: Version,
    of_request: bool,
    framing: &mut Framing,
) -> Result<(), HeadError> {
    framing.keep_alive = version != Version::Http10;
    let mut hop_by_hop = false;
    let mut named: Vec<Vec<u8>> = Vec::new();
    let mut wants_upgrade = false;
    for (name, value) in fields.iter() {
        match name.len() {
            2 if name.eq_ignore_ascii_case(b"te") => hop_by_hop = true,
            7 if name.eq_ignore_ascii_case(b"upgrade") => hop_by_hop = true,
            10 if name.eq_ignore_ascii_case(b"connection") => {
                hop_by_hop = true;
                for option in tokens(value) {
                    match option {
                        o if o.eq_ignore_ascii_case(b"close") => framing.keep_alive = false,
                        o if o.eq_ignore_ascii_case(b"keep-alive") => {
                            framing.keep_alive |= version == Version::Http10;
                        }
                        o if o.eq_ignore_ascii_case(b"upgrade") => wants_upgrade = true,
                        o if of_request && PROTECTED.iter().any(|p| o.eq_ignore_ascii_case(p)) => {
                            return Err(HeadError::Connection);
                        }
                        o if o.eq_ignore_ascii_case(b"te") => {}
                        o if of_request => named.push(o.to_ascii_lowercase()),
                        _ => {}
                    }
                }
            }
            16 if name.eq_ignore_ascii_case(b"proxy-connection") => {
                hop_by_hop = true;
                if tokens(value).any(|o| o.eq_ignore_ascii_case(b"close")) {
                    framing.keep_alive = false;
                }
            }
            n if HOP_BY_HOP.iter().any(|h| h.len() == n && name.eq_ignore_ascii_case(h)) => {
                hop_by_hop = true;
            }
            _ => {}
        }
    }
    if hop_by_hop {
        // A wish for HTTP/2 may be ignored, and is.
        let is_h2c = |value: &[u8]| value.eq_ignore_ascii_case(b"h2c");
        let h2c = fields.values(b"upgrade").all(is_h2c) && fields.values(b"upgrade").count() == 1;
        framing.upgrade = wants_upgrade && !h2c && fields.contains(b"upgrade");
        let upgrade = framing.upgrade;
        fields.retain(|name, value| keep(name, value, upgrade, &named));
        if fields.contains(b"te") {
            fields.set(b"te", b"trailers");
        }
    }
    Ok(())
}

fn keep(name: &[u8], value: &[u8], upgrade: bool, named: &[Vec<u8>]) -> bool {
    let is = |other: &[u8]| name.len() == other.len() && name.eq_ignore_ascii_case(other);
    if is(b"te") {
        return tokens(value).any(|t| t.eq_ignore_ascii_case(b"trailers"));
    }
    if is(b"upgrade") {
        return upgrade;
    }
    !HOP_BY_HOP.iter().any(|h| is(h)) && !named.iter().any(|n| is(n))
}

/// The members of a comma-separated list.
pub(super) fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let all = rest?;
        let (token, tail) = match memchr(b',', all) {
            Some(i) => (&all[..i], Some(&all[i + 1..])),
            None => (all, None),
        };
        rest = tail;
        Some(token.trim_ascii())
    })
    .filter(|t| !t.is_empty())
}
