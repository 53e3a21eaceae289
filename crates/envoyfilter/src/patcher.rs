//! All patches of a mesh, and those of one proxy carried out on its resources.

use crate::message::{from_bytes, text};
use crate::read::{Patch, read};
use crate::select::{Target, in_context, order, selects, suits};
use crate::{cluster, listener, message, route};
use api::{ApplyTo, EnvoyFilter, PatchContext, PatchOperation};
use base::Finding;
use bytes::Bytes;
use prost::Message as _;
use registry::{Collection, Item};
use std::collections::HashMap;
use std::sync::Arc;

/// Reads each object once for as long as it stays as it is.
#[derive(Default)]
pub struct Patcher {
    read: HashMap<Arc<str>, (u64, Arc<ReadFilter>)>,
}

struct ReadFilter {
    patches: Vec<Patch>,
    findings: Vec<Finding>,
}

/// The patches for one proxy, in the order in which they are applied.
#[derive(Clone, Default)]
pub struct Selected {
    /// Those that select the workload.
    filters: Vec<Arc<ReadFilter>>,
    /// Of their patches those that suit the proxy: which filter's, and which of it.
    suiting: Vec<(usize, usize)>,
    gateway: bool,
}

/// What decides on how a resource is patched: proxies with equal identities get the same of the same.
/// It means something for as long as the [`Selected`] is held that it is of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    gateway: bool,
    /// The address of a filter as it was read, and the place of a patch in it.
    patches: Vec<(usize, usize)>,
}

/// What became of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Patched {
    Same,
    Changed(Bytes),
    Removed,
}

/// Which kind of proxy patches are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Sidecar,
    Gateway,
}

/// The kinds of resources that patches can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resources {
    Clusters,
    Listeners,
    Routes,
}

impl Patcher {
    /// Those that are for the proxy; `None` when there are none, which is nearly always.
    pub fn select(
        &mut self,
        filters: &Collection<EnvoyFilter>,
        root: &str,
        target: &Target,
    ) -> Option<Selected> {
        let mut mine: Vec<&Arc<Item<EnvoyFilter>>> =
            filters.iter().filter(|i| selects(i, root, target)).collect();
        if mine.is_empty() {
            return None;
        }
        mine.sort_by(|a, b| order(a, root).cmp(&order(b, root)));
        // What is gone from the mesh need not be kept.
        if self.read.len() > 2 * filters.len() + 16 {
            self.read.clear();
        }
        let filters: Vec<_> = mine.into_iter().map(|item| self.read(item)).collect();
        let of = |(at, filter): (usize, &Arc<ReadFilter>)| {
            let mine = filter.patches.iter().enumerate().filter(|(_, p)| suits(p, target));
            mine.map(|(patch, _)| (at, patch)).collect::<Vec<_>>()
        };
        let suiting = filters.iter().enumerate().flat_map(of).collect();
        Some(Selected { filters, suiting, gateway: target.gateway })
    }

    fn read(&mut self, item: &Item<EnvoyFilter>) -> Arc<ReadFilter> {
        let key: Arc<str> = item.object.to_string().into();
        if let Some((_, read)) = self.read.get(&key).filter(|(version, _)| *version == item.version)
        {
            return read.clone();
        }
        let (patches, findings) = read(&item.object, &item.spec);
        let findings = findings.into_iter().map(|f| f.about(item.object.clone())).collect();
        let read = Arc::new(ReadFilter { patches, findings });
        self.read.insert(key, (item.version, read.clone()));
        read
    }
}

impl Selected {
    /// What there is to say about the objects.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.filters.iter().flat_map(|f| &f.findings)
    }

    pub fn identity(&self) -> Identity {
        let address = |at: usize| Arc::as_ptr(&self.filters[at]) as usize;
        let patches = self.suiting.iter().map(|(filter, patch)| (address(*filter), *patch));
        Identity { gateway: self.gateway, patches: patches.collect() }
    }

    /// The objects whose patches concern resources of this kind.
    pub fn about(&self, of: Resources) -> impl Iterator<Item = &Patch> {
        self.patches().filter(move |p| concerns(p.apply_to, of))
    }

    /// Patches one resource.
    pub fn patch(&self, of: Resources, bytes: &[u8]) -> Patched {
        if self.about(of).next().is_none() {
            return Patched::Same;
        }
        let name = match of {
            Resources::Clusters => "envoy.config.cluster.v3.Cluster",
            Resources::Listeners => "envoy.config.listener.v3.Listener",
            Resources::Routes => "envoy.config.route.v3.RouteConfiguration",
        };
        let read = message::descriptor(name).ok().and_then(|d| from_bytes(&d, bytes));
        // Written by our own encoder: it can be read.
        let Some(mut resource) = read else { return Patched::Same };
        let before = resource.clone();
        let patches: Vec<&Patch> = self.patches().collect();
        let side = self.side();
        let kept = match of {
            Resources::Clusters => cluster::patch(&mut resource, patches.into_iter(), side),
            Resources::Listeners => listener::patch(&mut resource, &patches, side),
            Resources::Routes => {
                let context = match side {
                    Side::Gateway => PatchContext::Gateway,
                    Side::Sidecar => PatchContext::SidecarOutbound,
                };
                route::patch(&mut resource, &patches, context);
                true
            }
        };
        match kept {
            false => Patched::Removed,
            true if resource == before => Patched::Same,
            true => Patched::Changed(resource.encode_to_vec().into()),
        }
    }

    /// Clusters or listeners that patches add, by name.
    pub fn added(&self, of: Resources) -> Vec<(String, Bytes)> {
        let to = match of {
            Resources::Clusters => ApplyTo::Cluster,
            Resources::Listeners => ApplyTo::Listener,
            Resources::Routes => return Vec::new(),
        };
        let mine = |p: &&Patch| match self.side() {
            Side::Gateway => in_context(p, PatchContext::Gateway),
            Side::Sidecar => {
                in_context(p, PatchContext::SidecarOutbound)
                    || in_context(p, PatchContext::SidecarInbound)
            }
        };
        let adds =
            self.patches().filter(|p| p.apply_to == to && p.operation == PatchOperation::Add);
        let values = adds.filter(mine).filter_map(|p| p.value.as_ref());
        values.map(|v| (text(v, "name"), v.encode_to_vec().into())).collect()
    }

    fn patches(&self) -> impl Iterator<Item = &Patch> {
        self.suiting.iter().map(|(filter, patch)| &self.filters[*filter].patches[*patch])
    }

    fn side(&self) -> Side {
        if self.gateway { Side::Gateway } else { Side::Sidecar }
    }
}

fn concerns(to: ApplyTo, of: Resources) -> bool {
    use ApplyTo::*;
    match to {
        Cluster => of == Resources::Clusters,
        Listener | FilterChain | NetworkFilter | HttpFilter | ListenerFilter => {
            of == Resources::Listeners
        }
        // Those of inbound listeners stand in the listener.
        RouteConfiguration | VirtualHost | HttpRoute => {
            matches!(of, Resources::Routes | Resources::Listeners)
        }
        Invalid | ExtensionConfig | Bootstrap => false,
    }
}

#[cfg(test)]
mod matching;
#[cfg(test)]
mod tests;
