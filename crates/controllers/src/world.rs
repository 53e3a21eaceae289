//! `World`: the driver's indexed copy of all objects, fed one change at a time. Reconcilers read
//! nothing else. Objects are shared with the API server, so the copy costs pointers only.

mod index;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;

use crate::key::{Key, Resource};
use crate::read;
use crate::selector::Selector;
use index::Index;

#[derive(Default)]
pub struct World {
    objects: BTreeMap<Resource, BTreeMap<(String, String), Arc<Value>>>,
    /// Controller's uid -> the objects that it controls.
    children: HashMap<String, BTreeSet<Key>>,
    index: Index,
    /// Objects known to be gone before the change that says so has arrived; older changes of
    /// them are void. Emptied by those changes, so it holds what is in flight only.
    gone: HashSet<String>,
    /// The revision up to which changes have been seen.
    seen: u64,
}

impl World {
    /// Takes in an object that a change event carries. False if it is older than what is known.
    pub fn observe(&mut self, resource: &Resource, object: Arc<Value>) -> bool {
        let revision = read::revision(&object);
        self.seen = self.seen.max(revision);
        self.place(resource, object)
    }

    /// Takes in the deletion of an object that a change event carries.
    pub fn observe_deleted(&mut self, resource: &Resource, object: &Value, revision: u64) -> bool {
        self.seen = self.seen.max(revision);
        self.gone.remove(read::uid(object));
        self.take_out(&Key::of(resource, object), Some(read::uid(object)))
    }

    /// Takes in what a read just after our own write returned, so that the next reconciliation
    /// does not act on the past. Events that are still under way cannot undo it.
    pub fn read_back(&mut self, key: &Key, object: Option<Arc<Value>>) {
        match object {
            Some(object) if read::revision(&object) > self.seen => {
                self.place(&key.resource, object);
            }
            Some(_) => {}
            None => {
                let uid = self.get(key).map(|o| read::uid(o).to_owned());
                if let Some(uid) = uid {
                    self.take_out(key, Some(&uid));
                    self.gone.insert(uid);
                }
            }
        }
    }

    pub fn get(&self, key: &Key) -> Option<&Arc<Value>> {
        self.objects.get(&key.resource)?.get(&(key.namespace.clone(), key.name.clone()))
    }

    pub fn all<'a>(
        &'a self,
        resource: &Resource,
    ) -> impl Iterator<Item = &'a Arc<Value>> + use<'a> {
        self.objects.get(resource).into_iter().flat_map(BTreeMap::values)
    }

    pub fn in_namespace<'a>(
        &'a self,
        resource: &Resource,
        namespace: &str,
    ) -> impl Iterator<Item = &'a Arc<Value>> + use<'a> {
        let namespace = namespace.to_owned();
        let first = (namespace.clone(), String::new());
        self.objects
            .get(resource)
            .into_iter()
            .flat_map(move |table| table.range(first.clone()..))
            .take_while(move |((at, _), _)| *at == namespace)
            .map(|(_, object)| object)
    }

    /// The objects of one resource that the owner with this uid controls.
    pub fn controlled<'a>(
        &'a self,
        owner_uid: &str,
        resource: &Resource,
    ) -> impl Iterator<Item = &'a Arc<Value>> + use<'a> {
        let resource = resource.clone();
        let keys = self.children.get(owner_uid).into_iter().flatten();
        keys.filter(move |key| key.resource == resource).filter_map(|key| self.get(key))
    }

    /// The pods of a namespace that a selector selects, in the order of their names.
    pub(crate) fn selected<'a>(
        &'a self,
        namespace: &str,
        selector: &Selector,
    ) -> Vec<&'a Arc<Value>> {
        match selector.exact() {
            Some(label) => {
                let keys = self.index.labelled(namespace, label);
                let pods = keys.filter_map(|key| self.get(key));
                pods.filter(|pod| selector.matches(pod)).collect()
            }
            None => {
                let pods = self.in_namespace(&Resource::PODS, namespace);
                pods.filter(|pod| selector.matches(pod)).collect()
            }
        }
    }

    /// The objects whose selectors select this pod.
    pub(crate) fn selecting<'a>(&'a self, pod: &'a Value) -> impl Iterator<Item = &'a Key> {
        self.index.may_select(pod).filter(move |key| {
            let object = self.get(key);
            let selector = object.and_then(|object| Selector::of(&key.resource, object));
            selector.is_some_and(|selector| selector.matches(pod))
        })
    }

    /// Pods or ReplicaSets of a namespace that nobody controls.
    pub(crate) fn orphans(
        &self,
        resource: &Resource,
        namespace: &str,
    ) -> impl Iterator<Item = &Arc<Value>> {
        self.index.orphans(resource, namespace).filter_map(|key| self.get(key))
    }

    /// Everything that lives in a namespace, of whatever resource.
    pub fn contents<'a>(
        &'a self,
        namespace: &'a str,
    ) -> impl Iterator<Item = (&'a Resource, &'a Arc<Value>)> {
        self.objects.keys().flat_map(move |resource| {
            self.in_namespace(resource, namespace).map(move |object| (resource, object))
        })
    }

    fn place(&mut self, resource: &Resource, object: Arc<Value>) -> bool {
        let key = Key::of(resource, &object);
        if self.gone.contains(read::uid(&object)) {
            return false;
        }
        if let Some(known) = self.get(&key) {
            if read::revision(known) > read::revision(&object) {
                return false;
            }
            self.take_out(&key, None);
        }
        if let Some(owner) = read::controller(&object) {
            let owner = read::text(owner, "/uid").to_owned();
            self.children.entry(owner).or_default().insert(key.clone());
        }
        self.index.add(&key, &object);
        let table = self.objects.entry(key.resource).or_default();
        table.insert((key.namespace, key.name), object);
        true
    }

    fn take_out(&mut self, key: &Key, uid: Option<&str>) -> bool {
        let Some(table) = self.objects.get_mut(&key.resource) else { return false };
        let at = (key.namespace.clone(), key.name.clone());
        let other = |known: &Arc<Value>| uid.is_some_and(|uid| uid != read::uid(known));
        if table.get(&at).is_none_or(other) {
            return false;
        }
        let Some(object) = table.remove(&at) else { return false };
        self.index.remove(key, &object);
        if let Some(owner) = read::controller(&object) {
            let owner = read::text(owner, "/uid");
            if let Some(keys) = self.children.get_mut(owner) {
                keys.remove(key);
                if keys.is_empty() {
                    self.children.remove(owner);
                }
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(revision: u64, owner: &str) -> Arc<Value> {
        Arc::new(json!({"metadata": {
            "namespace": "default", "name": "a", "uid": "u1", "resourceVersion": revision.to_string(),
            "ownerReferences": [{"uid": owner, "controller": true}],
        }}))
    }

    #[test]
    fn children_follow_their_controller() {
        let mut world = World::default();
        world.observe(&Resource::PODS, pod(1, "rs1"));
        assert_eq!(world.controlled("rs1", &Resource::PODS).count(), 1);
        world.observe(&Resource::PODS, pod(2, "rs2"));
        assert_eq!(world.controlled("rs1", &Resource::PODS).count(), 0);
        assert_eq!(world.controlled("rs2", &Resource::PODS).count(), 1);
        world.observe_deleted(&Resource::PODS, &pod(2, "rs2"), 3);
        assert_eq!(world.all(&Resource::PODS).count(), 0);
        assert_eq!(world.controlled("rs2", &Resource::PODS).count(), 0);
    }

    #[test]
    fn late_events_do_not_bring_back_the_past() {
        let mut world = World::default();
        let key = Key::new(Resource::PODS, "default", "a");
        world.read_back(&key, Some(pod(5, "rs1")));
        assert!(!world.observe(&Resource::PODS, pod(4, "rs1")), "older than what was read");
        world.read_back(&key, None);
        assert!(!world.observe(&Resource::PODS, pod(5, "rs1")), "deleted meanwhile");
        world.observe_deleted(&Resource::PODS, &pod(5, "rs1"), 6);
        world.read_back(&key, Some(pod(5, "rs1")));
        assert!(world.get(&key).is_none(), "a read that is older than the events seen");
    }

    #[test]
    fn a_successor_of_the_same_name_survives_its_predecessors_deletion() {
        let mut world = World::default();
        let mut successor = pod(9, "rs1").as_ref().clone();
        successor["metadata"]["uid"] = json!("u2");
        world.observe(&Resource::PODS, Arc::new(successor));
        assert!(!world.observe_deleted(&Resource::PODS, &pod(5, "rs1"), 8));
        assert_eq!(world.all(&Resource::PODS).count(), 1);
    }

    #[test]
    fn look_ups_by_label_follow_the_labels() {
        let mut world = World::default();
        let named = |name: &str| json!({"namespace": "default", "name": name, "uid": name});
        let mut service = json!({"metadata": named("s"), "spec": {"selector": {"app": "a"}}});
        let mut pod = json!({"metadata": named("p")});
        for (asked, given, selected) in [("a", "a", 1), ("a", "b", 0), ("b", "b", 1), ("b", "a", 0)]
        {
            service["spec"]["selector"]["app"] = json!(asked);
            pod["metadata"]["labels"] = json!({"app": given, "tier": "web"});
            world.observe(&Resource::SERVICES, Arc::new(service.clone()));
            world.observe(&Resource::PODS, Arc::new(pod.clone()));
            let selector = Selector::of(&Resource::SERVICES, &service).unwrap();
            assert_eq!(world.selected("default", &selector).len(), selected, "{asked} {given}");
            assert_eq!(world.selected("other", &selector).len(), 0);
            assert_eq!(world.selecting(&pod).count(), selected, "{asked} {given}");
        }
        assert_eq!(world.orphans(&Resource::PODS, "default").count(), 1);
        world.observe_deleted(&Resource::PODS, &pod, 9);
        assert_eq!(world.orphans(&Resource::PODS, "default").count(), 0);
    }
}
