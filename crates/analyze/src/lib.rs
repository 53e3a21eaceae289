//! What would go wrong: pure functions from objects, and from the Snapshot that the control plane
//! compiles them from, to findings with Istio's codes. One file for each analyzer; [`ALL`] is the table
//! of them. `lateen analyze` reads objects from files or a cluster and prints what is said here.

mod analyzers;
pub mod catalogue;
mod defaults;
mod hosts;
pub mod kinds;
mod output;
mod pods;
mod report;
mod source;
mod world;

pub use analyzers::{ALL, Analyzer};
pub use defaults::installed;
pub use output::{Entry, Place, as_json, as_log, as_sarif, as_yaml};
pub use pods::PodView;
pub use report::{Filter, Report, Suppression, worst};
pub use source::{Document, Lines, Read, read};
pub use world::{Resource, Settings, World};

use base::Finding;

/// All that these analyzers have to say about the world, the worst first.
pub fn analyze<'a>(
    world: &World,
    analyzers: impl IntoIterator<Item = &'a Analyzer>,
) -> Vec<Finding> {
    let mut report = Report::default();
    for analyzer in analyzers {
        (analyzer.run)(world, &mut report);
    }
    report.into_findings()
}

/// What admission may say of one object beside what validation does.
pub fn admission(object: &serde_json::Value) -> Vec<Finding> {
    let world = World::new([object.clone()], &Settings::default());
    let findings = analyze(&world, ALL.iter().filter(|a| a.alone));
    Filter::default().apply(&world, findings)
}
