//! One token in compact form, read and not yet believed.

use crate::{Algorithm, Refusal, json};
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{DecodeError, Engine};
use ir::{Str, Value};
use std::collections::BTreeMap;

/// Longer tokens are not looked at.
const LONGEST: usize = 64 * 1024;

/// By how many seconds clocks may differ, unless somebody says otherwise.
pub const CLOCK_SKEW: u64 = 60;

/// A token of three parts: what it says of itself, what it claims, and the signature of both.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    pub algorithm: Algorithm,
    /// As it stands in the header, for keys that say the same.
    pub(crate) algorithm_name: Str,
    pub key_id: Option<Str>,
    pub header: BTreeMap<Str, Value>,
    pub claims: BTreeMap<Str, Value>,
    /// Empty where none is named.
    pub issuer: Str,
    pub audiences: Vec<Str>,
    not_before: Option<u64>,
    expires: Option<u64>,
    /// The first two parts, as they were signed.
    pub(crate) signed: Box<str>,
    /// Where the claims begin in it.
    payload_at: usize,
    pub(crate) signature: Vec<u8>,
}

impl Token {
    pub fn parse(text: &[u8]) -> Result<Token, Refusal> {
        let text = std::str::from_utf8(text).map_err(|_| Refusal::BadFormat)?;
        let parts: Vec<&str> = text.splitn(4, '.').collect();
        let [header, payload, signature] = parts[..] else { return Err(Refusal::BadFormat) };
        if text.len() > LONGEST || parts.iter().any(|part| part.is_empty()) {
            return Err(Refusal::BadFormat);
        }
        let bytes = decode(header).map_err(|_| Refusal::HeaderEncoding)?;
        let said = json::object(&bytes).ok_or(Refusal::HeaderJson)?;
        let (algorithm_name, algorithm) = algorithm(&said)?;
        let key_id = text_in(&said, "kid").map_err(|()| Refusal::HeaderKeyId)?;
        if said.contains_key("crit") {
            return Err(Refusal::HeaderCritical);
        }
        let bytes = decode(payload).map_err(|_| Refusal::PayloadEncoding)?;
        let claims = json::object(&bytes).ok_or(Refusal::PayloadJson)?;
        let issuer = text_in(&claims, "iss").map_err(|()| Refusal::Issuer)?.unwrap_or_default();
        text_in(&claims, "sub").map_err(|()| Refusal::Subject)?;
        seconds(&claims, "iat", Refusal::IssuedAt, Refusal::IssuedAtRange)?;
        let not_before = seconds(&claims, "nbf", Refusal::NotBefore, Refusal::NotBeforeRange)?;
        let expires = seconds(&claims, "exp", Refusal::Expires, Refusal::ExpiresRange)?;
        text_in(&claims, "jti").map_err(|()| Refusal::TokenId)?;
        let audiences = audiences(&claims)?;
        let signature = decode(signature).map_err(|_| Refusal::SignatureEncoding)?;
        let signed = text[..header.len() + 1 + payload.len()].into();
        Ok(Token {
            algorithm,
            algorithm_name,
            key_id: key_id.filter(|id| !id.is_empty()),
            payload_at: header.len() + 1,
            header: said,
            claims,
            issuer,
            audiences,
            not_before,
            expires,
            signed,
            signature,
        })
    }

    /// Whether it holds now, by clocks that differ by at most so many seconds.
    pub fn check_time(&self, now: u64, skew: u64) -> Result<(), Refusal> {
        if self.not_before.is_some_and(|from| now.saturating_add(skew) < from) {
            return Err(Refusal::NotYetValid);
        }
        if self.expires.is_some_and(|until| now > until.saturating_add(skew)) {
            return Err(Refusal::Expired);
        }
        Ok(())
    }

    /// The claims as they were sent, in base64url.
    pub fn payload(&self) -> &str {
        &self.signed[self.payload_at..]
    }

    /// What it costs to keep, in bytes, about.
    pub fn size(&self) -> usize {
        self.signed.len() * 4 + self.signature.len()
    }

    /// A claim by its path, in which dots lead into objects.
    pub fn claim(&self, path: &str) -> Option<&Value> {
        let mut names = path.split('.');
        let first = self.claims.get(names.next()?)?;
        names.try_fold(first, |value, name| value.get(name))
    }
}

/// As lenient as Envoy: with all padding or without, with white space, whatever the bits that are left over.
/// What is signed is the text as it came, so that nothing is gained by writing it otherwise.
fn decode(part: &str) -> Result<Vec<u8>, DecodeError> {
    const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true);
    const BASE64: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT);
    let is_space = |b: &u8| b.is_ascii_whitespace() || *b == b'\x0b';
    let mut text: Vec<u8> = part.bytes().filter(|b| !is_space(b)).collect();
    if text.len().is_multiple_of(4) {
        let padding = text.iter().rev().take(2).take_while(|b| **b == b'=').count();
        text.truncate(text.len() - padding);
    }
    BASE64.decode(text)
}

fn algorithm(header: &BTreeMap<Str, Value>) -> Result<(Str, Algorithm), Refusal> {
    let name = text_in(header, "alg").ok().flatten().ok_or(Refusal::HeaderAlgorithm)?;
    let algorithm = Algorithm::of(&name).ok_or(Refusal::UnknownAlgorithm)?;
    Ok((name, algorithm))
}

/// An error where it is there and no text.
fn text_in(fields: &BTreeMap<Str, Value>, name: &str) -> Result<Option<Str>, ()> {
    match fields.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(()),
    }
}

fn seconds(
    fields: &BTreeMap<Str, Value>,
    name: &str,
    no_number: Refusal,
    out_of_range: Refusal,
) -> Result<Option<u64>, Refusal> {
    match fields.get(name) {
        None => Ok(None),
        Some(Value::Number(n)) if *n < 0.0 || *n >= u64::MAX as f64 => Err(out_of_range),
        Some(Value::Number(n)) => Ok(Some(*n as u64)),
        Some(_) => Err(no_number),
    }
}

fn audiences(claims: &BTreeMap<Str, Value>) -> Result<Vec<Str>, Refusal> {
    let text = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        _ => Err(Refusal::Audience),
    };
    match claims.get("aud") {
        None => Ok(Vec::new()),
        Some(Value::List(list)) => list.iter().map(text).collect(),
        Some(one) => Ok(vec![text(one)?]),
    }
}
