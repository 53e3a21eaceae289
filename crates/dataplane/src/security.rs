//! TLS as the configuration wants it and the secrets of the moment allow it: one context for each
//! filter chain and each transport socket of a cluster, made when a configuration is published and
//! kept as long as neither it nor its secrets change. Without its secrets a context is not there, and
//! what needs it is refused.

mod secrets;

pub use secrets::Secrets;

use base::Finding;
use ir::{DownstreamTls, TlsCommon, UpstreamTls};
use secrets::{Material, Peers};
use std::sync::Arc;
use tls::{ClientContext, Credential, Parameters, PeerRules, ServerContext};

/// A context, or why there is none.
#[derive(Debug)]
pub struct Made<T> {
    pub context: Result<T, String>,
    /// What it was made of; `None` has not come.
    of: Vec<Option<Arc<Material>>>,
}

/// The contexts of a cluster, by [`Place`].
#[derive(Debug, Default)]
pub struct ClusterTls {
    whole: Option<Arc<Made<ClientContext>>>,
    matches: Vec<Option<Arc<Made<ClientContext>>>>,
}

/// Which transport socket of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    Whole,
    Match(usize),
}

impl ClusterTls {
    pub fn at(&self, place: Place) -> Option<&Arc<Made<ClientContext>>> {
        match place {
            Place::Whole => self.whole.as_ref(),
            Place::Match(i) => self.matches.get(i)?.as_ref(),
        }
    }

    /// `old` are the configuration and the contexts before.
    pub fn new(
        cluster: &ir::Cluster,
        secrets: &Secrets,
        old: Option<(&ir::Cluster, &Arc<ClusterTls>)>,
        findings: &mut Vec<Finding>,
    ) -> Arc<Self> {
        let path = format!("cluster[{}].transport_socket", cluster.name);
        let same = old.filter(|(config, _)| {
            config.tls == cluster.tls && config.tls_matches == cluster.tls_matches
        });
        let mut make = |tls: &Option<UpstreamTls>, place| {
            let tls = tls.as_ref()?;
            let old = same.and_then(|(_, contexts)| contexts.at(place));
            Some(client(tls, secrets, old, &path, findings))
        };
        let whole = make(&cluster.tls, Place::Whole);
        let matches = cluster.tls_matches.iter().enumerate();
        let matches = matches.map(|(i, m)| make(&m.tls, Place::Match(i))).collect();
        let new = Self { whole, matches };
        match same {
            Some((_, old)) if old.is(&new) => old.clone(),
            _ => Arc::new(new),
        }
    }

    fn is(&self, other: &Self) -> bool {
        let same = |a: &Option<Arc<Made<_>>>, b: &Option<Arc<Made<_>>>| match (a, b) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (None, None) => true,
            _ => false,
        };
        same(&self.whole, &other.whole)
            && self.matches.len() == other.matches.len()
            && self.matches.iter().zip(&other.matches).all(|(a, b)| same(a, b))
    }
}

/// The context of a filter chain. `old` was made from the same configuration.
pub fn server(
    config: &DownstreamTls,
    secrets: &Secrets,
    old: Option<&Arc<Made<ServerContext>>>,
    path: &str,
    findings: &mut Vec<Finding>,
) -> Arc<Made<ServerContext>> {
    let path = format!("{path}.transport_socket");
    made(&config.common, secrets, old, &path, findings, |parts, findings| {
        let Some(parameters) = Parameters::read(&config.common, &path, findings) else {
            return Err("no TLS parameters can be used".to_owned());
        };
        let clients = config.common.validation.as_ref().map(|_| {
            let mandatory = config.require_client_certificate;
            (parts.rules, mandatory)
        });
        let clients = match clients {
            // Without a way to check it, any certificate will do.
            None => config.require_client_certificate.then(|| (PeerRules::default(), true)),
            // Nothing would be checked, so nothing is asked for.
            Some((rules, false)) if rules.trust.is_none() && !rules.accept_untrusted => None,
            some => some,
        };
        if parts.credentials.is_empty() {
            return Err("there is no certificate to serve with".to_owned());
        }
        let alpn = &spoken(&config.common.alpn);
        ServerContext::new(&parameters, parts.credentials, clients, alpn, config.require_sni)
            .map_err(|e| e.to_string())
    })
}

fn client(
    config: &UpstreamTls,
    secrets: &Secrets,
    old: Option<&Arc<Made<ClientContext>>>,
    path: &str,
    findings: &mut Vec<Finding>,
) -> Arc<Made<ClientContext>> {
    made(&config.common, secrets, old, path, findings, |mut parts, findings| {
        let Some(parameters) = Parameters::read(&config.common, path, findings) else {
            return Err("no TLS parameters can be used".to_owned());
        };
        if config.auto_san_validation && !config.auto_sni {
            return Err("auto_san_validation needs auto_sni".to_owned());
        }
        parts.rules.dialled_name = config.auto_san_validation;
        let credential = parts.credentials.pop();
        ClientContext::new(&parameters, credential, parts.rules, &spoken(&config.common.alpn))
            .map_err(|e| e.to_string())
    })
}

/// Who agrees on `istio-peer-exchange` expects to be told of the peer before the first byte, which we do
/// not do for bytes.
fn spoken(alpn: &[ir::Str]) -> Vec<ir::Str> {
    alpn.iter().filter(|p| &***p != "istio-peer-exchange").cloned().collect()
}

/// What a context is put together from.
struct Parts {
    credentials: Vec<Credential>,
    rules: PeerRules,
}

fn made<T>(
    common: &TlsCommon,
    secrets: &Secrets,
    old: Option<&Arc<Made<T>>>,
    path: &str,
    findings: &mut Vec<Finding>,
    make: impl FnOnce(Parts, &mut Vec<Finding>) -> Result<T, String>,
) -> Arc<Made<T>> {
    let of = secrets.of(common);
    if let Some(old) = old.filter(|old| same(&old.of, &of)) {
        return old.clone();
    }
    let context = parts(common, secrets, path, findings).and_then(|parts| make(parts, findings));
    if let Err(why) = &context {
        let say = format!("{why}; connections that need it are refused");
        findings.push(if of.iter().all(Option::is_some) {
            Finding::error(path, say)
        } else {
            Finding::warning(path, say)
        });
    }
    Arc::new(Made { context, of })
}

fn same(a: &[Option<Arc<Material>>], b: &[Option<Arc<Material>>]) -> bool {
    let one = |(a, b): (&Option<Arc<Material>>, &Option<Arc<Material>>)| match (a, b) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (None, None) => true,
        _ => false,
    };
    a.len() == b.len() && a.iter().zip(b).all(one)
}

fn parts(
    common: &TlsCommon,
    secrets: &Secrets,
    path: &str,
    findings: &mut Vec<Finding>,
) -> Result<Parts, String> {
    let mut credentials = Vec::new();
    for certificate in &common.certificates {
        credentials.push(secrets.credential(certificate)?);
    }
    let peers = match &common.validation {
        None => Peers::default(),
        Some(validation) => secrets.peers(validation)?,
    };
    let rules = rules(peers, &format!("{path}.validation_context"), findings)?;
    Ok(Parts { credentials, rules })
}

fn rules(peers: Peers, path: &str, findings: &mut Vec<Finding>) -> Result<PeerRules, String> {
    let wanted = peers.validation;
    let names = wanted.sans.iter().map(|san| tls::NameRule::new(san, path, findings)).collect();
    let digests = |list: &[ir::Str], read: fn(&str) -> Option<[u8; 32]>| {
        let one = |text: &ir::Str| read(text).ok_or_else(|| format!("{text} is no SHA-256 digest"));
        list.iter().map(one).collect::<Result<Vec<_>, _>>()
    };
    let rules = PeerRules {
        trust: peers.trust,
        revoked: peers.revoked,
        names,
        dialled_name: false,
        fingerprints: digests(&wanted.certificate_hashes, PeerRules::fingerprint)?,
        keys: digests(&wanted.spki_hashes, PeerRules::key_digest)?,
        accept_untrusted: wanted.accept_untrusted,
    };
    if rules.trust.is_none() && !rules.names.is_empty() && !rules.accept_untrusted {
        return Err("names are to be checked, but no roots are given to trust them by".to_owned());
    }
    Ok(rules)
}
