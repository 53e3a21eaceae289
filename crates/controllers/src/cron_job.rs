//! CronJob: creates a Job at each time of its schedule, in UTC. File `schedule`: the five fields.

mod schedule;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::action::{Action, Outcome, Propagation, Severity};
use crate::conditions;
use crate::key::{Key, Resource};
use crate::read;
use crate::world::World;
use schedule::Schedule;

pub fn reconcile(world: &World, key: &Key, now: Timestamp) -> Outcome {
    let Some(cron) = world.get(key) else { return Outcome::default() };
    let mut outcome = Outcome::default();
    if read::deleting(cron) {
        return outcome;
    }
    let jobs = world.controlled(read::uid(cron), &Resource::JOBS);
    let (finished, active): (Vec<&Arc<Value>>, Vec<&Arc<Value>>) =
        jobs.filter(|job| !read::deleting(job)).partition(|job| ended(job).is_some());
    prune(cron, &finished, &mut outcome);
    let Some(schedule) = schedule_of(cron, &mut outcome) else { return outcome };
    if let Some(next) = schedule.after(now) {
        outcome.look_again(next);
    }
    let due = if read::flag(cron, "/spec/suspend") { None } else { due(cron, &schedule, now) };
    let started = due.and_then(|due| start(cron, due, &active, &mut outcome));
    status(cron, &active, &finished, started, &mut outcome);
    outcome
}

/// How a Job ended, if it has.
fn ended(job: &Value) -> Option<&'static str> {
    ["Complete", "Failed"].into_iter().find(|kind| conditions::is_true(job, kind))
}

fn schedule_of(cron: &Arc<Value>, outcome: &mut Outcome) -> Option<Schedule> {
    let zone = read::text(cron, "/spec/timeZone");
    if !matches!(zone, "" | "UTC" | "Etc/UTC" | "Etc/GMT" | "GMT") {
        let message = format!(
            "time zone {zone:?} is not known here, only UTC is; set spec.timeZone to Etc/UTC and shift the schedule"
        );
        outcome.event(cron, Severity::Warning, "UnknownTimeZone", message);
        return None;
    }
    let text = read::text(cron, "/spec/schedule");
    let schedule = Schedule::parse(text);
    if schedule.is_none() {
        let message = format!(
            "schedule {text:?} cannot be read: five fields are expected, minute hour day-of-month month day-of-week"
        );
        outcome.event(cron, Severity::Warning, "UnparseableSchedule", message);
    }
    schedule
}

/// The latest time of the schedule that has passed and was not served, if it is not too late for it.
fn due(cron: &Value, schedule: &Schedule, now: Timestamp) -> Option<Timestamp> {
    let since = read::time(cron, "/status/lastScheduleTime").unwrap_or_else(|| read::created(cron));
    let latest = schedule.latest(since, now)?;
    let deadline = read::int(cron, "/spec/startingDeadlineSeconds");
    let late = deadline.is_some_and(|seconds| {
        latest.checked_add(SignedDuration::from_secs(seconds)).is_ok_and(|end| end < now)
    });
    (!late).then_some(latest)
}

fn start(
    cron: &Arc<Value>,
    due: Timestamp,
    active: &[&Arc<Value>],
    outcome: &mut Outcome,
) -> Option<Timestamp> {
    match read::text(cron, "/spec/concurrencyPolicy") {
        "Forbid" if !active.is_empty() => {
            let message = "Not starting job because prior execution is still running".to_owned();
            outcome.event(cron, Severity::Normal, "JobAlreadyActive", message);
            return None;
        }
        "Replace" => outcome.actions.extend(active.iter().map(|job| delete(job))),
        _ => {}
    }
    outcome.push(Action::Create { object: job(cron, due), reported_on: Some(cron.clone()) });
    Some(due)
}

/// The Job of one scheduled time. Its name is that time's, so a repeated attempt makes no second one.
fn job(cron: &Value, due: Timestamp) -> Value {
    let template = cron.pointer("/spec/jobTemplate").unwrap_or(&Value::Null);
    let name: String = read::name(cron).chars().take(52).collect();
    let mut annotations = read::labels_at(template, "/metadata/annotations");
    let scheduled = "batch.kubernetes.io/cronjob-scheduled-timestamp";
    annotations.insert(scheduled.to_owned(), json!(read::stamp(due)));
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": format!("{name}-{}", due.as_second() / 60),
            "namespace": read::namespace(cron),
            "labels": read::labels_at(template, "/metadata/labels"),
            "annotations": annotations,
            "ownerReferences": [read::controller_reference(cron)],
        },
        "spec": template.get("spec").cloned().unwrap_or_else(|| json!({})),
    })
}

fn status(
    cron: &Value,
    active: &[&Arc<Value>],
    finished: &[&Arc<Value>],
    started: Option<Timestamp>,
    outcome: &mut Outcome,
) {
    let reference = |job: &&Arc<Value>| {
        json!({"apiVersion": "batch/v1", "kind": "Job", "name": read::name(job),
            "namespace": read::namespace(job), "uid": read::uid(job)})
    };
    let mut status = json!({});
    if !active.is_empty() {
        status["active"] = active.iter().map(reference).collect();
    }
    let last = read::text(cron, "/status/lastScheduleTime");
    if let Some(time) = started.map(read::stamp).or((!last.is_empty()).then(|| last.to_owned())) {
        status["lastScheduleTime"] = json!(time);
    }
    let successes = finished.iter().filter_map(|job| read::time(job, "/status/completionTime"));
    let known = read::time(cron, "/status/lastSuccessfulTime");
    if let Some(time) = successes.chain(known).max() {
        status["lastSuccessfulTime"] = json!(read::stamp(time));
    }
    if let Some(changed) = read::with_status(cron, status) {
        outcome.push(Action::UpdateStatus(changed));
    }
}

fn prune(cron: &Value, finished: &[&Arc<Value>], outcome: &mut Outcome) {
    let limits = [
        ("Complete", "/spec/successfulJobsHistoryLimit", 3),
        ("Failed", "/spec/failedJobsHistoryLimit", 1),
    ];
    for (end, field, default) in limits {
        let keep = read::int(cron, field).unwrap_or(default).max(0);
        let keep = usize::try_from(keep).unwrap_or_default();
        let mut jobs: Vec<_> = finished.iter().filter(|job| ended(job) == Some(end)).collect();
        jobs.sort_by_key(|job| read::created(job));
        let excess = jobs.len().saturating_sub(keep);
        outcome.actions.extend(jobs[..excess].iter().map(|job| delete(job)));
    }
}

fn delete(job: &Value) -> Action {
    Action::Delete {
        key: Key::of(&Resource::JOBS, job),
        uid: read::uid(job).to_owned(),
        grace_seconds: None,
        propagation: Propagation::Background,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        format!("2026-01-01T{text}Z").parse().unwrap()
    }

    fn run(spec: Value, jobs: &[(&str, Option<&str>)], now: &str) -> (Vec<String>, Outcome) {
        let mut cron = json!({"apiVersion": "batch/v1", "kind": "CronJob", "spec": spec,
            "metadata": {"namespace": "default", "name": "c", "uid": "c",
                "creationTimestamp": "2026-01-01T00:00:30Z"}});
        cron["spec"]["jobTemplate"] = json!({"spec": {}});
        let mut world = World::default();
        world.observe(&Resource::CRON_JOBS, Arc::new(cron));
        for (index, (name, end)) in jobs.iter().enumerate() {
            let conditions: Vec<Value> =
                end.map(|end| json!({"type": end, "status": "True"})).into_iter().collect();
            let job = json!({"metadata": {"namespace": "default", "name": name, "uid": name,
                    "creationTimestamp": format!("2026-01-01T00:00:{index:02}Z"),
                    "ownerReferences": [{"uid": "c", "controller": true}]},
                "status": {"conditions": conditions}});
            world.observe(&Resource::JOBS, Arc::new(job));
        }
        let key = Key::new(Resource::CRON_JOBS, "default", "c");
        let outcome = reconcile(&world, &key, at(now));
        let said = outcome.actions.iter().filter_map(|action| match action {
            Action::Create { object, .. } => Some(format!("+{}", read::name(object))),
            Action::Delete { key, .. } => Some(format!("-{}", key.name)),
            Action::Event { reason, .. } => Some((*reason).to_owned()),
            _ => None,
        });
        (said.collect(), outcome)
    }

    #[test]
    fn starts_when_it_is_time_and_sleeps_until_then() {
        let every = || json!({"schedule": "*/5 * * * *"});
        let (said, outcome) = run(every(), &[], "00:04:59");
        assert_eq!((said, outcome.again_at), (vec![], Some(at("00:05:00"))));
        let minute = at("00:05:00").as_second() / 60;
        assert_eq!(run(every(), &[], "00:05:00").0, [format!("+c-{minute}")]);
        // Missed times are made up for once, by the latest.
        assert_eq!(run(every(), &[], "00:17:00").0, [format!("+c-{}", minute + 10)]);
        let late = json!({"schedule": "*/5 * * * *", "startingDeadlineSeconds": 60});
        assert_eq!(run(late, &[], "00:17:00").0, [""; 0]);
        let suspended = json!({"schedule": "*/5 * * * *", "suspend": true});
        assert_eq!(run(suspended, &[], "00:17:00").0, [""; 0]);
    }

    #[test]
    fn concurrency_and_history() {
        let policy = |p: &str| json!({"schedule": "*/5 * * * *", "concurrencyPolicy": p});
        let running = [("r", None)];
        assert_eq!(run(policy("Forbid"), &running, "00:05:00").0, ["JobAlreadyActive"]);
        assert_eq!(run(policy("Replace"), &running, "00:05:00").0.len(), 2);
        assert_eq!(run(policy("Allow"), &running, "00:05:00").0.len(), 1);
        let done = ["a", "b", "c", "d"].map(|name| (name, Some("Complete")));
        assert_eq!(run(policy("Allow"), &done, "00:01:00").0, ["-a"]);
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        assert_eq!(
            run(json!({"schedule": "nonsense"}), &[], "00:05:00").0,
            ["UnparseableSchedule"]
        );
        let zone = json!({"schedule": "* * * * *", "timeZone": "Europe/Berlin"});
        assert_eq!(run(zone, &[], "00:05:00").0, ["UnknownTimeZone"]);
    }
}
