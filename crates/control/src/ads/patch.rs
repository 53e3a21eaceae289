//! EnvoyFilters, carried out on what a proxy is to hold. Without any that selects the proxy nothing is
//! done; with some, proxies that are patched alike have the result in common.

mod alike;

use crate::world::World;
use alike::{Alike, Whole};
use base::Finding;
use compile::{Proxy, ProxyKind};
use envoyfilter::{Identity, Patcher, Resources, Selected, Target};
use std::collections::HashMap;
use std::sync::Arc;
use xds::Refusal;
use xds::server::Desired;

#[derive(Default)]
pub(super) struct Patches {
    patcher: Patcher,
    known: HashMap<Identity, Alike>,
    /// Counts what was patched.
    turn: u64,
}

/// Kinds of proxies that are known; beyond, the one goes that was not asked for longest.
const MAX_KINDS: usize = 1024;

impl Patches {
    /// Patches what the proxy is to hold, and tells what there is to say.
    pub fn apply(
        &mut self,
        world: &World,
        proxy: &Proxy,
        resources: &mut Arc<Desired>,
    ) -> Vec<Finding> {
        let filters = &world.snapshot.envoy_filters;
        let root = &world.snapshot.mesh.config.root_namespace;
        if filters.is_empty() {
            self.known.clear();
            return Vec::new();
        }
        let Some(selected) = self.patcher.select(filters, root, &target(proxy)) else {
            return Vec::new();
        };
        let Whole { patched, refused } = self.whole(&selected, resources);
        *resources = patched;
        let own = selected.findings().cloned();
        if proxy.stock_envoy {
            return own.collect();
        }
        own.chain(refused.iter().flat_map(|(of, r)| said(&selected, *of, r))).collect()
    }

    fn whole(&mut self, selected: &Selected, resources: &Arc<Desired>) -> Whole {
        self.turn += 1;
        let identity = selected.identity();
        if !self.known.contains_key(&identity) {
            self.make_room();
        }
        let alike = self.known.entry(identity).or_insert_with(|| Alike::new(selected.clone()));
        alike.used = self.turn;
        alike.whole(resources)
    }

    /// For proxies of another kind.
    fn make_room(&mut self) {
        self.known.retain(|_, alike| alike.is_in_use());
        while self.known.len() >= MAX_KINDS {
            let oldest = self.known.iter().min_by_key(|(_, alike)| alike.used);
            let Some(oldest) = oldest.map(|(identity, _)| identity.clone()) else { return };
            self.known.remove(&oldest);
        }
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
