//! What users read on their objects: whether every proxy has it, what it waits for, what is wrong
//! with it. Written only when it changes.

mod balancers;

use crate::ads::{Ads, Applied};
use crate::world::{Age, World, resource_of};
use api::Kind;
use base::{Finding, Level, ObjectRef};
use k8s::Client;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use tokio::sync::watch;

/// The kinds whose objects carry a status.
const KINDS: [Kind; 7] = [
    Kind::VirtualService,
    Kind::DestinationRule,
    Kind::Gateway,
    Kind::EnvoyFilter,
    Kind::AuthorizationPolicy,
    Kind::RequestAuthentication,
    Kind::PeerAuthentication,
];
/// Churn is gathered before it is written.
const PAUSE: Duration = Duration::from_millis(500);

/// Keeps the status of all objects right, for ever.
pub(crate) async fn write(client: Client, mut worlds: watch::Receiver<Option<World>>, ads: Ads) {
    let mut changes = ads.changes();
    let mut written: HashMap<ObjectRef, Value> = HashMap::new();
    loop {
        tokio::select! {
            changed = worlds.changed() => if changed.is_err() { return },
            changed = changes.changed() => if changed.is_err() { return },
        }
        tokio::time::sleep(PAUSE).await;
        let Some(world) = worlds.borrow_and_update().clone() else { continue };
        changes.borrow_and_update();
        let mut wanted = statuses(&world, &ads.findings(), &ads.standings());
        wanted.extend(balancers::wanted(&world));
        written.retain(|about, _| wanted.contains_key(about));
        for (about, status) in wanted {
            if written.get(&about) == Some(&status) {
                continue;
            }
            match put(&client, &about, &status).await {
                Ok(()) => drop(written.insert(about, status)),
                Err(error) => tracing::debug!(%error, "a status was not written"),
            }
        }
    }
}

async fn put(client: &Client, about: &ObjectRef, status: &Value) -> Result<(), k8s::Error> {
    let mut kinds = KINDS.into_iter().chain([Kind::Ingress]);
    let Some(kind) = kinds.find(|k| k.name() == about.kind) else { return Ok(()) };
    let patch = json!({"status": status});
    let namespace = Some(about.namespace.as_str());
    let resource = resource_of(kind);
    match client.merge_patch(&resource, namespace, &about.name, Some("status"), &patch).await {
        Err(e) if !e.is_not_found() => Err(e),
        _ => Ok(()),
    }
}

/// The status of every object that has one.
fn statuses(
    world: &World,
    compiled: &HashMap<ObjectRef, Vec<Finding>>,
    standings: &[Applied],
) -> BTreeMap<ObjectRef, Value> {
    let carries = |about: &ObjectRef| KINDS.iter().any(|k| k.name() == about.kind);
    let of = |(about, age): (&ObjectRef, &Age)| {
        let said = [world.findings.get(about), compiled.get(about)];
        let findings: Vec<Finding> = said.into_iter().flatten().flatten().cloned().collect();
        (about.clone(), status(*age, &findings, standings))
    };
    world.facts.objects.iter().filter(|(about, _)| carries(about)).map(of).collect()
}

fn status(age: Age, findings: &[Finding], standings: &[Applied]) -> Value {
    let all = standings.len();
    let have = standings.iter().filter(|s| s.acked >= age.since).count();
    let waits = standings.iter().find(|s| s.told < age.since && !s.waits_for.is_empty());
    let mut message = format!("applied to {have} of {all} proxies");
    if let Some(waits) = waits {
        message.push_str(&format!("; waits for {}", waits.waits_for.join(", ")));
    }
    let errors: Vec<&Finding> = findings.iter().filter(|f| f.level == Level::Error).collect();
    let accepted = if errors.is_empty() { "True" } else { "False" };
    let why: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let done = if have == all { "True" } else { "False" };
    let messages: Vec<Value> = findings
        .iter()
        .map(|f| {
            json!({"type": {"code": f.code}, "level": format!("{:?}", f.level),
            "documentationUrl": "", "message": f.to_string()})
        })
        .collect();
    json!({
        "observedGeneration": age.generation,
        "conditions": [
            {"type": "Accepted", "status": accepted, "message": why.join("; ")},
            {"type": "Reconciled", "status": done, "message": message}],
        "validationMessages": messages})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(told: u64, acked: u64, waits_for: &[&str]) -> Applied {
        let waits_for = waits_for.iter().map(|w| (*w).to_owned()).collect();
        Applied { told, acked, waits_for }
    }

    fn message(since: u64, standings: &[Applied]) -> (String, String) {
        let status = status(Age { generation: 1, since }, &[], standings);
        let done = &status["conditions"][1];
        (done["status"].as_str().unwrap().into(), done["message"].as_str().unwrap().into())
    }

    #[test]
    fn a_status_counts_the_proxies_that_have_it() {
        let mixed = [standing(7, 7, &[]), standing(7, 3, &[]), standing(9, 9, &[])];
        assert_eq!(message(7, &mixed), ("False".into(), "applied to 2 of 3 proxies".into()));
        assert_eq!(message(3, &mixed), ("True".into(), "applied to 3 of 3 proxies".into()));
    }

    #[test]
    fn a_held_change_says_what_it_waits_for() {
        let held = [standing(3, 3, &["reviews.default.svc.cluster.local subset v4"])];
        assert_eq!(
            message(7, &held).1,
            "applied to 0 of 1 proxies; waits for reviews.default.svc.cluster.local subset v4"
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        let finding = Finding::error("spec.hosts", "is empty");
        let status = status(Age::default(), &[finding], &[]);
        assert_eq!(status["conditions"][0]["status"], "False");
        assert_eq!(status["validationMessages"][0]["message"], "spec.hosts: is empty");
    }
}
