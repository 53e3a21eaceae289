//! Job: runs pods until enough have succeeded, or too many have failed.
//! Files: `pods_of` (what its pods look like), `verdict` (counts, and whether it is over).

mod pods_of;
mod verdict;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::action::{Action, Outcome, Propagation, Severity};
use crate::conditions::{self, Condition, Times};
use crate::key::{Key, Resource};
use crate::world::World;
use crate::{pods, read};
use verdict::{Tally, Verdict};

pub fn reconcile(world: &World, key: &Key, now: Timestamp) -> Outcome {
    let Some(job) = world.get(key) else { return Outcome::default() };
    let mut outcome = Outcome::default();
    if read::deleting(job) {
        return outcome;
    }
    let owned: Vec<&Arc<Value>> = world.controlled(read::uid(job), &Resource::PODS).collect();
    let active: Vec<&Arc<Value>> = owned.iter().copied().filter(|p| pods::active(p)).collect();
    if let Some(finished_at) = verdict::finished_at(job) {
        outcome.actions.extend(active.iter().map(|pod| pods::delete(pod)));
        expire(job, finished_at, now, &mut outcome);
        return outcome;
    }
    let tally = Tally::of(job, &owned);
    let verdict = verdict::of(job, &tally, now, &mut outcome);
    status(job, &tally, verdict.as_ref(), now, &mut outcome);
    match verdict {
        Some(verdict) => {
            outcome.actions.extend(active.iter().map(|pod| pods::delete(pod)));
            let severity = if verdict.success { Severity::Normal } else { Severity::Warning };
            outcome.event(job, severity, verdict.reason, verdict.message.to_owned());
        }
        None => run(job, &tally, &active, &owned, now, &mut outcome),
    }
    outcome
}

/// Brings the number of active pods to what is still needed.
fn run(
    job: &Arc<Value>,
    tally: &Tally,
    active: &[&Arc<Value>],
    owned: &[&Arc<Value>],
    now: Timestamp,
    outcome: &mut Outcome,
) {
    let parallelism = read::int(job, "/spec/parallelism").unwrap_or(1).max(0);
    let wanted = if read::flag(job, "/spec/suspend") {
        0
    } else {
        match read::int(job, "/spec/completions") {
            Some(completions) => parallelism.min(completions - tally.succeeded),
            // A work queue: once one has succeeded, no new ones start.
            None if tally.succeeded > 0 => i64::try_from(active.len()).unwrap_or(parallelism),
            None => parallelism,
        }
    };
    let wanted = usize::try_from(wanted).unwrap_or_default();
    if active.len() > wanted {
        let mut active = active.to_vec();
        active.sort_by(|a, b| pods::by_deletion_preference(a, b));
        let excess = &active[..active.len() - wanted];
        return outcome.actions.extend(excess.iter().map(|pod| pods::delete(pod)));
    }
    if active.len() == wanted {
        return;
    }
    if let Some(at) = verdict::back_off(tally, owned).filter(|at| *at > now) {
        return outcome.look_again(at);
    }
    let missing = wanted - active.len();
    let new = pods_of::new(job, owned, missing);
    outcome.actions.extend(new.into_iter().map(|pod| pods::create(job, pod)));
}

fn status(
    job: &Arc<Value>,
    tally: &Tally,
    verdict: Option<&Verdict>,
    now: Timestamp,
    outcome: &mut Outcome,
) {
    let mut list = read::list(job, "/status/conditions").to_vec();
    let suspended = read::flag(job, "/spec/suspend");
    if suspended || conditions::find(&list, "Suspended").is_some() {
        let reason = if suspended { "JobSuspended" } else { "JobResumed" };
        let status = suspended.into();
        let condition = Condition { kind: "Suspended", status, reason, message: "" };
        conditions::set(&mut list, &condition, Times::Probe, now);
    }
    let mut status = json!({ "ready": tally.ready, "terminating": 0 });
    let started = read::text(job, "/status/startTime");
    if !started.is_empty() {
        status["startTime"] = json!(started);
    } else if !suspended {
        status["startTime"] = json!(read::stamp(now));
    }
    for (field, count) in
        [("active", tally.active), ("succeeded", tally.succeeded), ("failed", tally.failed)]
    {
        if count > 0 {
            status[field] = json!(count);
        }
    }
    if let Some(verdict) = verdict {
        status["active"] = json!(0);
        let kind = if verdict.success { "Complete" } else { "Failed" };
        let condition = Condition {
            kind,
            status: true.into(),
            reason: verdict.reason,
            message: verdict.message,
        };
        conditions::set(&mut list, &condition, Times::Probe, now);
        if verdict.success {
            status["completionTime"] = json!(read::stamp(now));
        }
    }
    if !list.is_empty() {
        status["conditions"] = json!(list);
    }
    if let Some(changed) = read::with_status(job, status) {
        outcome.push(Action::UpdateStatus(changed));
    }
}

/// `ttlSecondsAfterFinished`.
fn expire(job: &Value, finished_at: Timestamp, now: Timestamp, outcome: &mut Outcome) {
    let Some(ttl) = read::int(job, "/spec/ttlSecondsAfterFinished") else { return };
    match finished_at.checked_add(SignedDuration::from_secs(ttl)) {
        Ok(at) if at > now => outcome.look_again(at),
        _ => outcome.push(Action::Delete {
            key: Key::of(&Resource::JOBS, job),
            uid: read::uid(job).to_owned(),
            grace_seconds: None,
            propagation: Propagation::Foreground,
        }),
    }
}

#[cfg(test)]
mod tests;
