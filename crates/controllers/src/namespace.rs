//! Namespace deletion: first everything in it, then its finalizer.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::action::{Action, Outcome, Propagation};
use crate::conditions::{self, Condition, Status, Times};
use crate::key::{Key, Resource};
use crate::read;
use crate::world::World;

pub fn reconcile(world: &World, key: &Key, now: Timestamp) -> Outcome {
    let Some(namespace) = world.get(key) else { return Outcome::default() };
    let mut outcome = Outcome::default();
    if !read::deleting(namespace) {
        return outcome;
    }
    let mut left = 0;
    for (resource, object) in world.contents(&key.name) {
        if resource.group.as_ref() == "" && resource.plural.as_ref() == "events" {
            continue; // They go last, so that what happened on the way can be read.
        }
        left += 1;
        if !read::deleting(object) {
            outcome.push(delete(resource, object));
        }
    }
    if left == 0 {
        let events = Resource::new("", "events");
        let events = world.in_namespace(&events, &key.name);
        outcome.actions.extend(events.map(|event| delete(&Resource::new("", "events"), event)));
        if !read::list(namespace, "/spec/finalizers").is_empty() {
            outcome.push(finalize(namespace));
        }
    } else if let Some(changed) = waiting(namespace, left, now) {
        outcome.actions.insert(0, Action::UpdateStatus(changed));
    }
    outcome
}

fn delete(resource: &Resource, object: &Value) -> Action {
    Action::Delete {
        key: Key::of(resource, object),
        uid: read::uid(object).to_owned(),
        grace_seconds: None,
        propagation: Propagation::Background,
    }
}

fn finalize(namespace: &Value) -> Action {
    Action::MergePatch {
        key: Key::of(&Resource::NAMESPACES, namespace),
        subresource: Some("finalize"),
        patch: json!({"spec": {"finalizers": []}}),
    }
}

/// The status that tells who waits what for.
fn waiting(namespace: &Value, left: usize, now: Timestamp) -> Option<Value> {
    let mut list = read::list(namespace, "/status/conditions").to_vec();
    let message = format!("{left} objects in the namespace have yet to be deleted");
    let condition = Condition {
        kind: "NamespaceContentRemaining",
        status: Status::True,
        reason: "SomeResourcesRemain",
        message: &message,
    };
    conditions::set(&mut list, &condition, Times::Transition, now);
    read::with_status(namespace, json!({"phase": "Terminating", "conditions": list}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn contents_first_then_the_finalizer() {
        let mut world = World::default();
        let key = Key::new(Resource::NAMESPACES, "", "foo");
        let namespace = json!({"metadata": {"name": "foo", "uid": "n",
            "deletionTimestamp": "2026-01-01T00:00:00Z"}, "spec": {"finalizers": ["kubernetes"]}});
        world.observe(&Resource::NAMESPACES, Arc::new(namespace));
        let services = Resource::SERVICES;
        let service = json!({"metadata": {"namespace": "foo", "name": "s", "uid": "s"}});
        world.observe(&services, Arc::new(service.clone()));
        let now = "2026-01-01T00:00:00Z".parse().unwrap();

        let actions = reconcile(&world, &key, now).actions;
        assert!(
            matches!(&actions[..], [Action::UpdateStatus(_), Action::Delete { key, .. }] if key.name == "s"),
            "{actions:?}"
        );
        world.observe_deleted(&services, &service, 9);
        let actions = reconcile(&world, &key, now).actions;
        assert!(
            matches!(&actions[..], [Action::MergePatch { subresource: Some("finalize"), .. }]),
            "{actions:?}"
        );
    }
}
