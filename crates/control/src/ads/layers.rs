//! Resources as they go over the wire, in layers that proxies share: one for each list of resources
//! that some proxy holds. A resource is encoded once, and a list that several proxies have in common
//! is put together once.

use super::secrets::{Named, named};
use ir::{Config, Resource};
use std::collections::HashMap;
use std::sync::Arc;
use xds::server::{Desired, Encoded, Encoder, Layer};

/// What nobody else holds any more goes with the next configuration that comes.
#[derive(Default)]
pub(super) struct Layers {
    wholes: Vec<(Arc<Config>, Whole)>,
    lists: Vec<Known>,
    encoded: Cache,
}

/// All of a configuration.
#[derive(Clone)]
pub(super) struct Whole {
    pub resources: Arc<Desired>,
    /// The credentials that it names.
    pub credentials: Arc<Named>,
}

/// A layer, and the addresses of what is in it. It holds its resources, so that an address cannot come
/// to mean another one.
struct Known {
    addresses: Vec<usize>,
    _resources: Vec<Resource>,
    layer: Arc<Layer>,
}

/// Configurations, and lists of them, that are kept at the most.
const MAX_KEPT: usize = 1024;

impl Layers {
    pub fn of(&mut self, config: &Arc<Config>) -> Whole {
        if let Some((_, whole)) = self.wholes.iter().find(|(known, _)| Arc::ptr_eq(known, config)) {
            return whole.clone();
        }
        self.wholes.retain(|(config, _)| Arc::strong_count(config) > 1);
        make_room(&mut self.wholes);
        self.lists.retain(|known| Arc::strong_count(&known.layer) > 1);
        let layers = lists(config).into_iter().map(|list| self.layer(list)).collect();
        let resources = Arc::new(Desired::of(layers));
        let whole = Whole { resources, credentials: Arc::new(named(config)) };
        self.wholes.push((config.clone(), whole.clone()));
        whole
    }

    fn layer(&mut self, resources: Vec<Resource>) -> Arc<Layer> {
        let addresses: Vec<usize> = resources.iter().map(address).collect();
        if let Some(known) = self.lists.iter().find(|k| k.addresses == addresses) {
            return known.layer.clone();
        }
        let encoded = &mut self.encoded;
        let layer: Layer = resources.iter().map(|r| (r.key(), encoded.get(r))).collect();
        let layer = Arc::new(layer);
        make_room(&mut self.lists);
        self.lists.push(Known { addresses, _resources: resources, layer: layer.clone() });
        layer
    }
}

/// For one more: the oldest go.
fn make_room<T>(kept: &mut Vec<T>) {
    kept.drain(..kept.len().saturating_sub(MAX_KEPT - 1));
}

/// Kind by kind, since proxies that differ in one often agree in others.
fn lists(c: &Config) -> [Vec<Resource>; 5] {
    let rest = c.secrets.iter().cloned().map(Resource::Secret);
    [
        c.clusters.iter().cloned().map(Resource::Cluster).collect(),
        c.endpoints.iter().cloned().map(Resource::Endpoints).collect(),
        c.listeners.iter().cloned().map(Resource::Listener).collect(),
        c.routes.iter().cloned().map(Resource::Route).collect(),
        rest.chain(c.names.iter().cloned().map(Resource::Names)).collect(),
    ]
}

/// Encodings by the address of what was encoded. An entry holds its resource; entries that nobody
/// else holds are dropped when the bytes have doubled.
#[derive(Default)]
struct Cache {
    entries: HashMap<usize, (Resource, Encoded)>,
    encoder: Encoder,
    /// Bytes that were encoded since the last sweep, and those that it left.
    fresh: usize,
    swept: usize,
}

/// Bytes before the first sweep.
const SWEEP_AT: usize = 16 << 20;

impl Cache {
    fn get(&mut self, resource: &Resource) -> Encoded {
        if let Some((_, encoded)) = self.entries.get(&address(resource)) {
            return encoded.clone();
        }
        if self.fresh > self.swept.max(SWEEP_AT) {
            self.entries.retain(|_, (resource, _)| holders(resource) > 1);
            self.swept = self.entries.values().map(|(_, e)| e.bytes.len()).sum();
            self.fresh = 0;
        }
        let encoded = self.encoder.encode(resource);
        self.fresh += encoded.bytes.len();
        self.entries.insert(address(resource), (resource.clone(), encoded.clone()));
        encoded
    }
}

fn address(resource: &Resource) -> usize {
    match resource {
        Resource::Cluster(r) => Arc::as_ptr(r) as usize,
        Resource::Endpoints(r) => Arc::as_ptr(r) as usize,
        Resource::Listener(r) => Arc::as_ptr(r) as usize,
        Resource::Route(r) => Arc::as_ptr(r) as usize,
        Resource::Secret(r) => Arc::as_ptr(r) as usize,
        Resource::Names(r) => Arc::as_ptr(r) as usize,
    }
}

fn holders(resource: &Resource) -> usize {
    match resource {
        Resource::Cluster(r) => Arc::strong_count(r),
        Resource::Endpoints(r) => Arc::strong_count(r),
        Resource::Listener(r) => Arc::strong_count(r),
        Resource::Route(r) => Arc::strong_count(r),
        Resource::Secret(r) => Arc::strong_count(r),
        Resource::Names(r) => Arc::strong_count(r),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_newest_stays_whatever_the_number() {
        let mut layers = Layers::default();
        let configs: Vec<Arc<Config>> = (0..MAX_KEPT + 2).map(|_| Arc::default()).collect();
        let first: Vec<Whole> = configs.iter().map(|c| layers.of(c)).collect();
        let known = |at: usize, layers: &mut Layers| {
            Arc::ptr_eq(&first[at].resources, &layers.of(&configs[at]).resources)
        };
        assert!(known(MAX_KEPT + 1, &mut layers));
        assert!(known(MAX_KEPT, &mut layers));
        assert!(known(2, &mut layers));
        assert!(!known(0, &mut layers), "the oldest went");
    }
}
