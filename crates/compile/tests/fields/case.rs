//! A case as it is written: the object without the field, the value that the field is given, and what is
//! to be seen of it.

use super::seen::Seen;
use crate::support;
use compile::{Proxy, ProxyKind, compile};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// A file: one kind, in one world.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    kind: String,
    /// Of the object; `networking.istio.io/v1` unless written.
    #[serde(default = "networking")]
    version: String,
    /// The spec that fields are put into.
    base: Value,
    /// Documents that stand beside the object.
    #[serde(default)]
    world: String,
    #[serde(default)]
    at: At,
    cases: Vec<Written>,
}

fn networking() -> String {
    "networking.istio.io/v1".to_owned()
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    field: String,
    /// In place of the file's `base`.
    r#in: Option<Value>,
    set: Value,
    at: Option<At>,
    /// More documents.
    #[serde(default)]
    beside: String,
    #[serde(default)]
    see: Wanted,
    #[serde(default)]
    not: Wanted,
    /// A part of a finding.
    #[serde(default)]
    says: String,
    /// Why it cannot be written for a port or a subset in the same way.
    #[serde(default)]
    only_whole: bool,
}

/// By resource, and there by path.
type Wanted = BTreeMap<String, BTreeMap<String, Value>>;

/// For which proxy the configuration is made.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum At {
    /// A sidecar in the namespace `default` that nothing selects, in `r1/z1`.
    #[default]
    Client,
    /// The sidecar of the pod `a-v1-0`.
    Server,
    Gateway,
    /// A sidecar in the namespace `other`.
    Other,
}

pub struct Case {
    pub kind: String,
    pub field: String,
    version: String,
    world: String,
    without: Value,
    with: Value,
    at: At,
    see: Wanted,
    not: Wanted,
    says: String,
}

/// The cases of a file; those about a policy also as the policy of a subset and of a port.
pub fn read(text: &str) -> Vec<Case> {
    let file: File = serde_yaml_ng::from_str(text).unwrap_or_else(|e| panic!("{e}"));
    let mut all = Vec::new();
    for written in &file.cases {
        let without = written.r#in.clone().unwrap_or_else(|| file.base.clone());
        let mut with = json!({ "spec": without });
        put(&mut with, &steps(&written.field), &written.set);
        let whole = Case {
            kind: file.kind.clone(),
            field: written.field.clone(),
            version: file.version.clone(),
            world: format!("{}\n---\n{}", file.world, written.beside),
            without,
            with: with["spec"].take(),
            at: written.at.unwrap_or(file.at),
            see: written.see.clone(),
            not: written.not.clone(),
            says: written.says.clone(),
        };
        if !written.only_whole {
            all.extend(whole.for_subset());
            all.extend(whole.for_port());
            all.extend(whole.for_port().and_then(|c| c.for_subset()));
        }
        all.push(whole);
    }
    all
}

impl Case {
    pub fn with(&self) -> Seen {
        self.seen(&self.with)
    }

    pub fn without(&self) -> Seen {
        self.seen(&self.without)
    }

    fn seen(&self, spec: &Value) -> Seen {
        let mut store = support::store();
        support::apply(&mut store, include_str!("world.yaml"));
        support::apply(&mut store, &self.world);
        let object = json!({"apiVersion": self.version, "kind": self.kind,
            "metadata": {"name": "it", "namespace": "default"}, "spec": spec});
        support::apply_any(&mut store, object);
        Seen::of(&compile(&store.snapshot(), &self.at.proxy()))
    }

    pub fn holds(&self, seen: &Seen) -> Result<(), String> {
        for (resource, wanted) in &self.see {
            for (path, value) in wanted {
                if !seen.has(resource, path, value) {
                    let there = seen.nearest(resource, path);
                    return Err(format!("{resource} has no {path}: {value}, but {there}"));
                }
            }
        }
        for (resource, wanted) in &self.not {
            if let Some((path, value)) = wanted.iter().find(|(p, v)| seen.has(resource, p, v)) {
                return Err(format!("{resource} has {path}: {value}"));
            }
        }
        match self.says.is_empty() || seen.says(&self.says) {
            true => Ok(()),
            false => Err(format!("nothing says {:?}: {:?}", self.says, seen.findings)),
        }
    }

    /// The policy as that of the subset `v1`, whose cluster then has what the service's had.
    fn for_subset(&self) -> Option<Case> {
        let rest = self.field.strip_prefix("spec.trafficPolicy.")?;
        let moved = |spec: &Value| {
            let mut spec = spec.clone();
            let policy = spec["trafficPolicy"].take();
            spec["subsets"] =
                json!([{"name": "v1", "labels": {"version": "v1"}, "trafficPolicy": policy}]);
            spec
        };
        let field = format!("spec.subsets[].trafficPolicy.{rest}");
        Some(self.moved(field, moved).renamed("80||", "80|v1|"))
    }

    /// The policy as that of port 80.
    fn for_port(&self) -> Option<Case> {
        let rest = self.field.strip_prefix("spec.trafficPolicy.")?;
        let of_ports = ["connectionPool", "loadBalancer", "outlierDetection", "tls."];
        if !of_ports.iter().any(|p| rest.starts_with(p)) {
            return None;
        }
        let moved = |spec: &Value| {
            let mut spec = spec.clone();
            let mut policy = spec["trafficPolicy"].take();
            if policy.is_null() {
                policy = json!({});
            }
            policy["port"] = json!({"number": 80});
            spec["trafficPolicy"] = json!({ "portLevelSettings": [policy] });
            spec
        };
        Some(self.moved(format!("spec.trafficPolicy.portLevelSettings[].{rest}"), moved))
    }

    fn moved(&self, field: String, moved: impl Fn(&Value) -> Value) -> Case {
        Case {
            kind: self.kind.clone(),
            field,
            version: self.version.clone(),
            world: self.world.clone(),
            without: moved(&self.without),
            with: moved(&self.with),
            at: self.at,
            see: self.see.clone(),
            not: self.not.clone(),
            says: self.says.clone(),
        }
    }

    fn renamed(mut self, from: &str, to: &str) -> Case {
        let rename = |wanted: &Wanted| -> Wanted {
            wanted.iter().map(|(k, v)| (k.replace(from, to), v.clone())).collect()
        };
        (self.see, self.not) = (rename(&self.see), rename(&self.not));
        self
    }
}

impl At {
    fn proxy(self) -> Proxy {
        let proxy = match self {
            At::Client => support::sidecar("default", "client", "v1", "10.1.0.99"),
            At::Server => support::sidecar("default", "a", "v1", "10.1.0.1"),
            At::Other => support::sidecar("other", "client", "v1", "10.1.0.98"),
            At::Gateway => support::ingress(),
        };
        debug_assert_eq!(proxy.kind == ProxyKind::Router, matches!(self, At::Gateway));
        proxy.standing_at("r1", "z1", "")
    }
}

/// One step of a path: a name, then how it goes on.
struct Step<'a> {
    name: &'a str,
    list: bool,
    map: bool,
}

fn steps(path: &str) -> Vec<Step<'_>> {
    let step = |part| {
        let name = str::trim_end_matches(str::trim_end_matches(part, "[]"), "{}");
        Step { name, list: part.ends_with("[]"), map: part.ends_with("{}") }
    };
    path.split('.').map(step).collect()
}

/// Sets the field in every element and entry on its way; where there is none, in a new one.
fn put(at: &mut Value, path: &[Step<'_>], value: &Value) {
    let Some((step, rest)) = path.split_first() else {
        *at = value.clone();
        return;
    };
    if !at.is_object() {
        *at = Value::Object(Map::new());
    }
    let next = &mut at[step.name];
    if rest.is_empty() {
        *next = value.clone();
    } else if step.list {
        let items = next.as_array().map_or(0, Vec::len);
        if items == 0 {
            *next = json!([{}]);
        }
        next.as_array_mut().expect("a list").iter_mut().for_each(|i| put(i, rest, value));
    } else if step.map {
        if next.as_object().is_none_or(Map::is_empty) {
            *next = json!({"x-key": {}});
        }
        next.as_object_mut().expect("a map").values_mut().for_each(|v| put(v, rest, value));
    } else {
        put(next, rest, value);
    }
}
