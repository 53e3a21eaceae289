//! One side of what a proxy gets, outbound or inbound, as lists that all proxies that are alike share.

use crate::Missing;
use crate::build::Build;
use crate::endpoints::Assignments;
use crate::kept::{Kept, Said};
use crate::whole::Shared;
use base::{Finding, Host};
use ir::{Cluster, Listener, NameTable, RouteConfig, Str};
use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

/// A side as it is made.
#[derive(Debug, Default)]
pub(crate) struct Part {
    pub listeners: Vec<Arc<Listener>>,
    pub clusters: Vec<Arc<Cluster>>,
    pub assignments: Vec<Arc<crate::endpoints::Assignment>>,
    pub routes: Vec<Arc<RouteConfig>>,
    pub hosts: Arc<[Host]>,
    pub served: Arc<[Str]>,
}

/// A side as it is shared. Lists that did not change since an earlier compilation are the same `Arc`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Half {
    pub listeners: Shared<Listener>,
    pub clusters: Shared<Cluster>,
    pub assignments: Arc<Assignments>,
    pub routes: Shared<RouteConfig>,
    /// What the proxy's DNS answers, where it asks for that.
    pub names: Option<Arc<NameTable>>,
    pub hosts: Arc<[Host]>,
    pub served: Arc<[Str]>,
    pub findings: Arc<[Finding]>,
    pub missing: Arc<[Missing]>,
    /// For the next compilation of the kind.
    pub kept: Option<Arc<Kept>>,
}

impl Part {
    /// The same, with what some proxy already has replaced by the very same `Arc`.
    pub fn shared(mut self, b: &mut Build<'_>) -> Half {
        first_of_each(&mut self.clusters, |c| c.name.clone());
        first_of_each(&mut self.assignments, |a| a.cluster.clone());
        first_of_each(&mut self.listeners, |l| l.name.clone());
        first_of_each(&mut self.routes, |r| r.name.clone());
        for cluster in &mut self.clusters {
            b.pools.clusters.share(&cluster.name.clone(), cluster);
        }
        for assignment in &mut self.assignments {
            b.pools.assignments.share(&assignment.cluster.clone(), assignment);
        }
        for listener in &mut self.listeners {
            b.pools.listeners.share(&listener.name.clone(), listener);
        }
        for route in &mut self.routes {
            b.pools.routes.share(&route.name.clone(), route);
        }
        let half = Half {
            listeners: self.listeners.into(),
            clusters: self.clusters.into(),
            assignments: Arc::new(self.assignments.into()),
            routes: self.routes.into(),
            hosts: self.hosts,
            served: self.served,
            ..Half::default()
        };
        half.telling(b.said())
    }
}

impl Half {
    /// The same rule may stand in several routes; what there is to say about it is said once.
    pub fn telling(self, said: Said) -> Half {
        Half { findings: once(said.findings), missing: once(said.missing), ..self }
    }
}

/// No two resources may have one name, whatever the objects say.
fn first_of_each<T>(list: &mut Vec<T>, name: impl Fn(&T) -> Str) {
    let mut seen = HashSet::new();
    list.retain(|item| seen.insert(name(item)));
}

fn once<T: Clone + Eq + Hash>(list: Vec<T>) -> Arc<[T]> {
    let mut seen = HashSet::new();
    list.into_iter().filter(|item| seen.insert(item.clone())).collect()
}
