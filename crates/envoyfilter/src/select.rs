//! Which patches are for a proxy: by namespace, workload, version and metadata, and in which order they are
//! applied.

use crate::read::Patch;
use api::{EnvoyFilter, Metadata, PatchContext};
use base::Labels;
use registry::Item;
use std::collections::BTreeMap;

/// The proxy, as far as an EnvoyFilter can tell proxies apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Target {
    pub namespace: String,
    pub labels: Labels,
    pub gateway: bool,
    /// As the proxy says it (`ISTIO_VERSION`).
    pub version: String,
    /// The strings of the node's metadata.
    pub metadata: BTreeMap<String, String>,
}

/// The object stands in the root namespace or the proxy's own, and selects the workload.
pub(crate) fn selects(item: &Item<EnvoyFilter>, root: &str, target: &Target) -> bool {
    let here = item.namespace() == root || item.namespace() == target.namespace;
    let selector = item.spec.workload_selector.as_ref();
    let by_labels =
        selector.is_none_or(|s| s.labels.iter().all(|(k, v)| target.labels.get(k) == Some(v)));
    // Targets are of the Gateway API, whose gateways carry their name as a label.
    let refs = &item.spec.target_refs;
    let by_name = refs.is_empty()
        || refs.iter().any(|r| {
            r.kind == "Gateway"
                && item.namespace() == target.namespace
                && target.labels.get(GATEWAY_NAME) == Some(&r.name)
        });
    here && by_labels && by_name
}

const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";

/// Objects of the root namespace come first; then priority, age, name.
pub(crate) fn order<'a>(item: &'a Item<EnvoyFilter>, root: &str) -> impl Ord + use<'a> {
    let meta: &Metadata = &item.metadata;
    (item.namespace() != root, item.spec.priority, meta.age_key())
}

/// Whether the patch is for a proxy of this version and metadata.
pub(crate) fn suits(patch: &Patch, target: &Target) -> bool {
    let Some(proxy) = &patch.when.proxy else { return true };
    let version = patch.version.as_ref().is_none_or(|v| v.is_match(&target.version));
    version && proxy.metadata.iter().all(|(k, v)| target.metadata.get(k) == Some(v))
}

/// Whether the patch is for this side of the proxy.
pub(crate) fn in_context(patch: &Patch, context: PatchContext) -> bool {
    matches!(patch.when.context, PatchContext::Any) || patch.when.context == context
}
