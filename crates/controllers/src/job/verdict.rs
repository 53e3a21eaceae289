//! How a Job stands: counts of its pods, whether that ends it, and how long to wait after failures.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::pods_of;
use crate::action::Outcome;
use crate::{conditions, pods, read};

pub struct Tally {
    pub active: i64,
    pub ready: i64,
    pub succeeded: i64,
    pub failed: i64,
    /// Container restarts inside active pods; with `restartPolicy: OnFailure` they count as failures.
    restarts: i64,
}

impl Tally {
    pub fn of(job: &Value, owned: &[&Arc<Value>]) -> Tally {
        let count = |test: &dyn Fn(&Value) -> bool| {
            i64::try_from(owned.iter().filter(|pod| test(pod)).count()).unwrap_or(i64::MAX)
        };
        let phase = |pod: &Value, phase: &str| read::text(pod, "/status/phase") == phase;
        let statuses = owned
            .iter()
            .filter(|pod| pods::active(pod))
            .flat_map(|pod| read::list(pod, "/status/containerStatuses"));
        // Finished pods may have been removed since they were counted.
        let before = |field: &str| read::int(job, field).unwrap_or_default();
        Tally {
            active: count(&|pod| pods::active(pod)),
            ready: count(&|pod| pods::active(pod) && pods::ready(pod)),
            succeeded: succeeded(job, owned).max(before("/status/succeeded")),
            failed: count(&|pod| phase(pod, "Failed")).max(before("/status/failed")),
            restarts: statuses.filter_map(|s| read::int(s, "/restartCount")).sum(),
        }
    }
}

fn succeeded(job: &Value, owned: &[&Arc<Value>]) -> i64 {
    let done = owned.iter().filter(|pod| read::text(pod, "/status/phase") == "Succeeded");
    let count = if read::text(job, "/spec/completionMode") == "Indexed" {
        let mut indices: Vec<i64> = done.filter_map(|pod| pods_of::index(pod)).collect();
        indices.sort_unstable();
        indices.dedup();
        indices.len()
    } else {
        done.count()
    };
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The end of a Job.
pub struct Verdict {
    pub success: bool,
    pub reason: &'static str,
    pub message: &'static str,
}

pub fn of(job: &Value, tally: &Tally, now: Timestamp, outcome: &mut Outcome) -> Option<Verdict> {
    let completions = read::int(job, "/spec/completions");
    let complete = match completions {
        Some(completions) => tally.succeeded >= completions,
        None => tally.succeeded > 0 && tally.active == 0,
    };
    if complete {
        let message = "Reached expected number of succeeded pods";
        return Some(Verdict { success: true, reason: "CompletionsReached", message });
    }
    let limit = read::int(job, "/spec/backoffLimit").unwrap_or(6);
    let on_failure = read::text(job, "/spec/template/spec/restartPolicy") == "OnFailure";
    let restarts = if on_failure { tally.restarts } else { 0 };
    if tally.failed + restarts > limit {
        let message = "Job has reached the specified backoff limit";
        return Some(Verdict { success: false, reason: "BackoffLimitExceeded", message });
    }
    let deadline = read::int(job, "/spec/activeDeadlineSeconds")?;
    let started = read::time(job, "/status/startTime").unwrap_or(now);
    let at = started.checked_add(SignedDuration::from_secs(deadline)).ok()?;
    if at > now {
        outcome.look_again(at);
        return None;
    }
    let message = "Job was active longer than specified deadline";
    Some(Verdict { success: false, reason: "DeadlineExceeded", message })
}

/// When the Job ended, if it has.
pub fn finished_at(job: &Value) -> Option<Timestamp> {
    let end = read::list(job, "/status/conditions").iter().find(|condition| {
        matches!(read::text(condition, "/type"), "Complete" | "Failed")
            && read::text(condition, "/status") == "True"
    })?;
    Some(read::time(end, "/lastTransitionTime").unwrap_or(Timestamp::UNIX_EPOCH))
}

/// After failures the next pod waits: 10 s, 20 s, 40 s ... at most six minutes.
pub fn back_off(tally: &Tally, owned: &[&Arc<Value>]) -> Option<Timestamp> {
    let failed = owned.iter().filter(|pod| read::text(pod, "/status/phase") == "Failed");
    let latest = failed.map(|pod| ended(pod)).max()?;
    let doublings = u32::try_from(tally.failed - 1).unwrap_or_default().min(6);
    let wait = (10_i64 << doublings).min(360);
    latest.checked_add(SignedDuration::from_secs(wait)).ok()
}

fn ended(pod: &Value) -> Timestamp {
    let statuses = read::list(pod, "/status/containerStatuses").iter();
    let ends = statuses.filter_map(|s| read::time(s, "/state/terminated/finishedAt"));
    let ready = conditions::find(read::list(pod, "/status/conditions"), "Ready");
    let since = ready.and_then(|c| read::time(c, "/lastTransitionTime"));
    ends.max().or(since).unwrap_or_else(|| read::created(pod))
}
