//! A pod in, the injected pod out. `decide` says whether, `settings` reads what the annotations ask
//! for, `build` writes the containers, `probes` moves the application's probes behind the agent,
//! `patch` tells the difference. Pure: the webhook and `kube-inject` call the same function, and no
//! user's text ever passes through a template.

mod build;
mod context;
mod decide;
mod document;
mod env;
mod merge;
mod patch;
mod pod;
mod probes;
mod proxy_config;
mod proxyless;
mod settings;
mod shape;

pub use context::{Context, Owner, Values, nodes_run_native};
pub use decide::Skip;
pub use document::{Outcome, inject_document};
pub use patch::{JsonPatchOp, apply, difference};
pub use proxy_config::ProxyConfig;

use base::Finding;
use serde_json::Value;

/// What is to happen to a pod.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// It stays as it is.
    Skip(Skip),
    /// These operations make it a pod of the mesh.
    Patch(Vec<JsonPatchOp>),
    /// Its annotations contradict themselves or say nothing that can be done.
    Refuse(Vec<Finding>),
}

/// Decides on `pod` and, if it is to be injected, says how.
pub fn inject(pod: &Value, ctx: &Context) -> Decision {
    if let Some(skip) = decide::skip(pod, ctx) {
        return Decision::Skip(skip);
    }
    match injected(pod, ctx) {
        Ok(new) => Decision::Patch(patch::difference(pod, &new)),
        Err(findings) => Decision::Refuse(findings),
    }
}

/// The pod as it will run.
fn injected(pod: &Value, ctx: &Context) -> Result<Value, Vec<Finding>> {
    let faults = shape::faults(pod);
    if !faults.is_empty() {
        return Err(faults);
    }
    let settings = settings::read(pod, ctx)?;
    let mut new = pod.clone();
    let probers = probes::rewrite(&mut new, &settings);
    build::add(&mut new, ctx, &settings, &probers);
    Ok(new)
}

#[cfg(test)]
mod tests;
