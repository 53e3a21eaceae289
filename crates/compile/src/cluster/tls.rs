//! TLS that a DestinationRule asks a client to begin.

use super::Policy;
use api::{ClientTlsMode, ClientTlsSettings};
use base::Finding;
use ir::{
    CertificateSource, Cluster, DataSource, SanKind, SanMatch, SecretRef, Str, StringMatch,
    TlsCommon, UpstreamProtocol, UpstreamTls, Validation,
};
use registry::Service;

/// Sets the cluster's TLS. An error means that the cluster must not exist: sending in plaintext
/// what was to be encrypted is no answer.
pub(super) fn apply(
    policy: &Policy<'_>,
    service: &Service,
    cluster: &mut Cluster,
) -> Result<(), Box<Finding>> {
    let Some(tls) = policy.tls else { return Ok(()) };
    match tls.mode {
        ClientTlsMode::Disable => Ok(()),
        ClientTlsMode::IstioMutual => Err(Box::new(Finding::error(
            "spec.trafficPolicy.tls.mode",
            "ISTIO_MUTUAL is not possible in this version; the traffic is refused rather than \
             sent in plaintext. Remove the tls setting to send it in plaintext",
        ))),
        ClientTlsMode::Simple | ClientTlsMode::Mutual => {
            cluster.tls = Some(context(tls, service, cluster.protocol)?);
            Ok(())
        }
    }
}

fn context(
    tls: &ClientTlsSettings,
    service: &Service,
    protocol: UpstreamProtocol,
) -> Result<UpstreamTls, Box<Finding>> {
    let alpn: Vec<Str> = match protocol {
        UpstreamProtocol::Http2 => vec!["h2".into()],
        _ => vec!["http/1.1".into()],
    };
    let mut common = TlsCommon { alpn, ..TlsCommon::default() };
    if tls.mode == ClientTlsMode::Mutual {
        common.certificates = vec![CertificateSource::Sds(client_certificate(tls)?)];
    }
    common.validation = Some(validation(tls));
    Ok(UpstreamTls {
        common,
        sni: tls.sni.as_str().into(),
        auto_sni: tls.sni.is_empty() && !service.host.is_wildcard(),
        auto_san_validation: tls.sni.is_empty() && tls.subject_alt_names.is_empty(),
        allow_renegotiation: false,
    })
}

fn client_certificate(tls: &ClientTlsSettings) -> Result<SecretRef, Box<Finding>> {
    if !tls.credential_name.is_empty() {
        let name = format!("kubernetes://{}", tls.credential_name);
        return Ok(SecretRef::of_control_plane(name));
    }
    if tls.client_certificate.is_empty() || tls.private_key.is_empty() {
        let say = "mode MUTUAL needs clientCertificate and privateKey, or credentialName";
        return Err(Box::new(Finding::error("spec.trafficPolicy.tls", say)));
    }
    let name = format!("file-cert:{}~{}", tls.client_certificate, tls.private_key);
    Ok(SecretRef::of_agent(name))
}

fn validation(tls: &ClientTlsSettings) -> Validation {
    let sans = tls.subject_alt_names.iter();
    let sans = sans.map(|s| SanMatch { kind: SanKind::Any, value: StringMatch::exact(s.as_str()) });
    let mut validation = Validation {
        sans: sans.collect(),
        crl: (!tls.ca_crl.is_empty()).then(|| DataSource::File(tls.ca_crl.as_str().into())),
        ..Validation::default()
    };
    if tls.insecure_skip_verify == Some(true) {
        validation.accept_untrusted = true;
    } else if !tls.credential_name.is_empty() {
        let name = format!("kubernetes://{}-cacert", tls.credential_name);
        validation.roots_sds = Some(SecretRef::of_control_plane(name));
    } else if tls.ca_certificates.is_empty() {
        validation.system_roots = true;
    } else {
        let name = format!("file-root:{}", tls.ca_certificates);
        validation.roots_sds = Some(SecretRef::of_agent(name));
    }
    validation
}
