//! EndpointSlices as they come, and by the service that they are for.

use crate::Service;
use crate::item::Table;
use api::EndpointSlice;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

#[derive(Debug, Default)]
pub(super) struct Slices {
    all: Table<EndpointSlice>,
    /// By namespace and name of the service; within, by their own name.
    by_service: HashMap<(String, String), BTreeMap<String, Arc<EndpointSlice>>>,
}

impl Slices {
    pub fn version(&self) -> u64 {
        self.all.version
    }

    pub fn get(&self, namespace: &str, name: &str) -> Option<&Arc<EndpointSlice>> {
        self.all.get(namespace, name)
    }

    pub fn of<'a>(&'a self, service: &Service) -> impl Iterator<Item = &'a EndpointSlice> + 'a {
        let key = (service.namespace.to_string(), service.name.to_string());
        self.by_service.get(&key).into_iter().flat_map(|own| own.values().map(|s| &**s))
    }

    pub fn insert(&mut self, version: u64, slice: EndpointSlice) {
        let (namespace, name) = (slice.metadata.namespace.clone(), slice.metadata.name.clone());
        self.forget(&namespace, &name);
        let service = slice.service().map(str::to_owned);
        self.all.insert(version, &namespace, &name, slice);
        if let Some((service, slice)) = service.zip(self.all.get(&namespace, &name)) {
            let own = self.by_service.entry((namespace, service)).or_default();
            own.insert(name, slice.clone());
        }
    }

    pub fn remove(
        &mut self,
        version: u64,
        namespace: &str,
        name: &str,
    ) -> Option<Arc<EndpointSlice>> {
        self.forget(namespace, name);
        self.all.remove(version, namespace, name)
    }

    /// It may be of another service from now on.
    fn forget(&mut self, namespace: &str, name: &str) {
        let old = self.all.get(namespace, name).and_then(|s| s.service());
        let Some(key) = old.map(|service| (namespace.to_owned(), service.to_owned())) else {
            return;
        };
        if let Some(own) = self.by_service.get_mut(&key) {
            own.remove(name);
            if own.is_empty() {
                self.by_service.remove(&key);
            }
        }
    }
}
