//! AuthorizationPolicies select workloads, and name namespaces and providers that are there.

use super::Analyzer;
use crate::catalogue;
use crate::kinds;
use crate::pods::selector_text;
use crate::report::Report;
use crate::world::{Resource, World, labels};

pub const ANALYZER: Analyzer = Analyzer {
    name: "auth.AuthorizationPoliciesAnalyzer",
    about: "AuthorizationPolicies select workloads and name namespaces and providers that exist",
    alone: false,
    run,
};

fn run(world: &World, report: &mut Report) {
    for policy in world.all(kinds::AUTHORIZATION_POLICY) {
        let selector = labels(&policy.spec()["selector"]["matchLabels"]);
        let mesh_wide = policy.namespace() == world.root;
        let in_reach = |namespace: &str| mesh_wide || namespace == policy.namespace();
        let mut selected =
            world.workloads().filter(|p| in_reach(p.namespace()) && p.matches(&selector));
        if !selector.is_empty() && selected.next().is_none() {
            let arguments = [selector_text(&selector)];
            let path = "spec.selector.matchLabels";
            let message = catalogue::NO_MATCHING_WORKLOADS;
            report.say(message, &policy.reference, path, &[&arguments[0]]);
        }
        check_namespaces(world, policy, report);
        check_provider(world, policy, report);
    }
}

/// What nobody can be asked about is denied.
fn check_provider(world: &World, policy: &Resource, report: &mut Report) {
    let spec = policy.spec();
    let Some(name) = spec["provider"]["name"].as_str().filter(|_| spec["action"] == "CUSTOM")
    else {
        return;
    };
    let known = world.mesh_config().extension_providers.iter();
    if !known.filter(|p| p.authorizer().is_some()).any(|p| p.name == name) {
        let arguments = ["extensionProvider", name];
        report.say(catalogue::NOT_FOUND, &policy.reference, "spec.provider.name", &arguments);
    }
}

fn check_namespaces(world: &World, policy: &Resource, report: &mut Report) {
    // Files seldom hold the namespaces they are for: without any there is nothing to compare with.
    if world.all(kinds::NAMESPACE).next().is_none() {
        return;
    }
    let rules = policy.spec()["rules"].as_array().into_iter().flatten().enumerate();
    for (i, rule) in rules {
        for (j, from) in rule["from"].as_array().into_iter().flatten().enumerate() {
            let named = from["source"]["namespaces"].as_array().into_iter().flatten().enumerate();
            for (k, name) in named.filter_map(|(k, n)| Some((k, n.as_str()?))) {
                if !exists(world, name) {
                    let path = format!("spec.rules[{i}].from[{j}].source.namespaces[{k}]");
                    let arguments = ["namespace", name];
                    report.say(catalogue::NOT_FOUND, &policy.reference, path, &arguments);
                }
            }
        }
    }
}

/// By name, or by a name with `*` at its beginning or end.
fn exists(world: &World, pattern: &str) -> bool {
    world.all(kinds::NAMESPACE).any(|n| {
        match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
            (Some(end), _) => n.name().ends_with(end),
            (_, Some(start)) => n.name().starts_with(start),
            _ => n.name() == pattern,
        }
    })
}
