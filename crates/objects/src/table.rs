//! Server-side tables: what `kubectl get` prints.

mod cluster;
mod custom;
mod human;
mod pod;
mod workload;

use serde_json::{Value, json};

use crate::kinds::{Kind, Served};

pub use human::{ago, duration};

/// What each row carries beside its cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Include {
    Nothing,
    Metadata,
    Object,
}

/// A column; `wide` ones are shown with `-o wide` only.
#[derive(Debug, Clone)]
pub struct Column {
    pub name: &'static str,
    pub kind: &'static str,
    pub wide: bool,
}

/// Columns and the function that fills them from an object and the time (seconds).
pub(crate) struct Printer {
    pub columns: &'static [Column],
    pub row: fn(&Value, i64) -> Vec<Value>,
}

pub(crate) const fn column(name: &'static str) -> Column {
    Column { name, kind: "string", wide: false }
}

pub(crate) const fn count(name: &'static str) -> Column {
    Column { name, kind: "integer", wide: false }
}

pub(crate) const fn wide(name: &'static str) -> Column {
    Column { name, kind: "string", wide: true }
}

/// The `meta.k8s.io/v1` Table of objects that are shown in version `served`.
pub fn render(
    kind: &Kind,
    served: &Served,
    items: &[Value],
    metadata: Value,
    include: Include,
    now: i64,
) -> Value {
    let (columns, rows): (Vec<Value>, Vec<Vec<Value>>) = if kind.custom {
        let cells = items.iter().map(|o| custom::row(&served.columns, o, now)).collect();
        (custom::columns(&served.columns), cells)
    } else {
        let printer = printer(&kind.group, &kind.kind);
        let cells = items.iter().map(|o| (printer.row)(o, now)).collect();
        (printer.columns.iter().map(definition).collect(), cells)
    };
    let rows: Vec<Value> = rows
        .into_iter()
        .zip(items)
        .map(|(cells, object)| match include {
            Include::Nothing => json!({"cells": cells}),
            Include::Object => json!({"cells": cells, "object": object}),
            Include::Metadata => {
                let metadata = object.get("metadata").cloned().unwrap_or_default();
                let object = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata});
                json!({"cells": cells, "object": object})
            }
        })
        .collect();
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
        "columnDefinitions": columns, "rows": rows})
}

fn definition(column: &Column) -> Value {
    let format = if column.name == "Name" { "name" } else { "" };
    json!({"name": column.name, "type": column.kind, "format": format, "description": "",
        "priority": i32::from(column.wide)})
}

fn printer(group: &str, kind: &str) -> Printer {
    pod::printer(group, kind)
        .or_else(|| workload::printer(group, kind))
        .or_else(|| cluster::printer(group, kind))
        .unwrap_or(Printer {
            columns: const { &[column("Name"), column("Age")] },
            row: |o, now| vec![name(o), age(o, now)],
        })
}

pub(crate) fn name(object: &Value) -> Value {
    crate::meta::name(object).into()
}

pub(crate) fn age(object: &Value, now: i64) -> Value {
    since(crate::meta::text(object, &["metadata", "creationTimestamp"]), now)
}

/// Time since a timestamp, as people read it.
pub(crate) fn since(timestamp: Option<&str>, now: i64) -> Value {
    human::ago(timestamp, now).into()
}

pub(crate) fn or_none(text: String) -> Value {
    if text.is_empty() { "<none>".into() } else { text.into() }
}

/// `a=b,c=d` of a map of strings.
pub(crate) fn pairs(map: Option<&Value>) -> String {
    let map = map.and_then(Value::as_object).into_iter().flatten();
    let pairs: Vec<String> =
        map.map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default())).collect();
    pairs.join(",")
}

#[cfg(test)]
mod tests;
