//! A cluster in miniature for tests: an API that keeps objects and revisions, the controllers with
//! their work queue, and a kubelet that lets pods start, become ready and end when the test says so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use controllers::{Action, Key, Resource, Task, World, affected, reconcile};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

pub struct Cluster {
    pub world: World,
    pub now: Timestamp,
    pub queue: BTreeSet<Task>,
    pub events: Vec<String>,
    /// The node works between the writes of one reconciliation.
    pub busy_node: bool,
    later: BTreeMap<Task, Timestamp>,
    /// Pods that the kubelet has made ready; it says so once.
    readied: BTreeSet<Key>,
    revision: u64,
    random: u64,
}

impl Cluster {
    pub fn new(seed: u64) -> Cluster {
        Cluster {
            world: World::default(),
            now: "2026-01-01T00:00:00Z".parse().unwrap(),
            queue: BTreeSet::new(),
            events: Vec::new(),
            busy_node: false,
            later: BTreeMap::new(),
            readied: BTreeSet::new(),
            revision: 0,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        }
    }

    pub fn random(&mut self, below: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        usize::try_from(self.random >> 33).unwrap() % below
    }

    pub fn get(&self, resource: &Resource, name: &str) -> Option<Arc<Value>> {
        self.world.get(&Key::new(resource.clone(), "default", name)).cloned()
    }

    pub fn pods(&self) -> Vec<Arc<Value>> {
        self.world.all(&Resource::PODS).cloned().collect()
    }

    /// Creates or replaces an object as a user would: a changed spec raises the generation.
    pub fn apply(&mut self, resource: &Resource, mut object: Value) {
        let key = Key::of(resource, &object);
        let old = self.world.get(&key).cloned();
        self.revision += 1;
        let revision = self.revision;
        let metadata = object["metadata"].as_object_mut().unwrap();
        metadata.insert("resourceVersion".into(), json!(revision.to_string()));
        let generation = match &old {
            None => {
                metadata.insert("uid".into(), json!(format!("uid-{revision}")));
                metadata.insert("creationTimestamp".into(), json!(self.now.to_string()));
                1
            }
            Some(old) => {
                for field in ["uid", "creationTimestamp"] {
                    metadata.insert(field.into(), old["metadata"][field].clone());
                }
                let was = old["metadata"]["generation"].as_i64().unwrap();
                was + i64::from(old["spec"] != object["spec"])
            }
        };
        object["metadata"]["generation"] = json!(generation);
        if let (Some(old), None) = (&old, object.get("status")) {
            object["status"] = old["status"].clone();
        }
        self.changed(resource, old, object);
    }

    fn changed(&mut self, resource: &Resource, old: Option<Arc<Value>>, new: Value) {
        let new = Arc::new(new);
        self.world.observe(resource, new.clone());
        for object in old.iter().chain([&new]) {
            self.queue.extend(affected(&self.world, resource, object));
        }
    }

    pub fn patch(&mut self, key: &Key, patch: &Value) {
        let mut object = self.world.get(key).unwrap().as_ref().clone();
        merge(&mut object, patch);
        self.apply(&key.resource, object);
    }

    pub fn remove(&mut self, key: &Key) {
        let Some(object) = self.world.get(key).cloned() else { return };
        self.revision += 1;
        self.world.observe_deleted(&key.resource, &object, self.revision);
        self.queue.extend(affected(&self.world, &key.resource, &object));
    }

    /// Runs one waiting task, chosen at random; false when there is none.
    pub fn work(&mut self) -> bool {
        if self.queue.is_empty() {
            return false;
        }
        let index = self.random(self.queue.len());
        let task = self.queue.iter().nth(index).unwrap().clone();
        self.queue.remove(&task);
        let outcome = reconcile(&self.world, &task, self.now);
        if let Some(at) = outcome.again_at {
            self.later.insert(task.clone(), at);
        }
        for action in outcome.actions {
            // The node does not wait for a controller to finish.
            for _ in 0..if self.busy_node { self.random(6) } else { 0 } {
                self.kubelet(|_| true);
            }
            if let Err(Conflict) = self.act(action) {
                self.queue.insert(task);
                break;
            }
        }
        true
    }

    /// Lets time pass; tasks that asked to look again do so.
    pub fn pass(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
        let due: Vec<Task> =
            self.later.iter().filter(|(_, at)| **at <= self.now).map(|(t, _)| t.clone()).collect();
        for task in due {
            self.later.remove(&task);
            self.queue.insert(task);
        }
    }

    fn act(&mut self, action: Action) -> Result<(), Conflict> {
        match action {
            Action::Create { mut object, .. } => {
                if object["metadata"]["name"].is_null() {
                    let prefix = object["metadata"]["generateName"].as_str().unwrap().to_owned();
                    object["metadata"]["name"] = json!(format!("{prefix}{:05}", self.revision));
                }
                let resource = resource_of(&object);
                assert!(self.world.get(&Key::of(&resource, &object)).is_none(), "exists: {object}");
                self.apply(&resource, object);
            }
            Action::Update(object) | Action::UpdateStatus(object) => {
                let resource = resource_of(&object);
                self.check(&Key::of(&resource, &object), &object)?;
                self.apply(&resource, object);
            }
            Action::MergePatch { key, mut patch, .. } => {
                self.check(&key, &patch)?;
                if let Some(metadata) =
                    patch.pointer_mut("/metadata").and_then(Value::as_object_mut)
                {
                    metadata.remove("resourceVersion");
                }
                self.patch(&key, &patch);
            }
            Action::Delete { key, grace_seconds, .. } => {
                let pod = key.resource == Resource::PODS && grace_seconds != Some(0);
                if self.world.get(&key).is_none() {
                    return Ok(());
                }
                if pod {
                    let stamp = self.now.to_string();
                    self.patch(&key, &json!({"metadata": {"deletionTimestamp": stamp}}));
                } else {
                    self.remove(&key);
                }
            }
            Action::Event { reason, message, .. } => {
                self.events.push(format!("{reason}: {message}"));
            }
        }
        Ok(())
    }

    /// A write that names a revision holds for that revision only.
    fn check(&self, key: &Key, write: &Value) -> Result<(), Conflict> {
        let known = self.world.get(key).ok_or(Conflict)?;
        let asked = write.pointer("/metadata/resourceVersion").filter(|v| !v.is_null());
        match asked {
            Some(asked) if known["metadata"]["resourceVersion"] != *asked => Err(Conflict),
            _ => Ok(()),
        }
    }

    /// The kubelet does one thing to one pod: starts it, makes it ready, or ends one being deleted.
    /// Pods for which `healthy` is false never become ready.
    pub fn kubelet(&mut self, healthy: impl Fn(&Value) -> bool) -> bool {
        let stamp = self.now.to_string();
        let mut pending: Vec<(Key, Option<Value>)> = Vec::new();
        for pod in self.pods() {
            let key = Key::of(&Resource::PODS, &pod);
            if !pod["metadata"]["deletionTimestamp"].is_null() {
                pending.push((key, None));
            } else if pod["spec"]["nodeName"].is_null() || self.readied.contains(&key) {
            } else if pod["status"]["phase"] != "Running" {
                let ip = format!("10.0.{}.{}", self.revision / 250, self.revision % 250);
                pending.push((key, Some(json!({"status": {"phase": "Running", "podIP": ip}}))));
            } else if healthy(&pod) {
                let ready =
                    json!([{"type": "Ready", "status": "True", "lastTransitionTime": stamp}]);
                pending.push((key, Some(json!({"status": {"conditions": ready}}))));
            }
        }
        if pending.is_empty() {
            return false;
        }
        let index = self.random(pending.len());
        match pending.swap_remove(index) {
            (key, Some(patch)) => {
                if patch["status"]["conditions"].is_array() {
                    self.readied.insert(key.clone());
                }
                self.patch(&key, &patch);
            }
            (key, None) => self.remove(&key),
        }
        true
    }

    /// Runs everything until nothing moves any more.
    pub fn settle(&mut self, healthy: impl Fn(&Value) -> bool + Copy) {
        for _ in 0..20_000 {
            let worked = self.work();
            if !worked && !self.kubelet(healthy) {
                return;
            }
        }
        panic!("never settles; waiting: {:?}", self.queue);
    }
}

struct Conflict;

pub fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions
        .is_some_and(|list| list.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"))
}

fn resource_of(object: &Value) -> Resource {
    match object["kind"].as_str().unwrap() {
        "Pod" => Resource::PODS,
        "ReplicaSet" => Resource::REPLICA_SETS,
        "Deployment" => Resource::DEPLOYMENTS,
        "Endpoints" => Resource::ENDPOINTS,
        "EndpointSlice" => Resource::ENDPOINT_SLICES,
        other => panic!("the test cluster does not know {other}"),
    }
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let target = target.as_object_mut().unwrap();
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}
