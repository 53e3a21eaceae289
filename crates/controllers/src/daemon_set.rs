//! DaemonSet on the one node: one pod, or none where the node selector does not fit.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::action::{Action, Outcome};
use crate::claim::{Claimed, claim};
use crate::key::{Key, Resource};
use crate::pods::{self, Availability};
use crate::selector::Selector;
use crate::world::World;
use crate::{NODE, read, revisions};

pub fn reconcile(world: &World, key: &Key, now: Timestamp) -> Outcome {
    let Some(set) = world.get(key) else { return Outcome::default() };
    let selector = Selector::parse(set.pointer("/spec/selector"));
    let Claimed { owned, actions } = claim(world, set, &Resource::PODS, selector.as_ref());
    let mut outcome = Outcome::from(actions);
    let fits = fits(world, set);
    let template = set.pointer("/spec/template").unwrap_or(&Value::Null);
    let present = revisions::of(set);
    let revision = present.hash.clone();
    let live: Vec<&Arc<Value>> = owned.iter().copied().filter(|p| pods::active(p)).collect();
    status(set, &live, fits, &revision, now, &mut outcome);
    if read::deleting(set) {
        return outcome;
    }
    revisions::record(world, set, &present, &[], &mut outcome);
    let mut failed = owned.iter().filter(|p| pods::finished(p) && !read::deleting(p)).peekable();
    if failed.peek().is_some() {
        outcome.actions.extend(failed.map(|pod| pods::delete(pod)));
        return outcome;
    }
    let leaving = owned.iter().any(|pod| read::deleting(pod));
    let in_place = read::text(set, "/spec/updateStrategy/type") == "OnDelete";
    match live.as_slice() {
        [] if fits && !leaving => outcome.push(pods::create(set, pod(set, template, &revision))),
        [pod] if fits => {
            if !in_place && read::label(pod, revisions::HASH) != Some(&revision) {
                outcome.push(pods::delete(pod));
            }
        }
        several => {
            let excess = several.iter().skip(usize::from(fits));
            outcome.actions.extend(excess.map(|pod| pods::delete(pod)));
        }
    }
    outcome
}

fn pod(set: &Value, template: &Value, revision: &str) -> Value {
    let mut pod = pods::from_template(set, template);
    pod["metadata"]["generateName"] = json!(pods::name_prefix(set));
    pod["metadata"]["labels"][revisions::HASH] = json!(revision);
    pod
}

/// Whether the node has the labels that the template's node selector asks for. Taints are not
/// looked at: the only node has none.
fn fits(world: &World, set: &Value) -> bool {
    let node = world.get(&Key::new(Resource::NODES, "", NODE));
    let wanted = read::labels_at(set, "/spec/template/spec/nodeSelector");
    wanted.iter().all(|(key, value)| {
        let label = node.and_then(|node| read::label(node, key));
        label.or(if key == "kubernetes.io/os" { Some("linux") } else { None }) == value.as_str()
    })
}

fn status(
    set: &Value,
    live: &[&Arc<Value>],
    fits: bool,
    revision: &str,
    now: Timestamp,
    outcome: &mut Outcome,
) {
    let min_ready = read::int(set, "/spec/minReadySeconds").unwrap_or_default();
    let desired = i64::from(fits);
    let some = |holds: bool| i64::from(fits && holds);
    let availability = live.iter().map(|pod| pods::availability(pod, min_ready, now));
    let availability: Vec<Availability> = availability.collect();
    for at in &availability {
        if let Availability::At(when) = at {
            outcome.look_again(*when);
        }
    }
    let available = some(availability.contains(&Availability::Available));
    let status = json!({
        "observedGeneration": read::generation(set),
        "desiredNumberScheduled": desired,
        "currentNumberScheduled": some(!live.is_empty()),
        "updatedNumberScheduled":
            some(live.iter().any(|p| read::label(p, revisions::HASH) == Some(revision))),
        "numberReady": some(live.iter().any(|p| pods::ready(p))),
        "numberAvailable": available,
        "numberUnavailable": desired - available,
        "numberMisscheduled": i64::from(!fits && !live.is_empty()),
    });
    if let Some(changed) = read::with_status(set, status) {
        outcome.push(Action::UpdateStatus(changed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(world: &World) -> Vec<Action> {
        let key = Key::new(Resource::DAEMON_SETS, "default", "agent");
        let actions = reconcile(world, &key, Timestamp::UNIX_EPOCH).actions;
        let about_pods = |action: &Action| match action {
            Action::Create { object, .. } => object["kind"] == "Pod",
            Action::Delete { key, .. } => key.resource == Resource::PODS,
            _ => false,
        };
        actions.into_iter().filter(about_pods).collect()
    }

    fn set(image: &str, nodes: Value) -> Arc<Value> {
        Arc::new(json!({"apiVersion": "apps/v1", "kind": "DaemonSet",
            "metadata": {"namespace": "default", "name": "agent", "uid": "d"},
            "spec": {"selector": {"matchLabels": {"app": "agent"}}, "template": {
                "metadata": {"labels": {"app": "agent"}},
                "spec": {"nodeSelector": nodes, "containers": [{"image": image}]}}}}))
    }

    #[test]
    fn one_pod_replaced_when_the_template_changes() {
        let mut world = World::default();
        world.observe(&Resource::DAEMON_SETS, set("a", json!({"kubernetes.io/os": "linux"})));
        let actions = run(&world);
        let [Action::Create { object, .. }] = &actions[..] else { panic!("{actions:?}") };
        let mut pod = object.clone();
        pod["metadata"]["name"] = json!("agent-x");
        pod["metadata"]["uid"] = json!("p");
        world.observe(&Resource::PODS, Arc::new(pod));
        assert_eq!(run(&world), []);
        world.observe(&Resource::DAEMON_SETS, set("b", json!({})));
        assert!(matches!(run(&world)[..], [Action::Delete { .. }]));
    }

    #[test]
    fn a_node_that_does_not_fit_has_none() {
        let mut world = World::default();
        world.observe(&Resource::DAEMON_SETS, set("a", json!({"disk": "ssd"})));
        assert_eq!(run(&world), []);
    }
}
