//! TLS that a client begins: what a DestinationRule asks for, else the mesh's own wherever the other
//! end takes it.

use super::Policy;
use crate::{mesh_tls, names};
use api::{ClientTlsMode, ClientTlsSettings, Protocol};
use base::Finding;
use ir::{
    CertificateSource, Cluster, DataSource, Discovery, SecretRef, Str, TlsCommon, TlsMatch,
    UpstreamProtocol, UpstreamTls, Validation, Value,
};
use registry::{Service, Snapshot};
use std::collections::BTreeMap;

/// For whom a cluster is made, and what it reaches.
pub(super) struct Hop<'a> {
    pub world: &'a Snapshot,
    pub service: &'a Service,
    pub port: u16,
    pub protocol: Protocol,
    pub subset: &'a str,
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
    let Some(tls) = policy.tls else {
        automatic(hop, cluster);
        return Ok(());
    };
    match tls.mode {
        ClientTlsMode::Disable => {}
        ClientTlsMode::IstioMutual => cluster.tls = Some(of_mesh(Some(tls), hop, cluster.protocol)),
        ClientTlsMode::Simple | ClientTlsMode::Mutual => {
            cluster.tls = Some(context(tls, hop, cluster.protocol)?);
            keep_alpn(cluster);
        }
    }
    Ok(())
}

/// The mesh's mutual TLS with every endpoint that takes it, as its metadata says. Where clients choose
/// the endpoint by its address nothing is known of it, so all must take it.
fn automatic(hop: &Hop<'_>, cluster: &mut Cluster) {
    if hop.service.external || !hop.world.mesh.config.enable_auto_mtls {
        return;
    }
    let tls = || of_mesh(None, hop, cluster.protocol);
    if matches!(cluster.discovery, Discovery::OriginalDst | Discovery::ByHost(_)) {
        let known = hop.world.endpoints.get(&hop.service.key());
        if known.is_some_and(|e| e.identities.all_take_mtls) {
            cluster.tls = Some(tls());
        }
        return;
    }
    let one = |name: &str, criteria, tls| TlsMatch { name: name.into(), criteria, tls };
    let (key, value) = TAKES_MTLS;
    let takes = BTreeMap::from([(Str::from(key), Value::String(value.into()))]);
    cluster.tls_matches = vec![
        one("tlsMode-istio", takes, Some(tls())),
        one("tlsMode-disabled", BTreeMap::new(), None),
    ];
}

/// What the metadata of such endpoints says, under `envoy.transport_socket_match`.
pub(crate) const TAKES_MTLS: (&str, &str) = ("tlsMode", "istio");

/// By the workload's own certificate; a rule may say the names.
fn of_mesh(
    tls: Option<&ClientTlsSettings>,
    hop: &Hop<'_>,
    protocol: UpstreamProtocol,
) -> UpstreamTls {
    let written = tls.map(|t| t.subject_alt_names.as_slice()).filter(|n| !n.is_empty());
    let names = match written {
        Some(names) => names.iter().map(|n| mesh_tls::exactly(n)).collect(),
        None => mesh_tls::names_of(hop.world, hop.service),
    };
    let server_name = match tls.map(|t| t.sni.as_str()).filter(|sni| !sni.is_empty()) {
        Some(written) => written.into(),
        None => names::server_name(hop.port, hop.subset, hop.service.host.as_str()),
    };
    let second = protocol == UpstreamProtocol::Http2;
    mesh_tls::client(&hop.world.mesh.config, names, server_name, second)
}

/// Servers outside the mesh are offered what the TLS context names, whatever the request speaks.
fn keep_alpn(cluster: &mut Cluster) {
    if let Some(Value::Struct(fields)) = cluster.metadata.get_mut("istio") {
        fields.insert("alpn_override".into(), Value::String("false".into()));
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
        sans: sans.map(mesh_tls::exactly).collect(),
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
