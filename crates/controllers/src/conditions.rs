//! `status.conditions`: setting one keeps its `lastTransitionTime` unless its status flips.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::read;

pub struct Condition<'a> {
    pub kind: &'a str,
    pub status: Status,
    pub reason: &'a str,
    pub message: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    True,
    False,
    Unknown,
}

impl From<bool> for Status {
    fn from(holds: bool) -> Status {
        if holds { Status::True } else { Status::False }
    }
}

impl Status {
    fn text(self) -> &'static str {
        match self {
            Status::True => "True",
            Status::False => "False",
            Status::Unknown => "Unknown",
        }
    }
}

/// Which times a kind's conditions carry besides `lastTransitionTime`.
#[derive(Clone, Copy, PartialEq)]
pub enum Times {
    Transition,
    /// `lastUpdateTime` too (Deployment): it moves only when `touch` says that there is news.
    Update,
    /// `lastProbeTime` too (Job).
    Probe,
}

pub fn find<'a>(conditions: &'a [Value], kind: &str) -> Option<&'a Value> {
    conditions.iter().find(|c| read::text(c, "/type") == kind)
}

pub fn is_true(object: &Value, kind: &str) -> bool {
    find(read::list(object, "/status/conditions"), kind)
        .is_some_and(|c| read::text(c, "/status") == "True")
}

/// Sets a condition. One that already says the same is left untouched, times and all.
pub fn set(conditions: &mut Vec<Value>, new: &Condition, times: Times, now: Timestamp) {
    let status = new.status.text();
    let old = find(conditions, new.kind);
    let same = |field: &str, value: &str| old.is_some_and(|o| read::text(o, field) == value);
    if same("/status", status) && same("/reason", new.reason) && same("/message", new.message) {
        return;
    }
    let now_text = read::stamp(now);
    let transition = match old {
        Some(old) if same("/status", status) => read::text(old, "/lastTransitionTime").to_owned(),
        _ => now_text.clone(),
    };
    let mut value = json!({"type": new.kind, "status": status, "lastTransitionTime": transition});
    for (field, text) in [("reason", new.reason), ("message", new.message)] {
        if !text.is_empty() {
            value[field] = json!(text);
        }
    }
    match times {
        Times::Transition => {}
        Times::Update => value["lastUpdateTime"] = json!(now_text),
        Times::Probe => value["lastProbeTime"] = json!(now_text),
    }
    match conditions.iter_mut().find(|c| read::text(c, "/type") == new.kind) {
        Some(slot) => *slot = value,
        None => conditions.push(value),
    }
}

/// Moves a condition's `lastUpdateTime` to now: progress was made, though the words are the same.
pub fn touch(conditions: &mut [Value], kind: &str, now: Timestamp) {
    if let Some(slot) = conditions.iter_mut().find(|c| read::text(c, "/type") == kind) {
        slot["lastUpdateTime"] = json!(read::stamp(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transition_time_moves_only_with_the_status() {
        let t0: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let t1: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        let mut list = Vec::new();
        let say = |list: &mut Vec<Value>, holds: bool, reason, at| {
            let status = Status::from(holds);
            set(list, &Condition { kind: "Ready", status, reason, message: "" }, Times::Update, at);
        };
        say(&mut list, true, "A", t0);
        say(&mut list, true, "B", t1);
        assert_eq!(read::text(&list[0], "/lastTransitionTime"), "2026-01-01T00:00:00Z");
        assert_eq!(read::text(&list[0], "/lastUpdateTime"), "2026-01-01T00:01:00Z");
        say(&mut list, false, "C", t1);
        assert_eq!(read::text(&list[0], "/lastTransitionTime"), "2026-01-01T00:01:00Z");
        assert_eq!(list.len(), 1);
    }
}
