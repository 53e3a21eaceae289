//! Whether a pod joins the mesh: the decision table of labels, annotations and namespaces.

use crate::Context;
use crate::pod::{PROXY, STATUS, annotation, containers, label, name};
use base::{LabelSelector, Labels};
use serde_json::Value;

/// Why a pod is left as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skip {
    /// It shares the network of its node, whose traffic is not ours to capture.
    HostNetwork,
    /// A namespace of the cluster itself.
    SystemNamespace,
    AlreadyInjected,
    /// The pod says no.
    OptedOut,
    /// The namespace says no, which the pod cannot overrule.
    NamespaceDisabled,
    /// Nobody asked for it.
    NotSelected,
}

const SYSTEM: [&str; 4] = ["kube-system", "kube-public", "kube-node-lease", "local-path-storage"];

/// `None` when the pod is to be injected.
pub(crate) fn skip(pod: &Value, ctx: &Context) -> Option<Skip> {
    if pod["spec"]["hostNetwork"] == Value::Bool(true) {
        return Some(Skip::HostNetwork);
    }
    if SYSTEM.contains(&ctx.namespace) {
        return Some(Skip::SystemNamespace);
    }
    if is_injected(pod) {
        return Some(Skip::AlreadyInjected);
    }
    let namespace = Gate::of(ctx);
    if namespace == Gate::Disabled {
        return Some(Skip::NamespaceDisabled);
    }
    match wish(pod).or_else(|| by_selector(pod, ctx)) {
        Some(true) => None,
        Some(false) => Some(Skip::OptedOut),
        None if namespace == Gate::Enabled => None,
        None if revision_label(pod, ctx) => None,
        None => Some(Skip::NotSelected),
    }
}

fn is_injected(pod: &Value) -> bool {
    let has_proxy = |field| containers(pod, field).iter().any(|c| name(c) == PROXY);
    annotation(pod, STATUS).is_some() && (has_proxy("containers") || has_proxy("initContainers"))
}

/// What the pod itself says: the label, or the annotation where there is no label. Other words than
/// yes and no say nothing.
fn wish(pod: &Value) -> Option<bool> {
    const KEY: &str = "sidecar.istio.io/inject";
    match label(pod, KEY).or_else(|| annotation(pod, KEY))?.to_ascii_lowercase().as_str() {
        "true" | "yes" | "y" | "on" => Some(true),
        "false" | "no" | "n" | "off" => Some(false),
        _ => None,
    }
}

fn by_selector(pod: &Value, ctx: &Context) -> Option<bool> {
    let labels: Labels = pod["metadata"]["labels"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())))
        .collect();
    let matches = |selectors: &[Value]| {
        selectors.iter().any(|s| {
            let selector = serde_json::from_value::<LabelSelector>(s.clone());
            // An empty selector would match every pod of the mesh; Istio reads it as none.
            s.as_object().is_some_and(|o| !o.is_empty())
                && selector.is_ok_and(|s| s.matches(&labels))
        })
    };
    if matches(&ctx.values.never) {
        Some(false)
    } else if matches(&ctx.values.always) {
        Some(true)
    } else {
        None
    }
}

fn revision_label(pod: &Value, ctx: &Context) -> bool {
    label(pod, "istio.io/rev") == Some(ctx.revision)
}

#[derive(PartialEq)]
enum Gate {
    Enabled,
    Disabled,
    Silent,
}

impl Gate {
    fn of(ctx: &Context) -> Gate {
        let Some(labels) = ctx.namespace_labels else { return Gate::Enabled };
        match labels.get("istio-injection").map(String::as_str) {
            Some("enabled") => Gate::Enabled,
            Some("disabled") => Gate::Disabled,
            _ if labels.get("istio.io/rev").is_some_and(|rev| rev == ctx.revision) => Gate::Enabled,
            _ if ctx.values.namespaces_by_default && !labels.contains_key("istio.io/rev") => {
                Gate::Enabled
            }
            _ => Gate::Silent,
        }
    }
}
