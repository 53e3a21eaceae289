//! The settling rule: a change that makes a route name what does not exist is held for a while, so
//! that its other half can arrive; then it takes effect as the objects say. Services and endpoints
//! are never held: while configuration is, they flow into the configuration that is still served.

use base::Instant;
use compile::Missing;
use registry::Snapshot;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// What one proxy is served from.
#[derive(Debug, Default)]
pub(crate) struct Settle {
    /// The newest snapshot that was let through.
    settled: Option<Arc<Snapshot>>,
    /// What its routes lacked: known, and not waited for again.
    lacking: HashSet<Lack>,
    /// What newer snapshots lack besides, and since when.
    waiting: HashMap<Lack, Instant>,
    held_since: Option<Instant>,
}

/// Each lack is waited for by itself, since under churn there is often some change of which half has
/// come; but all waiting together ends after this many times the patience with one.
const CHURN: u32 = 3;

/// A destination that is missing; which route names it does not matter.
type Lack = (base::Host, Option<String>);

/// What to do with a snapshot.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Serve what was compiled from it.
    Serve,
    /// Serve `instead` (old configuration, new services and endpoints) until this time at most.
    Hold { instead: Arc<Snapshot>, until: Instant },
}

impl Settle {
    /// Judges a snapshot by what its compilation found missing.
    pub fn judge(
        &mut self,
        snapshot: &Arc<Snapshot>,
        missing: &[Missing],
        patience: Duration,
        now: Instant,
    ) -> Verdict {
        let lacking: HashSet<Lack> =
            missing.iter().map(|m| (m.host.clone(), m.subset.clone())).collect();
        let Some(settled) = &self.settled else {
            return self.serve(snapshot, lacking);
        };
        let fresh: HashSet<&Lack> = lacking.difference(&self.lacking).collect();
        self.waiting.retain(|lack, _| fresh.contains(lack));
        let since: Vec<Instant> =
            fresh.into_iter().map(|l| *self.waiting.entry(l.clone()).or_insert(now)).collect();
        let Some(oldest) = since.into_iter().min() else {
            return self.serve(snapshot, lacking);
        };
        let held_since = *self.held_since.get_or_insert(now);
        let until = oldest.after(patience).min(held_since.after(patience * CHURN));
        if until <= now {
            return self.serve(snapshot, lacking);
        }
        Verdict::Hold { instead: Arc::new(mixed(settled, snapshot)), until }
    }

    fn serve(&mut self, snapshot: &Arc<Snapshot>, lacking: HashSet<Lack>) -> Verdict {
        self.settled = Some(snapshot.clone());
        self.lacking = lacking;
        self.waiting.clear();
        self.held_since = None;
        Verdict::Serve
    }
}

/// The configuration of `old` over the services and endpoints of `new`.
fn mixed(old: &Snapshot, new: &Snapshot) -> Snapshot {
    Snapshot {
        virtual_services: old.virtual_services.clone(),
        destination_rules: old.destination_rules.clone(),
        gateways: old.gateways.clone(),
        sidecars: old.sidecars.clone(),
        ..new.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::Kind;
    use compile::{Compiler, Proxy};
    use registry::Store;
    use serde_json::{Value, json};

    const PATIENCE: Duration = Duration::from_secs(5);

    fn at(ms: u64) -> Instant {
        Instant(ms * 1_000_000)
    }

    struct Scene {
        store: Store,
        settle: Settle,
        compiler: Compiler,
    }

    impl Scene {
        fn new() -> Self {
            let mut store = Store::new("cluster.local", "istio-system");
            let service = json!({"apiVersion": "v1", "kind": "Service",
                "metadata": {"name": "reviews", "namespace": "default"},
                "spec": {"clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"], "selector": {"app": "reviews"},
                    "ports": [{"name": "http", "port": 9080, "targetPort": 9080}]}});
            store.apply(Kind::Service, &service);
            Self { store, settle: Settle::default(), compiler: Compiler::new() }
        }

        fn judge(&mut self, ms: u64) -> Verdict {
            let id = "sidecar~10.0.0.1~p-1.default~default.svc.cluster.local";
            let proxy = Proxy::parse(id, &Value::Null).unwrap();
            let snapshot = self.store.snapshot();
            let compiled = self.compiler.compile(&snapshot, &proxy);
            self.settle.judge(&snapshot, &compiled.missing, PATIENCE, at(ms))
        }

        fn route_to(&mut self, subset: &str) {
            let vs = json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
                "metadata": {"name": "reviews", "namespace": "default"},
                "spec": {"hosts": ["reviews"], "http": [{"route": [
                    {"destination": {"host": "reviews", "subset": subset}}]}]}});
            self.store.apply(Kind::VirtualService, &vs);
        }

        fn define(&mut self, subset: &str) {
            let dr = json!({"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
                "metadata": {"name": "reviews", "namespace": "default"},
                "spec": {"host": "reviews", "subsets": [
                    {"name": subset, "labels": {"version": subset}}]}});
            self.store.apply(Kind::DestinationRule, &dr);
        }
    }

    fn held(verdict: &Verdict) -> Option<u64> {
        match verdict {
            Verdict::Serve => None,
            Verdict::Hold { until, .. } => Some(until.0 / 1_000_000),
        }
    }

    #[test]
    fn a_route_before_its_subset_waits_for_it() {
        let mut scene = Scene::new();
        assert_eq!(held(&scene.judge(0)), None);
        scene.route_to("v1");
        let verdict = scene.judge(1000);
        assert_eq!(held(&verdict), Some(6000));
        let Verdict::Hold { instead, .. } = verdict else { panic!() };
        assert!(instead.virtual_services.is_empty(), "the old configuration");
        scene.define("v1");
        assert_eq!(held(&scene.judge(1200)), None);
    }

    #[test]
    fn after_its_time_the_change_takes_effect_and_is_not_held_again() {
        let mut scene = Scene::new();
        scene.judge(0);
        scene.route_to("v9");
        assert_eq!(held(&scene.judge(1000)), Some(6000));
        assert_eq!(held(&scene.judge(3000)), Some(6000), "the time does not start anew");
        assert_eq!(held(&scene.judge(6000)), None);
        assert_eq!(held(&scene.judge(6001)), None);
    }

    #[test]
    fn a_subset_that_is_renamed_under_its_route_is_held() {
        let mut scene = Scene::new();
        scene.define("v1");
        scene.route_to("v1");
        assert_eq!(held(&scene.judge(0)), None);
        scene.define("v2");
        assert_eq!(held(&scene.judge(100)), Some(5100));
        scene.route_to("v2");
        assert_eq!(held(&scene.judge(200)), None);
    }

    #[test]
    fn under_churn_each_lack_has_its_own_time_and_all_together_a_limit() {
        let mut scene = Scene::new();
        scene.judge(0);
        for second in 1..=15 {
            scene.route_to(&format!("v{second}"));
            let until = (second * 1000 + 5000).min(16_000);
            assert_eq!(held(&scene.judge(second * 1000)), Some(until), "second {second}");
        }
        scene.route_to("v16");
        assert_eq!(held(&scene.judge(16_000)), None);
    }

    #[test]
    fn a_proxy_that_connects_is_served_at_once() {
        let mut scene = Scene::new();
        scene.route_to("v1");
        assert_eq!(held(&scene.judge(0)), None);
    }
}
