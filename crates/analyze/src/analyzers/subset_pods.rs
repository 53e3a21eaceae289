//! Subsets of DestinationRules select pods of their service.

use super::Analyzer;
use crate::catalogue;
use crate::kinds;
use crate::report::Report;
use crate::world::{Resource, World, labels};

pub const ANALYZER: Analyzer = Analyzer {
    name: "destinationrule.PodNotSelectedAnalyzer",
    about: "subsets of DestinationRules select pods",
    alone: false,
    run,
};

fn run(world: &World, report: &mut Report) {
    for rule in world.all(kinds::DESTINATION_RULE) {
        let host = rule.spec()["host"].as_str().unwrap_or_default();
        let Some(host) = world.resolve(host, rule.namespace()) else { continue };
        let service = world.service(&host, rule.namespace());
        // Of services without a selector, and of ServiceEntries, others bring the endpoints.
        let Some(service) = service.filter(|s| s.kubernetes && !s.selector.is_empty()) else {
            continue;
        };
        let pods: Vec<_> = world
            .workloads()
            .filter(|p| p.namespace() == &*service.namespace && p.matches(&service.selector))
            .collect();
        for (index, name, wanted) in subsets(rule) {
            if !pods.iter().any(|p| p.matches(&wanted)) {
                let path = format!("spec.subsets[{index}]");
                report.say(catalogue::SUBSET_WITHOUT_PODS, &rule.reference, path, &[&name]);
            }
        }
    }
}

fn subsets(rule: &Resource) -> Vec<(usize, String, base::Labels)> {
    let all = rule.spec()["subsets"].as_array().into_iter().flatten().enumerate();
    let text = |v: &serde_json::Value| v.as_str().unwrap_or_default().to_owned();
    all.map(|(i, s)| (i, text(&s["name"]), labels(&s["labels"]))).collect()
}
