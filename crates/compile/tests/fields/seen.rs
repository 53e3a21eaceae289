//! The configuration of a proxy as one tree of JSON, and whether something is in it.

use base::Finding;
use compile::Compiled;
use ir::Resource;
use serde_json::Value;
use std::collections::BTreeMap;

pub struct Seen {
    /// By kind and name: `cluster 80||a.default`, `route 80`, `listener virtualInbound`.
    resources: BTreeMap<String, Value>,
    pub findings: Vec<String>,
}

impl Seen {
    pub fn of(compiled: &Compiled) -> Seen {
        let config = &compiled.config;
        let clusters = config.clusters.iter().cloned().map(Resource::Cluster);
        let endpoints = config.endpoints.iter().cloned().map(Resource::Endpoints);
        let listeners = config.listeners.iter().cloned().map(Resource::Listener);
        let routes = config.routes.iter().cloned().map(Resource::Route);
        let all = clusters.chain(endpoints).chain(listeners).chain(routes);
        Seen {
            resources: all.map(|r| (name(&r), json(&r))).collect(),
            findings: compiled.findings.iter().map(Finding::to_string).collect(),
        }
    }

    /// Whether the resource has the value at the path, whose steps may have others between them.
    /// The path `.` is the resource itself: there, or not there if the value is false.
    pub fn has(&self, resource: &str, path: &str, value: &Value) -> bool {
        let found = self.resources.get(resource);
        match path {
            "." => found.is_some() == (*value != Value::Bool(false)),
            _ => found.is_some_and(|r| below(r, path).iter().any(|v| contains(v, value))),
        }
    }

    pub fn says(&self, part: &str) -> bool {
        self.findings.iter().any(|f| f.contains(part))
    }

    /// What there is instead.
    pub fn nearest(&self, resource: &str, path: &str) -> String {
        let Some(found) = self.resources.get(resource) else {
            return format!("there are only {:?}", self.resources.keys().collect::<Vec<_>>());
        };
        let there = below(found, path);
        if !there.is_empty() {
            return format!("{there:?}");
        }
        let whole = found.to_string();
        if std::env::var_os("FIELD").is_some() { whole } else { whole.chars().take(200).collect() }
    }
}

fn name(resource: &Resource) -> String {
    let key = resource.key();
    let short = key.name.replace("outbound|", "").replace(".svc.cluster.local", "");
    let kind = match resource {
        Resource::Cluster(_) => "cluster",
        Resource::Endpoints(_) => "endpoints",
        Resource::Listener(_) => "listener",
        _ => "route",
    };
    format!("{kind} {short}")
}

fn json(resource: &Resource) -> Value {
    let url = xds::codec::type_url_of(resource.key().kind);
    xds::codec::to_json(&url, &xds::codec::encode(resource)).expect("JSON")
}

fn below<'a>(value: &'a Value, path: &str) -> Vec<&'a Value> {
    let mut at = vec![value];
    for step in path.split('.') {
        let mut next = Vec::new();
        at.iter().for_each(|v| named(v, step, &mut next));
        at = next;
    }
    at
}

/// All values under this name, however deep.
fn named<'a>(value: &'a Value, name: &str, out: &mut Vec<&'a Value>) {
    match value {
        Value::Object(fields) => {
            for (key, field) in fields {
                if key == name {
                    out.push(field);
                }
                named(field, name, out);
            }
        }
        Value::Array(items) => items.iter().for_each(|i| named(i, name, out)),
        _ => {}
    }
}

/// Equal; of an object the fields that are wanted, of a list the items, in any order.
fn contains(there: &Value, wanted: &Value) -> bool {
    match (there, wanted) {
        (Value::Object(there), Value::Object(wanted)) => {
            wanted.iter().all(|(k, v)| there.get(k).is_some_and(|t| contains(t, v)))
        }
        (Value::Array(there), Value::Array(wanted)) => {
            wanted.iter().all(|w| there.iter().any(|t| contains(t, w)))
        }
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(there), one) => there.iter().any(|t| contains(t, one)),
        _ => there == wanted,
    }
}
