//! TLS by the workload's own certificate, as both ends of a hop in the mesh speak it: where certificate
//! and roots come from, what is offered by ALPN, and who may be at the other end.

use api::{MeshConfig, TlsProtocol};
use ir::{
    CertificateSource, DownstreamTls, SanKind, SanMatch, SecretRef, Str, StringMatch, TlsCommon,
    TlsVersion, UpstreamTls, Validation,
};
use registry::{Service, Snapshot};

/// What clients in the mesh offer where the request's protocol says nothing, so that servers tell them
/// from others. Servers never choose these.
const FROM_THE_MESH: [&str; 2] = ["istio-peer-exchange", "istio"];

/// The client's end. `names`: one of which the server's certificate must hold.
pub(crate) fn client(
    mesh: &MeshConfig,
    names: Vec<SanMatch>,
    server_name: Str,
    second: bool,
) -> UpstreamTls {
    let mut common = common(mesh, names);
    common.alpn = FROM_THE_MESH.map(Str::from).to_vec();
    if second {
        common.alpn.push("h2".into());
    }
    UpstreamTls {
        common,
        sni: server_name,
        auto_sni: false,
        auto_san_validation: false,
        allow_renegotiation: false,
    }
}

/// The server's end: only clients of the mesh's trust domains get in.
pub(crate) fn server(world: &Snapshot, http: bool) -> DownstreamTls {
    let anybody = |domain: &str| SanMatch {
        kind: SanKind::Uri,
        value: StringMatch::prefix(format!("spiffe://{domain}/")),
    };
    let mut common = common(&world.mesh.config, trust_domains(world).map(anybody).collect());
    let protocols: &[&str] =
        if http { &["h2", "http/1.1"] } else { &["istio-peer-exchange", "h2", "http/1.1"] };
    common.alpn = protocols.iter().map(|p| Str::from(*p)).collect();
    DownstreamTls { common, require_client_certificate: true, require_sni: false }
}

/// Who may answer for a service: the accounts that its endpoints run as, and what its ServiceEntry
/// names. Where neither is known, anybody of the mesh.
pub(crate) fn names_of(world: &Snapshot, service: &Service) -> Vec<SanMatch> {
    let known = world.endpoints.get(&service.key());
    let accounts = known.map(|e| e.identities.accounts.as_slice()).unwrap_or_default();
    let mut names: Vec<SanMatch> = Vec::new();
    for (namespace, account) in accounts {
        names.extend(trust_domains(world).map(|domain| {
            let id = base::SpiffeId::new(domain, namespace, account);
            SanMatch { kind: SanKind::Uri, value: StringMatch::exact(id.to_string()) }
        }));
    }
    names.extend(service.subject_alt_names.iter().map(|name| exactly(name)));
    if names.is_empty() {
        let anybody = |domain: &str| SanMatch {
            kind: SanKind::Uri,
            value: StringMatch::prefix(format!("spiffe://{domain}/")),
        };
        names.extend(trust_domains(world).map(anybody));
    }
    names
}

pub(crate) fn exactly(name: &str) -> SanMatch {
    SanMatch { kind: SanKind::Any, value: StringMatch::exact(name) }
}

/// The mesh's own first.
fn trust_domains(world: &Snapshot) -> impl Iterator<Item = &str> {
    let mesh = &world.mesh.config;
    let own = if mesh.trust_domain.is_empty() { &*world.domain } else { &*mesh.trust_domain };
    std::iter::once(own).chain(mesh.trust_domain_aliases.iter().map(String::as_str))
}

fn common(mesh: &MeshConfig, names: Vec<SanMatch>) -> TlsCommon {
    let written = &mesh.mesh_mtls;
    TlsCommon {
        alpn: Vec::new(),
        certificates: vec![CertificateSource::Sds(SecretRef::of_agent("default"))],
        validation: Some(Validation {
            roots_sds: Some(SecretRef::of_agent("ROOTCA")),
            sans: names,
            ..Validation::default()
        }),
        min_version: match written.min_protocol_version {
            TlsProtocol::V1_3 => TlsVersion::V1_3,
            _ => TlsVersion::V1_2,
        },
        max_version: TlsVersion::V1_3,
        cipher_suites: written.cipher_suites.iter().map(|s| s.as_str().into()).collect(),
        ecdh_curves: Vec::new(),
    }
}
