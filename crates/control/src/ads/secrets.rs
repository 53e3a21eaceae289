//! Gateway credentials: Secrets of the gateway's own namespace as SDS resources, under the names that
//! Gateway objects give them.

use crate::world::World;
use bytes::Bytes;
use ir::{Certificate, DataSource, Resource, Secret, SecretValue, Str, Validation};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Every usable credential of `namespace`. A proxy gets those that it asks for by name.
pub(crate) fn of_namespace(world: &World, namespace: &str) -> Vec<Resource> {
    let secrets = world.facts.secrets.iter();
    let own = secrets.filter(|((ns, _), _)| ns == namespace);
    own.flat_map(|((_, name), data)| resources(name, data)).collect()
}

/// The certificate, and the roots for clients where the Secret holds them.
fn resources(name: &str, data: &BTreeMap<String, String>) -> Vec<Resource> {
    let either = |keys: [&str; 2]| keys.into_iter().find_map(|k| data.get(k)).map(|v| inline(v));
    let mut found = Vec::new();
    if let (Some(chain), Some(key)) = (either(["tls.crt", "cert"]), either(["tls.key", "key"])) {
        let value = SecretValue::Certificate(Certificate { chain, key });
        found.push(secret(format!("kubernetes://{name}"), value));
    }
    if let Some(roots) = either(["ca.crt", "cacert"]) {
        let crl = data.get("ca.crl").map(|v| inline(v));
        let validation = Validation { roots: Some(roots), crl, ..Validation::default() };
        let bare = name.strip_suffix("-cacert").unwrap_or(name);
        found.push(secret(
            format!("kubernetes://{bare}-cacert"),
            SecretValue::Validation(validation),
        ));
    }
    found
}

fn inline(pem: &str) -> DataSource {
    DataSource::Bytes(Bytes::copy_from_slice(pem.as_bytes()))
}

fn secret(name: String, value: SecretValue) -> Resource {
    Resource::Secret(Arc::new(Secret { name: Str::from(name.as_str()), value }))
}
