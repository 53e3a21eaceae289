//! From JSON to a kind's type. Null means absent, as in Kubernetes. How things are written is taken
//! leniently where the meaning is clear (snake_case names, numbers as strings, as proto3's JSON does),
//! and what was lenient is said; what no table knows is said too.

use crate::crd::{Field, Shape, spec_of};
use base::Finding;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// What was read, and what there is to say about how it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded<T> {
    pub object: T,
    pub findings: Vec<Finding>,
}

/// Reads an object of a kind; an error says why it cannot be read at all.
pub fn decode<T: DeserializeOwned>(kind: &str, value: &Value) -> Result<Decoded<T>, Box<Finding>> {
    let mut value = value.clone();
    prune_nulls(&mut value);
    let findings = settle(kind, &mut value);
    let object = serde_path_to_error::deserialize(value).map_err(|e| {
        let path = match e.path().to_string() {
            root if root == "." => String::new(),
            path => path,
        };
        Box::new(Finding::error(path, format!("cannot be read: {}", e.inner())))
    })?;
    Ok(Decoded { object, findings })
}

/// Brings `spec` into the form that the types read.
pub(crate) fn settle(kind: &str, value: &mut Value) -> Vec<Finding> {
    let Some(shape) = spec_of(kind) else { return Vec::new() };
    let Some(spec) = value.get_mut("spec") else { return Vec::new() };
    let mut walk = Walk { findings: Vec::new(), strict: is_security(kind) };
    walk.value(shape, spec, "spec");
    walk.findings
}

/// Of these an unknown field must not be passed over: it might have been meant to deny.
fn is_security(kind: &str) -> bool {
    matches!(kind, "AuthorizationPolicy" | "PeerAuthentication" | "RequestAuthentication")
}

/// Removes every field whose value is null.
pub(crate) fn prune_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, v| !v.is_null());
            fields.values_mut().for_each(prune_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(prune_nulls),
        _ => {}
    }
}

struct Walk {
    findings: Vec<Finding>,
    strict: bool,
}

impl Walk {
    fn value(&mut self, shape: &Shape, value: &mut Value, path: &str) {
        match (shape, value) {
            (Shape::Object(fields), Value::Object(map)) => self.object(fields, map, path),
            (Shape::List(inner), Value::Array(items)) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.value(inner, item, &format!("{path}[{index}]"));
                }
            }
            (Shape::Map(inner), Value::Object(map)) => {
                for (key, item) in map {
                    self.value(inner, item, &format!("{path}[{key}]"));
                }
            }
            (Shape::Integer, value) => whole(value),
            (Shape::Number, value) => {
                if let Some(number) = value.as_str().and_then(|s| s.parse::<f64>().ok()) {
                    *value = number.into();
                }
            }
            _ => {}
        }
    }

    fn object(&mut self, fields: &[Field], map: &mut Map<String, Value>, path: &str) {
        self.rename(fields, map, path);
        for (name, value) in map.iter_mut() {
            let path = format!("{path}.{name}");
            match fields.iter().find(|f| f.name == name) {
                Some(field) => {
                    if field.legacy {
                        let say = "was removed from Istio's API; it keeps its meaning here";
                        self.findings.push(Finding::warning(&path, say).code("IST0002"));
                    }
                    self.value(&field.shape, value, &path);
                }
                None => self.unknown(fields, name, path),
            }
        }
    }

    /// snake_case names are what proto3's JSON reads as well.
    fn rename(&mut self, fields: &[Field], map: &mut Map<String, Value>, path: &str) {
        let known = |name: &str| fields.iter().any(|f| f.name == name);
        let renamed = |name: &String| Some(camel_case(name)).filter(|c| !known(name) && known(c));
        let wrong: Vec<(String, String)> =
            map.keys().filter_map(|name| Some((name.clone(), renamed(name)?))).collect();
        for (name, camel) in wrong {
            let say = format!("is written {camel}");
            self.findings.push(Finding::warning(format!("{path}.{name}"), say));
            if let Some(value) = map.remove(&name) {
                map.entry(camel).or_insert(value);
            }
        }
    }

    fn unknown(&mut self, fields: &[Field], name: &str, path: String) {
        let near = fields.iter().find(|f| f.name.eq_ignore_ascii_case(name));
        let hint = near.map(|f| format!(", did you mean {}?", f.name)).unwrap_or_default();
        let say = format!("unknown field{hint}");
        self.findings.push(if self.strict {
            Finding::error(path, say)
        } else {
            Finding::warning(path, say)
        });
    }
}

fn camel_case(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut upper = false;
    for c in name.chars() {
        match c {
            '_' => upper = true,
            c if upper => {
                out.push(c.to_ascii_uppercase());
                upper = false;
            }
            c => out.push(c),
        }
    }
    out
}

/// A whole number, also when written as text or with a fraction of zero.
fn whole(value: &mut Value) {
    let number = match value {
        Value::String(s) => s.parse::<i64>().ok(),
        Value::Number(n) if n.is_f64() => {
            n.as_f64().filter(|f| f.fract() == 0.0 && f.abs() < 9.0e15).map(|f| f as i64)
        }
        _ => None,
    };
    if let Some(number) = number {
        *value = number.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Object, VirtualService};
    use serde_json::json;

    fn read(spec: Value) -> Decoded<Object<VirtualService>> {
        decode("VirtualService", &json!({"metadata": {"name": "a"}, "spec": spec})).unwrap()
    }

    fn said(decoded: &Decoded<Object<VirtualService>>) -> Vec<String> {
        decoded.findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn nulls_are_absent_and_numbers_may_be_text() {
        let decoded = read(json!({"hosts": null, "http": [{"match": null, "timeout": null,
            "route": [{"destination": {"host": "a", "port": {"number": "80"}}, "weight": 50.0}]}]}));
        let route = &decoded.object.spec.http[0].route[0];
        assert_eq!(route.weight, 50);
        assert_eq!(route.destination.as_ref().unwrap().port.as_ref().unwrap().number, 80);
        assert!(decoded.findings.is_empty());
    }

    #[test]
    fn what_is_written_otherwise_is_said() {
        let decoded = read(json!({"hosts": ["a"], "export_to": ["."], "http": [
            {"websocketUpgrade": true, "Timeout": "1s", "fault": {"abort": {"percent": 10, "httpStatus": 500}}}]}));
        assert_eq!(decoded.object.spec.export_to, ["."]);
        assert_eq!(
            decoded.object.spec.http[0].fault.as_ref().unwrap().abort.as_ref().unwrap().percent,
            Some(10)
        );
        let expected = [
            "spec.export_to: is written exportTo",
            "spec.http[0].websocketUpgrade: was removed from Istio's API; it keeps its meaning here",
            "spec.http[0].Timeout: unknown field, did you mean timeout?",
            "spec.http[0].fault.abort.percent: was removed from Istio's API; it keeps its meaning here",
        ];
        assert_eq!(said(&decoded), expected);
    }

    #[test]
    fn a_wrong_type_is_refused_by_name() {
        let object = json!({"spec": {"http": [{"timeout": "soon"}]}});
        let refused = decode::<Object<VirtualService>>("VirtualService", &object).unwrap_err();
        assert!(refused.message.contains("\"soon\" is not a duration"), "{refused}");
    }
}
