//! Sets of fields, as `metadata.managedFields` records them (`FieldsV1`): a tree whose edges are
//! `f:name`, `k:{"key":"value"}` and `v:value`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::schema::{ListMerge, Shape};

/// A set of field paths.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FieldSet {
    /// Whether the path that leads here is in the set itself.
    pub member: bool,
    pub children: BTreeMap<String, FieldSet>,
}

impl FieldSet {
    pub fn is_empty(&self) -> bool {
        !self.member && self.children.values().all(FieldSet::is_empty)
    }

    pub fn from_json(value: &Value) -> FieldSet {
        let mut set = FieldSet::default();
        for (edge, below) in value.as_object().into_iter().flatten() {
            if edge == "." {
                set.member = true;
                continue;
            }
            let mut child = FieldSet::from_json(below);
            // An edge without anything below is a member itself.
            child.member |= child.children.is_empty();
            set.children.insert(edge.clone(), child);
        }
        set
    }

    pub fn to_json(&self) -> Value {
        let mut map = Map::new();
        if self.member && !self.children.is_empty() {
            map.insert(".".to_owned(), Value::Object(Map::new()));
        }
        for (edge, child) in self.children.iter().filter(|(_, c)| !c.is_empty()) {
            map.insert(edge.clone(), child.to_json());
        }
        Value::Object(map)
    }

    /// The fields that a value has under a shape.
    pub fn of(value: &Value, shape: &Shape) -> FieldSet {
        let mut set = FieldSet::default();
        for (edge, item, below) in edges(value, shape) {
            let mut child = FieldSet::of(item, below);
            child.member |= child.children.is_empty() || edge.starts_with("k:");
            set.children.insert(edge, child);
        }
        set
    }

    pub fn union(&mut self, other: &FieldSet) {
        self.member |= other.member;
        for (edge, child) in &other.children {
            self.children.entry(edge.clone()).or_default().union(child);
        }
    }

    /// Removes the members of another set.
    pub fn subtract(&mut self, other: &FieldSet) {
        self.member &= !other.member;
        for (edge, child) in &other.children {
            if let Some(mine) = self.children.get_mut(edge) {
                mine.subtract(child);
            }
        }
        self.children.retain(|_, child| !child.is_empty());
    }

    /// Keeps the members that another set has too.
    pub fn intersection(&self, other: &FieldSet) -> FieldSet {
        let children = self.children.iter().filter_map(|(edge, child)| {
            let both = child.intersection(other.children.get(edge)?);
            (!both.is_empty()).then(|| (edge.clone(), both))
        });
        FieldSet { member: self.member && other.member, children: children.collect() }
    }

    /// Drops a path (and all below it).
    pub fn remove(&mut self, path: &[&str]) {
        match path {
            [] => {}
            [last] => {
                self.children.remove(*last);
            }
            [first, rest @ ..] => {
                if let Some(child) = self.children.get_mut(*first) {
                    child.remove(rest);
                }
            }
        }
    }

    /// Members as paths people read: `.spec.containers[name="a"].image`.
    pub fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect("", &mut paths);
        paths
    }

    fn collect(&self, prefix: &str, paths: &mut Vec<String>) {
        if self.member {
            paths.push(prefix.to_owned());
        }
        for (edge, child) in &self.children {
            child.collect(&format!("{prefix}{}", readable(edge)), paths);
        }
    }
}

fn readable(edge: &str) -> String {
    match edge.split_once(':') {
        Some(("f", name)) => format!(".{name}"),
        Some(("k", keys)) => {
            let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
            let keys: Vec<String> = keys.iter().map(|(k, v)| format!("{k}={v}")).collect();
            format!("[{}]", keys.join(","))
        }
        Some(("v", value)) => format!("[={value}]"),
        _ => format!("[{edge}]"),
    }
}

static ANY: Shape = Shape::Any;

/// The parts of a value that are owned separately; none for scalars and atomic values.
pub fn edges<'a>(value: &'a Value, shape: &'a Shape) -> Vec<(String, &'a Value, &'a Shape)> {
    if shape.is_atomic() {
        return Vec::new();
    }
    match (value, shape) {
        (Value::Object(map), _) => map
            .iter()
            .map(|(key, v)| (format!("f:{key}"), v, shape.field(key).unwrap_or(&ANY)))
            .collect(),
        (Value::Array(list), Shape::List { of, merge }) => {
            list.iter().map(|item| (list_edge(item, merge), item, &**of)).collect()
        }
        _ => Vec::new(),
    }
}

/// What a list item is known by.
pub fn list_edge(item: &Value, merge: &ListMerge) -> String {
    match merge {
        ListMerge::Keyed(keys) => {
            // Sorted, so that equal keys are equal texts.
            let mut id: BTreeMap<&str, Value> = BTreeMap::new();
            for key in keys {
                match item.get(key) {
                    Some(value) => id.insert(key, value.clone()),
                    // The one key with a default.
                    None if key == "protocol" => id.insert(key, "TCP".into()),
                    None => None,
                };
            }
            format!("k:{}", serde_json::to_string(&id).unwrap_or_default())
        }
        _ => format!("v:{item}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn field_sets_go_to_json_and_back() {
        let shape = crate::schema::builtin("", "v1", "Pod").unwrap();
        let pod = json!({"metadata": {"labels": {"app": "a"}, "finalizers": ["x"]},
            "spec": {"containers": [{"name": "c", "image": "i",
                "ports": [{"containerPort": 80}]}], "tolerations": [{"key": "k"}]}});
        let set = FieldSet::of(&pod, &shape);
        let wanted = json!({
            "f:metadata": {"f:finalizers": {"v:\"x\"": {}}, "f:labels": {"f:app": {}}},
            "f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {".": {}, "f:image": {}, "f:name": {},
                "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}}}},
                "f:tolerations": {}}});
        assert_eq!(set.to_json(), wanted);
        assert_eq!(FieldSet::from_json(&wanted), set);
        assert!(set.paths().contains(&".spec.containers[name=\"c\"].image".to_owned()));
    }

    #[test]
    fn set_arithmetic() {
        let set = |v: Value| FieldSet::from_json(&v);
        let mut a = set(json!({"f:a": {}, "f:b": {"f:c": {}}}));
        a.subtract(&set(json!({"f:b": {"f:c": {}}})));
        assert_eq!(a, set(json!({"f:a": {}})));
        a.union(&set(json!({"f:d": {}})));
        assert_eq!(a.intersection(&set(json!({"f:d": {}, "f:x": {}}))), set(json!({"f:d": {}})));
    }
}
