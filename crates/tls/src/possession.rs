//! That a peer has the private key of the certificate it shows: the same for every verifier, whoever it
//! believes.

use crate::provider;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use webpki::RawPublicKeyEntity;

/// The three methods by which rustls asks any verifier for it.
macro_rules! proof_of_possession {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &rustls_pki_types::CertificateDer<'_>,
            dss: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            crate::possession::signature(message, cert, dss, false)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &rustls_pki_types::CertificateDer<'_>,
            dss: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            crate::possession::signature(message, cert, dss, true)
        }

        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            crate::possession::schemes()
        }
    };
}
pub(crate) use proof_of_possession;

pub(crate) fn schemes() -> Vec<SignatureScheme> {
    provider().signature_verification_algorithms.supported_schemes()
}

/// Only the public key is read of the certificate, so
/// that its version does not matter.
pub(crate) fn signature(
    message: &[u8],
    cert: &CertificateDer<'_>,
    dss: &DigitallySignedStruct,
    tls13: bool,
) -> Result<HandshakeSignatureValid, rustls::Error> {
    let provider = provider();
    let supported = &provider.signature_verification_algorithms;
    // Almost all certificates are of version 3, which is read once more without much ado.
    if tls13 && webpki::EndEntityCert::try_from(cert).is_ok() {
        return rustls::crypto::verify_tls13_signature(message, cert, dss, supported);
    }
    let refused = || rustls::Error::InvalidCertificate(CertificateError::BadSignature);
    let (_, parsed) = x509_parser::parse_x509_certificate(cert)
        .map_err(|_| rustls::Error::InvalidCertificate(CertificateError::BadEncoding))?;
    let spki = SubjectPublicKeyInfoDer::from(parsed.public_key().raw);
    if tls13 {
        return rustls::crypto::verify_tls13_signature_with_raw_key(message, &spki, dss, supported);
    }
    let key = RawPublicKeyEntity::try_from(&spki).map_err(|_| refused())?;
    let of_scheme = supported.mapping.iter().find(|(scheme, _)| *scheme == dss.scheme);
    let algorithms = of_scheme.map(|(_, list)| *list).unwrap_or_default();
    let holds = |a: &&dyn rustls_pki_types::SignatureVerificationAlgorithm| {
        key.verify_signature(*a, message, dss.signature()).is_ok()
    };
    if algorithms.iter().any(holds) {
        Ok(HandshakeSignatureValid::assertion())
    } else {
        Err(refused())
    }
}
