//! Who the peer must be. The chain is checked by webpki against the current roots; the name is a
//! SPIFFE identity in the mesh and a DNS name towards the control plane. No roots: nobody passes.

use crate::TrustSource;
use crate::possession::proof_of_possession;
use base::{SpiffeId, TrustDomain};
use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DistinguishedName};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::sync::Arc;

/// What a server must prove to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The name that was dialled stands in the certificate.
    DialledName,
    /// The certificate carries one of these identities; an empty list admits nobody.
    OneOf(Vec<SpiffeId>),
    /// Any identity of this trust domain.
    AnyOf(TrustDomain),
    /// Nothing at all: for health probes, which ask whether somebody answers and not who.
    Nothing,
}

/// The SPIFFE identities among a certificate's URI names. A certificate has one; more are the
/// reader's to refuse.
pub fn spiffe_ids(der: &[u8]) -> Vec<SpiffeId> {
    use x509_parser::extensions::GeneralName;
    let Ok((_, cert)) = x509_parser::parse_x509_certificate(der) else { return Vec::new() };
    let Ok(Some(san)) = cert.subject_alternative_name() else { return Vec::new() };
    let uris = san.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => uri.parse().ok(),
        _ => None,
    });
    uris.collect()
}

/// A certificate with several identities is ambiguous, so it counts as having none.
fn single_identity(der: &[u8]) -> Option<SpiffeId> {
    let mut ids = spiffe_ids(der);
    if ids.len() == 1 { ids.pop() } else { None }
}

impl Expect {
    fn admits(&self, id: Option<&SpiffeId>) -> bool {
        match (self, id) {
            (Expect::DialledName | Expect::Nothing, _) => true,
            (Expect::OneOf(allowed), Some(id)) => allowed.contains(id),
            (Expect::AnyOf(domain), Some(id)) => id.trust_domain == *domain,
            (_, None) => false,
        }
    }
}

fn refused(error: CertificateError) -> rustls::Error {
    rustls::Error::InvalidCertificate(error)
}

#[derive(Debug)]
pub(crate) struct ServerCheck {
    pub trust: TrustSource,
    pub expect: Expect,
}

impl ServerCertVerifier for ServerCheck {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.expect == Expect::Nothing {
            return Ok(ServerCertVerified::assertion());
        }
        let roots = self.trust.roots().ok_or(refused(CertificateError::UnknownIssuer))?;
        let cert = ParsedCertificate::try_from(end_entity)?;
        let algorithms = crate::provider().signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&cert, &roots, intermediates, now, algorithms)?;
        if self.expect == Expect::DialledName {
            verify_server_name(&cert, server_name)?;
        } else if !self.expect.admits(single_identity(end_entity).as_ref()) {
            return Err(refused(CertificateError::NotValidForName));
        }
        Ok(ServerCertVerified::assertion())
    }

    proof_of_possession!();
}

#[derive(Debug)]
pub(crate) struct ClientCheck {
    pub trust: TrustSource,
    pub mandatory: bool,
}

impl ClientCertVerifier for ClientCheck {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    /// Empty: a mesh client has one certificate and needs no hint which to send.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let roots = self.trust.roots().ok_or(refused(CertificateError::UnknownIssuer))?;
        // The roots change under a running configuration, so the verifier is built per handshake.
        rustls::server::WebPkiClientVerifier::builder_with_provider(roots, crate::provider())
            .build()
            .map_err(|_| refused(CertificateError::UnknownIssuer))?
            .verify_client_cert(end_entity, intermediates, now)?;
        if single_identity(end_entity).is_none() {
            return Err(refused(CertificateError::ApplicationVerificationFailure));
        }
        Ok(ClientCertVerified::assertion())
    }

    proof_of_possession!();
}

impl ServerCheck {
    pub fn shared(trust: TrustSource, expect: Expect) -> Arc<dyn ServerCertVerifier> {
        Arc::new(Self { trust, expect })
    }
}

impl ClientCheck {
    pub fn shared(trust: TrustSource, mandatory: bool) -> Arc<dyn ClientCertVerifier> {
        Arc::new(Self { trust, mandatory })
    }
}
