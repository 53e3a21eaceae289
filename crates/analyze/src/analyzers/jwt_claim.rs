//! Routing by JWT claims needs a RequestAuthentication on the gateway's pods: without one nobody
//! checked the token, and there are no claims.

use super::Analyzer;
use super::virtual_service_gateway::find;
use crate::catalogue;
use crate::kinds;
use crate::pods::PodView;
use crate::report::Report;
use crate::world::{World, labels};
use api::VirtualService;
use registry::Item;

pub const ANALYZER: Analyzer = Analyzer {
    name: "virtualservice.JWTClaimRouteAnalyzer",
    about: "VirtualServices that route by JWT claims have a RequestAuthentication at their gateways",
    alone: false,
    run,
};

const CLAIMS: &str = "@request.auth.claims";

fn run(world: &World, report: &mut Report) {
    for item in world.snapshot.virtual_services.iter() {
        let Some((path, key)) = claim(&item.spec) else { continue };
        for written in &item.spec.gateways {
            let Some(gateway) = find(world, written, item.namespace()) else { continue };
            let selected = world.workloads().filter(|p| p.matches(&gateway.spec.selector));
            for pod in selected.filter(|p| !is_authenticated(world, p)) {
                say(item, &path, key, &gateway.object.to_string(), &pod, report);
            }
        }
    }
}

fn say(
    item: &Item<VirtualService>,
    path: &str,
    key: &str,
    gateway: &str,
    pod: &PodView<'_>,
    report: &mut Report,
) {
    let gateway = gateway.trim_start_matches("Gateway ");
    let arguments = [key, gateway, &pod.owner.full_name()];
    report.say(catalogue::JWT_CLAIM_WITHOUT_AUTHENTICATION, &item.object, path, &arguments);
}

/// The first match by a claim.
fn claim(spec: &VirtualService) -> Option<(String, &str)> {
    for (i, rule) in spec.http.iter().enumerate() {
        for (j, m) in rule.r#match.iter().enumerate() {
            for (field, headers) in
                [("headers", &m.headers), ("withoutHeaders", &m.without_headers)]
            {
                if let Some(key) = headers.keys().find(|k| k.starts_with(CLAIMS)) {
                    return Some((format!("spec.http[{i}].match[{j}].{field}[{key}]"), key));
                }
            }
        }
    }
    None
}

fn is_authenticated(world: &World, pod: &PodView<'_>) -> bool {
    world.all(kinds::REQUEST_AUTHENTICATION).any(|policy| {
        let here = policy.namespace() == pod.namespace() || policy.namespace() == world.root;
        here && pod.matches(&labels(&policy.spec()["selector"]["matchLabels"]))
    })
}
