//! Look-ups by label, so that a change of one pod costs what it concerns and not what there is: pods by
//! each of their labels, selectors by one label that they ask for, and objects that nobody controls.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use crate::key::{Key, Resource};
use crate::read;
use crate::selector::Selector;

#[derive(Default)]
pub struct Index {
    entries: HashMap<Place, BTreeSet<Key>>,
}

/// Where an object can be looked up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Place {
    /// Pods with a label.
    Labelled {
        namespace: String,
        label: String,
        value: String,
    },
    /// Objects whose selector asks for a label.
    Selecting {
        namespace: String,
        label: String,
        value: String,
    },
    /// Objects whose selector asks for no single value of any label.
    SelectingVaguely {
        namespace: String,
    },
    Orphan {
        resource: Resource,
        namespace: String,
    },
}

impl Index {
    pub fn add(&mut self, key: &Key, object: &Value) {
        for place in places(key, object) {
            self.entries.entry(place).or_default().insert(key.clone());
        }
    }

    pub fn remove(&mut self, key: &Key, object: &Value) {
        for place in places(key, object) {
            if let Some(keys) = self.entries.get_mut(&place) {
                keys.remove(key);
                if keys.is_empty() {
                    self.entries.remove(&place);
                }
            }
        }
    }

    /// Pods with a label; all that a selector asking for it can select.
    pub fn labelled(
        &self,
        namespace: &str,
        (label, value): (&str, &str),
    ) -> impl Iterator<Item = &Key> {
        let (namespace, label, value) = (namespace.into(), label.into(), value.into());
        self.at(&Place::Labelled { namespace, label, value })
    }

    /// Objects whose selector may select this pod.
    pub fn may_select<'a>(&'a self, pod: &'a Value) -> impl Iterator<Item = &'a Key> {
        let namespace = read::namespace(pod).to_owned();
        let vague = self.at(&Place::SelectingVaguely { namespace: namespace.clone() });
        let exact = labels(pod).flat_map(move |(label, value)| {
            let namespace = namespace.clone();
            self.at(&Place::Selecting { namespace, label, value })
        });
        exact.chain(vague)
    }

    /// Pods or ReplicaSets that nobody controls.
    pub fn orphans(&self, resource: &Resource, namespace: &str) -> impl Iterator<Item = &Key> {
        let resource = resource.clone();
        self.at(&Place::Orphan { resource, namespace: namespace.to_owned() })
    }

    fn at(&self, place: &Place) -> impl Iterator<Item = &Key> + use<'_> {
        self.entries.get(place).into_iter().flatten()
    }
}

fn places(key: &Key, object: &Value) -> Vec<Place> {
    let namespace = || key.namespace.clone();
    let mut places = Vec::new();
    let adoptable = [Resource::PODS, Resource::REPLICA_SETS].contains(&key.resource);
    if adoptable && read::controller(object).is_none() {
        places.push(Place::Orphan { resource: key.resource.clone(), namespace: namespace() });
    }
    if key.resource == Resource::PODS {
        let labelled = labels(object).map(|(label, value)| Place::Labelled {
            namespace: namespace(),
            label,
            value,
        });
        places.extend(labelled);
    } else if let Some(selector) = Selector::of(&key.resource, object) {
        places.push(match selector.exact() {
            Some((label, value)) => Place::Selecting {
                namespace: namespace(),
                label: label.to_owned(),
                value: value.to_owned(),
            },
            None => Place::SelectingVaguely { namespace: namespace() },
        });
    }
    places
}

fn labels(object: &Value) -> impl Iterator<Item = (String, String)> {
    let labels = object.pointer("/metadata/labels").and_then(Value::as_object);
    let pairs = labels.into_iter().flatten();
    pairs.filter_map(|(label, value)| Some((label.clone(), value.as_str()?.to_owned())))
}
