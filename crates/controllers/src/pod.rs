//! Single pods: assigning them to the one node, and removing those that nobody else will.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::action::{Action, Outcome, Propagation, Severity};
use crate::conditions::{self, Condition, Status, Times};
use crate::key::{Key, Resource};
use crate::world::World;
use crate::{NODE, pods, read};

/// Finished pods kept for reading their logs; beyond that the oldest go.
const FINISHED_KEPT: usize = 200;

pub fn reconcile(world: &World, key: &Key, now: Timestamp) -> Outcome {
    let Some(pod) = world.get(key) else { return Outcome::default() };
    let mut outcome = Outcome::default();
    if read::text(pod, "/spec/nodeName").is_empty() {
        if read::deleting(pod) {
            // No node runs it, so no node will confirm that it ended.
            outcome.push(delete_now(pod));
        } else if read::list(pod, "/spec/schedulingGates").is_empty() {
            schedule(pod, now, &mut outcome);
        }
    } else if pods::finished(pod) {
        forget_oldest(world, &mut outcome);
    }
    outcome
}

fn schedule(pod: &Arc<Value>, now: Timestamp, outcome: &mut Outcome) {
    let scheduler = read::text(pod, "/spec/schedulerName");
    if !matches!(scheduler, "" | "default-scheduler") {
        return;
    }
    let key = Key::of(&Resource::PODS, pod);
    let mut list = read::list(pod, "/status/conditions").to_vec();
    let scheduled =
        Condition { kind: "PodScheduled", status: Status::True, reason: "", message: "" };
    conditions::set(&mut list, &scheduled, Times::Transition, now);
    // The status first: once the pod has its node, the conditions are the node's to write.
    outcome.push(Action::MergePatch {
        key: key.clone(),
        subresource: Some("status"),
        patch: json!({
            "metadata": {"resourceVersion": read::text(pod, "/metadata/resourceVersion")},
            "status": {"conditions": list},
        }),
    });
    outcome.push(Action::MergePatch {
        key,
        subresource: None,
        patch: json!({"spec": {"nodeName": NODE}}),
    });
    let full_name = format!("{}/{}", read::namespace(pod), read::name(pod));
    let message = format!("Successfully assigned {full_name} to {NODE}");
    outcome.event(pod, Severity::Normal, "Scheduled", message);
}

fn forget_oldest(world: &World, outcome: &mut Outcome) {
    let finished = world.all(&Resource::PODS).filter(|p| pods::finished(p) && !read::deleting(p));
    let mut finished: Vec<&Arc<Value>> = finished.collect();
    let excess = finished.len().saturating_sub(FINISHED_KEPT);
    finished.sort_by_key(|pod| read::created(pod));
    outcome.actions.extend(finished[..excess].iter().map(|pod| pods::delete(pod)));
}

fn delete_now(pod: &Value) -> Action {
    Action::Delete {
        key: Key::of(&Resource::PODS, pod),
        uid: read::uid(pod).to_owned(),
        grace_seconds: Some(0),
        propagation: Propagation::Background,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(pod: Value) -> Vec<Action> {
        let mut world = World::default();
        world.observe(&Resource::PODS, Arc::new(pod));
        let key = Key::new(Resource::PODS, "default", "a");
        reconcile(&world, &key, "2026-01-01T00:00:00Z".parse().unwrap()).actions
    }

    #[test]
    fn a_pending_pod_gets_the_node_a_condition_and_an_event() {
        let actions = run(json!({"metadata": {"namespace": "default", "name": "a", "uid": "u"}}));
        let [
            Action::MergePatch { patch: status, subresource: Some("status"), .. },
            Action::MergePatch { patch: bind, subresource: None, .. },
            Action::Event { message, .. },
        ] = actions.as_slice()
        else {
            panic!("unexpected {actions:?}")
        };
        assert_eq!(bind["spec"]["nodeName"], NODE);
        assert_eq!(status["status"]["conditions"][0]["type"], "PodScheduled");
        assert_eq!(message, "Successfully assigned default/a to lateen");
    }

    #[test]
    fn gated_foreign_and_bound_pods_are_left_alone() {
        let meta = json!({"namespace": "default", "name": "a", "uid": "u"});
        for spec in [
            json!({"schedulingGates": [{"name": "wait"}]}),
            json!({"schedulerName": "mine"}),
            json!({"nodeName": NODE}),
        ] {
            assert_eq!(run(json!({"metadata": meta, "spec": spec})), []);
        }
    }

    #[test]
    fn an_unassigned_pod_is_deleted_at_once() {
        let actions = run(json!({"metadata": {"namespace": "default", "name": "a", "uid": "u",
            "deletionTimestamp": "2026-01-01T00:00:00Z"}}));
        assert!(matches!(actions[..], [Action::Delete { grace_seconds: Some(0), .. }]));
    }
}
