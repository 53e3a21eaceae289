//! TLS contexts and secrets (`envoy.extensions.transport_sockets.tls.v3`).

use crate::{Str, StringMatch};
use bytes::Bytes;

/// `DownstreamTlsContext`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DownstreamTls {
    pub common: TlsCommon,
    pub require_client_certificate: bool,
    pub require_sni: bool,
}

/// `UpstreamTlsContext`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UpstreamTls {
    pub common: TlsCommon,
    pub sni: Str,
    /// SNI from the request's host (`auto_sni` of the cluster).
    pub auto_sni: bool,
    pub auto_san_validation: bool,
    pub allow_renegotiation: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct TlsCommon {
    pub alpn: Vec<Str>,
    pub certificates: Vec<CertificateSource>,
    pub validation: Option<Validation>,
    pub min_version: TlsVersion,
    pub max_version: TlsVersion,
    /// OpenSSL names.
    pub cipher_suites: Vec<Str>,
    pub ecdh_curves: Vec<Str>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum CertificateSource {
    Sds(SecretRef),
    Inline(Certificate),
}

/// A secret that comes by SDS.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SecretRef {
    pub name: Str,
    pub from: SecretSource,
}

/// Who has a secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SecretSource {
    /// The bootstrap itself (`static_resources.secrets`).
    Static,
    /// The control plane, on the stream of everything else.
    Ads,
    /// Whoever is behind this cluster.
    Cluster(Str),
}

/// The cluster under which a data plane reaches its agent.
pub const AGENT_CLUSTER: &str = "sds-grpc";

impl SecretRef {
    pub fn of_control_plane(name: impl Into<Str>) -> Self {
        Self { name: name.into(), from: SecretSource::Ads }
    }

    /// The workload's own, and those in files of the pod.
    pub fn of_agent(name: impl Into<Str>) -> Self {
        Self { name: name.into(), from: SecretSource::Cluster(AGENT_CLUSTER.into()) }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Certificate {
    pub chain: DataSource,
    pub key: DataSource,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataSource {
    File(Str),
    Bytes(Bytes),
}

/// How the peer's certificate is checked (`CertificateValidationContext`, `CombinedCertificateValidationContext`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Validation {
    /// Roots by SDS; the rest of the fields still apply.
    pub roots_sds: Option<SecretRef>,
    pub roots: Option<DataSource>,
    pub crl: Option<DataSource>,
    pub sans: Vec<SanMatch>,
    /// Hex SHA-256 of the certificate.
    pub certificate_hashes: Vec<Str>,
    /// Base64 SHA-256 of the public key.
    pub spki_hashes: Vec<Str>,
    /// `ACCEPT_UNTRUSTED`.
    pub accept_untrusted: bool,
    /// `system_root_certs`.
    pub system_roots: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SanMatch {
    pub kind: SanKind,
    pub value: StringMatch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SanKind {
    Any,
    Uri,
    Dns,
    Email,
    Ip,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TlsVersion {
    #[default]
    Auto,
    V1_0,
    V1_1,
    V1_2,
    V1_3,
}

/// One SDS resource.
#[derive(Clone, Debug, PartialEq)]
pub struct Secret {
    pub name: Str,
    pub value: SecretValue,
}

#[derive(Clone, Debug, PartialEq)]
pub enum SecretValue {
    Certificate(Certificate),
    Validation(Validation),
}
