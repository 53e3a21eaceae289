//! ControllerRevisions: the templates that a StatefulSet or DaemonSet has had, for
//! `kubectl rollout history` and `undo`, and for pods that stay behind a partition.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::action::{Action, Outcome, Propagation};
use crate::hash::template_hash;
use crate::key::{Key, Resource};
use crate::read;
use crate::world::World;

pub const HASH: &str = "controller-revision-hash";

/// The present template's revision.
pub struct Revision {
    pub name: String,
    pub hash: String,
}

pub fn of(owner: &Value) -> Revision {
    let template = owner.pointer("/spec/template").unwrap_or(&Value::Null);
    let hash = template_hash(template, 0);
    Revision { name: format!("{}-{hash}", read::name(owner)), hash }
}

/// The template of a revision that is still kept.
pub fn template<'a>(world: &'a World, owner: &Value, name: &str) -> Option<&'a Value> {
    let key = Key::new(Resource::CONTROLLER_REVISIONS, read::namespace(owner), name);
    world.get(&key)?.pointer("/data/spec/template")
}

/// Keeps the present revision recorded as the newest, and of the others as many as the owner's
/// limit says, plus those that `in_use` names.
pub fn record(
    world: &World,
    owner: &Value,
    present: &Revision,
    in_use: &[&str],
    outcome: &mut Outcome,
) {
    let all = world.controlled(read::uid(owner), &Resource::CONTROLLER_REVISIONS);
    let mut all: Vec<&Arc<Value>> = all.filter(|revision| !read::deleting(revision)).collect();
    all.sort_by_key(|revision| number(revision));
    let newest = all.last().map_or(0, |revision| number(revision));
    match all.iter().find(|revision| read::name(revision) == present.name) {
        None => outcome
            .push(Action::Create { object: object(owner, present, newest + 1), reported_on: None }),
        Some(known) if number(known) < newest => outcome.push(Action::MergePatch {
            key: Key::of(&Resource::CONTROLLER_REVISIONS, known),
            subresource: None,
            patch: json!({"revision": newest + 1}),
        }),
        Some(_) => {}
    }
    let limit = read::int(owner, "/spec/revisionHistoryLimit").unwrap_or(10).max(0);
    let mut old: Vec<&Arc<Value>> = all
        .into_iter()
        .filter(|r| read::name(r) != present.name && !in_use.contains(&read::name(r)))
        .collect();
    old.truncate(old.len().saturating_sub(usize::try_from(limit).unwrap_or_default()));
    outcome.actions.extend(old.into_iter().map(|revision| Action::Delete {
        key: Key::of(&Resource::CONTROLLER_REVISIONS, revision),
        uid: read::uid(revision).to_owned(),
        grace_seconds: None,
        propagation: Propagation::Background,
    }));
}

fn number(revision: &Value) -> i64 {
    read::int(revision, "/revision").unwrap_or_default()
}

/// `data` is a strategic merge patch: what `kubectl rollout undo` applies.
fn object(owner: &Value, present: &Revision, number: i64) -> Value {
    let mut template = owner.pointer("/spec/template").cloned().unwrap_or_else(|| json!({}));
    let mut labels = read::labels_at(&template, "/metadata/labels");
    labels.insert(HASH.to_owned(), json!(present.hash));
    template["$patch"] = json!("replace");
    let mut annotations = read::labels_at(owner, "/metadata/annotations");
    annotations.retain(|key, _| key != "kubectl.kubernetes.io/last-applied-configuration");
    json!({
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": present.name,
            "namespace": read::namespace(owner),
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [read::controller_reference(owner)],
        },
        "data": {"spec": {"template": template}},
        "revision": number,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(image: &str) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "DaemonSet",
            "metadata": {"namespace": "default", "name": "d", "uid": "d"},
            "spec": {"revisionHistoryLimit": 1, "template": {"spec": {"image": image}}}})
    }

    fn run(world: &mut World, image: &str) -> Vec<String> {
        let owner = owner(image);
        let mut outcome = Outcome::default();
        record(world, &owner, &of(&owner), &[], &mut outcome);
        let mut said = Vec::new();
        for action in outcome.actions {
            match action {
                Action::Create { mut object, .. } => {
                    said.push(format!("create {}", object["revision"]));
                    object["metadata"]["uid"] = object["metadata"]["name"].clone();
                    world.observe(&Resource::CONTROLLER_REVISIONS, Arc::new(object));
                }
                Action::MergePatch { key, patch, .. } => {
                    said.push(format!("renumber {}", patch["revision"]));
                    let mut object = world.get(&key).unwrap().as_ref().clone();
                    object["revision"] = patch["revision"].clone();
                    world.observe(&Resource::CONTROLLER_REVISIONS, Arc::new(object));
                }
                Action::Delete { key, .. } => {
                    let object = world.get(&key).unwrap().clone();
                    said.push(format!("delete {}", object["revision"]));
                    world.observe_deleted(&key.resource, &object, 0);
                }
                other => panic!("unexpected {other:?}"),
            }
        }
        said
    }

    #[test]
    fn an_old_template_that_comes_back_becomes_the_newest() {
        let mut world = World::default();
        assert_eq!(run(&mut world, "a"), ["create 1"]);
        assert_eq!(run(&mut world, "a"), [""; 0]);
        assert_eq!(run(&mut world, "b"), ["create 2"]);
        assert_eq!(run(&mut world, "a"), ["renumber 3"]);
        assert_eq!(run(&mut world, "c"), ["create 4", "delete 2"]);
        let kept = template(&world, &owner("c"), &of(&owner("a")).name).unwrap();
        assert_eq!(kept["spec"]["image"], "a");
        assert_eq!(kept["$patch"], "replace");
    }
}
