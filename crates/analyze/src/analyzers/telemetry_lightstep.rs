//! The tracing provider Lightstep is on its way out.

use super::Analyzer;
use crate::catalogue;
use crate::kinds;
use crate::report::Report;
use crate::world::World;

pub const ANALYZER: Analyzer = Analyzer {
    name: "telemetry.LightstepAnalyzer",
    about: "no Telemetry sends to the deprecated provider Lightstep",
    alone: false,
    run,
};

fn run(world: &World, report: &mut Report) {
    let known = world.mesh["extensionProviders"].as_array().into_iter().flatten();
    let deprecated: Vec<&str> =
        known.filter(|p| p.get("lightstep").is_some()).filter_map(|p| p["name"].as_str()).collect();
    for telemetry in world.all(kinds::TELEMETRY) {
        let tracing = telemetry.spec()["tracing"].as_array().into_iter().flatten().enumerate();
        for (i, rule) in tracing {
            let providers = rule["providers"].as_array().into_iter().flatten().enumerate();
            for (j, provider) in providers {
                let name = provider["name"].as_str().unwrap_or_default();
                if deprecated.contains(&name) {
                    let say = format!("provider {name} is Lightstep's; send with opentelemetry");
                    let path = format!("spec.tracing[{i}].providers[{j}].name");
                    report.say(catalogue::DEPRECATED, &telemetry.reference, path, &[&say]);
                }
            }
        }
    }
}
