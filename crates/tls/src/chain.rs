//! Whether a certificate leads to a root that is trusted, at a given time. webpki does the work; added
//! are two kinds of certificates that people have and other TLS stacks take: a root that is presented
//! itself, and version 1 without extensions, signed by a root directly.

use crate::{Revoked, Trust};
use rustls_pki_types::{
    CertificateDer, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer, UnixTime,
};
use webpki::{
    EndEntityCert, ExpirationPolicy, KeyUsage, RawPublicKeyEntity, RevocationCheckDepth,
    RevocationOptionsBuilder, UnknownStatusPolicy,
};
use x509_parser::prelude::{X509Certificate, X509Version};

/// What the certificate's owner does in the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Client,
    Server,
}

/// Why a chain is refused, in the words that people know from OpenSSL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    #[error("certificate has expired")]
    Expired,
    #[error("certificate is not yet valid")]
    NotYetValid,
    #[error("unable to get local issuer certificate")]
    UnknownIssuer,
    #[error("certificate revoked")]
    Revoked,
    #[error("unable to get certificate CRL")]
    UnknownRevocation,
    #[error("unsuitable certificate purpose")]
    Purpose,
    #[error("certificate signature failure")]
    Signature,
    #[error("certificate rejected")]
    Rejected,
}

pub(crate) fn verify(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    trust: &Trust,
    revoked: Option<&Revoked>,
    role: Role,
    now: UnixTime,
) -> Result<(), ChainError> {
    if trust.certificates.iter().any(|root| root == leaf) {
        return in_time(&parsed(leaf)?, now);
    }
    let leaf = match EndEntityCert::try_from(leaf) {
        Err(webpki::Error::UnsupportedCertVersion) => {
            let parsed = parsed(leaf)?;
            return match (parsed.version(), revoked) {
                (X509Version::V1, None) => verify_version_1(&parsed, trust, now),
                // Nothing in it says where its revocation would be published.
                (X509Version::V1, Some(_)) => Err(ChainError::UnknownRevocation),
                _ => Err(ChainError::Rejected),
            };
        }
        read => read.map_err(|e| meaning(&e))?,
    };
    let lists: Vec<_> = revoked.iter().flat_map(|r| r.0.iter()).collect();
    let revocation = RevocationOptionsBuilder::new(&lists).ok().map(|options| {
        options
            .with_depth(RevocationCheckDepth::Chain)
            .with_status_policy(UnknownStatusPolicy::Deny)
            .with_expiration_policy(ExpirationPolicy::Enforce)
            .build()
    });
    let usage = match role {
        Role::Client => KeyUsage::client_auth(),
        Role::Server => KeyUsage::server_auth(),
    };
    let (roots, algorithms) = (&trust.roots.roots, algorithms());
    leaf.verify_for_usage(algorithms, roots, intermediates, now, usage, revocation, None)
        .map(drop)
        .map_err(|e| meaning(&e))
}

fn parsed<'a>(certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, ChainError> {
    let read = x509_parser::parse_x509_certificate(certificate);
    read.map(|(_, parsed)| parsed).map_err(|_| ChainError::Rejected)
}

fn algorithms() -> &'static [&'static dyn SignatureVerificationAlgorithm] {
    crate::provider().signature_verification_algorithms.all
}

fn in_time(cert: &X509Certificate<'_>, now: UnixTime) -> Result<(), ChainError> {
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let validity = cert.validity();
    match () {
        () if now < validity.not_before.timestamp() => Err(ChainError::NotYetValid),
        () if now > validity.not_after.timestamp() => Err(ChainError::Expired),
        () => Ok(()),
    }
}

/// A certificate without extensions, whose issuer must be a root.
fn verify_version_1(
    cert: &X509Certificate<'_>,
    trust: &Trust,
    now: UnixTime,
) -> Result<(), ChainError> {
    let mut verdict = ChainError::UnknownIssuer;
    for root in trust.certificates.iter() {
        let Ok((_, root)) = x509_parser::parse_x509_certificate(root) else { continue };
        if root.subject().as_raw() != cert.issuer().as_raw() || !may_issue(&root) {
            continue;
        }
        if is_signed_by(cert, &root) {
            return in_time(&root, now).and_then(|()| in_time(cert, now));
        }
        verdict = ChainError::Signature;
    }
    Err(verdict)
}

fn may_issue(cert: &X509Certificate<'_>) -> bool {
    cert.is_ca() || cert.version() == X509Version::V1
}

fn is_signed_by(cert: &X509Certificate<'_>, issuer: &X509Certificate<'_>) -> bool {
    let key = SubjectPublicKeyInfoDer::from(issuer.public_key().raw);
    let Ok(key) = RawPublicKeyEntity::try_from(&key) else { return false };
    let (message, signature) = (cert.tbs_certificate.as_ref(), &cert.signature_value.data);
    algorithms().iter().any(|algorithm| {
        is_named(*algorithm, cert) && key.verify_signature(*algorithm, message, signature).is_ok()
    })
}

/// Whether the certificate says that it was signed by this algorithm.
fn is_named(algorithm: &dyn SignatureVerificationAlgorithm, cert: &X509Certificate<'_>) -> bool {
    let oid = cert.signature_algorithm.algorithm.as_bytes();
    let id = algorithm.signature_alg_id();
    // An object identifier and its length stand first.
    id.as_ref().get(2..2 + oid.len()) == Some(oid)
}

fn meaning(error: &webpki::Error) -> ChainError {
    use webpki::Error::*;
    match error {
        CertExpired { .. } => ChainError::Expired,
        CertNotValidYet { .. } => ChainError::NotYetValid,
        UnknownIssuer => ChainError::UnknownIssuer,
        CertRevoked => ChainError::Revoked,
        UnknownRevocationStatus | CrlExpired { .. } => ChainError::UnknownRevocation,
        RequiredEkuNotFoundContext(_) => ChainError::Purpose,
        InvalidSignatureForPublicKey => ChainError::Signature,
        _ => ChainError::Rejected,
    }
}
