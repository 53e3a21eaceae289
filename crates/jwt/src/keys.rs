//! The public keys of an issuer (RFC 7517), and the verification of signatures by them.

use crate::{Algorithm, Refusal, Token, json};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519,
    ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384,
    RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents, VerificationAlgorithm,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ir::{Str, Value};
use std::borrow::Cow;
use std::collections::BTreeMap;
use thiserror::Error;

/// Longer sets are not read.
const LONGEST: usize = 1024 * 1024;
/// More keys than this are not looked at.
const MAX_KEYS: usize = 256;

/// RFC 7518, 6.2.2, 6.3.2 and 6.4.
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// Of a set, the keys that can verify something.
#[derive(Debug)]
pub struct Keys {
    keys: Vec<Key>,
}

/// Why a set of keys is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadKeys {
    #[error("the key set is longer than 1 MiB")]
    TooLong,
    #[error("the key set is not an object of JSON in which names stand once")]
    NotJson,
    #[error("the key set has no list \"keys\"")]
    NoList,
    #[error("the key set has more than 256 keys")]
    TooMany,
    #[error(
        "none of the keys is a public RSA key of 2048 bits or more, EC or Ed25519 key for signatures"
    )]
    NoneOfUse,
}

#[derive(Debug)]
struct Key {
    id: Option<Str>,
    /// The one algorithm that it says it is for.
    only: Option<Str>,
    /// What it can verify.
    by: Vec<(Algorithm, ParsedPublicKey)>,
}

impl Keys {
    /// Keys that are for something else, or cannot be read, are passed over.
    pub fn parse(text: &str) -> Result<Keys, BadKeys> {
        if text.len() > LONGEST {
            return Err(BadKeys::TooLong);
        }
        let set = json::object(text.as_bytes()).ok_or(BadKeys::NotJson)?;
        let Some(Value::List(list)) = set.get("keys") else { return Err(BadKeys::NoList) };
        if list.len() > MAX_KEYS {
            return Err(BadKeys::TooMany);
        }
        let keys: Vec<Key> = list.iter().filter_map(Key::parse).collect();
        if keys.is_empty() { Err(BadKeys::NoneOfUse) } else { Ok(Keys { keys }) }
    }

    /// A set as it may be shown to who verifies: some people publish, or write down, private parts with it.
    pub fn public(text: &str) -> Cow<'_, str> {
        let Ok(mut set) = serde_json::from_str::<serde_json::Value>(text) else {
            return Cow::Borrowed(text);
        };
        let keys = set.get_mut("keys").and_then(serde_json::Value::as_array_mut);
        let keys = keys.into_iter().flatten().filter_map(serde_json::Value::as_object_mut);
        let mut was_private = false;
        for key in keys {
            for name in PRIVATE {
                was_private |= key.remove(name).is_some();
            }
        }
        if was_private { Cow::Owned(set.to_string()) } else { Cow::Borrowed(text) }
    }

    /// By the key that the token names; by any, where one of them does not say its name.
    pub fn verify(&self, token: &Token) -> Result<(), Refusal> {
        let mut candidates = self.keys.iter().filter(|key| key.may_be_of(token)).peekable();
        if candidates.peek().is_none() {
            return Err(Refusal::NoSuchKey);
        }
        let mut refusal = Refusal::Verification;
        for key in candidates {
            match key.verify(token) {
                Ok(()) => return Ok(()),
                Err(Refusal::Verification) => {}
                Err(more) => refusal = more,
            }
        }
        Err(refusal)
    }
}

impl Key {
    fn parse(value: &Value) -> Option<Key> {
        let Value::Struct(key) = value else { return None };
        let only = text(key, "alg");
        let for_signatures = text(key, "use").is_none_or(|u| &*u == "sig") && verifies(key);
        let mut by = match &*text(key, "kty").filter(|_| for_signatures)? {
            "RSA" => rsa(key)?,
            "EC" => ec(key, only.as_deref())?,
            "OKP" => okp(key)?,
            _ => return None,
        };
        if let Some(only) = &only {
            let only = Algorithm::of(only);
            by.retain(|(algorithm, _)| Some(*algorithm) == only);
        }
        let id = text(key, "kid").filter(|id| !id.is_empty());
        (!by.is_empty()).then_some(Key { id, only, by })
    }

    fn may_be_of(&self, token: &Token) -> bool {
        let named = match (&self.id, &token.key_id) {
            (Some(own), Some(named)) => own == named,
            _ => true,
        };
        named && self.only.as_ref().is_none_or(|only| *only == token.algorithm_name)
    }

    fn verify(&self, token: &Token) -> Result<(), Refusal> {
        let is_ed25519 = |(algorithm, _): &(Algorithm, _)| *algorithm == Algorithm::EdDsa;
        if token.signature.len() != 64 && self.by.iter().any(is_ed25519) {
            return Err(Refusal::Ed25519Length);
        }
        let by = self.by.iter().find(|(algorithm, _)| *algorithm == token.algorithm);
        let (_, key) = by.ok_or(Refusal::Verification)?;
        key.verify_sig(token.signed.as_bytes(), &token.signature).map_err(|_| Refusal::Verification)
    }
}

type By = Vec<(Algorithm, ParsedPublicKey)>;

/// Where a key says what may be done with it, verifying must be part of that.
fn verifies(key: &BTreeMap<Str, Value>) -> bool {
    match key.get("key_ops") {
        None => true,
        Some(Value::List(list)) => list.iter().any(|v| v.as_str() == Some("verify")),
        Some(_) => false,
    }
}

static RSA: [(Algorithm, &RsaParameters); 6] = [
    (Algorithm::Rs256, &RSA_PKCS1_2048_8192_SHA256),
    (Algorithm::Rs384, &RSA_PKCS1_2048_8192_SHA384),
    (Algorithm::Rs512, &RSA_PKCS1_2048_8192_SHA512),
    (Algorithm::Ps256, &RSA_PSS_2048_8192_SHA256),
    (Algorithm::Ps384, &RSA_PSS_2048_8192_SHA384),
    (Algorithm::Ps512, &RSA_PSS_2048_8192_SHA512),
];

fn rsa(key: &BTreeMap<Str, Value>) -> Option<By> {
    let (n, e) = (number(key, "n")?, number(key, "e")?);
    if n.len() < 256 || !matches!(e[..], [3] | [1, 0, 1]) {
        return None;
    }
    let key = RsaPublicKeyComponents { n, e };
    let parsed =
        RSA.iter().map(|(algorithm, by)| Some((*algorithm, key.to_parsed_public_key(by).ok()?)));
    parsed.collect()
}

fn ec(key: &BTreeMap<Str, Value>, only: Option<&str>) -> Option<By> {
    let curve = text(key, "crv");
    let curve = curve.as_deref().or(match only {
        None | Some("ES256") => Some("P-256"),
        Some("ES384") => Some("P-384"),
        Some("ES512") => Some("P-521"),
        Some(_) => None,
    });
    let (algorithm, by, length): (_, &'static dyn VerificationAlgorithm, usize) = match curve? {
        "P-256" => (Algorithm::Es256, &ECDSA_P256_SHA256_FIXED, 32),
        "P-384" => (Algorithm::Es384, &ECDSA_P384_SHA384_FIXED, 48),
        "P-521" => (Algorithm::Es512, &ECDSA_P521_SHA512_FIXED, 66),
        _ => return None,
    };
    let mut point = vec![4];
    for name in ["x", "y"] {
        let coordinate = number(key, name)?;
        point.resize(point.len() + length.checked_sub(coordinate.len())?, 0);
        point.extend(coordinate);
    }
    Some(vec![(algorithm, ParsedPublicKey::new(by, point).ok()?)])
}

fn okp(key: &BTreeMap<Str, Value>) -> Option<By> {
    text(key, "crv").filter(|curve| &**curve == "Ed25519")?;
    let x = bytes(key, "x").filter(|x| x.len() == 32)?;
    Some(vec![(Algorithm::EdDsa, ParsedPublicKey::new(&ED25519, x).ok()?)])
}

fn text(fields: &BTreeMap<Str, Value>, name: &str) -> Option<Str> {
    if let Some(Value::String(text)) = fields.get(name) { Some(text.clone()) } else { None }
}

/// Issuers are seen that pad what they publish.
fn bytes(fields: &BTreeMap<Str, Value>, name: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text(fields, name)?.trim_end_matches('=')).ok()
}

/// Without zeros before it.
fn number(fields: &BTreeMap<Str, Value>, name: &str) -> Option<Vec<u8>> {
    let bytes = bytes(fields, name)?;
    let first = bytes.iter().position(|b| *b != 0)?;
    Some(bytes[first..].to_vec())
}
