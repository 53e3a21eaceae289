//! Which reconciler looks at which object: `Task`, what a change gives rise to (`affected`), and the
//! dispatch (`reconcile`).

use jiff::Timestamp;
use serde_json::Value;

use crate::action::Outcome;
use crate::key::{Key, Resource};
use crate::world::World;
use crate::{
    cron_job, daemon_set, deployment, disruption, endpoints, job, namespace, pod, read,
    replica_set, stateful_set,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Controller {
    Deployment,
    ReplicaSet,
    StatefulSet,
    DaemonSet,
    Job,
    CronJob,
    Endpoints,
    Pod,
    Namespace,
    DisruptionBudget,
}

/// One item of work: this controller looks at this object. Equal tasks need doing once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Task {
    pub controller: Controller,
    pub key: Key,
}

/// Does one task. The object may be gone; that is for the controller to see.
pub fn reconcile(world: &World, task: &Task, now: Timestamp) -> Outcome {
    let run = match task.controller {
        Controller::Deployment => deployment::reconcile,
        Controller::ReplicaSet => replica_set::reconcile,
        Controller::StatefulSet => stateful_set::reconcile,
        Controller::DaemonSet => daemon_set::reconcile,
        Controller::Job => job::reconcile,
        Controller::CronJob => cron_job::reconcile,
        Controller::Endpoints => endpoints::reconcile,
        Controller::Pod => pod::reconcile,
        Controller::Namespace => namespace::reconcile,
        Controller::DisruptionBudget => disruption::reconcile,
    };
    run(world, &task.key, now)
}

/// What to reconcile after `object` appeared, changed (call it for the old and the new state) or
/// went away. Ask after the world has taken the change in.
pub fn affected(world: &World, resource: &Resource, object: &Value) -> Vec<Task> {
    let key = Key::of(resource, object);
    let namespace = read::namespace(object);
    let mut tasks = Vec::new();
    if let Some(controller) = Controller::of(resource) {
        tasks.push(Task { controller, key: key.clone() });
    }
    tasks.extend(owner_task(object));
    if *resource == Resource::PODS {
        tasks.extend(selecting(world, object));
        tasks.extend(waiting_deployment(world, object));
    }
    if *resource == Resource::NODES {
        let sets = world.all(&Resource::DAEMON_SETS);
        tasks.extend(sets.map(|set| Task {
            controller: Controller::DaemonSet,
            key: Key::of(&Resource::DAEMON_SETS, set),
        }));
    }
    if [Resource::ENDPOINTS, Resource::ENDPOINT_SLICES].contains(resource) {
        tasks.push(service_task(namespace, endpoints::service_of(resource, object)));
    }
    let home = Key::new(Resource::NAMESPACES, "", namespace);
    if !namespace.is_empty() && world.get(&home).is_some_and(|ns| read::deleting(ns)) {
        tasks.push(Task { controller: Controller::Namespace, key: home });
    }
    tasks
}

impl Controller {
    /// The controller that looks after objects of this resource themselves.
    fn of(resource: &Resource) -> Option<Controller> {
        Some(match (resource.group.as_ref(), resource.plural.as_ref()) {
            ("apps", "deployments") => Controller::Deployment,
            ("apps", "replicasets") | ("", "replicationcontrollers") => Controller::ReplicaSet,
            ("apps", "statefulsets") => Controller::StatefulSet,
            ("apps", "daemonsets") => Controller::DaemonSet,
            ("batch", "jobs") => Controller::Job,
            ("batch", "cronjobs") => Controller::CronJob,
            ("", "services") => Controller::Endpoints,
            ("", "pods") => Controller::Pod,
            ("", "namespaces") => Controller::Namespace,
            ("policy", "poddisruptionbudgets") => Controller::DisruptionBudget,
            _ => return None,
        })
    }
}

fn owner_task(object: &Value) -> Option<Task> {
    let owner = read::controller(object)?;
    let resource =
        Resource::of_owner(read::text(owner, "/apiVersion"), read::text(owner, "/kind"))?;
    let controller = Controller::of(&resource)?;
    let key = Key::new(resource, read::namespace(object), read::text(owner, "/name"));
    Some(Task { controller, key })
}

/// A Deployment that recreates waits for the last pod of its old version to be gone.
fn waiting_deployment(world: &World, pod: &Value) -> Option<Task> {
    let set = owner_task(pod)?;
    let deployment = owner_task(world.get(&set.key)?)?;
    let object = world.get(&deployment.key)?;
    (read::text(object, "/spec/strategy/type") == "Recreate").then_some(deployment)
}

fn service_task(namespace: &str, service: &str) -> Task {
    Task {
        controller: Controller::Endpoints,
        key: Key::new(Resource::SERVICES, namespace, service),
    }
}

/// Whoever selects a pod by its labels: Services, budgets, and controllers that may adopt it.
fn selecting(world: &World, pod: &Value) -> Vec<Task> {
    let orphan = read::controller(pod).is_none();
    let tasks = world.selecting(pod).filter_map(|key| {
        let controller = Controller::of(&key.resource)?;
        let watches = matches!(controller, Controller::Endpoints | Controller::DisruptionBudget);
        (watches || orphan).then(|| Task { controller, key: key.clone() })
    });
    tasks.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::Arc;

    #[test]
    fn a_pod_concerns_its_owner_and_whoever_selects_it() {
        let mut world = World::default();
        let meta = |name: &str| json!({"namespace": "default", "name": name, "uid": name});
        world.observe(
            &Resource::SERVICES,
            Arc::new(
                json!({"metadata": meta("reviews"), "spec": {"selector": {"app": "reviews"}}}),
            ),
        );
        world.observe(
            &Resource::SERVICES,
            Arc::new(json!({"metadata": meta("other"), "spec": {"selector": {"app": "other"}}})),
        );
        let pod = json!({"metadata": {
            "namespace": "default", "name": "p", "labels": {"app": "reviews"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "rs",
                "uid": "rs", "controller": true}],
        }});
        let mut found: Vec<(Controller, String)> = affected(&world, &Resource::PODS, &pod)
            .into_iter()
            .map(|task| (task.controller, task.key.name))
            .collect();
        found.sort();
        assert_eq!(
            found,
            [
                (Controller::ReplicaSet, "rs".to_owned()),
                (Controller::Endpoints, "reviews".to_owned()),
                (Controller::Pod, "p".to_owned()),
            ]
        );
    }
}
