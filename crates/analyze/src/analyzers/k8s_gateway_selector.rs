//! Policies reach the pods of a Kubernetes Gateway by targetRefs, not by selectors.

use super::Analyzer;
use crate::catalogue;
use crate::kinds;
use crate::report::Report;
use crate::world::{World, labels};

pub const ANALYZER: Analyzer = Analyzer {
    name: "k8sgateway.SelectorAnalyzer",
    about: "no policy selects the pods of a Kubernetes Gateway",
    alone: false,
    run,
};

fn run(world: &World, report: &mut Report) {
    let kinds = [
        kinds::AUTHORIZATION_POLICY,
        kinds::REQUEST_AUTHENTICATION,
        kinds::TELEMETRY,
        kinds::WASM_PLUGIN,
        kinds::TRAFFIC_EXTENSION,
    ];
    for policy in kinds.into_iter().flat_map(|kind| world.all(kind)) {
        let selector = labels(&policy.spec()["selector"]["matchLabels"]);
        let mesh_wide = policy.namespace() == world.root;
        if selector.is_empty() {
            continue;
        }
        for pod in world.workloads() {
            let in_reach = mesh_wide || pod.namespace() == policy.namespace();
            let gateway = pod.labels.get("gateway.networking.k8s.io/gateway-name");
            if let Some(gateway) = gateway.filter(|_| in_reach && pod.matches(&selector)) {
                let name = format!("{}/{gateway}", pod.namespace());
                let message = catalogue::INEFFECTIVE_SELECTOR;
                report.say(message, &policy.reference, "spec.selector", &[&name]);
            }
        }
    }
}
