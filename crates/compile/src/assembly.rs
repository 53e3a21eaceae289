//! The whole of what one proxy gets, put together from its two sides and the endpoints that it prefers;
//! proxies that are alike in all three have it in common.

use crate::Proxy;
use crate::endpoints::{Assignments, Senses};
use crate::half::Half;
use crate::kept::Work;
use crate::whole::{Shared, Whole};
use base::Labels;
use ir::Endpoints;
use registry::{EndpointIndex, Locality, Snapshot};
use std::sync::Arc;

/// Those of the two newest worlds (newest first): while a change is told, some proxies live in the one before.
#[derive(Debug, Default)]
pub(crate) struct Assemblies {
    recent: Vec<(Arc<Whole>, u64)>,
    assigned: Vec<Assigned>,
    worlds: [u64; 2],
}

/// The endpoints that some clusters have for some proxies, as they were last.
#[derive(Debug)]
struct Assigned {
    assignments: Arc<Assignments>,
    eyes: Eyes,
    index: Arc<EndpointIndex>,
    list: Shared<Endpoints>,
    /// The newest world that it was asked for in.
    used: u64,
}

/// What of a proxy decides on the endpoints that it prefers; empty where it makes no difference.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Eyes {
    families: (bool, bool),
    locality: Locality,
    node: String,
    labels: Labels,
}

/// For kinds of proxies that ask one after the other.
const MAX_RECENT: usize = 1024;

impl Assemblies {
    pub fn of(
        &mut self,
        world: &Snapshot,
        proxy: &Proxy,
        outer: Arc<Half>,
        inner: Option<Arc<Half>>,
        work: &mut Work,
    ) -> Arc<Whole> {
        self.see(world.version);
        let endpoints = self.endpoints(world, proxy, &outer.assignments, work);
        let known = self.recent.iter_mut();
        let mut known = known.filter(|(w, _)| w.is_of(&outer, inner.as_ref(), &endpoints));
        if let Some((whole, used)) = known.next() {
            *used = (*used).max(world.version);
            return whole.clone();
        }
        let whole = Arc::new(Whole::new(outer, inner, endpoints));
        if self.recent.len() >= MAX_RECENT {
            self.recent.remove(0);
        }
        self.recent.push((whole.clone(), world.version));
        whole
    }

    /// Where the clusters are the same as before, those of services that changed are looked at.
    fn endpoints(
        &mut self,
        world: &Snapshot,
        proxy: &Proxy,
        assignments: &Arc<Assignments>,
        work: &mut Work,
    ) -> Shared<Endpoints> {
        let eyes = Eyes::of(proxy, assignments.senses());
        let alike = |a: &Assigned| Arc::ptr_eq(&a.assignments, assignments) && a.eyes == eyes;
        let same = |a: &&mut Assigned| alike(a) && Arc::ptr_eq(&a.index, &world.endpoints);
        if let Some(known) = self.assigned.iter_mut().find(same) {
            known.used = known.used.max(world.version);
            return known.list.clone();
        }
        let list = match self.assigned.iter().rev().find(|a| alike(a)) {
            Some(known) => known.renewed(world, proxy, work),
            None => {
                work.endpoints += assignments.len() as u64;
                assignments.iter().map(|a| a.endpoints(world, proxy)).collect()
            }
        };
        if self.assigned.len() >= MAX_RECENT {
            self.assigned.remove(0);
        }
        let (assignments, index) = (assignments.clone(), world.endpoints.clone());
        let used = world.version;
        self.assigned.push(Assigned { assignments, eyes, index, list: list.clone(), used });
        list
    }

    /// Lets go of what was last asked for two worlds ago. An older world that is asked for again, or
    /// comes late, is none the newer for it.
    fn see(&mut self, world: u64) {
        let [newest, before] = self.worlds;
        if world > newest {
            self.worlds = [world, newest];
            self.recent.retain(|(_, used)| *used >= newest);
            self.assigned.retain(|a| a.used >= newest);
        } else if world < newest && world > before {
            self.worlds = [newest, world];
        }
    }
}

impl Assigned {
    /// The very same list where nothing in it is different.
    fn renewed(&self, world: &Snapshot, proxy: &Proxy, work: &mut Work) -> Shared<Endpoints> {
        let mut fresh: Option<Vec<Arc<Endpoints>>> = None;
        let changed = world.endpoints.changed_since(&self.index);
        for place in changed.flat_map(|service| self.assignments.of_service(service)) {
            work.endpoints += 1;
            let now = self.assignments[*place].endpoints(world, proxy);
            if !Arc::ptr_eq(&now, &self.list[*place]) {
                fresh.get_or_insert_with(|| self.list.to_vec())[*place] = now;
            }
        }
        fresh.map_or_else(|| self.list.clone(), Into::into)
    }
}

impl Eyes {
    pub fn of(proxy: &Proxy, senses: Senses) -> Eyes {
        let mut eyes = Eyes { families: proxy.families(), ..Eyes::default() };
        if senses.locality || senses.labels {
            eyes.locality = proxy.locality.clone();
        }
        if senses.node || senses.labels {
            eyes.node.clone_from(&proxy.node);
        }
        if senses.labels {
            eyes.labels.clone_from(&proxy.labels);
        }
        eyes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use registry::Store;
    use serde_json::{Value, json};

    #[test]
    fn proxies_that_live_in_the_world_before_do_not_cost_more_for_it() {
        let mut store = Store::new("cluster.local", "istio-system");
        let proxy = Proxy::parse("sidecar~10.0.0.1~a.b~b.svc.cluster.local", &Value::Null).unwrap();
        let mut worlds = Vec::new();
        for at in 0..3 {
            let object = json!({"metadata": {"name": format!("s{at}"), "namespace": "b"},
                "spec": {"ports": [{"port": 80}]}});
            store.apply(api::Kind::Service, &object);
            worlds.push((store.snapshot(), Arc::new(Half::default())));
        }
        let mut all = Assemblies::default();
        let mut ask = |at: usize| {
            let (world, half) = &worlds[at];
            all.of(world, &proxy, half.clone(), None, &mut Work::default())
        };
        let (older, newer) = (ask(0), ask(1));
        for _ in 0..2 {
            assert!(Arc::ptr_eq(&older, &ask(0)));
            assert!(Arc::ptr_eq(&newer, &ask(1)));
        }
        ask(2);
        assert!(Arc::ptr_eq(&newer, &ask(1)), "two are kept");
        assert!(!Arc::ptr_eq(&older, &ask(0)), "and no third");
    }
}
