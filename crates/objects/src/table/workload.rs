//! Tables of what makes pods.

use serde_json::Value;

use super::{Printer, age, column, count, name, or_none, pairs, since, wide};
use crate::meta::{at, items, number, text};

#[rustfmt::skip]
pub fn printer(group: &str, kind: &str) -> Option<Printer> {
    Some(match (group, kind) {
        ("apps", "Deployment") => Printer {
            columns: const { &[column("Name"), column("Ready"), count("Up-to-date"), count("Available"), column("Age"), wide("Containers"), wide("Images"), wide("Selector")] },
            row: deployment,
        },
        ("apps", "ReplicaSet") | ("", "ReplicationController") => Printer {
            columns: const { &[column("Name"), count("Desired"), count("Current"), count("Ready"), column("Age"), wide("Containers"), wide("Images"), wide("Selector")] },
            row: replica_set,
        },
        ("apps", "StatefulSet") => Printer {
            columns: const { &[column("Name"), column("Ready"), column("Age"), wide("Containers"), wide("Images")] },
            row: stateful_set,
        },
        ("apps", "DaemonSet") => Printer {
            columns: const { &[column("Name"), count("Desired"), count("Current"), count("Ready"), count("Up-to-date"), count("Available"), column("Node Selector"), column("Age"), wide("Containers"), wide("Images"), wide("Selector")] },
            row: daemon_set,
        },
        ("apps", "ControllerRevision") => Printer {
            columns: const { &[column("Name"), column("Controller"), count("Revision"), column("Age")] },
            row: controller_revision,
        },
        ("batch", "Job") => Printer {
            columns: const { &[column("Name"), column("Status"), column("Completions"), column("Duration"), column("Age"), wide("Containers"), wide("Images"), wide("Selector")] },
            row: job,
        },
        ("batch", "CronJob") => Printer {
            columns: const { &[column("Name"), column("Schedule"), column("Timezone"), column("Suspend"), count("Active"), column("Last Schedule"), column("Age"), wide("Containers"), wide("Images"), wide("Selector")] },
            row: cron_job,
        },
        ("autoscaling", "HorizontalPodAutoscaler") => Printer {
            columns: const { &[column("Name"), column("Reference"), column("Targets"), count("MinPods"), count("MaxPods"), count("Replicas"), column("Age")] },
            row: autoscaler,
        },
        _ => return None,
    })
}

fn status(object: &Value, key: &str) -> i64 {
    number(object, &["status", key]).unwrap_or(0)
}

fn desired(object: &Value) -> i64 {
    number(object, &["spec", "replicas"]).unwrap_or(0)
}

/// Names, images and selector of a template, for `-o wide`.
fn template(object: &Value, path: &[&str]) -> Vec<Value> {
    let template = at(object, path);
    let containers = template.map(|t| items(t, &["spec", "containers"])).unwrap_or_default();
    let join = |key: &str| {
        let list: Vec<&str> = containers.iter().filter_map(|c| text(c, &[key])).collect();
        Value::String(list.join(","))
    };
    vec![join("name"), join("image"), or_none(selector(at(object, &["spec", "selector"])))]
}

/// A selector as text.
fn selector(value: Option<&Value>) -> String {
    let Some(value) = value else { return String::new() };
    let mut text = pairs(
        value.get("matchLabels").or(Some(value).filter(|v| v.get("matchExpressions").is_none())),
    );
    for expression in items(value, &["matchExpressions"]) {
        let key = crate::meta::text(expression, &["key"]).unwrap_or_default();
        let operator = crate::meta::text(expression, &["operator"]).unwrap_or_default();
        let values: Vec<&str> =
            items(expression, &["values"]).iter().filter_map(Value::as_str).collect();
        let term = match operator {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        };
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(&term);
    }
    text
}

fn with_template(mut cells: Vec<Value>, object: &Value) -> Vec<Value> {
    cells.extend(template(object, &["spec", "template"]));
    cells
}

fn deployment(o: &Value, now: i64) -> Vec<Value> {
    let ready = format!("{}/{}", status(o, "readyReplicas"), desired(o));
    let cells = vec![
        name(o),
        ready.into(),
        status(o, "updatedReplicas").into(),
        status(o, "availableReplicas").into(),
        age(o, now),
    ];
    with_template(cells, o)
}

fn replica_set(o: &Value, now: i64) -> Vec<Value> {
    let cells = vec![
        name(o),
        desired(o).into(),
        status(o, "replicas").into(),
        status(o, "readyReplicas").into(),
        age(o, now),
    ];
    with_template(cells, o)
}

fn stateful_set(o: &Value, now: i64) -> Vec<Value> {
    let ready = format!("{}/{}", status(o, "readyReplicas"), desired(o));
    let mut cells = with_template(vec![name(o), ready.into(), age(o, now)], o);
    cells.truncate(5);
    cells
}

fn daemon_set(o: &Value, now: i64) -> Vec<Value> {
    let nodes = at(o, &["spec", "template", "spec", "nodeSelector"]);
    let cells = vec![
        name(o),
        status(o, "desiredNumberScheduled").into(),
        status(o, "currentNumberScheduled").into(),
        status(o, "numberReady").into(),
        status(o, "updatedNumberScheduled").into(),
        status(o, "numberAvailable").into(),
        or_none(pairs(nodes)),
        age(o, now),
    ];
    with_template(cells, o)
}

fn controller_revision(o: &Value, now: i64) -> Vec<Value> {
    let owner = items(o, &["metadata", "ownerReferences"]).first();
    let owner = owner.map(|r| {
        let kind = text(r, &["kind"]).unwrap_or_default().to_lowercase();
        let (group, _) =
            crate::meta::split_api_version(text(r, &["apiVersion"]).unwrap_or_default());
        format!("{kind}.{group}/{}", text(r, &["name"]).unwrap_or_default())
    });
    vec![
        name(o),
        or_none(owner.unwrap_or_default()),
        number(o, &["revision"]).unwrap_or(0).into(),
        age(o, now),
    ]
}

fn job(o: &Value, now: i64) -> Vec<Value> {
    let done = |kind: &str| {
        items(o, &["status", "conditions"])
            .iter()
            .any(|c| text(c, &["type"]) == Some(kind) && text(c, &["status"]) == Some("True"))
    };
    let word = match () {
        () if done("Complete") => "Complete",
        () if done("Failed") => "Failed",
        () if crate::meta::deletion_timestamp(o).is_some() => "Terminating",
        () if done("Suspended") => "Suspended",
        () => "Running",
    };
    let wanted = number(o, &["spec", "completions"]);
    let completions = match wanted {
        Some(wanted) => format!("{}/{wanted}", status(o, "succeeded")),
        None => format!(
            "{}/1 of {}",
            status(o, "succeeded"),
            number(o, &["spec", "parallelism"]).unwrap_or(1)
        ),
    };
    let seconds = |key: &str| {
        let time = text(o, &["status", key])?.parse::<jiff::Timestamp>().ok()?;
        Some(time.as_second())
    };
    let duration = match seconds("startTime") {
        None => String::new(),
        Some(start) => super::duration(seconds("completionTime").unwrap_or(now) - start),
    };
    let cells = vec![name(o), word.into(), completions.into(), duration.into(), age(o, now)];
    with_template(cells, o)
}

fn cron_job(o: &Value, now: i64) -> Vec<Value> {
    let last = match text(o, &["status", "lastScheduleTime"]) {
        Some(time) => since(Some(time), now),
        None => "<none>".into(),
    };
    let suspended = at(o, &["spec", "suspend"]) == Some(&Value::Bool(true));
    let mut cells = vec![
        name(o),
        text(o, &["spec", "schedule"]).unwrap_or_default().into(),
        or_none(text(o, &["spec", "timeZone"]).unwrap_or_default().to_owned()),
        if suspended { "True" } else { "False" }.into(),
        items(o, &["status", "active"]).len().into(),
        last,
        age(o, now),
    ];
    cells.extend(template(o, &["spec", "jobTemplate", "spec", "template"]));
    cells
}

fn autoscaler(o: &Value, now: i64) -> Vec<Value> {
    let field = |key| text(o, &["spec", "scaleTargetRef", key]).unwrap_or_default();
    vec![
        name(o),
        format!("{}/{}", field("kind"), field("name")).into(),
        "<unknown>".into(),
        number(o, &["spec", "minReplicas"]).unwrap_or(1).into(),
        number(o, &["spec", "maxReplicas"]).unwrap_or(0).into(),
        status(o, "currentReplicas").into(),
        age(o, now),
    ]
}
