//! Whether those that a request is sent to let it in: their AuthorizationPolicies and PeerAuthentications, judged
//! for who sends it and for the head as it arrives.

use super::Given;
use crate::cli::authz::{account, as_json, listening};
use analyze::PodView;
use explain::{Explanation, Outcome, Permission, Pick, Side, Wish, Workload};
use registry::Snapshot;
use serde_json::Value;
use std::fmt::Write;

/// One workload's answer.
pub struct Entry {
    workload: String,
    told: Permission,
}

/// Nothing where nobody in particular asks, or where the request is sent to nobody that has policies.
pub fn entries(given: &Given, side: &Side, told: &Explanation) -> Vec<Entry> {
    let (Side::Client(sender) | Side::Gateway(sender)) = side else { return Vec::new() };
    let Some(sender) = pod_of(given, sender) else { return Vec::new() };
    let mut all: Vec<Entry> = Vec::new();
    for pick in told.verdict.picks().iter().filter(|p| !p.missing) {
        for entry in of_pick(given, &sender, pick, told) {
            if !all.iter().any(|e| e.workload == entry.workload && e.told == entry.told) {
                all.push(entry);
            }
        }
    }
    all
}

fn pod_of<'a>(given: &'a Given, of: &Workload) -> Option<PodView<'a>> {
    let is_it = |p: &PodView<'_>| p.owner.name() == of.name && p.namespace() == of.namespace;
    given.world.workloads().find(is_it)
}

/// `outbound|PORT|SUBSET|HOST`
fn of_pick(given: &Given, sender: &PodView<'_>, pick: &Pick, told: &Explanation) -> Vec<Entry> {
    let parts: Vec<&str> = pick.cluster.name.split('|').collect();
    let ["outbound", port, _, host] = parts[..] else { return Vec::new() };
    let world = &given.world.snapshot;
    let service = explain::service(world, host, &given.namespace);
    let port = service.and_then(|s| Some((s, s.port(port.parse().ok()?)?)));
    let Some((service, port)) = port else { return Vec::new() };
    let behind = given.behind(service).filter(|p| pick.endpoints.is_empty() || chosen(pick, p));
    let entry = |pod: PodView<'_>| {
        let sent = told.sent.as_ref();
        let wish = Wish {
            client: pick.mutual.then(|| account(given, sender)),
            client_ip: address(sender),
            method: sent.map(|s| s.method.clone()).unwrap_or_default(),
            authority: sent.map(|s| s.authority.clone()).unwrap_or_default(),
            path: sent.map(|s| s.path.clone()).unwrap_or_default(),
            headers: sent.map(|s| s.fields.clone()).unwrap_or_default(),
            protocol: port.protocol,
            address: address(&pod),
            port: listening(&pod, port)?,
        };
        Some(Entry::of(world, &pod, &wish))
    };
    behind.filter_map(entry).collect()
}

/// Where endpoints are known, those behind them: a subset has some only.
fn chosen(pick: &Pick, pod: &PodView<'_>) -> bool {
    let name = format!("{}.{}", pod.owner.name(), pod.namespace());
    pick.endpoints.iter().all(|e| e.workload.is_none())
        || pick.endpoints.iter().any(|e| e.workload.as_ref() == Some(&name))
}

fn address(pod: &PodView<'_>) -> Option<std::net::IpAddr> {
    pod.owner.value["status"]["podIP"].as_str()?.parse().ok()
}

impl Entry {
    pub fn of(world: &Snapshot, pod: &PodView<'_>, wish: &Wish) -> Entry {
        let told = explain::access(world, pod.namespace(), &pod.labels, wish);
        Entry { workload: pod.owner.name().to_owned(), told }
    }

    pub fn text(&self, given: &Given) -> String {
        let Permission { outcome, why, rule, nearest } = &self.told;
        let said = match outcome {
            Outcome::Allowed => "lets it in",
            Outcome::Denied => "refuses it",
            Outcome::Unknown => "cannot be told about",
        };
        let rule = rule.as_ref().map(|(_, origin)| given.shown("   ", origin)).unwrap_or_default();
        let mut out = format!("{:<14}{} {said}: {why}{rule}\n", "access", self.workload);
        if let Some((name, origin, missed)) = nearest {
            let place = given.shown("   ", origin);
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{:<14}{name}: {missed}{place}", "  nearest");
        }
        out
    }

    pub fn json(&self, given: &Given) -> Value {
        as_json(given, &self.workload, &self.told)
    }
}
