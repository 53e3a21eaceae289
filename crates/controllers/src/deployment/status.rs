//! The Deployment's status: counts, and the conditions Available and Progressing.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::sets::Sets;
use super::sizes::Limits;
use crate::action::{Action, Outcome};
use crate::conditions::{self, Condition, Status, Times};
use crate::read;

#[derive(Clone, Copy, PartialEq)]
struct Counts {
    replicas: i64,
    updated: i64,
    ready: i64,
    available: i64,
}

pub fn update(deployment: &Arc<Value>, sets: &Sets, now: Timestamp, outcome: &mut Outcome) {
    let counts = Counts::of(sets);
    let before = Counts::reported(deployment);
    let mut list = read::list(deployment, "/status/conditions").to_vec();
    available(deployment, counts, &mut list, now);
    progressing(deployment, sets, counts, before, &mut list, now, outcome);
    let mut status = json!({
        "observedGeneration": read::generation(deployment),
        "replicas": counts.replicas,
        "updatedReplicas": counts.updated,
        "readyReplicas": counts.ready,
        "availableReplicas": counts.available,
        "unavailableReplicas": (total(sets) - counts.available).max(0),
        "conditions": list,
    });
    let collisions = read::int(deployment, "/status/collisionCount").unwrap_or_default();
    if let Some(status) = status.as_object_mut() {
        status.retain(|key, value| key == "observedGeneration" || value != &json!(0));
        if collisions > 0 {
            status.insert("collisionCount".to_owned(), json!(collisions));
        }
    }
    if let Some(changed) = read::with_status(deployment, status) {
        outcome.push(Action::UpdateStatus(changed));
    }
}

impl Counts {
    fn of(sets: &Sets) -> Counts {
        let sum = |field: &str| sets.all().filter_map(|set| read::int(set, field)).sum();
        Counts {
            replicas: sum("/status/replicas"),
            updated: sets.new.and_then(|s| read::int(s, "/status/replicas")).unwrap_or_default(),
            ready: sum("/status/readyReplicas"),
            available: sum("/status/availableReplicas"),
        }
    }

    fn reported(deployment: &Value) -> Counts {
        let field = |name: &str| read::int(deployment, name).unwrap_or_default();
        Counts {
            replicas: field("/status/replicas"),
            updated: field("/status/updatedReplicas"),
            ready: field("/status/readyReplicas"),
            available: field("/status/availableReplicas"),
        }
    }

    fn old(&self) -> i64 {
        self.replicas - self.updated
    }

    fn complete(&self, desired: i64) -> bool {
        self.updated == desired && self.replicas == desired && self.available == desired
    }

    fn nearer_than(&self, before: Counts) -> bool {
        self.updated > before.updated
            || self.old() < before.old()
            || self.ready > before.ready
            || self.available > before.available
    }
}

fn total(sets: &Sets) -> i64 {
    sets.all().map(|set| read::replicas(set)).sum()
}

fn available(deployment: &Value, counts: Counts, list: &mut Vec<Value>, now: Timestamp) {
    let limits = Limits::of(deployment);
    let recreate = read::text(deployment, "/spec/strategy/type") == "Recreate";
    let least = limits.desired - if recreate { 0 } else { limits.unavailable };
    let condition = if counts.available >= least {
        Condition {
            kind: "Available",
            status: Status::True,
            reason: "MinimumReplicasAvailable",
            message: "Deployment has minimum availability.",
        }
    } else {
        Condition {
            kind: "Available",
            status: Status::False,
            reason: "MinimumReplicasUnavailable",
            message: "Deployment does not have minimum availability.",
        }
    };
    conditions::set(list, &condition, Times::Update, now);
}

fn progressing(
    deployment: &Value,
    sets: &Sets,
    counts: Counts,
    before: Counts,
    list: &mut Vec<Value>,
    now: Timestamp,
    outcome: &mut Outcome,
) {
    const KIND: &str = "Progressing";
    let say = |list: &mut Vec<Value>, status, reason, message: &str| {
        let condition = Condition { kind: KIND, status, reason, message };
        conditions::set(list, &condition, Times::Update, now);
    };
    let reason = conditions::find(list, KIND).map(|c| read::text(c, "/reason").to_owned());
    let reason = reason.unwrap_or_default();
    if read::flag(deployment, "/spec/paused") {
        return say(list, Status::Unknown, "DeploymentPaused", "Deployment is paused");
    }
    if reason == "DeploymentPaused" {
        say(list, Status::True, "DeploymentResumed", "Deployment is resumed");
    }
    let Some(set) = sets.new else {
        if reason.is_empty() || reason == "NewReplicaSetAvailable" {
            say(list, Status::True, "ReplicaSetUpdated", "A new replica set is being created.");
        }
        return;
    };
    let name = read::name(set);
    if counts.complete(read::replicas(deployment)) {
        let message = format!("ReplicaSet \"{name}\" has successfully progressed.");
        return say(list, Status::True, "NewReplicaSetAvailable", &message);
    }
    if reason == "NewReplicaSetAvailable" && counts.old() == 0 {
        // Rolled out already; a pod that fails later, or a new size, is no roll-out.
        return;
    }
    let message = format!("ReplicaSet \"{name}\" is progressing.");
    if counts.nearer_than(before) || reason.is_empty() || reason == "NewReplicaSetAvailable" {
        say(list, Status::True, "ReplicaSetUpdated", &message);
        return conditions::touch(list, KIND, now);
    }
    let Some(seconds) = read::int(deployment, "/spec/progressDeadlineSeconds") else { return };
    match deadline(list, seconds) {
        Some(at) if at > now => outcome.look_again(at),
        Some(_) => {
            let message = format!("ReplicaSet \"{name}\" has timed out progressing.");
            say(list, Status::False, "ProgressDeadlineExceeded", &message);
        }
        None => {}
    }
}

fn deadline(list: &[Value], seconds: i64) -> Option<Timestamp> {
    let condition = conditions::find(list, "Progressing")?;
    let since = read::time(condition, "/lastUpdateTime")?;
    since.checked_add(SignedDuration::from_secs(seconds)).ok()
}
