//! ReplicaSet and ReplicationController: as many active pods as `spec.replicas` says.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::action::{Action, Outcome, Severity};
use crate::claim::{Claimed, claim};
use crate::key::{Key, Resource};
use crate::pods::{self, Availability};
use crate::read;
use crate::selector::Selector;
use crate::world::World;

/// Pods created in one reconciliation; the rest follow in the next.
const BURST: usize = 100;

pub fn reconcile(world: &World, key: &Key, now: Timestamp) -> Outcome {
    let Some(set) = world.get(key) else { return Outcome::default() };
    let selector = Selector::of(&key.resource, set);
    let Claimed { owned, actions } = claim(world, set, &Resource::PODS, selector.as_ref());
    let mut outcome = Outcome::from(actions);
    let mut active: Vec<&Arc<Value>> = owned.into_iter().filter(|p| pods::active(p)).collect();
    status(set, &active, now, &mut outcome);
    if !read::deleting(set) {
        scale(set, &mut active, &mut outcome);
    }
    outcome
}

fn scale(set: &Arc<Value>, active: &mut [&Arc<Value>], outcome: &mut Outcome) {
    let wanted = usize::try_from(read::replicas(set)).unwrap_or_default();
    if active.len() < wanted {
        let template = set.pointer("/spec/template").unwrap_or(&Value::Null);
        for _ in 0..(wanted - active.len()).min(BURST) {
            let mut pod = pods::from_template(set, template);
            pod["metadata"]["generateName"] = json!(pods::name_prefix(set));
            outcome.push(pods::create(set, pod));
        }
        return;
    }
    active.sort_by(|a, b| pods::by_deletion_preference(a, b));
    for pod in &active[..active.len() - wanted] {
        outcome.push(pods::delete(pod));
        let message = format!("Deleted pod: {}", read::name(pod));
        outcome.event(set, Severity::Normal, "SuccessfulDelete", message);
    }
}

fn status(set: &Value, active: &[&Arc<Value>], now: Timestamp, outcome: &mut Outcome) {
    let min_ready = read::int(set, "/spec/minReadySeconds").unwrap_or_default();
    let mut available = 0;
    for pod in active {
        match pods::availability(pod, min_ready, now) {
            Availability::Available => available += 1,
            Availability::At(when) => outcome.look_again(when),
            Availability::No => {}
        }
    }
    let labels = read::labels_at(set, "/spec/template/metadata/labels");
    let labelled = active
        .iter()
        .filter(|pod| labels.iter().all(|(k, v)| pod["metadata"]["labels"].get(k) == Some(v)));
    let mut status = json!({
        "replicas": active.len(),
        "fullyLabeledReplicas": labelled.count(),
        "readyReplicas": active.iter().filter(|p| pods::ready(p)).count(),
        "availableReplicas": available,
        "observedGeneration": read::generation(set),
    });
    let kept = read::list(set, "/status/conditions");
    if !kept.is_empty() {
        status["conditions"] = json!(kept);
    }
    if let Some(changed) = read::with_status(set, status) {
        outcome.push(Action::UpdateStatus(changed));
    }
}

#[cfg(test)]
mod tests;
