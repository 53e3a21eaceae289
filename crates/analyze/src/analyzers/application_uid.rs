//! Applications that run as the sidecar's user escape it.

use super::Analyzer;
use crate::catalogue;
use crate::pods::PodView;
use crate::report::Report;
use crate::world::World;
use serde_json::Value;

pub const ANALYZER: Analyzer = Analyzer {
    name: "deployment.ApplicationUIDAnalyzer",
    about: "no application runs as the sidecar's user",
    alone: false,
    run,
};

const SIDECAR: u64 = 1337;

fn run(world: &World, report: &mut Report) {
    for pod in world.pods().chain(world.templates()) {
        if let Some(path) = offender(&pod) {
            report.say(catalogue::RESERVED_UID, &pod.owner.reference, path, &[]);
        }
    }
}

/// Where a container that is not the mesh's own gets that user.
fn offender(pod: &PodView<'_>) -> Option<String> {
    let user = |v: &Value| v["securityContext"]["runAsUser"].as_u64();
    let own = ["istio-proxy", "istio-init", "istio-validation"];
    let whole = user(pod.spec) == Some(SIDECAR);
    let apps = pod.containers().filter(|(_, c)| !own.iter().any(|name| c["name"] == *name));
    for (path, container) in apps {
        match user(container) {
            Some(SIDECAR) => return Some(format!("{path}.securityContext.runAsUser")),
            None if whole => return Some(format!("{}.securityContext.runAsUser", pod.path)),
            _ => {}
        }
    }
    None
}
