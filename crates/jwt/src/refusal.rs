//! Why a token is not taken, in the words that clients get from Envoy.

use thiserror::Error;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum Refusal {
    #[error("Jwt is missing")]
    Missing,
    #[error("Jwt not yet valid")]
    NotYetValid,
    #[error("Jwt is expired")]
    Expired,
    #[error("Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections")]
    BadFormat,
    #[error("Jwt header is an invalid Base64url encoded")]
    HeaderEncoding,
    #[error("Jwt header is an invalid JSON")]
    HeaderJson,
    #[error("Jwt header [alg] field is required and must be a string")]
    HeaderAlgorithm,
    #[error("Jwt header [alg] is not supported")]
    UnknownAlgorithm,
    #[error("Jwt header [kid] field is not a string")]
    HeaderKeyId,
    /// Envoy does not look at it; RFC 7515, 4.1.11 forbids to take such a token.
    #[error("Jwt header [crit] names what is not understood")]
    HeaderCritical,
    #[error("Jwt payload is an invalid Base64url encoded")]
    PayloadEncoding,
    #[error("Jwt payload is an invalid JSON")]
    PayloadJson,
    #[error("Jwt payload [iss] field is not a string")]
    Issuer,
    #[error("Jwt payload [sub] field is not a string")]
    Subject,
    #[error("Jwt payload [iat] field is not an integer")]
    IssuedAt,
    #[error("Jwt payload [iat] field is not a positive 64 bit integer")]
    IssuedAtRange,
    #[error("Jwt payload [nbf] field is not an integer")]
    NotBefore,
    #[error("Jwt payload [nbf] field is not a positive 64 bit integer")]
    NotBeforeRange,
    #[error("Jwt payload [exp] field is not an integer")]
    Expires,
    #[error("Jwt payload [exp] field is not a positive 64 bit integer")]
    ExpiresRange,
    #[error("Jwt payload [jti] field is not a string")]
    TokenId,
    #[error("Jwt payload [aud] field is not a string or string list")]
    Audience,
    #[error("Jwt signature is an invalid Base64url encoded")]
    SignatureEncoding,
    #[error("Jwt ED25519 signature is wrong length")]
    Ed25519Length,
    #[error("Jwt issuer is not configured")]
    UnknownIssuer,
    #[error("Audiences in Jwt are not allowed")]
    AudienceNotAllowed,
    #[error("Jwt verification fails")]
    Verification,
    #[error("Jwks doesn't have any valid public key")]
    NoKeys,
    #[error("Jwks doesn't have key to match kid or alg from Jwt")]
    NoSuchKey,
}

impl Refusal {
    /// The status of the answer.
    pub fn status(self) -> u16 {
        if self == Refusal::AudienceNotAllowed { 403 } else { 401 }
    }

    /// There was no token for who asked, as against a bad one.
    pub fn is_absence(self) -> bool {
        matches!(self, Refusal::Missing | Refusal::UnknownIssuer)
    }
}
