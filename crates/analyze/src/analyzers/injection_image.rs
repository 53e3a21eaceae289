//! Sidecars of another version than the injector would give now.

use super::Analyzer;
use super::injection::{injected_namespace, injector_values};
use crate::catalogue;
use crate::kinds;
use crate::pods::{PodView, list};
use crate::report::Report;
use crate::world::{World, labels};
use inject::Values;
use serde_json::Value;

pub const ANALYZER: Analyzer = Analyzer {
    name: "injection.ImageAnalyzer",
    about: "sidecars run the image that the injector would give them",
    alone: false,
    run,
};

fn run(world: &World, report: &mut Report) {
    for namespace in world.all(kinds::NAMESPACE) {
        if !injected_namespace(world, namespace.name()) {
            continue;
        }
        let revision = namespace.labels().get("istio.io/rev").cloned().unwrap_or_default();
        let Some(values) = injector_values(world, &revision) else { continue };
        let expected = Values::from_json(&values).image;
        let here = world.pods().filter(|p| p.namespace() == namespace.name());
        let stale: Vec<String> = here
            .filter(|p| is_stale(world, p, &expected))
            .map(|p| p.owner.name().to_owned())
            .collect();
        if !stale.is_empty() {
            let (message, names) = (catalogue::PROXY_IMAGE_MISMATCH, list(stale));
            report.say(message, &namespace.reference, "metadata", &[&names]);
        }
    }
}

fn is_stale(world: &World, pod: &PodView<'_>, expected: &str) -> bool {
    let Some((_, proxy)) = pod.proxy() else { return false };
    if pod.annotations.contains_key("sidecar.istio.io/proxyImage") {
        return false;
    }
    let expected = match image_type(world, pod) {
        Some(kind) if !expected.ends_with(&format!("-{kind}")) => format!("{expected}-{kind}"),
        _ => expected.to_owned(),
    };
    proxy["image"].as_str().is_some_and(|image| image != expected)
}

/// The variant that is asked for: by the pod, by a ProxyConfig that selects it, by its namespace's, by
/// the mesh's.
fn image_type(world: &World, pod: &PodView<'_>) -> Option<String> {
    let own = pod.annotations.get("sidecar.istio.io/proxyImageType").cloned();
    let config = pod.annotations.get("proxy.istio.io/config");
    let config: Option<Value> = config.and_then(|text| serde_yaml_ng::from_str(text).ok());
    let written = |v: &Value| v["image"]["imageType"].as_str().map(str::to_owned);
    let of = |namespace: &str, selected: bool| {
        let configs = world.all(kinds::PROXY_CONFIG).filter(|c| c.namespace() == namespace);
        let mut fitting = configs.filter(|c| {
            let selector = labels(&c.spec()["selector"]["matchLabels"]);
            selector.is_empty() != selected && pod.matches(&selector)
        });
        fitting.find_map(|c| written(c.spec()))
    };
    own.or_else(|| config.as_ref().and_then(written))
        .or_else(|| of(pod.namespace(), true))
        .or_else(|| of(pod.namespace(), false))
        .or_else(|| of(&world.root, false))
        .or_else(|| written(&world.mesh["defaultConfig"]))
        .filter(|kind| kind != "default")
}
