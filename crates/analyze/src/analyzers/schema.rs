//! What admission says of each object of the mesh's own kinds.

use super::Analyzer;
use crate::catalogue::{self, Message};
use crate::report::Report;
use crate::world::{Resource, World};
use base::{Finding, Level};

pub const ANALYZER: Analyzer = Analyzer {
    name: "schema.ValidationAnalyzer",
    about: "objects are what admission accepts",
    alone: false,
    run,
};

/// What validation finds, by object.
pub fn findings(world: &World) -> impl Iterator<Item = (&Resource, Finding)> {
    let own = world.everything().filter(|(kind, _)| kind.is_istio());
    own.flat_map(|(kind, r)| api::validate(kind.name, &r.value).into_iter().map(move |f| (r, f)))
}

fn run(world: &World, report: &mut Report) {
    for (resource, finding) in findings(world) {
        let about = &resource.reference;
        match Message::by_code(finding.code) {
            Some(message) if message == catalogue::DEPRECATED => {}
            Some(message) => report.quote(message, about, finding),
            None => {
                let message = match finding.level {
                    Level::Error => catalogue::SCHEMA_ERROR,
                    Level::Warning | Level::Info => catalogue::SCHEMA_WARNING,
                };
                let say = match finding.path.as_str() {
                    "" => finding.message,
                    path => format!("{path}: {}", finding.message),
                };
                report.say(message, about, finding.path, &[&say]);
            }
        }
    }
}
