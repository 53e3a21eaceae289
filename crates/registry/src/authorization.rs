//! AuthorizationPolicies by namespace, and which of them are about a workload: those of its own and of
//! the root namespace, that select it or name the gateway that it is. All of them count.

use crate::{Collection, Item};
use api::{AuthorizationPolicy, PolicyTargetReference};
use base::Labels;
use std::collections::HashMap;
use std::sync::Arc;

#[derive(Clone, Debug, Default)]
pub struct AuthorizationPolicies {
    pub version: u64,
    root: String,
    by_namespace: HashMap<String, Vec<Arc<Item<AuthorizationPolicy>>>>,
}

/// On pods of a gateway of the Gateway API: its name.
const GATEWAY: &str = "gateway.networking.k8s.io/gateway-name";
const GATEWAY_API: &str = "gateway.networking.k8s.io";

impl AuthorizationPolicies {
    pub(crate) fn index(root: &str, all: &Collection<AuthorizationPolicy>) -> Self {
        let mut by_namespace: HashMap<String, Vec<_>> = HashMap::new();
        for item in all.iter() {
            by_namespace.entry(item.namespace().to_owned()).or_default().push(item.clone());
        }
        Self { version: all.version, root: root.to_owned(), by_namespace }
    }

    /// For a workload with these labels; those of the root namespace first.
    pub fn of_workload(
        &self,
        namespace: &str,
        labels: &Labels,
    ) -> Vec<Arc<Item<AuthorizationPolicy>>> {
        let own = (namespace != self.root).then_some(namespace);
        let namespaces = [Some(&*self.root), own].into_iter().flatten();
        let all = namespaces.flat_map(|n| self.by_namespace.get(n).into_iter().flatten());
        all.filter(|p| is_about(p, namespace, labels)).cloned().collect()
    }
}

fn is_about(policy: &Item<AuthorizationPolicy>, namespace: &str, labels: &Labels) -> bool {
    let spec = &policy.spec;
    let mut targets = spec.target_ref.iter().chain(&spec.target_refs).peekable();
    if targets.peek().is_some() {
        return policy.namespace() == namespace && targets.any(|t| is_gateway(t, labels));
    }
    let selector = spec.selector.iter().flat_map(|s| &s.match_labels);
    selector.into_iter().all(|(k, v)| labels.get(k) == Some(v))
}

fn is_gateway(target: &PolicyTargetReference, labels: &Labels) -> bool {
    let named = labels.get(GATEWAY).is_some_and(|name| *name == target.name);
    target.group == GATEWAY_API && target.kind == "Gateway" && named
}
