//! The hash of a request, for load balancers that keep like requests together: Envoy's hash policies.

use crate::matching::split_query;
use balance::{xxh64, xxh64_seeded};
use ir::{HashPolicy, HashSource};
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use wire::{Head, Request, RequestHead};

/// Whose request it is.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// As `x-forwarded-for` says, where it is trusted; else the peer.
    pub source: IpAddr,
    pub remote: SocketAddr,
    pub local: SocketAddr,
}

/// The hash, if any policy found something, and a cookie to be set for the next request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hashed {
    pub hash: Option<u64>,
    pub set_cookie: Option<String>,
}

/// Policies are mixed in order, up to a terminal one that found something.
pub fn of_request(policies: &[HashPolicy], request: &Request, client: &Client) -> Hashed {
    let mut out = Hashed::default();
    for policy in policies {
        let part = match &policy.source {
            HashSource::Header(name) => of_header(request, name),
            HashSource::Query(name) => of_query(request, name),
            HashSource::SourceIp => Some(xxh64(client.source.to_string().as_bytes())),
            HashSource::Cookie { name, path, ttl, attributes } => {
                let value = cookie(request, name);
                let value = value.or_else(|| {
                    let made = (*ttl)?;
                    let ends = format!("{}{}", client.remote, client.local);
                    let value = format!("{:016x}", xxh64(ends.as_bytes()));
                    let seconds = (!made.is_zero()).then_some(made.as_secs());
                    out.set_cookie = Some(set_cookie(name, &value, seconds, path, attributes));
                    Some(value.into_bytes())
                });
                value.map(|v| xxh64(&v))
            }
            HashSource::FilterState(_) => None,
        };
        if let Some(part) = part {
            out.hash = Some(part ^ out.hash.map_or(0, |hash| hash.rotate_left(1)));
        }
        if policy.terminal && out.hash.is_some() {
            break;
        }
    }
    out
}

/// Several values are hashed in sorted order, so that their order does not matter.
fn of_header(request: &Request, name: &str) -> Option<u64> {
    let mut values = Vec::new();
    request.each_value(name.as_bytes(), &mut |value| values.push(value.to_vec()));
    values.sort();
    values.into_iter().fold(None, |hash, value| Some(xxh64_seeded(&value, hash.unwrap_or(0))))
}

fn of_query(request: &Request, name: &str) -> Option<u64> {
    let (_, query) = split_query(request.path());
    let mut pairs = query.split(|b| *b == b'&').map(|pair| {
        let cut = pair.iter().position(|b| *b == b'=').unwrap_or(pair.len());
        (&pair[..cut], pair.get(cut + 1..).unwrap_or_default())
    });
    pairs.find(|(n, _)| *n == name.as_bytes()).map(|(_, value)| xxh64(value))
}

/// The value of a cookie, without the quotes it may have.
pub(crate) fn cookie(request: &Request, name: &str) -> Option<Vec<u8>> {
    cookie_or_empty(request, name).filter(|value| !value.is_empty())
}

/// The same, where one without a value is one, too.
pub(crate) fn cookie_or_empty(request: &Request, name: &str) -> Option<Vec<u8>> {
    let mut found = None;
    request.each_value(b"cookie", &mut |line| {
        for pair in line.split(|b| *b == b';') {
            let pair = pair.trim_ascii();
            let Some(cut) = pair.iter().position(|b| *b == b'=') else { continue };
            if found.is_none() && pair[..cut] == *name.as_bytes() {
                let value = &pair[cut + 1..];
                let bare = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\""));
                found = Some(bare.unwrap_or(value).to_vec());
            }
        }
    });
    found
}

fn set_cookie(
    name: &str,
    value: &str,
    seconds: Option<u64>,
    path: &str,
    attributes: &[(ir::Str, ir::Str)],
) -> String {
    let mut out = format!("{name}=\"{value}\"");
    // Writing to a String cannot fail, here and below.
    let _ = seconds.map(|s| write!(out, "; Max-Age={s}"));
    if !path.is_empty() {
        let _ = write!(out, "; Path={path}");
    }
    for (name, value) in attributes {
        let _ = match value.is_empty() {
            true => write!(out, "; {name}"),
            false => write!(out, "; {name}={value}"),
        };
    }
    out + "; HttpOnly"
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn client() -> Client {
        Client {
            source: [10, 0, 0, 1].into(),
            remote: ([10, 0, 0, 1], 1000).into(),
            local: ([10, 0, 0, 2], 80).into(),
        }
    }

    fn policy(source: HashSource, terminal: bool) -> HashPolicy {
        HashPolicy { source, terminal }
    }

    fn hash(policies: &[HashPolicy], request: &Request) -> Option<u64> {
        of_request(policies, request, &client()).hash
    }

    #[test]
    fn every_source_and_nothing() {
        let mut request = Request::new(b"GET", b"h", b"/p?user=u&x=1");
        request.fields.push(b"x-user", b"one");
        request.fields.push(b"cookie", b"a=1; session=\"s\"");
        let cookie = |name: &str| HashSource::Cookie {
            name: name.into(),
            path: "".into(),
            ttl: None,
            attributes: Vec::new(),
        };
        let table = [
            (HashSource::Header("x-user".into()), Some(xxh64(b"one"))),
            (HashSource::Header("x-none".into()), None),
            (HashSource::Query("user".into()), Some(xxh64(b"u"))),
            (HashSource::Query("none".into()), None),
            (HashSource::SourceIp, Some(xxh64(b"10.0.0.1"))),
            (cookie("session"), Some(xxh64(b"s"))),
            (cookie("none"), None),
        ];
        for (source, expected) in table {
            assert_eq!(hash(&[policy(source.clone(), false)], &request), expected, "{source:?}");
        }
    }

    #[test]
    fn policies_mix_until_a_terminal_one_finds_something() {
        let mut request = Request::new(b"GET", b"h", b"/?q=2");
        let header = || HashSource::Header("x".into());
        let query = || HashSource::Query("q".into());
        let both = [policy(header(), true), policy(query(), false)];
        assert_eq!(hash(&both, &request), Some(xxh64(b"2")));
        request.fields.push(b"x", b"1");
        assert_eq!(hash(&both, &request), Some(xxh64(b"1")));
        let mixed = [policy(header(), false), policy(query(), false)];
        assert_eq!(hash(&mixed, &request), Some(xxh64(b"2") ^ xxh64(b"1").rotate_left(1)));
    }

    #[test]
    fn a_missing_cookie_is_made_and_leads_to_the_same_place_again() {
        let source = HashSource::Cookie {
            name: "s".into(),
            path: "/p".into(),
            ttl: Some(Duration::from_secs(60)),
            attributes: vec![("SameSite".into(), "Strict".into())],
        };
        let policies = [policy(source, false)];
        let mut request = Request::new(b"GET", b"h", b"/");
        let first = of_request(&policies, &request, &client());
        let cookie = first.set_cookie.unwrap();
        assert!(cookie.ends_with("\"; Max-Age=60; Path=/p; SameSite=Strict; HttpOnly"), "{cookie}");
        let pair = cookie.split(';').next().unwrap();
        request.fields.push(b"cookie", pair.as_bytes());
        let second = of_request(&policies, &request, &client());
        assert_eq!(second, Hashed { hash: first.hash, set_cookie: None });
    }
}
