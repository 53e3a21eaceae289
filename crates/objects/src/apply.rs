//! Who owns which field: server-side apply with its conflicts, and the bookkeeping of
//! `metadata.managedFields` for every other write.

use serde_json::{Map, Value, json};

use crate::fields::{FieldSet, edges, list_edge};
use crate::meta;
use crate::schema::{ListMerge, Shape};

/// Who writes, and when.
#[derive(Debug, Clone)]
pub struct Manager<'a> {
    pub name: &'a str,
    pub api_version: &'a str,
    pub subresource: Option<&'a str>,
    /// RFC 3339.
    pub now: &'a str,
    /// This write cannot change the status, whatever the object says.
    pub without_status: bool,
}

/// A field that somebody else owns with another value.
#[derive(Debug, Clone, PartialEq)]
pub struct Conflict {
    pub manager: String,
    pub field: String,
}

/// Fields that nobody owns.
const UNOWNED: &[&[&str]] = &[
    &["f:apiVersion"],
    &["f:kind"],
    &["f:metadata", "f:name"],
    &["f:metadata", "f:namespace"],
    &["f:metadata", "f:generateName"],
    &["f:metadata", "f:uid"],
    &["f:metadata", "f:resourceVersion"],
    &["f:metadata", "f:generation"],
    &["f:metadata", "f:creationTimestamp"],
    &["f:metadata", "f:deletionTimestamp"],
    &["f:metadata", "f:deletionGracePeriodSeconds"],
    &["f:metadata", "f:managedFields"],
    &["f:metadata", "f:selfLink"],
];

/// Records the difference between `old` and `new` as owned by `manager`; it is taken from all
/// others. `new`'s own record is the base, or `old`'s where it has none.
pub fn record_update(shape: &Shape, old: Option<&Value>, new: &mut Value, manager: &Manager) {
    let mut entries = entries_of(new);
    if entries.is_empty() {
        entries = old.map(entries_of).unwrap_or_default();
    }
    let nothing = Value::Null;
    let (changed, removed) = difference(old.unwrap_or(&nothing), new, shape);
    let (mut changed, mut removed) = (owned(changed), owned(removed));
    if manager.without_status {
        changed.remove(&["f:status"]);
        removed.remove(&["f:status"]);
    }
    if !changed.is_empty() || !removed.is_empty() {
        let mut mine_found = false;
        for entry in &mut entries {
            let before = entry.fields.clone();
            if entry.is("Update", manager) {
                mine_found = true;
                entry.fields.union(&changed);
            } else {
                entry.fields.subtract(&changed);
            }
            entry.fields.subtract(&removed);
            if entry.fields != before && entry.is("Update", manager) {
                entry.time = manager.now.to_owned();
            }
        }
        if !mine_found && !changed.is_empty() {
            entries.push(Entry::new("Update", manager, changed));
        }
    }
    write_entries(new, entries);
}

/// Merges an applied configuration into what there is. `force` takes fields that others own.
pub fn apply(
    shape: &Shape,
    live: Option<&Value>,
    applied: &Value,
    manager: &Manager,
    force: bool,
) -> Result<Value, Vec<Conflict>> {
    let mut applied = applied.clone();
    meta::metadata(&mut applied).shift_remove("managedFields");
    let mut wanted = owned(FieldSet::of(&applied, shape));
    if manager.without_status {
        wanted.remove(&["f:status"]);
    }
    let mut entries = live.map(entries_of).unwrap_or_default();
    let differing = match live {
        Some(live) => wanted.intersection(&owned(difference(live, &applied, shape).0)),
        None => FieldSet::default(),
    };
    let conflicts = conflicts(&entries, &differing, manager);
    if !conflicts.is_empty() && !force {
        return Err(conflicts);
    }
    for entry in entries.iter_mut().filter(|e| !e.is("Apply", manager)) {
        entry.fields.subtract(&differing);
    }
    let mut result = live.cloned().unwrap_or_else(|| json!({}));
    merge(&mut result, &applied, shape);
    let before = entries.iter().position(|e| e.is("Apply", manager)).map(|at| entries.remove(at));
    if let Some(before) = &before {
        let mut dropped = before.fields.clone();
        dropped.subtract(&wanted);
        for other in &entries {
            dropped.subtract(&other.fields);
        }
        remove_fields(&mut result, &dropped, shape);
    }
    let mut mine = Entry::new("Apply", manager, wanted);
    if let Some(before) = before.filter(|b| b.fields == mine.fields) {
        mine.time = before.time;
    }
    entries.push(mine);
    write_entries(&mut result, entries);
    Ok(result)
}

#[derive(Debug, Clone, PartialEq)]
struct Entry {
    manager: String,
    operation: String,
    api_version: String,
    subresource: String,
    time: String,
    fields: FieldSet,
}

impl Entry {
    fn new(operation: &str, manager: &Manager, fields: FieldSet) -> Entry {
        Entry {
            manager: manager.name.to_owned(),
            operation: operation.to_owned(),
            api_version: manager.api_version.to_owned(),
            subresource: manager.subresource.unwrap_or_default().to_owned(),
            time: manager.now.to_owned(),
            fields,
        }
    }

    fn is(&self, operation: &str, manager: &Manager) -> bool {
        self.manager == manager.name
            && self.operation == operation
            && self.subresource == manager.subresource.unwrap_or_default()
    }
}

fn entries_of(object: &Value) -> Vec<Entry> {
    let text = |value: &Value, key: &str| meta::text(value, &[key]).unwrap_or_default().to_owned();
    let entries = meta::items(object, &["metadata", "managedFields"]).iter();
    let entries = entries.filter(|e| e.get("manager").is_some()).map(|entry| Entry {
        manager: text(entry, "manager"),
        operation: text(entry, "operation"),
        api_version: text(entry, "apiVersion"),
        subresource: text(entry, "subresource"),
        time: text(entry, "time"),
        fields: entry.get("fieldsV1").map(FieldSet::from_json).unwrap_or_default(),
    });
    entries.collect()
}

fn write_entries(object: &mut Value, entries: Vec<Entry>) {
    let list: Vec<Value> = entries
        .into_iter()
        .filter(|e| !e.fields.is_empty())
        .map(|e| {
            let mut entry = json!({
                "manager": e.manager, "operation": e.operation, "apiVersion": e.api_version,
                "time": e.time, "fieldsType": "FieldsV1", "fieldsV1": e.fields.to_json(),
            });
            if !e.subresource.is_empty() {
                meta::as_map(&mut entry).insert("subresource".to_owned(), e.subresource.into());
            }
            entry
        })
        .collect();
    let metadata = meta::metadata(object);
    if list.is_empty() {
        metadata.shift_remove("managedFields");
    } else {
        metadata.insert("managedFields".to_owned(), Value::Array(list));
    }
}

fn conflicts(entries: &[Entry], differing: &FieldSet, manager: &Manager) -> Vec<Conflict> {
    let others = entries.iter().filter(|e| !e.is("Apply", manager));
    let mut found = Vec::new();
    for entry in others {
        for field in entry.fields.intersection(differing).paths() {
            found.push(Conflict { manager: entry.manager.clone(), field });
        }
    }
    found
}

fn owned(mut set: FieldSet) -> FieldSet {
    for path in UNOWNED {
        set.remove(path);
    }
    if set.children.get("f:metadata").is_some_and(|m| m.children.is_empty()) {
        set.children.remove("f:metadata");
    }
    set
}

/// (fields that are new or different in `new`, fields that `new` lacks).
fn difference(old: &Value, new: &Value, shape: &Shape) -> (FieldSet, FieldSet) {
    if old == new {
        return Default::default();
    }
    let (old_parts, new_parts) = (edges(old, shape), edges(new, shape));
    let (mut changed, mut removed) = (FieldSet::default(), FieldSet::default());
    for (edge, value, below) in &new_parts {
        let keyed = edge.starts_with("k:");
        match old_parts.iter().find(|(e, _, _)| e == edge) {
            Some((_, before, _)) => {
                let (c, r) = difference(before, value, below);
                let leaf = edges(value, below).is_empty() && edges(before, below).is_empty();
                if leaf && before != value {
                    changed.children.insert(edge.clone(), leaf_set());
                } else {
                    insert(&mut changed, edge, c);
                    insert(&mut removed, edge, r);
                }
            }
            None => {
                let mut all = FieldSet::of(value, below);
                all.member |= all.children.is_empty() || keyed;
                changed.children.insert(edge.clone(), all);
            }
        }
    }
    for (edge, value, below) in &old_parts {
        if !new_parts.iter().any(|(e, _, _)| e == edge) {
            let mut all = FieldSet::of(value, below);
            all.member = true;
            removed.children.insert(edge.clone(), all);
        }
    }
    (changed, removed)
}

fn leaf_set() -> FieldSet {
    FieldSet { member: true, children: Default::default() }
}

fn insert(set: &mut FieldSet, edge: &str, child: FieldSet) {
    if !child.is_empty() {
        set.children.insert(edge.to_owned(), child);
    }
}

/// Puts the applied values over what there is, list items by their keys.
fn merge(target: &mut Value, applied: &Value, shape: &Shape) {
    if shape.is_atomic() {
        *target = applied.clone();
        return;
    }
    match (applied, shape) {
        (Value::Object(map), _) => {
            let target = meta::as_map(target);
            for (key, value) in map {
                let below = shape.field(key).unwrap_or(&Shape::Any);
                merge(target.entry(key.clone()).or_insert(Value::Null), value, below);
            }
        }
        (Value::Array(list), Shape::List { of, merge: how }) => {
            let mut rest = target.as_array_mut().map(std::mem::take).unwrap_or_default();
            let mut result = Vec::with_capacity(list.len().max(rest.len()));
            for item in list {
                let id = list_edge(item, how);
                let before = rest.iter().position(|old| list_edge(old, how) == id);
                let mut value = before.map_or(Value::Null, |at| rest.remove(at));
                merge(&mut value, item, of);
                result.push(value);
            }
            result.append(&mut rest);
            *target = Value::Array(result);
        }
        _ => *target = applied.clone(),
    }
}

/// Removes the members of `dropped` from a value.
fn remove_fields(value: &mut Value, dropped: &FieldSet, shape: &Shape) {
    match value {
        Value::Object(map) => {
            for (edge, child) in &dropped.children {
                let Some(key) = edge.strip_prefix("f:") else { continue };
                remove_from_map(map, key, child, shape);
            }
        }
        Value::Array(list) => {
            let Shape::List { of, merge } = shape else { return };
            if *merge == ListMerge::Atomic {
                return;
            }
            list.retain_mut(|item| match dropped.children.get(&list_edge(item, merge)) {
                Some(child) if child.member => false,
                Some(child) => {
                    remove_fields(item, child, of);
                    true
                }
                None => true,
            });
        }
        _ => {}
    }
}

fn remove_from_map(map: &mut Map<String, Value>, key: &str, dropped: &FieldSet, shape: &Shape) {
    if dropped.member && dropped.children.is_empty() {
        map.shift_remove(key);
        return;
    }
    let Some(value) = map.get_mut(key) else { return };
    let was_filled = !is_hollow(value);
    remove_fields(value, dropped, shape.field(key).unwrap_or(&Shape::Any));
    if was_filled && is_hollow(value) {
        map.shift_remove(key);
    }
}

fn is_hollow(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}

#[cfg(test)]
mod tests;
