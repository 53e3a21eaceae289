//! Who is injected: namespaces that say nothing or several things, and pods that missed it.

use super::Analyzer;
use crate::catalogue;
use crate::kinds;
use crate::pods::{PodView, list};
use crate::report::Report;
use crate::world::{Resource, World};
use serde_json::Value;

pub const ANALYZER: Analyzer = Analyzer {
    name: "injection.Analyzer",
    about: "namespaces say clearly whether they are injected, and their pods are",
    alone: false,
    run,
};

const INJECTION: &str = "istio-injection";
const REVISION: &str = "istio.io/rev";
const MODE: &str = "istio.io/dataplane-mode";

fn run(world: &World, report: &mut Report) {
    for namespace in world.all(kinds::NAMESPACE).filter(|n| !is_system(world, n.name())) {
        check_namespace(world, namespace, report);
    }
    for pod in world.pods() {
        let expected = is_injected(world, &pod) && pod.spec["hostNetwork"] != true;
        if expected && pod.proxy().is_none() {
            let name = [pod.owner.name()];
            report.say(
                catalogue::POD_MISSING_PROXY,
                &pod.owner.reference,
                "spec.containers",
                &name,
            );
        }
    }
}

fn check_namespace(world: &World, namespace: &Resource, report: &mut Report) {
    let labels = namespace.labels();
    let injection = labels.get(INJECTION).map(String::as_str);
    if injection == Some("disabled") {
        return;
    }
    let ambient = labels.get(MODE).is_some_and(|m| m == "ambient");
    let mut written: Vec<&str> = Vec::new();
    written.extend(injection.map(|_| INJECTION));
    written.extend(labels.get(REVISION).map(|_| REVISION));
    written.extend(ambient.then_some(MODE));
    let (about, path) = (&namespace.reference, "metadata.labels");
    match written.len() {
        0 if injects_by_default(world) => {
            report.say(catalogue::INJECTED_BY_DEFAULT, about, path, &[]);
        }
        0 => {
            let name = namespace.name();
            report.say(catalogue::NAMESPACE_NOT_INJECTED, about, path, &[name, name]);
        }
        1 => {}
        _ => report.say(catalogue::MULTIPLE_INJECTION_LABELS, about, path, &[&list(written)]),
    }
}

fn is_system(world: &World, namespace: &str) -> bool {
    namespace == world.root || namespace.starts_with("kube-") || namespace == "local-path-storage"
}

/// Whether the injector would make a pod a member, by the labels of its namespace and its own.
pub fn is_injected(world: &World, pod: &PodView<'_>) -> bool {
    const KEY: &str = "sidecar.istio.io/inject";
    let own = pod.labels.get(KEY).or(pod.annotations.get(KEY)).map(String::as_str);
    if own == Some("false") || is_system(world, pod.namespace()) {
        return false;
    }
    own == Some("true") || injected_namespace(world, pod.namespace())
}

pub fn injected_namespace(world: &World, namespace: &str) -> bool {
    let Some(labels) = world.namespace_labels(namespace) else { return false };
    match labels.get(INJECTION).map(String::as_str) {
        Some("enabled") => true,
        Some(_) => false,
        None if labels.contains_key(REVISION) => true,
        None => !labels.contains_key(MODE) && injects_by_default(world),
    }
}

fn injects_by_default(world: &World) -> bool {
    let values = injector_values(world, "");
    let setting = "enableNamespacesByDefault";
    values.is_some_and(|v| v["sidecarInjectorWebhook"][setting] == true)
}

/// What the injector of a revision was installed with.
pub fn injector_values(world: &World, revision: &str) -> Option<Value> {
    let name = match revision {
        "" | "default" => "istio-sidecar-injector".to_owned(),
        other => format!("istio-sidecar-injector-{other}"),
    };
    let map = world.get(kinds::CONFIG_MAP, &world.root, &name)?;
    serde_json::from_str(map.value["data"]["values"].as_str()?).ok()
}
