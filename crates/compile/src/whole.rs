//! The whole of what one proxy gets: the lists of its two sides, and the endpoints that it prefers.

use crate::Missing;
use crate::half::Half;
use base::Finding;
use ir::{Cluster, Config, Endpoints, Listener, NameTable, Resource, RouteConfig};
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

/// Resources that several proxies have in common, or one proxy has at different times.
pub type Shared<T> = Arc<[Arc<T>]>;

/// A list of one kind. The very same list has the very same resources.
#[derive(Clone, Debug)]
pub enum List {
    Clusters(Shared<Cluster>),
    Endpoints(Shared<Endpoints>),
    Listeners(Shared<Listener>),
    Routes(Shared<RouteConfig>),
    Names(Arc<NameTable>),
}

/// Reads as the configuration, which is put together when it is first asked for: who tells proxies of
/// it needs the lists only, however long they are.
pub struct Whole {
    outer: Arc<Half>,
    inner: Option<Arc<Half>>,
    endpoints: Shared<Endpoints>,
    config: OnceLock<Config>,
}

impl Whole {
    pub(crate) fn new(
        outer: Arc<Half>,
        inner: Option<Arc<Half>>,
        endpoints: Shared<Endpoints>,
    ) -> Whole {
        Whole { outer, inner, endpoints, config: OnceLock::new() }
    }

    /// All lists. Where a name stands in two of a kind, the first counts.
    pub fn lists(&self) -> impl Iterator<Item = List> {
        let inner = self.inner.iter().flat_map(|half| lists(half));
        let endpoints = [List::Endpoints(self.endpoints.clone())];
        inner.chain(lists(&self.outer)).chain(endpoints).filter(|list| !list.is_empty())
    }

    fn halves(&self) -> impl Iterator<Item = &Half> {
        std::iter::once(&*self.outer).chain(self.inner.as_deref())
    }

    pub(crate) fn is_of(
        &self,
        outer: &Arc<Half>,
        inner: Option<&Arc<Half>>,
        endpoints: &Shared<Endpoints>,
    ) -> bool {
        Arc::ptr_eq(&self.outer, outer)
            && self.inner.as_ref().map(Arc::as_ptr) == inner.map(Arc::as_ptr)
            && Arc::ptr_eq(&self.endpoints, endpoints)
    }

    pub(crate) fn findings(&self) -> Arc<[Finding]> {
        joined(self.halves().map(|h| &h.findings))
    }

    pub(crate) fn missing(&self) -> Arc<[Missing]> {
        joined(self.halves().map(|h| &h.missing))
    }
}

fn lists(half: &Half) -> impl Iterator<Item = List> {
    let names = half.names.clone().map(List::Names);
    [
        List::Listeners(half.listeners.clone()),
        List::Clusters(half.clusters.clone()),
        List::Routes(half.routes.clone()),
    ]
    .into_iter()
    .chain(names)
}

impl List {
    pub fn resources(&self) -> Box<dyn Iterator<Item = Resource> + '_> {
        match self {
            List::Clusters(list) => Box::new(list.iter().cloned().map(Resource::Cluster)),
            List::Endpoints(list) => Box::new(list.iter().cloned().map(Resource::Endpoints)),
            List::Listeners(list) => Box::new(list.iter().cloned().map(Resource::Listener)),
            List::Routes(list) => Box::new(list.iter().cloned().map(Resource::Route)),
            List::Names(table) => Box::new(std::iter::once(Resource::Names(table.clone()))),
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            List::Clusters(list) => list.is_empty(),
            List::Endpoints(list) => list.is_empty(),
            List::Listeners(list) => list.is_empty(),
            List::Routes(list) => list.is_empty(),
            List::Names(_) => false,
        }
    }
}

impl fmt::Debug for Whole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl PartialEq for Whole {
    fn eq(&self, other: &Whole) -> bool {
        **self == **other
    }
}

impl Deref for Whole {
    type Target = Config;

    fn deref(&self) -> &Config {
        self.config.get_or_init(|| Config {
            listeners: self.halves().flat_map(|h| h.listeners.iter().cloned()).collect(),
            routes: self.halves().flat_map(|h| h.routes.iter().cloned()).collect(),
            clusters: self.halves().flat_map(|h| h.clusters.iter().cloned()).collect(),
            endpoints: self.endpoints.to_vec(),
            secrets: Vec::new(),
            names: self.outer.names.clone(),
        })
    }
}

/// Without a copy where only one has any.
fn joined<'a, T: Clone + 'a>(lists: impl Iterator<Item = &'a Arc<[T]>>) -> Arc<[T]> {
    let full: Vec<&Arc<[T]>> = lists.filter(|list| !list.is_empty()).collect();
    match full.as_slice() {
        [] => Arc::default(),
        [only] => Arc::clone(only),
        several => several.iter().flat_map(|list| list.iter().cloned()).collect(),
    }
}
