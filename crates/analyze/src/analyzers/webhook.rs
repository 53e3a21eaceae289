//! Injection webhooks: each pod is meant for one of them, and its Service is there.

use super::Analyzer;
use crate::catalogue;
use crate::kinds;
use crate::report::Report;
use crate::world::World;
use base::{LabelSelector, Labels, ObjectRef, Operator};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

pub const ANALYZER: Analyzer = Analyzer {
    name: "webhook.Analyzer",
    about: "injection webhooks do not overlap and their Services exist",
    alone: false,
    run,
};

/// One webhook of a configuration that injects.
pub struct Webhook {
    pub about: ObjectRef,
    name: String,
    path: String,
    namespaces: LabelSelector,
    objects: LabelSelector,
    service: Option<(String, String)>,
}

impl Webhook {
    pub fn selects(&self, namespace: &Labels, object: &Labels) -> bool {
        self.namespaces.matches(namespace) && self.objects.matches(object)
    }
}

pub fn injectors(world: &World) -> Vec<Webhook> {
    let mut all = Vec::new();
    for configuration in world.all(kinds::MUTATING_WEBHOOK) {
        let webhooks = configuration.value["webhooks"].as_array().into_iter().flatten();
        for (index, webhook) in webhooks.enumerate() {
            let name = webhook["name"].as_str().unwrap_or_default();
            if !name.ends_with("sidecar-injector.istio.io") {
                continue;
            }
            let selector = |key: &str| {
                serde_json::from_value(webhook[key].clone())
                    .unwrap_or_else(|_| LabelSelector::default())
            };
            all.push(Webhook {
                about: configuration.reference.clone(),
                name: name.to_owned(),
                path: format!("webhooks[{index}]"),
                namespaces: selector("namespaceSelector"),
                objects: selector("objectSelector"),
                service: service(&webhook["clientConfig"]["service"]),
            });
        }
    }
    all
}

fn service(written: &Value) -> Option<(String, String)> {
    let text = |key: &str| written[key].as_str().map(str::to_owned);
    Some((text("namespace")?, text("name")?))
}

fn run(world: &World, report: &mut Report) {
    let all = injectors(world);
    for webhook in &all {
        let rivals = all.iter().filter(|o| o.about != webhook.about && overlap(webhook, o));
        let names: BTreeSet<String> =
            rivals.map(|o| format!("{}/{}", o.about.name, o.name)).collect();
        if !names.is_empty() {
            let names = names.into_iter().collect::<Vec<_>>().join(", ");
            let say = format!(
                "Webhook {} selects pods that {names} select too: they would be injected twice. \
                 Narrow its selectors.",
                webhook.name
            );
            let path = format!("{}.namespaceSelector", webhook.path);
            report.say(catalogue::INVALID_WEBHOOK, &webhook.about, path, &[&say]);
        }
        if let Some((namespace, name)) = &webhook.service
            && world.get(kinds::SERVICE, namespace, name).is_none()
        {
            let say = format!(
                "Webhook {} calls Service {namespace}/{name}, which does not exist: its control \
                 plane is gone. Install it, or delete the webhook.",
                webhook.name
            );
            let path = format!("{}.clientConfig.service", webhook.path);
            report.say(catalogue::INVALID_WEBHOOK, &webhook.about, path, &[&say]);
        }
    }
}

/// Whether some namespace with some pod is selected by both. Only labels that a selector mentions can
/// matter: all their combinations are tried.
fn overlap(a: &Webhook, b: &Webhook) -> bool {
    satisfiable(&a.namespaces, &b.namespaces) && satisfiable(&a.objects, &b.objects)
}

/// More combinations than people write; beyond it two selectors count as apart.
const MOST_COMBINATIONS: usize = 10_000;

fn satisfiable(a: &LabelSelector, b: &LabelSelector) -> bool {
    let mut choices: BTreeMap<&str, BTreeSet<Option<&str>>> = BTreeMap::new();
    for selector in [a, b] {
        for (key, value) in &selector.match_labels {
            choices.entry(key).or_default().insert(Some(value));
        }
        for r in &selector.match_expressions {
            let of_key = choices.entry(&r.key).or_default();
            of_key.extend([None, Some("any other")]);
            if matches!(r.operator, Operator::In | Operator::NotIn) {
                of_key.extend(r.values.iter().map(|v| Some(v.as_str())));
            }
        }
    }
    let mut all: Vec<Labels> = vec![Labels::new()];
    for (key, values) in choices {
        let with = |labels: &Labels, value: &Option<&str>| {
            let mut labels = labels.clone();
            labels.extend(value.map(|v| (key.to_owned(), v.to_owned())));
            labels
        };
        all = all.iter().flat_map(|l| values.iter().map(move |v| with(l, v))).collect();
        if all.len() > MOST_COMBINATIONS {
            return false;
        }
    }
    all.iter().any(|labels| a.matches(labels) && b.matches(labels))
}
