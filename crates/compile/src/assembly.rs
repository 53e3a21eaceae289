//! The whole of what one proxy gets, put together from its two sides and the endpoints that it prefers;
//! proxies that are alike in all three have it in common.

use crate::compiler::Part;
use crate::{Missing, Proxy};
use base::{Finding, Labels};
use ir::{Config, Endpoints};
use registry::{Locality, Snapshot};
use std::sync::Arc;

#[derive(Clone, Debug)]
pub(crate) struct Assembled {
    pub config: Arc<Config>,
    pub findings: Arc<[Finding]>,
    pub missing: Arc<[Missing]>,
}

/// Those of the two newest worlds (newest first): while a change is told, some proxies live in the one before.
#[derive(Debug, Default)]
pub(crate) struct Assemblies {
    recent: Vec<Assembly>,
    worlds: [u64; 2],
}

#[derive(Debug)]
struct Assembly {
    outer: Arc<Part>,
    inner: Option<Arc<Part>>,
    /// Their version.
    endpoints: u64,
    eyes: Eyes,
    /// The newest world that it was asked for in.
    used: u64,
    whole: Assembled,
}

/// What of a proxy decides on the endpoints that it prefers; empty where it makes no difference.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Eyes {
    families: (bool, bool),
    locality: Locality,
    node: String,
    labels: Labels,
}

/// What the endpoints of a part depend on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Senses {
    pub locality: bool,
    pub node: bool,
    pub labels: bool,
}

/// For kinds of proxies that ask one after the other.
const MAX_ASSEMBLIES: usize = 256;

impl Assemblies {
    pub fn of(
        &mut self,
        world: &Snapshot,
        proxy: &Proxy,
        outer: Arc<Part>,
        inner: Option<Arc<Part>>,
    ) -> Assembled {
        self.see(world.version);
        let eyes = Eyes::of(proxy, outer.senses());
        let same = |a: &Assembly| {
            Arc::ptr_eq(&a.outer, &outer)
                && a.inner.as_ref().map(Arc::as_ptr) == inner.as_ref().map(Arc::as_ptr)
                && a.endpoints == world.endpoints.version
                && a.eyes == eyes
        };
        if let Some(known) = self.recent.iter_mut().find(|a| same(a)) {
            known.used = known.used.max(world.version);
            return known.whole.clone();
        }
        let endpoints = world.endpoints.version;
        let alike = |a: &&Assembly| {
            a.endpoints == endpoints && a.eyes == eyes && a.outer.assigns_as(&outer)
        };
        let assigned = match self.recent.iter().find(alike) {
            Some(known) => known.whole.config.endpoints.clone(),
            None => outer.assignments.iter().map(|a| a.endpoints(world, proxy)).collect(),
        };
        let whole = assemble(&outer, inner.as_deref(), assigned);
        if self.recent.len() >= MAX_ASSEMBLIES {
            self.recent.remove(0);
        }
        let used = world.version;
        self.recent.push(Assembly { outer, inner, endpoints, eyes, used, whole: whole.clone() });
        whole
    }

    /// Lets go of what was last asked for two worlds ago. An older world that is asked for again, or
    /// comes late, is none the newer for it.
    fn see(&mut self, world: u64) {
        let [newest, before] = self.worlds;
        if world > newest {
            self.worlds = [world, newest];
            self.recent.retain(|a| a.used >= newest);
        } else if world < newest && world > before {
            self.worlds = [newest, world];
        }
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

fn assemble(outer: &Part, inner: Option<&Part>, endpoints: Vec<Arc<Endpoints>>) -> Assembled {
    let parts = || std::iter::once(outer).chain(inner);
    let config = Config {
        listeners: parts().flat_map(|p| p.listeners.iter().cloned()).collect(),
        routes: parts().flat_map(|p| p.routes.iter().cloned()).collect(),
        clusters: parts().flat_map(|p| p.clusters.iter().cloned()).collect(),
        endpoints,
        secrets: Vec::new(),
        names: outer.names.clone(),
    };
    Assembled {
        config: Arc::new(config),
        findings: parts().flat_map(|p| p.findings.iter().cloned()).collect(),
        missing: parts().flat_map(|p| p.missing.iter().cloned()).collect(),
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
            worlds.push((store.snapshot(), Arc::new(Part::default())));
        }
        let mut all = Assemblies::default();
        let mut ask = |at: usize| {
            let (world, part) = &worlds[at];
            all.of(world, &proxy, part.clone(), None).config
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
