//! Service-account tokens: JWTs signed with ES256.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
    UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Longest token that is looked at.
const MAX_TOKEN: usize = 16 * 1024;

/// The key that signs tokens.
pub struct TokenKey {
    pair: EcdsaKeyPair,
    public: Vec<u8>,
    id: String,
}

/// What a token says.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct Claims {
    pub iss: String,
    pub sub: String,
    pub aud: Vec<String>,
    pub exp: i64,
    pub iat: i64,
    pub nbf: i64,
    pub jti: String,
    /// Namespace, service account and the object that the token is bound to.
    #[serde(rename = "kubernetes.io")]
    pub kubernetes: Value,
}

impl TokenKey {
    /// A new key as PKCS#8.
    pub fn generate() -> Option<Vec<u8>> {
        let key =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        key.ok().map(|document| document.as_ref().to_vec())
    }

    pub fn load(pkcs8: &[u8]) -> Option<TokenKey> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).ok()?;
        let public = pair.public_key().as_ref().to_vec();
        let id = B64.encode(digest(&SHA256, &public));
        Some(TokenKey { pair, public, id })
    }

    pub fn sign(&self, claims: &Claims) -> Option<String> {
        let header = json!({"alg": "ES256", "kid": self.id});
        let encode = |value: Vec<u8>| B64.encode(value);
        let head = encode(serde_json::to_vec(&header).ok()?);
        let body = encode(serde_json::to_vec(claims).ok()?);
        let signed = format!("{head}.{body}");
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).ok()?;
        Some(format!("{signed}.{}", B64.encode(signature)))
    }

    /// The claims of a token with a good signature from us, whose time is now.
    pub fn verify(&self, token: &str, now: i64) -> Result<Claims, &'static str> {
        if token.len() > MAX_TOKEN {
            return Err("the token is too long");
        }
        let (signed, signature) = token.rsplit_once('.').ok_or("the token is not a JWT")?;
        let (head, body) = signed.split_once('.').ok_or("the token is not a JWT")?;
        let decode = |part: &str| B64.decode(part).map_err(|_| "the token is not a JWT");
        let header: Value =
            serde_json::from_slice(&decode(head)?).map_err(|_| "the token is not a JWT")?;
        if header.get("alg") != Some(&json!("ES256")) || header.get("kid") != Some(&json!(self.id))
        {
            return Err("the token was not issued by this cluster");
        }
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &self.public)
            .verify(signed.as_bytes(), &decode(signature)?)
            .map_err(|_| "the token's signature is wrong")?;
        let claims: Claims = serde_json::from_slice(&decode(body)?)
            .map_err(|_| "the token's claims are incomplete")?;
        if claims.iss != super::ISSUER {
            return Err("the token's issuer is another one");
        }
        if now >= claims.exp {
            return Err("the token has expired");
        }
        if now < claims.nbf {
            return Err("the token is not valid yet");
        }
        Ok(claims)
    }

    /// The public key as a JSON web key set.
    pub fn jwks(&self) -> Value {
        // An uncompressed point: 4, x, y.
        let (x, y) = (&self.public[1..33], &self.public[33..65]);
        json!({"keys": [{
            "use": "sig", "kty": "EC", "kid": self.id, "crv": "P-256", "alg": "ES256",
            "x": B64.encode(x), "y": B64.encode(y),
        }]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> Claims {
        Claims {
            iss: super::super::ISSUER.to_owned(),
            sub: "system:serviceaccount:a:b".to_owned(),
            aud: vec!["x".to_owned()],
            exp: 200,
            iat: 100,
            nbf: 100,
            jti: "j".to_owned(),
            kubernetes: json!({"namespace": "a"}),
        }
    }

    #[test]
    fn a_token_is_good_in_its_time_and_only_unchanged() {
        let key = TokenKey::load(&TokenKey::generate().unwrap()).unwrap();
        let token = key.sign(&claims()).unwrap();
        assert_eq!(key.verify(&token, 150), Ok(claims()));
        assert_eq!(key.verify(&token, 200), Err("the token has expired"));
        assert_eq!(key.verify(&token, 99), Err("the token is not valid yet"));
        let other = TokenKey::load(&TokenKey::generate().unwrap()).unwrap();
        assert!(other.verify(&token, 150).is_err());
        let forged = claims();
        let forged = Claims { sub: "system:serviceaccount:a:admin".to_owned(), ..forged };
        let body = B64.encode(serde_json::to_vec(&forged).unwrap());
        let parts: Vec<&str> = token.split('.').collect();
        let forged = format!("{}.{body}.{}", parts[0], parts[2]);
        assert_eq!(key.verify(&forged, 150), Err("the token's signature is wrong"));
        for junk in ["", "a.b", "a.b.c", &"x".repeat(20_000)] {
            assert!(key.verify(junk, 150).is_err());
        }
    }
}
