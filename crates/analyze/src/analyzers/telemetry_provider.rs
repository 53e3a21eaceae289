//! Access logging in a Telemetry goes to a provider, or nowhere.

use super::Analyzer;
use crate::catalogue;
use crate::kinds;
use crate::report::Report;
use crate::world::World;
use serde_json::Value;

pub const ANALYZER: Analyzer = Analyzer {
    name: "telemetry.ProviderAnalyzer",
    about: "access logging in Telemetries has a provider",
    alone: false,
    run,
};

fn run(world: &World, report: &mut Report) {
    let some = |v: &Value| v.as_array().is_some_and(|a| !a.is_empty());
    if some(&world.mesh["defaultProviders"]["accessLogging"]) {
        return;
    }
    for telemetry in world.all(kinds::TELEMETRY) {
        let logging = telemetry.spec()["accessLogging"].as_array().into_iter().flatten();
        for (index, rule) in logging.enumerate() {
            if rule["disabled"] != true && !some(&rule["providers"]) {
                let arguments = [telemetry.name(), telemetry.namespace()];
                let path = format!("spec.accessLogging[{index}]");
                let message = catalogue::TELEMETRY_WITHOUT_PROVIDER;
                report.say(message, &telemetry.reference, path, &arguments);
            }
        }
    }
}
