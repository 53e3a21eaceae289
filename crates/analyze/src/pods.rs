//! Workloads as analyzers see them: pods, and the templates of those that are not there yet.

use crate::kinds;
use crate::world::{Resource, World, labels};
use base::Labels;
use serde_json::Value;

/// A pod, or what a pod of a Deployment (StatefulSet, DaemonSet) will be.
pub struct PodView<'a> {
    pub owner: &'a Resource,
    pub labels: Labels,
    pub annotations: Labels,
    pub spec: &'a Value,
    /// Where `spec` stands in the owner.
    pub path: &'static str,
}

impl<'a> PodView<'a> {
    pub fn of_pod(pod: &'a Resource) -> PodView<'a> {
        PodView {
            owner: pod,
            labels: pod.labels(),
            annotations: pod.annotations(),
            spec: pod.spec(),
            path: "spec",
        }
    }

    pub fn of_template(workload: &'a Resource) -> PodView<'a> {
        let template = &workload.spec()["template"];
        PodView {
            owner: workload,
            labels: labels(&template["metadata"]["labels"]),
            annotations: labels(&template["metadata"]["annotations"]),
            spec: &template["spec"],
            path: "spec.template.spec",
        }
    }

    pub fn namespace(&self) -> &'a str {
        self.owner.namespace()
    }

    /// All containers with the path of each, those of init included.
    pub fn containers(&self) -> impl Iterator<Item = (String, &'a Value)> {
        let (spec, path) = (self.spec, self.path);
        ["containers", "initContainers"].into_iter().flat_map(move |list| {
            let all = spec[list].as_array().into_iter().flatten().enumerate();
            all.map(move |(i, c)| (format!("{path}.{list}[{i}]"), c))
        })
    }

    /// The sidecar, or the proxy that a gateway is.
    pub fn proxy(&self) -> Option<(String, &'a Value)> {
        self.containers().find(|(_, c)| c["name"] == "istio-proxy")
    }

    pub fn is_ambient(&self) -> bool {
        self.annotations.get("ambient.istio.io/redirection").is_some_and(|v| v == "enabled")
    }

    pub fn matches(&self, selector: &Labels) -> bool {
        selector.iter().all(|(k, v)| self.labels.get(k) == Some(v))
    }
}

impl World {
    pub fn pods(&self) -> impl Iterator<Item = PodView<'_>> {
        self.all(kinds::POD).map(PodView::of_pod)
    }

    pub fn templates(&self) -> impl Iterator<Item = PodView<'_>> {
        [kinds::DEPLOYMENT, kinds::STATEFUL_SET, kinds::DAEMON_SET]
            .into_iter()
            .flat_map(|kind| self.all(kind).map(PodView::of_template))
    }

    /// Pods, and one for each workload that has none: in files there are workloads only.
    pub fn workloads(&self) -> impl Iterator<Item = PodView<'_>> {
        let missing = |t: &PodView<'_>| {
            !self.pods().any(|p| p.namespace() == t.namespace() && p.matches(&t.labels))
        };
        self.pods().chain(self.templates().filter(missing).collect::<Vec<_>>())
    }
}

/// `k=v,k2=v2`, by key.
pub fn selector_text(selector: &Labels) -> String {
    let pairs: Vec<String> = selector.iter().map(|(k, v)| format!("{k}={v}")).collect();
    pairs.join(",")
}

/// `[a b c]`, as Go prints a list.
pub fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|i| i.to_string()).collect();
    format!("[{}]", items.join(" "))
}
