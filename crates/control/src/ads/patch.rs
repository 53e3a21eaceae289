//! EnvoyFilters, carried out on what a proxy is to hold. Without any that selects the proxy nothing is
//! done; with some, what is alike for several proxies is patched once.

use crate::world::World;
use base::Finding;
use compile::{Proxy, ProxyKind};
use envoyfilter::{Identity, Patched, Patcher, Resources, Selected, Target};
use ir::{Kind, ResourceKey};
use std::collections::HashMap;
use std::sync::Arc;
use xds::Refusal;
use xds::server::{Desired, Encoded};

#[derive(Default)]
pub(super) struct Patches {
    patcher: Patcher,
    done: HashMap<Key, Done>,
}

/// The resource as it was, and by what it is patched.
type Key = (ResourceKey, u64, Identity);

struct Done {
    outcome: Outcome,
    /// Holds the patches, so that their addresses in the key cannot come to mean others.
    _patches: Selected,
}

#[derive(Clone)]
enum Outcome {
    Same,
    Removed,
    Changed(Encoded, Option<Refusal>),
}

/// Patched resources that are kept.
const MAX_DONE: usize = 16_384;

impl Patches {
    /// Patches what the proxy is to hold, and tells what there is to say.
    pub fn apply(
        &mut self,
        world: &World,
        proxy: &Proxy,
        shared: &mut Arc<Desired>,
    ) -> Vec<Finding> {
        let filters = &world.snapshot.envoy_filters;
        let root = &world.snapshot.mesh.config.root_namespace;
        if filters.is_empty() {
            return Vec::new();
        }
        let Some(selected) = self.patcher.select(filters, root, &target(proxy)) else {
            return Vec::new();
        };
        let desired = Arc::make_mut(shared);
        let mut refused = Vec::new();
        let keys: Vec<ResourceKey> = desired.keys().cloned().collect();
        for key in keys {
            let Some(of) = resources_of(key.kind) else { continue };
            let Some(now) = desired.get(&key).cloned() else { continue };
            match self.patched(&selected, of, &key, &now) {
                Outcome::Same => {}
                Outcome::Removed => drop(desired.remove(&key)),
                Outcome::Changed(encoded, refusal) => {
                    refused.extend(refusal.map(|r| (of, r)));
                    desired.insert(key, encoded);
                }
            }
        }
        for (kind, of) in
            [(Kind::Cluster, Resources::Clusters), (Kind::Listener, Resources::Listeners)]
        {
            for (name, bytes) in selected.added(of) {
                let (encoded, refusal) = Encoded::of_bytes(kind, bytes, &[]);
                refused.extend(refusal.map(|r| (of, r)));
                // What is there already stays, as in Istio.
                let key = ResourceKey::new(kind, name.as_str());
                if !desired.contains_key(&key) {
                    desired.insert(key, encoded);
                }
            }
        }
        let own = selected.findings().cloned();
        if proxy.stock_envoy {
            return own.collect();
        }
        own.chain(refused.iter().flat_map(|(of, r)| said(&selected, *of, r))).collect()
    }

    fn patched(
        &mut self,
        by: &Selected,
        of: Resources,
        key: &ResourceKey,
        now: &Encoded,
    ) -> Outcome {
        let at = (key.clone(), now.version, by.identity());
        if let Some(done) = self.done.get(&at) {
            return done.outcome.clone();
        }
        let outcome = match by.patch(of, &now.bytes) {
            Patched::Same => Outcome::Same,
            Patched::Removed => Outcome::Removed,
            Patched::Changed(bytes) => {
                let (encoded, refusal) = Encoded::of_bytes(key.kind, bytes, &now.needs);
                Outcome::Changed(encoded, refusal)
            }
        };
        if self.done.len() >= MAX_DONE {
            self.done.clear();
        }
        let done = Done { outcome: outcome.clone(), _patches: by.clone() };
        self.done.insert(at, done);
        outcome
    }
}

fn target(proxy: &Proxy) -> Target {
    Target {
        namespace: proxy.namespace.clone(),
        labels: proxy.labels.clone(),
        gateway: proxy.kind == ProxyKind::Router,
        version: proxy.version.clone(),
        metadata: proxy.metadata.clone(),
    }
}

fn resources_of(kind: Kind) -> Option<Resources> {
    match kind {
        Kind::Cluster => Some(Resources::Clusters),
        Kind::Listener => Some(Resources::Listeners),
        Kind::Route => Some(Resources::Routes),
        _ => None,
    }
}

/// Our own proxy will refuse the resource; every object that may be why is told.
fn said(by: &Selected, of: Resources, refusal: &Refusal) -> Vec<Finding> {
    let mut objects: Vec<_> = by.about(of).map(|p| (&p.object, p.index)).collect();
    objects.dedup_by_key(|(object, _)| *object);
    let say = |(object, index): (&base::ObjectRef, usize)| {
        let message = format!(
            "lateen-proxy cannot carry this out and keeps what it had: {refusal}. Change the patch, or run \
             the workload with Envoy"
        );
        let path = format!("spec.configPatches[{index}].patch.value");
        Finding::error(path, message).about(object.clone())
    };
    objects.into_iter().map(say).collect()
}

#[cfg(test)]
mod tests;
