//! Gateway credentials: Secrets of the gateway's own namespace as SDS resources, under the names that
//! configuration gives them; and, for the objects that name them, why one of them cannot be had.

use super::plan::Credentials;
use crate::credentials::{Material, Part};
use crate::world::World;
use base::{Finding, OriginId};
use compile::{Compiled, List};
use ir::{
    CertificateSource, Resource, Secret, SecretRef, SecretSource, SecretValue, Str, TlsCommon,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Names of credentials; each with the first place that has it.
pub(super) type Named = BTreeMap<Str, OriginId>;

/// The scheme of Secrets in the names of resources.
const SCHEME: &str = "kubernetes://";
const OF_CLIENTS: &str = "-cacert";

/// The credentials that a configuration names and the proxy may have, and what to say of the others.
pub(super) fn of(
    world: &World,
    namespace: &str,
    credentials: Credentials,
    names: &Named,
    compiled: &Compiled,
) -> (Vec<Resource>, Vec<Finding>) {
    let (mut found, mut findings) = (Vec::new(), Vec::new());
    for (name, origin) in names {
        match value(world, namespace, credentials, name) {
            Ok(value) => {
                found.push(Resource::Secret(Arc::new(Secret { name: name.clone(), value })))
            }
            Err(why) => findings.extend(finding(compiled, *origin, why)),
        }
    }
    (found, findings)
}

/// The credentials that the resources of a list name.
pub(super) fn named(list: &List) -> Named {
    let mut names = BTreeMap::new();
    match list {
        List::Listeners(listeners) => {
            let chains = listeners.iter().flat_map(|l| l.chains.iter().chain(&l.default_chain));
            for chain in chains {
                let tls = chain.tls.as_ref().map(|tls| &tls.common);
                note(tls, chain.origin, &mut names);
            }
        }
        List::Clusters(clusters) => {
            for cluster in clusters.iter() {
                note(cluster.tls.as_ref().map(|tls| &tls.common), cluster.origin, &mut names);
            }
        }
        List::Endpoints(_) | List::Routes(_) | List::Names(_) => {}
    }
    names
}

/// Adds those of another list; where one is named first counts.
pub(super) fn note_all(names: &Named, all: &mut Named) {
    for (name, origin) in names {
        all.entry(name.clone()).or_insert(*origin);
    }
}

fn note(tls: Option<&TlsCommon>, origin: OriginId, names: &mut Named) {
    let Some(tls) = tls else { return };
    let certificates = tls.certificates.iter().filter_map(|c| match c {
        CertificateSource::Sds(secret) => Some(secret),
        CertificateSource::Inline(_) => None,
    });
    let roots = tls.validation.as_ref().and_then(|v| v.roots_sds.as_ref());
    let ours = |s: &&SecretRef| s.from == SecretSource::Ads;
    for secret in certificates.chain(roots).filter(ours) {
        names.entry(secret.name.clone()).or_insert(origin);
    }
}

fn finding(compiled: &Compiled, origin: OriginId, why: String) -> Option<Finding> {
    let origin = compiled.origins.get(origin)?;
    let path = format!("{}.tls.credentialName", origin.path);
    let say = format!("{why}; connections that need it are refused");
    Some(Finding::error(path, say).about(origin.object.clone()))
}

/// What a name stands for, or why it stands for nothing.
fn value(
    world: &World,
    namespace: &str,
    credentials: Credentials,
    name: &str,
) -> Result<SecretValue, String> {
    let Some(written) = name.strip_prefix(SCHEME) else {
        return Err(format!("{name} is no kind of credential that is known here"));
    };
    let (of, written) = written.split_once('/').unwrap_or((namespace, written));
    if of != namespace {
        return Err(format!(
            "Secret {written} of namespace {of} is refused: a proxy in namespace {namespace} is \
             given Secrets of that namespace only"
        ));
    }
    if credentials != Credentials::OfNamespace {
        return Err(format!(
            "Secret {written} is refused: the service account of the proxy may not list Secrets in \
             namespace {namespace}; give it a Role with get, watch and list on secrets"
        ));
    }
    let secret = |name: &str| world.facts.secrets.get(&(namespace.to_owned(), name.to_owned()));
    match written.strip_suffix(OF_CLIENTS) {
        None => certificate(secret(written), written, namespace),
        // A Secret of that name comes before the one that has all in one.
        Some(bare) => roots(secret(written).or_else(|| secret(bare)), bare, namespace),
    }
}

fn certificate(
    secret: Option<&Arc<Material>>,
    name: &str,
    namespace: &str,
) -> Result<SecretValue, String> {
    match secret.map(|m| &m.certificate) {
        Some(Part::Usable(value)) => Ok(value.clone()),
        Some(Part::Broken(why)) => Err(format!("Secret {namespace}/{name} cannot be used: {why}")),
        Some(Part::Absent) => Err(format!(
            "Secret {namespace}/{name} has no certificate: it needs tls.crt and tls.key, or cert and \
             key"
        )),
        None => Err(format!(
            "there is no Secret {name} with tls.crt and tls.key (or cert and key) in namespace \
             {namespace}, where the proxy runs"
        )),
    }
}

fn roots(
    secret: Option<&Arc<Material>>,
    name: &str,
    namespace: &str,
) -> Result<SecretValue, String> {
    match secret.map(|m| &m.roots) {
        Some(Part::Usable(value)) => Ok(value.clone()),
        Some(Part::Broken(why)) => {
            Err(format!("the roots of Secret {namespace}/{name} cannot be used: {why}"))
        }
        Some(Part::Absent) | None => Err(format!(
            "there are no roots to check the other side with: neither Secret {name}{OF_CLIENTS} nor \
             Secret {name} in namespace {namespace} has ca.crt or cacert"
        )),
    }
}

#[cfg(test)]
mod tests;
