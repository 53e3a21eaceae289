//! Subsets that VirtualServices name exist in a DestinationRule of the host.

use super::Analyzer;
use crate::catalogue;
use crate::hosts::targets;
use crate::report::Report;
use crate::world::World;
use base::{Host, Labels};

pub const ANALYZER: Analyzer = Analyzer {
    name: "virtualservice.DestinationRuleAnalyzer",
    about: "subsets that VirtualServices name are defined in DestinationRules",
    alone: false,
    run,
};

fn run(world: &World, report: &mut Report) {
    for item in world.snapshot.virtual_services.iter() {
        for target in targets(&item.spec) {
            let Some(destination) = target.destination.filter(|d| !d.subset.is_empty()) else {
                continue;
            };
            let host = world.resolve(&destination.host, item.namespace());
            let defined = host.is_some_and(|h| {
                world.clients_of(item).iter().all(|c| has_subset(world, c, &h, &destination.subset))
            });
            if !defined {
                let wanted = format!("{}+{}", destination.host, destination.subset);
                let arguments = ["host+subset in destinationrule", wanted.as_str()];
                let path = format!("{}.subset", target.path);
                report.say(catalogue::NOT_FOUND, &item.object, path, &arguments);
            }
        }
    }
}

/// By the compiler's look-up: the rule that clients in `from` use for the host. Which clients a rule
/// with a workloadSelector is for is not known here: any of them may define the subset.
fn has_subset(world: &World, from: &str, host: &Host, subset: &str) -> bool {
    let snapshot = &world.snapshot;
    let namespace = world.service(host, from).map_or(from, |s| &s.namespace);
    let rule = snapshot.destination_rules.find(from, &Labels::new(), namespace, host);
    rule.is_some_and(|r| r.subset(subset).is_some()) || selective(world, from, host, subset)
}

fn selective(world: &World, from: &str, host: &Host, subset: &str) -> bool {
    world.all(crate::kinds::DESTINATION_RULE).any(|r| {
        let spec = r.spec();
        let names = spec["subsets"].as_array().into_iter().flatten();
        r.namespace() == from
            && spec.get("workloadSelector").is_some()
            && spec["host"].as_str().and_then(|h| world.resolve(h, from)).as_ref() == Some(host)
            && names.into_iter().any(|s| s["name"] == subset)
    })
}
