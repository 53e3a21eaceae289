//! Annotations of the mesh: known, where they have a meaning, with a value that can be understood. The
//! table stands beside this file: name, phase, `hidden`, `deprecated`, and the kinds it is for.

use super::Analyzer;
use crate::catalogue;
use crate::kinds;
use crate::pods::PodView;
use crate::report::Report;
use crate::world::{Resource, World};
use base::{Labels, ObjectRef};
use inject::{Context, Decision, Values};
use serde_json::{Value, json};

pub const ANALYZER: Analyzer = Analyzer {
    name: "annotations.K8sAnalyzer",
    about: "annotations are known, rightly placed, and have a value that can be understood",
    alone: true,
    run,
};

const TABLE: &str = include_str!("annotations.txt");

pub struct Known {
    pub status: &'static str,
    pub deprecated: bool,
    /// `Any`, or names of kinds with commas between them.
    pub kinds: &'static str,
}

impl Known {
    pub fn find(name: &str) -> Option<Known> {
        let line = TABLE.lines().find(|l| l.split(' ').next() == Some(name))?;
        let mut words = line.split(' ').skip(1);
        let status = words.next()?;
        let deprecated = words.nth(1)? == "deprecated";
        Some(Known { status, deprecated, kinds: words.next()? })
    }
}

/// Written by control plane and agents, not by people.
pub fn set_by_the_mesh(name: &str) -> bool {
    matches!(
        name,
        "istio.io/rev"
            | "sidecar.istio.io/status"
            | "ambient.istio.io/redirection"
            | "gateway.istio.io/controller-version"
    )
}

fn run(world: &World, report: &mut Report) {
    for (kind, resource) in world.everything() {
        check(&resource.reference, kind.name, &resource.annotations(), "metadata", report);
    }
    for template in world.templates() {
        let path = "spec.template.metadata";
        check(&template.owner.reference, "Pod", &template.annotations, path, report);
    }
    for pod in world.all(kinds::POD) {
        check_values(pod, &pod.value, "", report);
    }
    for workload in world.templates().map(|t: PodView<'_>| t.owner) {
        check_values(workload, &workload.spec()["template"], "spec.template.", report);
    }
}

fn is_ours(name: &str) -> bool {
    let prefix = name.split_once('/').map_or("", |(prefix, _)| prefix);
    prefix == "istio.io" || prefix.ends_with(".istio.io") || name == "kubernetes.io/ingress.class"
}

fn check(about: &ObjectRef, kind: &str, written: &Labels, place: &str, report: &mut Report) {
    for name in written.keys().filter(|n| is_ours(n) && !set_by_the_mesh(n)) {
        let path = format!("{place}.annotations[{name}]");
        let Some(known) = Known::find(name) else {
            report.say(catalogue::UNKNOWN_ANNOTATION, about, path, &[name]);
            continue;
        };
        if known.deprecated {
            report.say(catalogue::DEPRECATED_ANNOTATION, about, &path, &[name, ""]);
        }
        let here = known.kinds.split(',').any(|k| k == "Any" || k == kind);
        if !here {
            let places = known.kinds.replace(',', " or ");
            report.say(catalogue::MISPLACED_ANNOTATION, about, path, &[name, &places]);
        }
    }
}

/// Injection itself says which values it cannot act on.
fn check_values(owner: &Resource, pod: &Value, prefix: &str, report: &mut Report) {
    let mut pod = pod.clone();
    // What is no pod is said by its schema.
    if !pod["metadata"].is_object() {
        return;
    }
    pod["metadata"]["labels"] = json!({"sidecar.istio.io/inject": "true"});
    let (mesh, values) = (json!({}), Values::default());
    let ctx = Context {
        namespace: owner.namespace(),
        namespace_labels: None,
        mesh: &mesh,
        proxy_configs: &[],
        values: &values,
        revision: "default",
        owner: None,
        nodes_run_native: true,
    };
    let Decision::Refuse(findings) = inject::inject(&pod, &ctx) else { return };
    for finding in findings {
        let inner = finding.path.strip_prefix("metadata.annotations[");
        let Some(name) = inner.and_then(|n| n.strip_suffix(']')) else { continue };
        let path = format!("{prefix}{}", finding.path);
        let arguments = [name, finding.message.as_str()];
        report.say(catalogue::INVALID_ANNOTATION, &owner.reference, path, &arguments);
    }
}
