//! Injection of documents as they stand in a file: workloads carry a pod template, lists carry
//! workloads, everything else passes through unchanged.

use crate::{Context, Decision, Owner, Skip, inject, patch};
use base::Finding;
use serde_json::Value;

/// What became of one document.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Injected(Value),
    /// It holds no pod, or one that is left as it is.
    Unchanged(Option<Skip>),
    Refused(Vec<Finding>),
}

/// Injects the pod template of `document`, whoever owns it.
pub fn inject_document(document: &Value, ctx: &Context) -> Outcome {
    if document["kind"].as_str().is_some_and(|k| k.ends_with("List"))
        && document["items"].is_array()
    {
        return inject_list(document, ctx);
    }
    let Some(path) = template_path(document["kind"].as_str().unwrap_or_default()) else {
        return Outcome::Unchanged(None);
    };
    let Some(template) = document.pointer(path) else { return Outcome::Unchanged(None) };
    let namespace = document["metadata"]["namespace"].as_str().unwrap_or(ctx.namespace);
    let ctx = Context { namespace, owner: owner(document), ..ctx.clone() };
    match inject(template, &ctx) {
        Decision::Skip(skip) => Outcome::Unchanged(Some(skip)),
        Decision::Refuse(findings) => Outcome::Refused(findings),
        Decision::Patch(ops) => {
            let mut new = document.clone();
            if let (Some(slot), Some(pod)) = (new.pointer_mut(path), patch::apply(template, &ops)) {
                *slot = pod;
            }
            Outcome::Injected(new)
        }
    }
}

fn inject_list(list: &Value, ctx: &Context) -> Outcome {
    let mut new = list.clone();
    let (mut changed, mut findings) = (false, Vec::new());
    for item in new["items"].as_array_mut().into_iter().flatten() {
        match inject_document(item, ctx) {
            Outcome::Injected(injected) => {
                *item = injected;
                changed = true;
            }
            Outcome::Refused(why) => findings.extend(why),
            Outcome::Unchanged(_) => {}
        }
    }
    match (findings.is_empty(), changed) {
        (false, _) => Outcome::Refused(findings),
        (true, true) => Outcome::Injected(new),
        (true, false) => Outcome::Unchanged(None),
    }
}

/// Where a kind keeps its pod.
fn template_path(kind: &str) -> Option<&'static str> {
    match kind {
        "Pod" => Some(""),
        "Deployment"
        | "ReplicaSet"
        | "StatefulSet"
        | "DaemonSet"
        | "Job"
        | "ReplicationController"
        | "DeploymentConfig" => Some("/spec/template"),
        "CronJob" => Some("/spec/jobTemplate/spec/template"),
        _ => None,
    }
}

fn owner(document: &Value) -> Option<Owner> {
    let text = |v: &Value| v.as_str().map(str::to_owned);
    Some(Owner {
        api_version: text(&document["apiVersion"])?,
        kind: text(&document["kind"])?,
        name: text(&document["metadata"]["name"])?,
    })
}
