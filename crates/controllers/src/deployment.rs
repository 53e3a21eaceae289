//! Deployment: one ReplicaSet per version of the pod template; moves pods from the old ones to the
//! new one as the strategy allows. Files: `sizes` (the arithmetic), `sets` (which ReplicaSet is
//! which, and its revision), `status` (what `kubectl rollout status` and `kubectl wait` read).

mod sets;
mod sizes;
mod status;

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::action::{Action, Outcome, Propagation, Severity};
use crate::key::{Key, Resource};
use crate::pods::{self, Availability};
use crate::read;
use crate::world::World;
use sets::Sets;
use sizes::{Limits, Size, proportional};

const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAXIMUM: &str = "deployment.kubernetes.io/max-replicas";
const REVISION: &str = "deployment.kubernetes.io/revision";

pub fn reconcile(world: &World, key: &Key, now: Timestamp) -> Outcome {
    let Some(deployment) = world.get(key) else { return Outcome::default() };
    let mut outcome = Outcome::default();
    let sets = Sets::of(world, deployment, &mut outcome);
    status::update(deployment, &sets, now, &mut outcome);
    if read::deleting(deployment) {
        return outcome;
    }
    let paused = read::flag(deployment, "/spec/paused");
    if paused || scaling(deployment, &sets) {
        scale(deployment, &sets, &mut outcome);
    } else if read::text(deployment, "/spec/strategy/type") == "Recreate" {
        recreate(world, deployment, &sets, &mut outcome);
    } else {
        roll(world, deployment, &sets, now, &mut outcome);
    }
    if !paused {
        prune(deployment, &sets, &mut outcome);
    }
    outcome
}

/// `spec.replicas` was changed since the ReplicaSets in use were last sized.
fn scaling(deployment: &Value, sets: &Sets) -> bool {
    let desired = read::replicas(deployment).to_string();
    let in_use = sets.all().filter(|set| read::replicas(set) > 0);
    in_use.filter_map(|set| read::annotation(set, DESIRED)).any(|at| at != desired)
}

/// Sizes the ReplicaSets for a new total without moving the roll-out.
fn scale(deployment: &Arc<Value>, sets: &Sets, outcome: &mut Outcome) {
    let limits = Limits::of(deployment);
    let in_use: Vec<&Arc<Value>> = sets.all().filter(|set| read::replicas(set) > 0).collect();
    let newest = sets.new.or_else(|| sets.old.last().copied());
    match (in_use.as_slice(), newest) {
        ([], Some(set)) => resize(deployment, set, limits.desired, outcome),
        ([set], _) => resize(deployment, set, limits.desired, outcome),
        (_, None) => {}
        (several, Some(_)) => {
            let rolling = read::text(deployment, "/spec/strategy/type") != "Recreate";
            let total =
                limits.desired + if rolling && limits.desired > 0 { limits.surge } else { 0 };
            let told: Vec<i64> = several.iter().map(|set| read::replicas(set)).collect();
            let was_total = several.iter().filter_map(|set| read::annotation(set, MAXIMUM));
            let was_total = was_total.filter_map(|text| text.parse::<i64>().ok()).max();
            // In proportion to the room that there was: a roll-out may not have used all of it.
            let sum: i64 = told.iter().sum();
            let target = was_total.filter(|was| *was > 0).map_or(total, |was| total * sum / was);
            for (set, size) in several.iter().zip(proportional(&told, target)) {
                resize(deployment, set, size, outcome);
            }
        }
    }
}

fn recreate(world: &World, deployment: &Arc<Value>, sets: &Sets, outcome: &mut Outcome) {
    for set in &sets.old {
        resize(deployment, set, 0, outcome);
    }
    let running = sets.old.iter().any(|set| {
        world.controlled(read::uid(set), &Resource::PODS).any(|pod| !pods::finished(pod))
    });
    if running || sets.old.iter().any(|set| read::replicas(set) > 0) {
        return;
    }
    match sets.new {
        Some(set) => {
            sets.keep_annotations(deployment, set, outcome);
            resize(deployment, set, read::replicas(deployment), outcome);
        }
        None => sets.create(deployment, read::replicas(deployment), outcome),
    }
}

fn roll(
    world: &World,
    deployment: &Arc<Value>,
    sets: &Sets,
    now: Timestamp,
    outcome: &mut Outcome,
) {
    let limits = Limits::of(deployment);
    let old: Vec<Size> = sets.old.iter().map(|set| size(world, set, now)).collect();
    let new = sets.new.map_or(Size { told: 0, available: 0 }, |set| size(world, set, now));
    let total = sets.all().map(|set| held(world, set)).sum();
    let next = limits.new_size(new, total);
    let Some(set) = sets.new else { return sets.create(deployment, next, outcome) };
    sets.keep_annotations(deployment, set, outcome);
    resize(deployment, set, next, outcome);
    if next != new.told {
        return;
    }
    for (set, size) in sets.old.iter().zip(limits.old_sizes(new, &old)) {
        resize(deployment, set, size, outcome);
    }
}

/// Counts pods rather than believe the ReplicaSet's status, which may be of a moment ago: of those
/// it has, it keeps the available ones first.
fn size(world: &World, set: &Value, now: Timestamp) -> Size {
    let told = read::replicas(set);
    let min_ready = read::int(set, "/spec/minReadySeconds").unwrap_or_default();
    let pods = world.controlled(read::uid(set), &Resource::PODS);
    let available = pods.filter(|pod| {
        pods::active(pod) && pods::availability(pod, min_ready, now) == Availability::Available
    });
    Size { told, available: i64::try_from(available.count()).unwrap_or(told).min(told) }
}

/// The pods a ReplicaSet has or was told to have: those it has yet to delete still count.
fn held(world: &World, set: &Value) -> i64 {
    let pods = world.controlled(read::uid(set), &Resource::PODS);
    let active = pods.filter(|pod| pods::active(pod)).count();
    read::replicas(set).max(i64::try_from(active).unwrap_or(i64::MAX))
}

/// Tells a ReplicaSet its size, and notes what total it was sized for.
fn resize(deployment: &Arc<Value>, set: &Value, to: i64, outcome: &mut Outcome) {
    let notes = size_notes(deployment);
    let from = read::replicas(set);
    let noted = notes.iter().all(|(key, value)| read::annotation(set, key) == Some(value));
    if from == to && (noted || from == 0) {
        return;
    }
    outcome.push(Action::MergePatch {
        key: Key::of(&Resource::REPLICA_SETS, set),
        subresource: None,
        patch: json!({
            "metadata": {
                "annotations": notes.into_iter().collect::<std::collections::BTreeMap<_, _>>(),
            },
            "spec": {"replicas": to},
        }),
    });
    if from != to {
        let direction = if to > from { "up" } else { "down" };
        let message =
            format!("Scaled {direction} replica set {} from {from} to {to}", read::name(set));
        outcome.event(deployment, Severity::Normal, "ScalingReplicaSet", message);
    }
}

fn size_notes(deployment: &Value) -> [(&'static str, String); 2] {
    let limits = Limits::of(deployment);
    let rolling = read::text(deployment, "/spec/strategy/type") != "Recreate";
    let maximum = limits.desired + if rolling { limits.surge } else { 0 };
    [(DESIRED, limits.desired.to_string()), (MAXIMUM, maximum.to_string())]
}

/// Deletes the oldest emptied ReplicaSets beyond `revisionHistoryLimit`.
fn prune(deployment: &Value, sets: &Sets, outcome: &mut Outcome) {
    let limit = read::int(deployment, "/spec/revisionHistoryLimit").unwrap_or(10).max(0);
    let keep = usize::try_from(limit).unwrap_or_default();
    let empty = |set: &&&Arc<Value>| {
        read::replicas(set) == 0
            && read::int(set, "/status/replicas").unwrap_or_default() == 0
            && read::int(set, "/status/observedGeneration") == Some(read::generation(set))
            && !read::deleting(set)
    };
    let mut unused: Vec<&Arc<Value>> = sets.old.iter().filter(empty).copied().collect();
    unused.sort_by_key(|set| sets::revision(set));
    let excess = sets.old.len().saturating_sub(keep).min(unused.len());
    for set in &unused[..excess] {
        outcome.push(Action::Delete {
            key: Key::of(&Resource::REPLICA_SETS, set),
            uid: read::uid(set).to_owned(),
            grace_seconds: None,
            propagation: Propagation::Background,
        });
    }
}
