//! What a workload sends to the authority: a new key, which never leaves the process, and the
//! request for a certificate over it.

use crate::TlsError;
use base::SpiffeId;
use rcgen::string::Ia5String;
use rcgen::{CertificateParams, DistinguishedName, KeyPair, SanType};

/// A new P-256 key and the request for it: (request, private key), both PEM. The identity in it is a
/// courtesy: the authority takes it from the caller's token.
pub fn request(identity: &SpiffeId) -> Result<(String, String), TlsError> {
    let failed = |e: rcgen::Error| TlsError::Certificate(e.to_string());
    let key = KeyPair::generate().map_err(failed)?;
    let uri = Ia5String::try_from(identity.to_string()).map_err(failed)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![SanType::URI(uri)];
    let csr = params.serialize_request(&key).map_err(failed)?;
    Ok((csr.pem().map_err(failed)?, key.serialize_pem()))
}
