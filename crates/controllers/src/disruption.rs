//! PodDisruptionBudget status: how many of the selected pods may be evicted now.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::action::{Action, Outcome};
use crate::conditions::{self, Condition, Times};
use crate::key::{Key, Resource};
use crate::selector::Selector;
use crate::world::World;
use crate::{pods, read};

pub fn reconcile(world: &World, key: &Key, now: Timestamp) -> Outcome {
    let Some(budget) = world.get(key) else { return Outcome::default() };
    let Some(selector) = Selector::of(&key.resource, budget) else {
        return Outcome::default();
    };
    let mut selected = world.selected(&key.namespace, &selector);
    selected.retain(|pod| pods::active(pod));
    let healthy = count(selected.iter().filter(|pod| pods::ready(pod)).count());
    let expected = expected(world, &selected);
    let desired = desired(budget, expected);
    let allowed = (healthy - desired).max(0);
    let mut list = read::list(budget, "/status/conditions").to_vec();
    let condition = Condition {
        kind: "DisruptionAllowed",
        status: (allowed > 0).into(),
        reason: if allowed > 0 { "SufficientPods" } else { "InsufficientPods" },
        message: "",
    };
    conditions::set(&mut list, &condition, Times::Transition, now);
    let status = json!({
        "observedGeneration": read::generation(budget),
        "expectedPods": expected,
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        "disruptionsAllowed": allowed,
        "conditions": list,
    });
    let changed = read::with_status(budget, status).map(Action::UpdateStatus);
    Outcome::from(changed.into_iter().collect::<Vec<_>>())
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// What the pods' controllers want to have, each controller counted once; pods without one count
/// for themselves.
fn expected(world: &World, selected: &[&Arc<Value>]) -> i64 {
    let mut owners: Vec<Key> = Vec::new();
    let mut total = 0;
    for pod in selected {
        let owner = read::controller(pod).and_then(|owner| {
            let kind = read::text(owner, "/kind");
            let resource = Resource::of_owner(read::text(owner, "/apiVersion"), kind)?;
            Some(Key::new(resource, read::namespace(pod), read::text(owner, "/name")))
        });
        match owner {
            Some(key) if owners.contains(&key) => {}
            Some(key) => {
                total += world.get(&key).map_or(1, |owner| read::replicas(owner));
                owners.push(key);
            }
            None => total += 1,
        }
    }
    total
}

fn desired(budget: &Value, expected: i64) -> i64 {
    let least = read::scaled(budget.pointer("/spec/minAvailable"), expected, true);
    let most = read::scaled(budget.pointer("/spec/maxUnavailable"), expected, true);
    match (least, most) {
        (Some(least), _) => least,
        (None, Some(most)) => (expected - most).max(0),
        (None, None) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_may_be_evicted() {
        let table = [
            (json!({"minAvailable": 2}), 3, 1),
            (json!({"minAvailable": "100%"}), 3, 0),
            (json!({"maxUnavailable": 1}), 3, 1),
            (json!({"maxUnavailable": 1}), 2, 0),
        ];
        for (mut spec, ready, allowed) in table {
            let mut world = World::default();
            let meta = |name: &str| {
                json!({"namespace": "default", "name": name, "uid": name,
                "labels": {"app": "a"}, "ownerReferences": [{"apiVersion": "apps/v1",
                "kind": "ReplicaSet", "name": "rs", "uid": "rs", "controller": true}]})
            };
            for index in 0..3 {
                let status = if index < ready { "True" } else { "False" };
                let pod = json!({"metadata": meta(&format!("p{index}")), "status": {
                    "phase": "Running", "conditions": [{"type": "Ready", "status": status}]}});
                world.observe(&Resource::PODS, Arc::new(pod));
            }
            let set = json!({"metadata": {"namespace": "default", "name": "rs", "uid": "rs"},
                "spec": {"replicas": 3}});
            world.observe(&Resource::REPLICA_SETS, Arc::new(set));
            spec["selector"] = json!({"matchLabels": {"app": "a"}});
            let budget = json!({"metadata": {"namespace": "default", "name": "b", "uid": "b"},
                "spec": spec});
            world.observe(&Resource::DISRUPTION_BUDGETS, Arc::new(budget));
            let key = Key::new(Resource::DISRUPTION_BUDGETS, "default", "b");
            let now = "2026-01-01T00:00:00Z".parse().unwrap();
            let actions = reconcile(&world, &key, now).actions;
            let [Action::UpdateStatus(updated)] = &actions[..] else { panic!("{actions:?}") };
            assert_eq!(updated["status"]["disruptionsAllowed"], allowed, "{updated}");
        }
    }
}
