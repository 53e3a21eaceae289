//! TLS that a DestinationRule asks a client to begin.

use super::Policy;
use api::{ClientTlsMode, ClientTlsSettings, Protocol};
use base::Finding;
use ir::{
    CertificateSource, Cluster, DataSource, SanKind, SanMatch, SecretRef, Str, StringMatch,
    TlsCommon, UpstreamProtocol, UpstreamTls, Validation,
};
use registry::Service;

/// For whom a cluster is made, and what it reaches.
pub(super) struct Hop<'a> {
    pub service: &'a Service,
    pub protocol: Protocol,
    /// The proxy may use Secrets: a gateway, or a sidecar that the rule names by its labels.
    pub has_secrets: bool,
}

/// Sets the cluster's TLS. An error means that the cluster must not exist: sending in plaintext
/// what was to be encrypted is no answer.
pub(super) fn apply(
    policy: &Policy<'_>,
    hop: &Hop<'_>,
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
            cluster.tls = Some(context(tls, hop, cluster.protocol)?);
            Ok(())
        }
    }
}

fn context(
    tls: &ClientTlsSettings,
    hop: &Hop<'_>,
    protocol: UpstreamProtocol,
) -> Result<UpstreamTls, Box<Finding>> {
    // TLS ports carry HTTP where a rule of plain HTTP leads to them.
    let http = !hop.protocol.is_tcp() || hop.protocol == Protocol::Https;
    let alpn: Vec<Str> = match protocol {
        UpstreamProtocol::Http2 => vec!["h2".into()],
        UpstreamProtocol::Http1 if http => vec!["http/1.1".into()],
        _ => Vec::new(),
    };
    let mut common = TlsCommon { alpn, ..TlsCommon::default() };
    let credential =
        Some(tls.credential_name.as_str()).filter(|n| !n.is_empty() && hop.has_secrets);
    if tls.mode == ClientTlsMode::Mutual {
        common.certificates = vec![CertificateSource::Sds(client_certificate(tls, credential)?)];
    }
    let validation = validation(tls, hop.service, credential);
    let any_name = validation.sans.is_empty();
    common.validation = Some(validation);
    let by_host = tls.sni.is_empty();
    // What is not HTTP has no request that says the name.
    let named = by_host && !hop.protocol.is_http() && !hop.service.host.is_wildcard();
    let sni = if named { hop.service.host.as_str() } else { tls.sni.as_str() };
    Ok(UpstreamTls {
        common,
        sni: sni.into(),
        auto_sni: by_host,
        auto_san_validation: by_host && any_name,
        allow_renegotiation: false,
    })
}

fn client_certificate(
    tls: &ClientTlsSettings,
    credential: Option<&str>,
) -> Result<SecretRef, Box<Finding>> {
    if let Some(name) = credential {
        return Ok(SecretRef::of_control_plane(format!("kubernetes://{name}")));
    }
    let path = "spec.trafficPolicy.tls";
    let files = !tls.client_certificate.is_empty() && !tls.private_key.is_empty();
    if !files && !tls.credential_name.is_empty() {
        let say = "credentialName is for gateways, and for sidecars that the rule's workloadSelector \
                   names; the traffic of other sidecars is refused";
        return Err(Box::new(Finding::info(format!("{path}.credentialName"), say)));
    }
    if !files {
        let say = "mode MUTUAL needs clientCertificate and privateKey, or credentialName";
        return Err(Box::new(Finding::error(path, say)));
    }
    let name = format!("file-cert:{}~{}", tls.client_certificate, tls.private_key);
    Ok(SecretRef::of_agent(name))
}

/// The rule's names for the server, else those of its ServiceEntry.
fn validation(tls: &ClientTlsSettings, service: &Service, credential: Option<&str>) -> Validation {
    let of_rule = tls.subject_alt_names.iter().map(String::as_str);
    let of_entry = service.subject_alt_names.iter().map(|s| &**s);
    let of_entry = of_entry.filter(|_| tls.subject_alt_names.is_empty());
    let sans = of_rule.chain(of_entry);
    let mut validation = Validation {
        sans: sans.map(|s| SanMatch { kind: SanKind::Any, value: StringMatch::exact(s) }).collect(),
        crl: (!tls.ca_crl.is_empty()).then(|| DataSource::File(tls.ca_crl.as_str().into())),
        ..Validation::default()
    };
    if tls.insecure_skip_verify == Some(true) {
        validation.accept_untrusted = true;
    } else if let Some(name) = credential {
        let name = format!("kubernetes://{name}-cacert");
        validation.roots_sds = Some(SecretRef::of_control_plane(name));
    } else if tls.ca_certificates.is_empty() {
        validation.system_roots = true;
    } else {
        let name = format!("file-root:{}", tls.ca_certificates);
        validation.roots_sds = Some(SecretRef::of_agent(name));
    }
    validation
}
