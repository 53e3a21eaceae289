//! The ReplicaSets of a Deployment: the new one (whose template is the Deployment's), the old ones,
//! and their revisions, by which `kubectl rollout history` and `undo` find them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{REVISION, size_notes};
use crate::action::{Action, Outcome, Severity};
use crate::claim::claim;
use crate::hash::template_hash;
use crate::key::{Key, Resource};
use crate::read;
use crate::selector::Selector;
use crate::world::World;

const HASH: &str = "pod-template-hash";
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// Annotations of a Deployment that say something about itself only.
const NOT_COPIED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    "deprecated.deployment.rollback.to",
    REVISION,
    HISTORY,
    super::DESIRED,
    super::MAXIMUM,
];

pub struct Sets<'a> {
    pub new: Option<&'a Arc<Value>>,
    /// Oldest first.
    pub old: Vec<&'a Arc<Value>>,
}

impl<'a> Sets<'a> {
    pub fn of(world: &'a World, deployment: &'a Value, outcome: &mut Outcome) -> Sets<'a> {
        let selector = Selector::parse(deployment.pointer("/spec/selector"));
        let mut claimed = claim(world, deployment, &Resource::REPLICA_SETS, selector.as_ref());
        outcome.actions.append(&mut claimed.actions);
        let mut old = claimed.owned;
        old.sort_by_key(|set| (read::created(set), read::name(set).to_owned()));
        let current = plain_template(deployment);
        let new = old
            .iter()
            .position(|set| !read::deleting(set) && plain_template(set) == current)
            .map(|index| old.remove(index));
        Sets { new, old }
    }

    pub fn all(&self) -> impl Iterator<Item = &'a Arc<Value>> {
        self.old.iter().copied().chain(self.new)
    }

    fn next_revision(&self) -> i64 {
        self.old.iter().map(|set| revision(set)).max().unwrap_or_default() + 1
    }

    /// Creates the new ReplicaSet. A set of that name with another template is a hash collision:
    /// the Deployment's collision count then changes the name.
    pub fn create(&self, deployment: &Arc<Value>, size: i64, outcome: &mut Outcome) {
        let collisions = read::int(deployment, "/status/collisionCount").unwrap_or_default();
        let template = deployment.pointer("/spec/template").unwrap_or(&Value::Null);
        let hash = template_hash(template, collisions);
        let name = format!("{}-{hash}", read::name(deployment));
        if self.all().any(|set| read::name(set) == name && !read::deleting(set)) {
            return outcome.push(Action::MergePatch {
                key: Key::of(&Resource::DEPLOYMENTS, deployment),
                subresource: Some("status"),
                patch: json!({"status": {"collisionCount": collisions + 1}}),
            });
        }
        let revision = self.next_revision().to_string();
        outcome.push(Action::Create {
            object: replica_set(deployment, &name, &hash, &revision, size),
            reported_on: None,
        });
        note_revision(deployment, &revision, outcome);
        if size > 0 {
            let message = format!("Scaled up replica set {name} from 0 to {size}");
            outcome.event(deployment, Severity::Normal, "ScalingReplicaSet", message);
        }
    }

    /// Keeps the new ReplicaSet's revision the highest (it may be an old one that an undo brought
    /// back) and its annotations those of the Deployment (`kubernetes.io/change-cause`).
    pub fn keep_annotations(&self, deployment: &Arc<Value>, set: &Value, outcome: &mut Outcome) {
        let mut wanted = copied_annotations(deployment);
        let was = revision(set);
        let next = self.next_revision().max(was);
        if next != was {
            wanted.insert(REVISION.to_owned(), json!(next.to_string()));
            if was > 0 {
                let history = read::annotation(set, HISTORY).map(|h| format!("{h},{was}"));
                let history = history.unwrap_or_else(|| was.to_string());
                wanted.insert(HISTORY.to_owned(), json!(history));
            }
        }
        wanted.retain(|key, value| read::annotation(set, key) != value.as_str());
        if !wanted.is_empty() {
            outcome.push(Action::MergePatch {
                key: Key::of(&Resource::REPLICA_SETS, set),
                subresource: None,
                patch: json!({"metadata": {"annotations": wanted}}),
            });
        }
        note_revision(deployment, &next.to_string(), outcome);
    }
}

pub fn revision(set: &Value) -> i64 {
    read::annotation(set, REVISION).and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// The template without the hash that tells the ReplicaSets' copies apart, and without nulls.
fn plain_template(owner: &Value) -> Value {
    let mut template = owner.pointer("/spec/template").cloned().unwrap_or(Value::Null);
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.shift_remove(HASH);
    }
    if let Some(metadata) = template.pointer_mut("/metadata").and_then(Value::as_object_mut) {
        metadata.retain(|_, value| !value.is_null());
    }
    template
}

fn copied_annotations(deployment: &Value) -> Map<String, Value> {
    let mut annotations = read::labels_at(deployment, "/metadata/annotations");
    annotations.retain(|key, _| !NOT_COPIED.contains(&key.as_str()));
    annotations
}

fn replica_set(deployment: &Value, name: &str, hash: &str, revision: &str, size: i64) -> Value {
    let mut template = deployment.pointer("/spec/template").cloned().unwrap_or_else(|| json!({}));
    template["metadata"]["labels"][HASH] = json!(hash);
    let mut selector = deployment.pointer("/spec/selector").cloned().unwrap_or_else(|| json!({}));
    selector["matchLabels"][HASH] = json!(hash);
    let mut annotations = copied_annotations(deployment);
    annotations.insert(REVISION.to_owned(), json!(revision));
    for (key, value) in size_notes(deployment) {
        annotations.insert(key.to_owned(), json!(value));
    }
    json!({
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": name,
            "namespace": read::namespace(deployment),
            "labels": template["metadata"]["labels"],
            "annotations": annotations,
            "ownerReferences": [read::controller_reference(deployment)],
        },
        "spec": {
            "replicas": size,
            "minReadySeconds": read::int(deployment, "/spec/minReadySeconds").unwrap_or_default(),
            "selector": selector,
            "template": template,
        },
    })
}

fn note_revision(deployment: &Value, revision: &str, outcome: &mut Outcome) {
    if read::annotation(deployment, REVISION) != Some(revision) {
        let note = BTreeMap::from([(REVISION, revision)]);
        outcome.push(Action::MergePatch {
            key: Key::of(&Resource::DEPLOYMENTS, deployment),
            subresource: None,
            patch: json!({"metadata": {"annotations": note}}),
        });
    }
}
