//! DestinationRules are for hosts that exist.

use super::Analyzer;
use crate::catalogue;
use crate::kinds;
use crate::report::Report;
use crate::world::World;

pub const ANALYZER: Analyzer = Analyzer {
    name: "destinationrule.UnknownDestinationRuleHostAnalyzer",
    about: "hosts of DestinationRules are hosts of services",
    alone: false,
    run,
};

fn run(world: &World, report: &mut Report) {
    for rule in world.all(kinds::DESTINATION_RULE) {
        let written = rule.spec()["host"].as_str().unwrap_or_default();
        let Some(host) = world.resolve(written, rule.namespace()) else { continue };
        let known = match host.is_wildcard() {
            true => world.snapshot.services.iter().any(|s| host.overlaps(&s.host)),
            false => world.service(&host, rule.namespace()).is_some(),
        };
        if !known {
            report.say(catalogue::UNKNOWN_RULE_HOST, &rule.reference, "spec.host", &[written]);
        }
    }
}
