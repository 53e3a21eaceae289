//! Objects whose own status says that something does not hold.

use super::Analyzer;
use crate::catalogue;
use crate::report::Report;
use crate::world::World;

pub const ANALYZER: Analyzer = Analyzer {
    name: "conditions.ConditionAnalyzer",
    about: "conditions in the status of objects hold",
    alone: false,
    run,
};

/// Conditions that are good when they are true.
const GOOD: [&str; 7] = [
    "Accepted",
    "Programmed",
    "ResolvedRefs",
    "Reconciled",
    "Healthy",
    "istio.io/WaypointBound",
    "WaypointAccepted",
];

fn run(world: &World, report: &mut Report) {
    let ours = |group: &str| group.ends_with("istio.io") || group == "gateway.networking.k8s.io";
    for (kind, resource) in world.everything() {
        let conditions = resource.value["status"]["conditions"].as_array();
        for (index, condition) in conditions.into_iter().flatten().enumerate() {
            let text = |key: &str| condition[key].as_str().unwrap_or_default();
            let bad = GOOD.contains(&text("type")) && text("status") == "False";
            if bad && (ours(kind.group) || kind.group.is_empty()) {
                let arguments = [text("type"), text("reason"), text("message")];
                let path = format!("status.conditions[{index}]");
                let message = catalogue::NEGATIVE_CONDITION;
                report.say(message, &resource.reference, path, &arguments);
            }
        }
    }
}
