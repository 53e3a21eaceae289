//! The TLS context of a server that ends TLS: its certificate comes by SDS.

use super::servers::Bound;
use crate::mesh_tls;
use api::{ServerTlsMode, ServerTlsSettings, TlsProtocol};
use base::Finding;
use ir::{
    CertificateSource, DataSource, DownstreamTls, SanKind, SanMatch, SecretRef, StringMatch,
    TlsCommon, TlsVersion, Validation,
};
use registry::Snapshot;

/// An error means that the server must not listen: without its certificate it has nothing to offer.
pub(super) fn context(
    world: &Snapshot,
    bound: &Bound,
    http: bool,
) -> Result<DownstreamTls, Box<Finding>> {
    let path = format!("{}.tls", bound.path);
    match &bound.server.tls {
        Some(tls) => context_of(world, tls, path, http),
        None => {
            let say = "a server that ends TLS needs tls settings with a certificate";
            Err(Box::new(Finding::error(path, say)))
        }
    }
}

/// Of the settings that stand at `path` of an object.
pub(crate) fn context_of(
    world: &Snapshot,
    tls: &ServerTlsSettings,
    path: String,
    http: bool,
) -> Result<DownstreamTls, Box<Finding>> {
    if tls.mode == ServerTlsMode::IstioMutual {
        return Ok(of_mesh(world, tls, http));
    }
    let mutual = matches!(tls.mode, ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual);
    let certificates = certificates(tls);
    if certificates.is_empty() {
        let say = "credentialName, or serverCertificate and privateKey, is needed";
        return Err(Box::new(Finding::error(path, say)));
    }
    let validation = if mutual { Some(validation(tls, &path)?) } else { None };
    Ok(DownstreamTls {
        common: TlsCommon {
            alpn: if http { vec!["h2".into(), "http/1.1".into()] } else { Vec::new() },
            certificates: certificates.into_iter().map(CertificateSource::Sds).collect(),
            validation,
            min_version: match tls.min_protocol_version {
                TlsProtocol::Auto => TlsVersion::V1_2,
                other => version(other),
            },
            max_version: version(tls.max_protocol_version),
            cipher_suites: tls.cipher_suites.iter().map(|s| s.as_str().into()).collect(),
            ecdh_curves: tls.ecdh_curves.iter().map(|s| s.as_str().into()).collect(),
        },
        require_client_certificate: tls.mode == ServerTlsMode::Mutual,
        require_sni: false,
    })
}

/// By the gateway's own identity, for clients that have one of the mesh.
fn of_mesh(world: &Snapshot, tls: &ServerTlsSettings, http: bool) -> DownstreamTls {
    let mut context = mesh_tls::server(world, http);
    if let Some(validation) = context.common.validation.as_mut()
        && !tls.subject_alt_names.is_empty()
    {
        validation.sans = tls.subject_alt_names.iter().map(|n| mesh_tls::exactly(n)).collect();
    }
    context
}

/// Names of the secrets.
fn certificates(tls: &ServerTlsSettings) -> Vec<SecretRef> {
    if !tls.credential_name.is_empty() {
        return vec![kubernetes(&tls.credential_name)];
    }
    if !tls.credential_names.is_empty() {
        return tls.credential_names.iter().map(|n| kubernetes(n)).collect();
    }
    let file = |cert: &str, key: &str| {
        let written = !cert.is_empty() && !key.is_empty();
        written.then(|| SecretRef::of_agent(format!("file-cert:{cert}~{key}")))
    };
    if !tls.tls_certificates.is_empty() {
        let all = tls.tls_certificates.iter();
        return all.filter_map(|c| file(&c.server_certificate, &c.private_key)).collect();
    }
    file(&tls.server_certificate, &tls.private_key).into_iter().collect()
}

/// `kubernetes://name`, unless the name says already where the credential is.
fn kubernetes(name: &str) -> SecretRef {
    let whole = if name.contains("://") { name.to_owned() } else { format!("kubernetes://{name}") };
    SecretRef::of_control_plane(whole)
}

/// How clients' certificates are checked. Without roots nobody could pass.
fn validation(tls: &ServerTlsSettings, path: &str) -> Result<Validation, Box<Finding>> {
    let of_secret = |name: &str| {
        let name = name.strip_suffix("-cacert").unwrap_or(name);
        SecretRef::of_control_plane(format!("{}-cacert", kubernetes(name).name))
    };
    let first = tls.credential_names.first();
    let roots = if !tls.ca_cert_credential_name.is_empty() {
        of_secret(&tls.ca_cert_credential_name)
    } else if !tls.credential_name.is_empty() {
        of_secret(&tls.credential_name)
    } else if let Some(name) = first {
        of_secret(name)
    } else if !tls.ca_certificates.is_empty() {
        SecretRef::of_agent(format!("file-root:{}", tls.ca_certificates))
    } else {
        let say = "MUTUAL needs credentialName or caCertificates to check clients with";
        return Err(Box::new(Finding::error(path, say)));
    };
    let san = |s: &String| SanMatch { kind: SanKind::Any, value: StringMatch::exact(s.as_str()) };
    let text = |list: &[String]| list.iter().map(|s| s.as_str().into()).collect();
    Ok(Validation {
        roots_sds: Some(roots),
        crl: file(&tls.ca_crl),
        sans: tls.subject_alt_names.iter().map(san).collect(),
        certificate_hashes: text(&tls.verify_certificate_hash),
        spki_hashes: text(&tls.verify_certificate_spki),
        accept_untrusted: tls.insecure_skip_verify == Some(true),
        ..Validation::default()
    })
}

/// A file of the pod, where one is named.
fn file(path: &str) -> Option<DataSource> {
    (!path.is_empty()).then(|| DataSource::File(path.into()))
}

fn version(written: TlsProtocol) -> TlsVersion {
    match written {
        TlsProtocol::Auto => TlsVersion::Auto,
        TlsProtocol::V1_0 => TlsVersion::V1_0,
        TlsProtocol::V1_1 => TlsVersion::V1_1,
        TlsProtocol::V1_2 => TlsVersion::V1_2,
        TlsProtocol::V1_3 => TlsVersion::V1_3,
    }
}
