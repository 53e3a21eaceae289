//! StatefulSet: pods with stable names, started in order and replaced from the last to the first.
//!
//! Pods below `partition` keep the version that they had. Claimed volumes are empty directories: the
//! embedded cluster has no persistent volumes, and says so in an Event.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::action::{Action, Outcome, Severity};
use crate::claim::{Claimed, claim};
use crate::key::{Key, Resource};
use crate::pods::{self, Availability};
use crate::selector::Selector;
use crate::world::World;
use crate::{read, revisions};

use revisions::HASH as REVISION;

type ByOrdinal<'a> = BTreeMap<i64, &'a Arc<Value>>;

pub fn reconcile(world: &World, key: &Key, now: Timestamp) -> Outcome {
    let Some(set) = world.get(key) else { return Outcome::default() };
    let selector = Selector::parse(set.pointer("/spec/selector"));
    let Claimed { owned, actions } = claim(world, set, &Resource::PODS, selector.as_ref());
    let mut outcome = Outcome::from(actions);
    let numbered = owned.into_iter().filter_map(|pod| Some((ordinal(set, pod)?, pod)));
    let pods: ByOrdinal = numbered.collect();
    let present = revisions::of(set);
    let current = current_revision(set, &pods, &present.name);
    status(set, &pods, &present.name, current, now, &mut outcome);
    if !read::deleting(set) {
        revisions::record(world, set, &present, &[current], &mut outcome);
        let stays = revisions::template(world, set, current).map(|template| (current, template));
        let versions = Versions { new: &present.name, stays };
        step(set, &pods, &versions, now, &mut outcome);
    }
    outcome
}

/// `name-3` is pod number 3 of `name`.
fn ordinal(set: &Value, pod: &Value) -> Option<i64> {
    read::name(pod).strip_prefix(read::name(set))?.strip_prefix('-')?.parse().ok()
}

/// The version that a new pod gets: the new one, or below the partition the one that stays.
struct Versions<'a> {
    new: &'a str,
    stays: Option<(&'a str, &'a Value)>,
}

impl<'a> Versions<'a> {
    fn of_pod(&self, set: &'a Value, number: i64) -> (&'a str, &'a Value) {
        let new = (self.new, set.pointer("/spec/template").unwrap_or(&Value::Null));
        if number < partition(set) { self.stays.unwrap_or(new) } else { new }
    }
}

fn partition(set: &Value) -> i64 {
    read::int(set, "/spec/updateStrategy/rollingUpdate/partition").unwrap_or_default()
}

/// The version that a roll-out comes from; once it is complete, the present one.
fn current_revision<'a>(set: &'a Value, pods: &ByOrdinal, present: &'a str) -> &'a str {
    let before = read::text(set, "/status/currentRevision");
    let updated =
        |pod: &&Arc<Value>| pods::ready(pod) && read::label(pod, REVISION) == Some(present);
    let desired = usize::try_from(read::replicas(set)).unwrap_or_default();
    let complete = pods.len() == desired && pods.values().all(updated);
    if complete || before.is_empty() { present } else { before }
}

fn wanted(set: &Value) -> std::ops::Range<i64> {
    let start = read::int(set, "/spec/ordinals/start").unwrap_or_default();
    start..start + read::replicas(set)
}

/// One step towards the wanted state; in order, a step waits for the one before it.
fn step(
    set: &Arc<Value>,
    pods: &ByOrdinal,
    versions: &Versions,
    now: Timestamp,
    outcome: &mut Outcome,
) {
    let in_order = read::text(set, "/spec/podManagementPolicy") != "Parallel";
    let min_ready = read::int(set, "/spec/minReadySeconds").unwrap_or_default();
    let settled = |pod: &Value| {
        pods::active(pod) && pods::availability(pod, min_ready, now) == Availability::Available
    };
    for number in wanted(set) {
        match pods.get(&number) {
            None => create(set, number, versions, outcome),
            Some(pod) if pods::finished(pod) && !read::deleting(pod) => {
                outcome.push(pods::delete(pod));
            }
            Some(pod) if settled(pod) => continue,
            Some(_) => {}
        }
        if in_order {
            return;
        }
    }
    let range = wanted(set);
    let excess = pods.iter().rev().filter(|(number, _)| !range.contains(number));
    for (_, pod) in excess {
        if !read::deleting(pod) {
            outcome.push(pods::delete(pod));
            let message = format!("delete Pod {} successful", read::name(pod));
            outcome.event(set, Severity::Normal, "SuccessfulDelete", message);
        }
        if in_order {
            return;
        }
    }
    if read::text(set, "/spec/updateStrategy/type") != "OnDelete" {
        replace(set, pods, versions.new, settled, outcome);
    }
}

fn replace(
    set: &Value,
    pods: &ByOrdinal,
    revision: &str,
    settled: impl Fn(&Value) -> bool,
    outcome: &mut Outcome,
) {
    let range = wanted(set);
    for number in (range.start.max(partition(set))..range.end).rev() {
        let Some(pod) = pods.get(&number) else { return };
        if read::deleting(pod) {
            return;
        }
        if read::label(pod, REVISION) != Some(revision) {
            return outcome.push(pods::delete(pod));
        }
        if !settled(pod) {
            return;
        }
    }
}

fn create(set: &Arc<Value>, number: i64, versions: &Versions, outcome: &mut Outcome) {
    let (revision, template) = versions.of_pod(set, number);
    let mut pod = pods::from_template(set, template);
    let name = format!("{}-{number}", read::name(set));
    pod["metadata"]["name"] = json!(name);
    let labels = &mut pod["metadata"]["labels"];
    labels["statefulset.kubernetes.io/pod-name"] = json!(name);
    labels["apps.kubernetes.io/pod-index"] = json!(number.to_string());
    labels[REVISION] = json!(revision);
    pod["spec"]["hostname"] = json!(name);
    let service = read::text(set, "/spec/serviceName");
    if !service.is_empty() {
        pod["spec"]["subdomain"] = json!(service);
    }
    let claims = read::list(set, "/spec/volumeClaimTemplates");
    if !claims.is_empty() {
        let mut volumes = read::list(&pod, "/spec/volumes").to_vec();
        volumes.extend(claims.iter().map(|c| json!({"name": read::name(c), "emptyDir": {}})));
        pod["spec"]["volumes"] = json!(volumes);
        let message = format!(
            "volumes of Pod {name} are empty directories: there are no persistent volumes here, their content goes with the pod"
        );
        outcome.event(set, Severity::Warning, "NotPersistent", message);
    }
    outcome.push(pods::create(set, pod));
}

fn status(
    set: &Value,
    pods: &ByOrdinal,
    revision: &str,
    current: &str,
    now: Timestamp,
    outcome: &mut Outcome,
) {
    let min_ready = read::int(set, "/spec/minReadySeconds").unwrap_or_default();
    let live: Vec<&Arc<Value>> = pods.values().copied().filter(|p| !pods::finished(p)).collect();
    let ready = live.iter().filter(|pod| pods::ready(pod)).count();
    let mut available = 0;
    for pod in &live {
        match pods::availability(pod, min_ready, now) {
            Availability::Available => available += 1,
            Availability::At(when) => outcome.look_again(when),
            Availability::No => {}
        }
    }
    let updated = live.iter().filter(|p| read::label(p, REVISION) == Some(revision)).count();
    let of_current = live.iter().filter(|p| read::label(p, REVISION) == Some(current)).count();
    let status = json!({
        "observedGeneration": read::generation(set),
        "replicas": live.len(),
        "readyReplicas": ready,
        "availableReplicas": available,
        "currentReplicas": of_current,
        "updatedReplicas": updated,
        "currentRevision": current,
        "updateRevision": revision,
        "collisionCount": 0,
    });
    if let Some(changed) = read::with_status(set, status) {
        outcome.push(Action::UpdateStatus(changed));
    }
}

#[cfg(test)]
mod tests;
