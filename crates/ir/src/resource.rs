//! Resources by type and name, as discovery subscribes to them; and the outcome of looking one up.

use crate::{Cluster, Endpoints, Listener, NameTable, RouteConfig, Secret, Str};
use std::sync::Arc;

/// The discovery types whose resources are `ir` nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Cluster,
    Endpoints,
    Listener,
    Route,
    Secret,
    /// What DNS answers: one resource, without a name.
    Names,
}

impl Kind {
    /// In the order in which changes are pushed: what is referred to comes before what refers to it.
    pub const ALL: [Kind; 6] =
        [Kind::Cluster, Kind::Endpoints, Kind::Listener, Kind::Route, Kind::Secret, Kind::Names];
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceKey {
    pub kind: Kind,
    pub name: Str,
}

impl ResourceKey {
    pub fn new(kind: Kind, name: impl Into<Str>) -> Self {
        Self { kind, name: name.into() }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Resource {
    Cluster(Arc<Cluster>),
    Endpoints(Arc<Endpoints>),
    Listener(Arc<Listener>),
    Route(Arc<RouteConfig>),
    Secret(Arc<Secret>),
    Names(Arc<NameTable>),
}

impl Resource {
    pub fn key(&self) -> ResourceKey {
        match self {
            Resource::Cluster(r) => ResourceKey::new(Kind::Cluster, r.name.clone()),
            Resource::Endpoints(r) => ResourceKey::new(Kind::Endpoints, r.cluster.clone()),
            Resource::Listener(r) => ResourceKey::new(Kind::Listener, r.name.clone()),
            Resource::Route(r) => ResourceKey::new(Kind::Route, r.name.clone()),
            Resource::Secret(r) => ResourceKey::new(Kind::Secret, r.name.clone()),
            Resource::Names(_) => ResourceKey::new(Kind::Names, ""),
        }
    }
}

/// A complete configuration whose references are closed: what a data plane runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    pub listeners: Vec<Arc<Listener>>,
    pub clusters: Vec<Arc<Cluster>>,
    pub routes: Vec<Arc<RouteConfig>>,
    pub endpoints: Vec<Arc<Endpoints>>,
    pub secrets: Vec<Arc<Secret>>,
    /// What the proxy's DNS answers, where it has one.
    pub names: Option<Arc<NameTable>>,
}

/// What a table knows of a name. `Unknown` is neither yes nor no: the resource may exist and can be
/// asked for, and the request may wait for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup<T> {
    Found(T),
    Absent,
    Unknown(ResourceKey),
}
