//! Networks of the mesh name service registries that are known.

use super::Analyzer;
use crate::catalogue;
use crate::kinds;
use crate::report::Report;
use crate::world::World;
use serde_json::Value;
use std::collections::BTreeSet;

pub const ANALYZER: Analyzer = Analyzer {
    name: "multicluster.MeshNetworksAnalyzer",
    about: "networks of the mesh name registries that are known",
    alone: false,
    run,
};

fn run(world: &World, report: &mut Report) {
    let Some(map) = world.get(kinds::CONFIG_MAP, &world.root, "istio") else { return };
    let Some(text) = map.value["data"]["meshNetworks"].as_str() else { return };
    let networks: Value = serde_yaml_ng::from_str(text).unwrap_or_default();
    let known = registries(world);
    for (name, network) in networks["networks"].as_object().into_iter().flatten() {
        for endpoint in network["endpoints"].as_array().into_iter().flatten() {
            let Some(registry) = endpoint["fromRegistry"].as_str() else { continue };
            if !known.contains(registry) {
                let path = "data.meshNetworks";
                report.say(catalogue::UNKNOWN_REGISTRY, &map.reference, path, &[registry, name]);
            }
        }
    }
}

/// This cluster, and those that the control plane has credentials for.
fn registries(world: &World) -> BTreeSet<String> {
    let remote = world
        .all(kinds::SECRET)
        .filter(|s| s.labels().get("istio/multiCluster").is_some_and(|v| v == "true"));
    let keys = remote
        .flat_map(|s| ["data", "stringData"].map(|f| s.value[f].as_object()).into_iter().flatten());
    let named = keys.flat_map(|data| data.keys().cloned());
    named.chain(["Kubernetes".to_owned()]).collect()
}
