//! Resources as they go over the wire, in layers that proxies share: one for each list of resources
//! that some proxy holds. A resource is encoded once, a list that several proxies have in common is put
//! together once, and one that differs little from an earlier one is made from that.

mod changes;

use super::secrets::{self, Named};
use changes::changes;
use compile::{List, Whole};
use ir::Resource;
use std::collections::HashMap;
use std::sync::Arc;
use xds::server::{Desired, Encoded, Encoder, Layer};

/// What a proxy is to hold, as far as other proxies may hold it too.
#[derive(Clone)]
pub(super) struct Layered {
    pub resources: Arc<Desired>,
    /// The credentials that it names.
    pub credentials: Arc<Named>,
}

/// What nobody else holds any more goes with the next configuration that comes.
#[derive(Default)]
pub(super) struct Layers {
    wholes: Vec<(Arc<Whole>, Layered)>,
    /// The newest last.
    lists: Vec<Known>,
    encoded: Cache,
}

/// A layer, and the list that it was made of, which it holds, so that no address of something in it can
/// come to mean something else.
struct Known {
    list: List,
    layer: Arc<Layer>,
    credentials: Named,
}

/// Configurations, and lists of them, that are kept at the most.
const MAX_KEPT: usize = 1024;

impl Layers {
    /// All of a configuration.
    pub fn of(&mut self, config: &Arc<Whole>) -> Layered {
        if let Some((_, whole)) = self.wholes.iter().find(|(known, _)| Arc::ptr_eq(known, config)) {
            return whole.clone();
        }
        self.wholes.retain(|(config, _)| Arc::strong_count(config) > 1);
        make_room(&mut self.wholes);
        let (mut layers, mut credentials) = (Vec::new(), Named::new());
        for list in config.lists() {
            let known = self.known(list);
            layers.push(known.layer.clone());
            secrets::note_all(&known.credentials, &mut credentials);
        }
        // Not before, since the new ones are made from the old.
        self.lists.retain(|known| Arc::strong_count(&known.layer) > 1);
        let (resources, credentials) = (Arc::new(Desired::of(layers)), Arc::new(credentials));
        let whole = Layered { resources, credentials };
        self.wholes.push((config.clone(), whole.clone()));
        whole
    }

    fn known(&mut self, list: List) -> &Known {
        let at = match self.lists.iter().position(|known| changes::is_same(&known.list, &list)) {
            Some(at) => at,
            None => {
                let known = self.made(list);
                make_room(&mut self.lists);
                self.lists.push(known);
                self.lists.len() - 1
            }
        };
        &self.lists[at]
    }

    fn made(&mut self, list: List) -> Known {
        let mut near = self.lists.iter().rev();
        let near = near.find_map(|known| Some((&known.layer, changes(&known.list, &list)?)));
        let encoded = &mut self.encoded;
        let layer = match near {
            Some((layer, (gone, new))) => {
                let mut layer = Layer::clone(layer);
                for resource in gone {
                    layer.remove(&resource.key());
                }
                for resource in new {
                    layer.insert(resource.key(), encoded.get(&resource));
                }
                layer
            }
            None => list.resources().map(|r| (r.key(), encoded.get(&r))).collect(),
        };
        let credentials = secrets::named(&list);
        Known { list, layer: Arc::new(layer), credentials }
    }
}

/// For one more: the oldest go.
fn make_room<T>(kept: &mut Vec<T>) {
    kept.drain(..kept.len().saturating_sub(MAX_KEPT - 1));
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
        let mut kept = Vec::new();
        for n in 0..MAX_KEPT + 2 {
            make_room(&mut kept);
            kept.push(n);
        }
        assert_eq!(
            (kept.len(), kept.first(), kept.last()),
            (MAX_KEPT, Some(&2), Some(&(MAX_KEPT + 1)))
        );
    }
}
