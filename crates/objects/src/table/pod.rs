//! The table of pods: readiness and the one word that says how a pod is.

use serde_json::Value;

use super::{Column, Printer, age, column, name, or_none, since, wide};
use crate::meta::{at, items, number, text};

const COLUMNS: &[Column] = &[
    column("Name"),
    column("Ready"),
    column("Status"),
    column("Restarts"),
    column("Age"),
    wide("IP"),
    wide("Node"),
    wide("Nominated Node"),
    wide("Readiness Gates"),
];

pub fn printer(group: &str, kind: &str) -> Option<Printer> {
    ((group, kind) == ("", "Pod")).then_some(Printer { columns: COLUMNS, row })
}

fn row(pod: &Value, now: i64) -> Vec<Value> {
    let state = State::of(pod);
    let field = |path: &[&str]| or_none(text(pod, path).unwrap_or_default().to_owned());
    let restarts = match (state.restarts, &state.last_restart) {
        (0, _) | (_, None) => state.restarts.to_string(),
        (n, Some(when)) => {
            let ago = since(Some(when), now);
            format!("{n} ({} ago)", ago.as_str().unwrap_or_default())
        }
    };
    vec![
        name(pod),
        format!("{}/{}", state.ready, state.total).into(),
        state.reason.into(),
        restarts.into(),
        age(pod, now),
        field(&["status", "podIP"]),
        field(&["spec", "nodeName"]),
        field(&["status", "nominatedNodeName"]),
        gates(pod),
    ]
}

fn gates(pod: &Value) -> Value {
    let gates = items(pod, &["spec", "readinessGates"]);
    if gates.is_empty() {
        return "<none>".into();
    }
    let met = |gate: &&Value| {
        let wanted = gate.get("conditionType");
        items(pod, &["status", "conditions"])
            .iter()
            .any(|c| c.get("type") == wanted && text(c, &["status"]) == Some("True"))
    };
    format!("{}/{}", gates.iter().filter(met).count(), gates.len()).into()
}

#[derive(Default)]
struct State {
    ready: usize,
    total: usize,
    restarts: i64,
    last_restart: Option<String>,
    reason: String,
}

fn is_sidecar(container: &Value) -> bool {
    text(container, &["restartPolicy"]) == Some("Always")
}

fn condition(pod: &Value, kind: &str) -> bool {
    items(pod, &["status", "conditions"])
        .iter()
        .any(|c| text(c, &["type"]) == Some(kind) && text(c, &["status"]) == Some("True"))
}

/// Why a container ended: its reason, its signal or its exit code.
fn ending(terminated: &Value) -> String {
    match (text(terminated, &["reason"]), number(terminated, &["signal"])) {
        (Some(reason), _) if !reason.is_empty() => reason.to_owned(),
        (_, Some(signal)) if signal != 0 => format!("Signal:{signal}"),
        _ => format!("ExitCode:{}", number(terminated, &["exitCode"]).unwrap_or(0)),
    }
}

impl State {
    fn of(pod: &Value) -> State {
        let init = items(pod, &["spec", "initContainers"]);
        let sidecars = init.iter().filter(|c| is_sidecar(c)).count();
        let phase = text(pod, &["status", "phase"]).unwrap_or("Unknown");
        let reason = text(pod, &["status", "reason"]).filter(|r| !r.is_empty()).unwrap_or(phase);
        let mut state = State {
            total: items(pod, &["spec", "containers"]).len() + sidecars,
            reason: reason.to_owned(),
            ..State::default()
        };
        let initializing = state.read_init(pod, init);
        if !initializing || condition(pod, "Initialized") {
            state.read_containers(pod, init);
        }
        let ended = matches!(phase, "Succeeded" | "Failed");
        if crate::meta::deletion_timestamp(pod).is_some() && !ended {
            state.reason = "Terminating".to_owned();
        }
        state
    }

    fn note_restarts(&mut self, status: &Value) {
        self.restarts += number(status, &["restartCount"]).unwrap_or(0);
        let ended = text(status, &["lastState", "terminated", "finishedAt"]);
        if let Some(ended) = ended.filter(|e| self.last_restart.as_deref().is_none_or(|l| l < *e)) {
            self.last_restart = Some(ended.to_owned());
        }
    }

    /// Whether an init container still runs or failed.
    fn read_init(&mut self, pod: &Value, init: &[Value]) -> bool {
        for (index, status) in items(pod, &["status", "initContainerStatuses"]).iter().enumerate() {
            self.note_restarts(status);
            let own = init.iter().find(|c| c.get("name") == status.get("name"));
            let terminated = at(status, &["state", "terminated"]).filter(|t| !t.is_null());
            let waiting = text(status, &["state", "waiting", "reason"]);
            if terminated.is_some_and(|t| number(t, &["exitCode"]) == Some(0)) {
                continue;
            }
            if own.is_some_and(is_sidecar) && status.get("started") == Some(&Value::Bool(true)) {
                self.ready += usize::from(status.get("ready") == Some(&Value::Bool(true)));
                continue;
            }
            self.reason = match (terminated, waiting) {
                (Some(ended), _) => format!("Init:{}", ending(ended)),
                (None, Some(reason)) if !reason.is_empty() && reason != "PodInitializing" => {
                    format!("Init:{reason}")
                }
                _ => format!("Init:{index}/{}", init.len()),
            };
            return true;
        }
        false
    }

    fn read_containers(&mut self, pod: &Value, init: &[Value]) {
        (self.restarts, self.last_restart) = (0, None);
        for status in items(pod, &["status", "initContainerStatuses"]) {
            if init.iter().any(|c| c.get("name") == status.get("name") && is_sidecar(c)) {
                self.note_restarts(status);
            }
        }
        let mut running = false;
        for status in items(pod, &["status", "containerStatuses"]).iter().rev() {
            self.note_restarts(status);
            let terminated = at(status, &["state", "terminated"]).filter(|t| !t.is_null());
            let waiting = text(status, &["state", "waiting", "reason"]).filter(|r| !r.is_empty());
            if let Some(reason) = waiting {
                self.reason = reason.to_owned();
            } else if let Some(ended) = terminated {
                self.reason = ending(ended);
            } else if status.get("ready") == Some(&Value::Bool(true)) {
                running = true;
                self.ready += 1;
            }
        }
        if self.reason == "Completed" && running {
            let word = if condition(pod, "Ready") { "Running" } else { "NotReady" };
            self.reason = word.to_owned();
        }
    }
}
