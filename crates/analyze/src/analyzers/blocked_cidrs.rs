//! A control plane that fetches key sets from wherever RequestAuthentications say.

use super::Analyzer;
use crate::catalogue;
use crate::kinds;
use crate::report::Report;
use crate::world::{Resource, World};

pub const ANALYZER: Analyzer = Analyzer {
    name: "authn.BlockedCIDRsAnalyzer",
    about: "the control plane is told which addresses key sets may not come from",
    alone: false,
    run,
};

fn run(world: &World, report: &mut Report) {
    let fetched = |r: &&Resource| {
        let mut rules = r.spec()["jwtRules"].as_array().into_iter().flatten();
        rules.any(|rule| rule["jwksUri"].is_string())
    };
    let names: Vec<String> =
        world.all(kinds::REQUEST_AUTHENTICATION).filter(fetched).map(Resource::full_name).collect();
    if names.is_empty() {
        return;
    }
    for deployment in world.all(kinds::DEPLOYMENT).filter(|d| is_control_plane(d)) {
        if !is_restricted(deployment) {
            let (count, names) = (names.len().to_string(), names.join(", "));
            let path = "spec.template.spec.containers";
            let message = catalogue::JWKS_UNRESTRICTED;
            report.say(message, &deployment.reference, path, &[&count, &names]);
        }
    }
}

fn is_control_plane(deployment: &Resource) -> bool {
    deployment.labels().get("app").is_some_and(|app| app == "istiod")
}

fn is_restricted(deployment: &Resource) -> bool {
    let containers = deployment.spec()["template"]["spec"]["containers"].as_array();
    let mut env = containers.into_iter().flatten().flat_map(|c| c["env"].as_array()).flatten();
    env.any(|e| {
        e["name"] == "BLOCKED_CIDRS_IN_JWKS_URIS"
            && (e.get("valueFrom").is_some() || e["value"].as_str().is_some_and(|v| !v.is_empty()))
    })
}
