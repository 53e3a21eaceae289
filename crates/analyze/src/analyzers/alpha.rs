//! Annotations of features that may still change.

use super::Analyzer;
use super::annotations::{Known, set_by_the_mesh};
use crate::catalogue;
use crate::kinds;
use crate::report::Report;
use crate::world::{Resource, World};

pub const ANALYZER: Analyzer = Analyzer {
    name: "maturity.AlphaAnalyzer",
    about: "annotations of features in their alpha phase",
    alone: false,
    run,
};

/// What the node agent writes on pods that it set up.
const OF_NODE_AGENT: [&str; 4] = [
    "sidecar.istio.io/interceptionMode",
    "traffic.sidecar.istio.io/excludeInboundPorts",
    "traffic.sidecar.istio.io/includeInboundPorts",
    "traffic.sidecar.istio.io/includeOutboundIPRanges",
];

fn run(world: &World, report: &mut Report) {
    for (kind, resource) in world.everything() {
        let by_node_agent = kind == kinds::POD && is_set_up_by_node_agent(resource);
        for name in resource.annotations().keys() {
            let alpha = Known::find(name).is_some_and(|k| k.status == "Alpha");
            let theirs = by_node_agent && OF_NODE_AGENT.contains(&name.as_str());
            if alpha && !theirs && !set_by_the_mesh(name) {
                let path = format!("metadata.annotations[{name}]");
                report.say(catalogue::ALPHA_ANNOTATION, &resource.reference, path, &[name]);
            }
        }
    }
}

fn is_set_up_by_node_agent(pod: &Resource) -> bool {
    let mut init = pod.spec()["initContainers"].as_array().into_iter().flatten();
    init.any(|c| c["name"] == "istio-validation")
}
