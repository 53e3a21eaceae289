//! TLS settings of clients and servers.

use super::Report;
use crate::{ClientTlsMode, ClientTlsSettings, ServerTlsMode, ServerTlsSettings, TlsProtocol};

pub(super) fn check_client(tls: &ClientTlsSettings, path: &str, report: &mut Report) {
    let files = !tls.client_certificate.is_empty() || !tls.private_key.is_empty();
    let checks = !tls.ca_certificates.is_empty() || !tls.subject_alt_names.is_empty();
    if tls.insecure_skip_verify == Some(true) && checks {
        let say = "cannot specify caCertificates or subjectAltNames with insecureSkipVerify";
        report.error(path, say);
    }
    match tls.mode {
        ClientTlsMode::Mutual => {
            if !tls.credential_name.is_empty() && (files || !tls.ca_certificates.is_empty()) {
                report.error(
                    path,
                    "cannot specify client certificates or CA certificate If credentialName is set",
                );
            }
            if tls.credential_name.is_empty() {
                let say = "client certificate required for mutual tls";
                report.require(!tls.client_certificate.is_empty(), path, say);
                let say = "private key required for mutual tls";
                report.require(!tls.private_key.is_empty(), path, say);
            }
        }
        ClientTlsMode::IstioMutual => {
            let own = files || !tls.ca_certificates.is_empty() || !tls.credential_name.is_empty();
            report.require(
                !own,
                path,
                "ISTIO_MUTUAL uses the mesh's certificates; remove those named here",
            );
        }
        ClientTlsMode::Simple | ClientTlsMode::Disable => {}
    }
}

pub(super) fn check_server(tls: &ServerTlsSettings, path: &str, report: &mut Report) {
    let files = !tls.server_certificate.is_empty() || !tls.private_key.is_empty();
    let sources = [
        !tls.credential_name.is_empty(),
        !tls.credential_names.is_empty(),
        files,
        !tls.tls_certificates.is_empty(),
    ];
    let named = sources.iter().filter(|s| **s).count();
    if tls.mode == ServerTlsMode::IstioMutual {
        let say = "ISTIO_MUTUAL TLS cannot have associated server certificate";
        return report.require(named == 0, path, say);
    }
    report.require(
        named <= 1,
        path,
        "only one of credential_name, credential_names, server_certificate/private_key, \
         tls_certificates should be specified",
    );
    if tls.credential_names.len() > 2 || tls.tls_certificates.len() > 2 {
        report.warning(path, "a server can have up to 2 certificates, one RSA and one ECDSA");
    }
    let ends = matches!(
        tls.mode,
        ServerTlsMode::Simple | ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual
    );
    if ends && !tls.https_redirect {
        let say = format!("{:?} TLS requires a server certificate", tls.mode);
        report.require(named > 0, path, &say);
        if files {
            let both = !tls.server_certificate.is_empty() && !tls.private_key.is_empty();
            report.require(both, path, "serverCertificate and privateKey go together");
        }
    }
    let mutual = matches!(tls.mode, ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual);
    let by_name = !tls.credential_name.is_empty()
        || !tls.credential_names.is_empty()
        || !tls.ca_cert_credential_name.is_empty();
    if mutual && !by_name && tls.ca_certificates.is_empty() {
        report.error(path, "MUTUAL TLS requires a client CA bundle");
    }
    if matches!(tls.min_protocol_version, TlsProtocol::V1_0 | TlsProtocol::V1_1) {
        let say = "TLS version below TLSV1_2 require setting compatible ciphers as by default they \
                   no longer include compatible ciphers.";
        report.warning(path, say);
    }
    for (index, suite) in tls.cipher_suites.iter().enumerate() {
        if tls.cipher_suites[..index].contains(suite) {
            report.warning(
                &format!("{path}.cipherSuites"),
                format!("duplicate cipher suite {suite}"),
            );
        }
    }
}
