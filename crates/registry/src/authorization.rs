//! AuthorizationPolicies and RequestAuthentications by namespace, and which of them are about a workload: those of its own and of
//! the root namespace, that select it or name the gateway that it is. All of them count.

use crate::{Collection, Item};
use api::{AuthorizationPolicy, MatchLabels, PolicyTargetReference, RequestAuthentication};
use base::Labels;
use std::collections::HashMap;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub struct Policies<T> {
    pub version: u64,
    root: String,
    by_namespace: HashMap<String, Vec<Arc<Item<T>>>>,
}

pub type AuthorizationPolicies = Policies<AuthorizationPolicy>;
pub type RequestAuthentications = Policies<RequestAuthentication>;

impl<T> Default for Policies<T> {
    fn default() -> Self {
        Self { version: 0, root: String::new(), by_namespace: HashMap::new() }
    }
}

/// What a policy says of the workloads that it is about.
pub trait Attached {
    fn targets(&self) -> impl Iterator<Item = &PolicyTargetReference>;
    fn selector(&self) -> Option<&MatchLabels>;
}

impl Attached for AuthorizationPolicy {
    fn targets(&self) -> impl Iterator<Item = &PolicyTargetReference> {
        self.target_ref.iter().chain(&self.target_refs)
    }

    fn selector(&self) -> Option<&MatchLabels> {
        self.selector.as_ref()
    }
}

impl Attached for RequestAuthentication {
    fn targets(&self) -> impl Iterator<Item = &PolicyTargetReference> {
        self.target_ref.iter().chain(&self.target_refs)
    }

    fn selector(&self) -> Option<&MatchLabels> {
        self.selector.as_ref()
    }
}

/// On pods of a gateway of the Gateway API: its name.
const GATEWAY: &str = "gateway.networking.k8s.io/gateway-name";
const GATEWAY_API: &str = "gateway.networking.k8s.io";

impl<T: Attached> Policies<T> {
    pub(crate) fn index(root: &str, all: &Collection<T>) -> Self {
        let mut by_namespace: HashMap<String, Vec<_>> = HashMap::new();
        for item in all.iter() {
            by_namespace.entry(item.namespace().to_owned()).or_default().push(item.clone());
        }
        Self { version: all.version, root: root.to_owned(), by_namespace }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Item<T>>> {
        self.by_namespace.values().flatten()
    }

    /// For a workload with these labels; those of the root namespace first.
    pub fn of_workload(&self, namespace: &str, labels: &Labels) -> Vec<Arc<Item<T>>> {
        let own = (namespace != self.root).then_some(namespace);
        let namespaces = [Some(&*self.root), own].into_iter().flatten();
        let all = namespaces.flat_map(|n| self.by_namespace.get(n).into_iter().flatten());
        all.filter(|p| is_about(p, namespace, labels)).cloned().collect()
    }
}

fn is_about<T: Attached>(policy: &Item<T>, namespace: &str, labels: &Labels) -> bool {
    let mut targets = policy.spec.targets().peekable();
    if targets.peek().is_some() {
        return policy.namespace() == namespace && targets.any(|t| is_gateway(t, labels));
    }
    let selector = policy.spec.selector().into_iter().flat_map(|s| &s.match_labels);
    selector.into_iter().all(|(k, v)| labels.get(k) == Some(v))
}

fn is_gateway(target: &PolicyTargetReference, labels: &Labels) -> bool {
    let named = labels.get(GATEWAY).is_some_and(|name| *name == target.name);
    target.group == GATEWAY_API && target.kind == "Gateway" && named
}
