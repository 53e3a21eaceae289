//! Sidecars: of several for one workload or for one namespace only one counts, and in ambient mode none.

use super::Analyzer;
use super::selectors::Policies;
use crate::catalogue;
use crate::kinds;
use crate::report::Report;
use crate::world::World;
use base::Labels;

pub const ANALYZER: Analyzer = Analyzer {
    name: "sidecar.SelectorAnalyzer",
    about: "each workload obeys one Sidecar, and each Sidecar is obeyed",
    alone: false,
    run,
};

const SIDECARS: Policies = Policies {
    kind: kinds::SIDECAR,
    selector: &["workloadSelector", "labels"],
    conflict: catalogue::CONFLICTING_SIDECARS,
    several: catalogue::SIDECARS_WITHOUT_SELECTOR,
};

fn run(world: &World, report: &mut Report) {
    SIDECARS.check_selectors(world, report);
    SIDECARS.check_defaults(world, report);
    for sidecar in world.all(kinds::SIDECAR) {
        let (path, reason) = match SIDECARS.selector_of(sidecar) {
            None if is_ambient(world, sidecar.namespace()) => {
                ("spec", "the namespace is in ambient mode, whose workloads have no sidecar")
            }
            Some(selector) if selects_ambient(world, sidecar.namespace(), &selector) => (
                "spec.workloadSelector",
                "it selects workloads in ambient mode, which have no sidecar",
            ),
            _ => continue,
        };
        report.say(catalogue::INEFFECTIVE_POLICY, &sidecar.reference, path, &[reason]);
    }
}

fn is_ambient(world: &World, namespace: &str) -> bool {
    let labels = world.namespace_labels(namespace).unwrap_or_default();
    let is = |key: &str, value: &str| labels.get(key).is_some_and(|v| v == value);
    is("istio.io/dataplane-mode", "ambient")
        && !is("istio-injection", "enabled")
        && !labels.contains_key("istio.io/rev")
}

fn selects_ambient(world: &World, namespace: &str, selector: &Labels) -> bool {
    world.pods().any(|p| p.namespace() == namespace && p.matches(selector) && p.is_ambient())
}
