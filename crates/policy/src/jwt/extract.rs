//! Where tokens stand in a request: headers, parameters of the query, cookies; and how they are taken out.

use crate::hash::cookie_or_empty;
use crate::matching::split_query;
use ir::{JwtProvider, Str};
use std::collections::BTreeMap;
use wire::{Head, Request, RequestHead};

/// All places in which some issuers' tokens may stand, in the order in which Envoy looks at them.
#[derive(Debug, Default)]
pub(super) struct Places {
    places: Vec<(Place, Issuers)>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Header { key: String, name: Str, prefix: Str },
    Param(Str),
    Cookie(Str),
}

/// Whose tokens may stand in a place.
#[derive(Debug, Default)]
struct Issuers {
    anybody: bool,
    named: Vec<Str>,
}

/// A token that was found.
#[derive(Debug)]
pub(super) struct Found<'p> {
    pub text: Vec<u8>,
    pub place: &'p Place,
    issuers: &'p Issuers,
}

impl Found<'_> {
    pub fn may_be_of(&self, issuer: &Str) -> bool {
        self.issuers.anybody || self.issuers.named.contains(issuer)
    }
}

impl Places {
    pub fn of<'p>(providers: impl IntoIterator<Item = &'p JwtProvider>) -> Places {
        let mut places: BTreeMap<Place, Issuers> = BTreeMap::new();
        for provider in providers {
            for place in of_provider(provider) {
                let issuers = places.entry(place).or_default();
                match &*provider.issuer {
                    "" => issuers.anybody = true,
                    _ => issuers.named.push(provider.issuer.clone()),
                }
            }
        }
        Places { places: places.into_iter().collect() }
    }

    /// Every token, the last place first.
    pub fn find(&self, request: &Request) -> Vec<Found<'_>> {
        let mut all = Vec::new();
        for (place, issuers) in &self.places {
            place.each(request, |text| all.push(Found { text, place, issuers }));
        }
        all.reverse();
        all
    }
}

/// Headers that only a verified token of the provider may fill.
pub(super) fn reserved(provider: &JwtProvider) -> impl Iterator<Item = Str> {
    let payload = Some(&provider.forward_payload_header).filter(|name| !name.is_empty());
    payload.into_iter().chain(provider.claim_to_headers.iter().map(|c| &c.header)).cloned()
}

const AUTHORIZATION: &str = "authorization";
const BEARER: &str = "Bearer ";
const ACCESS_TOKEN: &str = "access_token";

fn of_provider(provider: &JwtProvider) -> Vec<Place> {
    let header = |name: &str, prefix: &str| Place::Header {
        key: format!("{name}{prefix}"),
        name: name.into(),
        prefix: prefix.into(),
    };
    let mut places: Vec<Place> =
        provider.from_headers.iter().map(|h| header(&h.name, &h.prefix)).collect();
    places.extend(provider.from_params.iter().cloned().map(Place::Param));
    places.extend(provider.from_cookies.iter().cloned().map(Place::Cookie));
    if places.is_empty() {
        return vec![header(AUTHORIZATION, BEARER), Place::Param(ACCESS_TOKEN.into())];
    }
    places
}

impl Place {
    fn each(&self, request: &Request, mut found: impl FnMut(Vec<u8>)) {
        match self {
            Place::Header { name, prefix, .. } => {
                let mut look = |value: &[u8]| {
                    found_in(value, prefix.as_bytes()).into_iter().for_each(|t| found(t.to_vec()));
                };
                match &**name {
                    AUTHORIZATION => credentials(request).iter().for_each(|line| look(line)),
                    _ => request.each_value(name.as_bytes(), &mut look),
                }
            }
            Place::Param(name) => {
                let mut pairs = pairs(split_query(request.path()).1);
                let value = pairs.find(|(n, _)| decoded(n) == name.as_bytes());
                value.into_iter().for_each(|(_, value)| found(decoded(value)));
            }
            Place::Cookie(name) => cookie_or_empty(request, name).into_iter().for_each(found),
        }
    }

    /// Takes the token out of the request; cookies stay, as in Envoy.
    pub fn clear(&self, request: &mut Request) {
        match self {
            Place::Header { name, .. } => {
                request.fields.remove(name.as_bytes());
            }
            Place::Param(name) => {
                let (path, query) = split_query(request.path());
                let rest: Vec<&[u8]> = query
                    .split(|b| *b == b'&')
                    .filter(|pair| decoded(halves(pair).0) != name.as_bytes())
                    .collect();
                let mark: &[u8] = if rest.is_empty() { b"" } else { b"?" };
                let path = [path, mark, &rest.join(&b'&')].concat();
                request.set_path(&path);
            }
            Place::Cookie(_) => {}
        }
    }
}

/// The `authorization` header. Several lines of it are one, as in Envoy, and hold no token: who of several a
/// request comes from is not for us to choose.
fn credentials(request: &Request) -> Option<Vec<u8>> {
    let mut lines = Vec::new();
    request.each_value(AUTHORIZATION.as_bytes(), &mut |line| lines.push(line.to_vec()));
    (!lines.is_empty()).then(|| lines.join(&b','))
}

/// What follows a prefix, from the first letter on that a token can have; all of the value where there is
/// no such letter, which is no token either.
fn found_in<'v>(value: &'v [u8], prefix: &[u8]) -> Option<&'v [u8]> {
    if prefix.is_empty() {
        return Some(value);
    }
    let after = memchr::memmem::find(value, prefix)? + prefix.len();
    let legal = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let start = value[after..].iter().position(legal);
    Some(start.map_or(value, |start| &value[after + start..]))
}

fn pairs(query: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    query.split(|b| *b == b'&').map(halves)
}

fn halves(pair: &[u8]) -> (&[u8], &[u8]) {
    let cut = memchr::memchr(b'=', pair).unwrap_or(pair.len());
    (&pair[..cut], pair.get(cut + 1..).unwrap_or_default())
}

fn decoded(text: &[u8]) -> Vec<u8> {
    let digit = |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16));
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        let escaped = (*first == b'%').then(|| Some((digit(after.first())?, digit(after.get(1))?)));
        match escaped.flatten() {
            Some((high, low)) => {
                out.push((high * 16 + low) as u8);
                rest = &after[2..];
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    out
}
