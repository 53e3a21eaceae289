//! Deprecated fields, as validation finds them.

use super::Analyzer;
use super::schema::findings;
use crate::catalogue;
use crate::report::Report;
use crate::world::World;

pub const ANALYZER: Analyzer = Analyzer {
    name: "deprecation.FieldAnalyzer",
    about: "no deprecated fields are used",
    alone: false,
    run,
};

fn run(world: &World, report: &mut Report) {
    for (resource, finding) in findings(world) {
        if finding.code == catalogue::DEPRECATED.code {
            let say = format!("{}: {}", finding.path, finding.message);
            report.say(catalogue::DEPRECATED, &resource.reference, finding.path, &[&say]);
        }
    }
}
