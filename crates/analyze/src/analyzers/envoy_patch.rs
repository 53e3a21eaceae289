//! Patches of EnvoyFilters whose operation does nothing, or depends on what others did before.

use super::Analyzer;
use crate::catalogue;
use crate::kinds;
use crate::report::Report;
use crate::world::{Resource, World};
use serde_json::Value;

pub const ANALYZER: Analyzer = Analyzer {
    name: "envoyfilter.EnvoyPatchAnalyzer",
    about: "patches of EnvoyFilters do something, whatever the order they are applied in",
    alone: true,
    run,
};

fn run(world: &World, report: &mut Report) {
    // What patches for one proxy version only are about.
    let mut versioned: Vec<String> = Vec::new();
    for filter in world.all(kinds::ENVOY_FILTER) {
        let patches = filter.spec()["configPatches"].as_array().into_iter().flatten();
        for (index, patch) in patches.enumerate().filter(|(_, p)| p["patch"].is_object()) {
            check(filter, patch, &format!("spec.configPatches[{index}]"), &versioned, report);
            if patch["match"]["proxy"]["proxyVersion"].is_string() {
                versioned.push(subject(patch));
            }
        }
    }
}

fn check(filter: &Resource, patch: &Value, path: &str, versioned: &[String], report: &mut Report) {
    let apply_to = patch["applyTo"].as_str().unwrap_or_default();
    let to_routes = matches!(apply_to, "ROUTE_CONFIGURATION" | "HTTP_ROUTE");
    let to_filters = matches!(apply_to, "NETWORK_FILTER" | "HTTP_FILTER");
    let has_priority = filter.spec()["priority"].as_i64().unwrap_or(0) != 0;
    let message = match patch["patch"]["operation"].as_str().unwrap_or_default() {
        "ADD" if to_routes => catalogue::ADD_INCORRECT,
        "REMOVE" if to_routes => catalogue::REMOVE_INCORRECT,
        "REPLACE" if !to_filters => catalogue::REPLACE_INCORRECT,
        "REMOVE" | "REPLACE" | "INSERT_BEFORE" | "INSERT_AFTER" if !has_priority => {
            match versioned.contains(&subject(patch)) {
                true => catalogue::RELATIVE_WITH_VERSION,
                false => catalogue::RELATIVE_OPERATION,
            }
        }
        _ => return,
    };
    report.say(message, &filter.reference, format!("{path}.patch.operation"), &[]);
}

/// The name of the filter that a patch brings, else of the one that it is applied to.
fn subject(patch: &Value) -> String {
    let brought = patch["patch"]["value"]["name"].as_str();
    let at = &patch["match"]["listener"]["filterChain"]["filter"]["name"];
    brought.or(at.as_str()).unwrap_or_default().to_owned()
}
