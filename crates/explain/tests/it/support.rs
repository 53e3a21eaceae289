//! Worlds from YAML, and questions about them.

use api::Kind;
use base::Labels;
use explain::{Asked, Draws, Explainer, Explanation, Side, Workload};
use registry::{Snapshot, Store};
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

pub fn world(yaml: &str) -> Arc<Snapshot> {
    let mut store = Store::new("cluster.local", "istio-system");
    for document in serde_yaml_ng::Deserializer::from_str(yaml) {
        let object = Value::deserialize(document).unwrap();
        let text = |key: &str| object[key].as_str().unwrap();
        let kind = Kind::of(text("apiVersion"), text("kind")).unwrap();
        assert_eq!(store.apply(kind, &object).findings, []);
    }
    store.snapshot()
}

pub fn workload(namespace: &str, labels: &[(&str, &str)]) -> Workload {
    let pair = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
    let labels: Labels = labels.iter().map(pair).collect();
    Workload { namespace: namespace.into(), labels, ..Workload::default() }
}

pub fn ask(world: &Snapshot, side: Side, method: &str, url: &str, headers: &[&str]) -> Explanation {
    let asked = Asked::parse(method, url).unwrap();
    let asked = headers.iter().fold(asked, |asked, h| asked.header(h).unwrap());
    Explainer::new(world, side).explain(&asked, Draws::All)
}

/// What is told holds each of these lines.
pub fn says(told: &Explanation, lines: &[&str]) {
    let text = told.text(|_| None);
    for line in lines {
        assert!(text.contains(line), "it should say {line:?}:\n{text}");
    }
}
