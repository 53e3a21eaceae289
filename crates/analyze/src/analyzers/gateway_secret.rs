//! Credentials of Gateways: the Secret stands in the namespace of the gateway's pods and holds a
//! certificate and its key.

use super::Analyzer;
use super::gateway_port::{say_unselected, selected};
use crate::catalogue;
use crate::kinds;
use crate::pods::selector_text;
use crate::report::Report;
use crate::world::{Resource, World};
use api::ServerTlsSettings;
use base64::Engine;
use registry::Item;

pub const ANALYZER: Analyzer = Analyzer {
    name: "gateway.SecretAnalyzer",
    about: "credentials of Gateways are Secrets with a certificate and its key",
    alone: false,
    run,
};

fn run(world: &World, report: &mut Report) {
    for gateway in world.snapshot.gateways.iter() {
        let pods = selected(world, gateway);
        let Some(pod) = pods.first() else {
            say_unselected(gateway, &selector_text(&gateway.spec.selector), report);
            continue;
        };
        for (index, server) in gateway.spec.servers.iter().enumerate() {
            let Some(tls) = &server.tls else { continue };
            for (field, name) in credentials(tls) {
                let path = format!("spec.servers[{index}].tls.{field}");
                check(world, gateway, pod.namespace(), (name, &path), report);
            }
        }
    }
}

fn credentials(tls: &ServerTlsSettings) -> impl Iterator<Item = (String, &str)> {
    let one = (!tls.credential_name.is_empty())
        .then(|| ("credentialName".to_owned(), tls.credential_name.as_str()));
    let many = tls.credential_names.iter().enumerate();
    one.into_iter().chain(many.map(|(i, n)| (format!("credentialNames[{i}]"), n.as_str())))
}

fn check(
    world: &World,
    gateway: &Item<api::Gateway>,
    namespace: &str,
    (name, path): (&str, &str),
    report: &mut Report,
) {
    // `kubernetes-gateway://namespace/name` is written by the Gateway API's front end.
    let name = name.rsplit('/').next().unwrap_or(name);
    match world.get(kinds::SECRET, namespace, name) {
        None => {
            let arguments = ["credentialName", name];
            report.say(catalogue::NOT_FOUND, &gateway.object, path, &arguments);
        }
        Some(secret) if !is_usable(secret) => {
            let arguments = [gateway.name(), gateway.namespace()];
            report.say(catalogue::INVALID_CREDENTIAL, &gateway.object, path, &arguments);
        }
        Some(_) => {}
    }
}

/// A certificate and a key in PEM, under the names of Kubernetes or Istio's own.
fn is_usable(secret: &Resource) -> bool {
    let pem = |key: &str| {
        let written = secret.value["stringData"][key].as_str().map(|t| t.as_bytes().to_vec());
        let stored = secret.value["data"][key].as_str().map(|t| {
            base64::engine::general_purpose::STANDARD.decode(t.trim()).unwrap_or_default()
        });
        let bytes = written.or(stored).unwrap_or_default();
        String::from_utf8(bytes).is_ok_and(|t| t.contains("-----BEGIN "))
    };
    (pem("tls.crt") && pem("tls.key")) || (pem("cert") && pem("key"))
}
