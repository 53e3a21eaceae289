//! Whose pods (or ReplicaSets) are these? A controller keeps what it owns and selects, adopts
//! orphans that it selects, and lets go of what it owns but no longer selects.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::action::Action;
use crate::key::{Key, Resource};
use crate::read;
use crate::selector::Selector;
use crate::world::World;

pub struct Claimed<'a> {
    /// What belongs to the owner, orphans about to be adopted included.
    pub owned: Vec<&'a Arc<Value>>,
    /// The adoptions and releases to write.
    pub actions: Vec<Action>,
}

pub fn claim<'a>(
    world: &'a World,
    owner: &Value,
    resource: &Resource,
    selector: Option<&Selector>,
) -> Claimed<'a> {
    let mut claimed = Claimed { owned: Vec::new(), actions: Vec::new() };
    let Some(selector) = selector else { return claimed };
    for object in world.controlled(read::uid(owner), resource) {
        if selector.matches(object) {
            claimed.owned.push(object);
        } else if !read::deleting(owner) {
            claimed.actions.push(release(owner, resource, object));
        }
    }
    if read::deleting(owner) {
        return claimed;
    }
    for object in world.orphans(resource, read::namespace(owner)) {
        if !read::deleting(object) && selector.matches(object) {
            claimed.owned.push(object);
            claimed.actions.push(adopt(owner, resource, object));
        }
    }
    claimed
}

fn adopt(owner: &Value, resource: &Resource, object: &Value) -> Action {
    let mut owners = read::list(object, "/metadata/ownerReferences").to_vec();
    owners.push(read::controller_reference(owner));
    set_owners(resource, object, owners)
}

fn release(owner: &Value, resource: &Resource, object: &Value) -> Action {
    let mut owners = read::list(object, "/metadata/ownerReferences").to_vec();
    owners.retain(|reference| read::text(reference, "/uid") != read::uid(owner));
    set_owners(resource, object, owners)
}

fn set_owners(resource: &Resource, object: &Value, owners: Vec<Value>) -> Action {
    Action::MergePatch {
        key: Key::of(resource, object),
        subresource: None,
        patch: json!({"metadata": {
            "resourceVersion": read::text(object, "/metadata/resourceVersion"),
            "ownerReferences": owners,
        }}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, app: &str, owner: Option<&str>) -> Arc<Value> {
        let owners: Vec<Value> =
            owner.map(|uid| json!({"uid": uid, "controller": true})).into_iter().collect();
        Arc::new(json!({"metadata": {
            "namespace": "default", "name": name, "uid": name, "resourceVersion": "7",
            "labels": {"app": app}, "ownerReferences": owners,
        }}))
    }

    #[test]
    fn keeps_adopts_and_releases() {
        let mut world = World::default();
        for object in [
            pod("mine", "a", Some("rs")),
            pod("quarantined", "debug", Some("rs")),
            pod("orphan", "a", None),
            pod("theirs", "a", Some("other")),
        ] {
            world.observe(&Resource::PODS, object);
        }
        let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {"namespace": "default", "name": "rs", "uid": "rs"}});
        let selector = json!({"matchLabels": {"app": "a"}});
        let selector = Selector::parse(Some(&selector));
        let claimed = claim(&world, &owner, &Resource::PODS, selector.as_ref());
        let owned: Vec<&str> = claimed.owned.iter().map(|p| read::name(p)).collect();
        assert_eq!(owned, ["mine", "orphan"]);
        let patched: Vec<(&str, usize)> = claimed
            .actions
            .iter()
            .map(|action| match action {
                Action::MergePatch { key, patch, .. } => {
                    (key.name.as_str(), read::list(patch, "/metadata/ownerReferences").len())
                }
                other => panic!("unexpected {other:?}"),
            })
            .collect();
        assert_eq!(patched, [("quarantined", 0), ("orphan", 1)]);
    }
}
