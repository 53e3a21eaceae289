//! The settling rule: a change that makes a route name what does not exist, or that takes a host from
//! a gateway, is held for a while, so that its other half can arrive; then it takes effect as the
//! objects say. Services and endpoints are never held: while configuration is, they flow into the
//! configuration that is still served.

use base::{Host, Instant};
use compile::Compiled;
use ir::Str;
use registry::Snapshot;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What one proxy is served from.
#[derive(Debug, Default)]
pub(crate) struct Settle {
    /// The newest snapshot that was let through.
    settled: Option<Arc<Snapshot>>,
    /// What its routes lacked: known, and not waited for again.
    lacking: HashSet<Lack>,
    /// What it serves as a gateway.
    served: Arc<[Str]>,
    /// What newer snapshots lack besides, and since when.
    waiting: HashMap<Lack, Instant>,
    held_since: Option<Instant>,
}

/// Each lack is waited for by itself, since under churn there is often some change of which half has
/// come; but all waiting together ends after this many times the patience with one.
const CHURN: u32 = 3;

/// What is missing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Lack {
    /// A destination; which route names it does not matter.
    Destination(Host, Option<String>),
    /// A rule for what the gateway served: `<route configuration>/<domain>`.
    Rule(Str),
}

impl fmt::Display for Lack {
    /// As people read it: `reviews.default.svc.cluster.local subset v4`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lack::Destination(host, Some(subset)) => write!(f, "{host} subset {subset}"),
            Lack::Destination(host, None) => write!(f, "{host}"),
            Lack::Rule(served) => write!(f, "another rule for {served}"),
        }
    }
}

/// What to do with a snapshot.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Serve what was compiled from it.
    Serve,
    /// Serve `instead` (old configuration, new services and endpoints) until this time at most.
    Hold { instead: Arc<Snapshot>, until: Instant, waits_for: Vec<Lack> },
}

impl Settle {
    /// Judges a snapshot by what was compiled from it.
    pub fn judge(
        &mut self,
        snapshot: &Arc<Snapshot>,
        compiled: &Compiled,
        patience: Duration,
        now: Instant,
    ) -> Verdict {
        let lacking: HashSet<Lack> = lacks(compiled).collect();
        let Some(settled) = self.settled.clone() else {
            return self.serve(snapshot, compiled, lacking);
        };
        let mut fresh: HashSet<Lack> = lacking.difference(&self.lacking).cloned().collect();
        fresh.extend(self.taken_away(compiled));
        self.waiting.retain(|lack, _| fresh.contains(lack));
        let since = fresh.iter().map(|l| *self.waiting.entry(l.clone()).or_insert(now));
        let Some(oldest) = since.min() else {
            return self.serve(snapshot, compiled, lacking);
        };
        let held_since = *self.held_since.get_or_insert(now);
        let until = oldest.after(patience).min(held_since.after(patience * CHURN));
        if until <= now {
            return self.serve(snapshot, compiled, lacking);
        }
        let mut waits_for: Vec<Lack> = fresh.into_iter().collect();
        waits_for.sort();
        Verdict::Hold { instead: Arc::new(mixed(&settled, snapshot)), until, waits_for }
    }

    /// What is served and would not be any more.
    fn taken_away(&self, compiled: &Compiled) -> Vec<Lack> {
        let stays: HashSet<&Str> = compiled.served.iter().collect();
        self.served.iter().filter(|s| !stays.contains(s)).cloned().map(Lack::Rule).collect()
    }

    fn serve(
        &mut self,
        snapshot: &Arc<Snapshot>,
        compiled: &Compiled,
        lacking: HashSet<Lack>,
    ) -> Verdict {
        self.settled = Some(snapshot.clone());
        self.lacking = lacking;
        self.served = compiled.served.clone();
        self.waiting.clear();
        self.held_since = None;
        Verdict::Serve
    }
}

fn lacks(compiled: &Compiled) -> impl Iterator<Item = Lack> {
    compiled.missing.iter().map(|m| Lack::Destination(m.host.clone(), m.subset.clone()))
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
    use serde_json::json;

    const PATIENCE: Duration = Duration::from_secs(5);

    fn at(ms: u64) -> Instant {
        Instant(ms * 1_000_000)
    }

    const SIDECAR: &str = "sidecar~10.0.0.1~p-1.default~default.svc.cluster.local";
    const GATEWAY: &str = "router~10.0.0.1~gw-1.default~default.svc.cluster.local";

    struct Scene {
        id: &'static str,
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
            Self { id: SIDECAR, store, settle: Settle::default(), compiler: Compiler::new() }
        }

        fn judge(&mut self, ms: u64) -> Verdict {
            let proxy = Proxy::parse(self.id, &json!({"LABELS": {"app": "gw"}})).unwrap();
            let snapshot = self.store.snapshot();
            let compiled = self.compiler.compile(&snapshot, &proxy);
            self.settle.judge(&snapshot, &compiled, PATIENCE, at(ms))
        }

        fn route_to(&mut self, subset: &str) {
            let vs = json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
                "metadata": {"name": "reviews", "namespace": "default"},
                "spec": {"hosts": ["reviews"], "gateways": ["mesh", "gw"], "http": [{"route": [
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
    fn a_rule_in_use_at_a_gateway_may_be_made_anew() {
        let mut scene = Scene::new();
        let gateway = json!({"apiVersion": "networking.istio.io/v1", "kind": "Gateway",
            "metadata": {"name": "gw", "namespace": "default"},
            "spec": {"selector": {"app": "gw"}, "servers": [
                {"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}]}});
        scene.store.apply(Kind::Gateway, &gateway);
        scene.id = GATEWAY;
        scene.define("v1");
        assert_eq!(held(&scene.judge(0)), None);
        scene.route_to("v1");
        assert_eq!(held(&scene.judge(100)), None, "a host that is added waits for nothing");
        let delete = |s: &mut Scene| s.store.delete(Kind::VirtualService, "default", "reviews");
        delete(&mut scene);
        let verdict = scene.judge(1000);
        assert_eq!(held(&verdict), Some(6000));
        let Verdict::Hold { instead, waits_for, .. } = verdict else { panic!() };
        assert!(!instead.virtual_services.is_empty(), "what was served is served");
        assert!(waits_for[0].to_string().starts_with("another rule for http."), "{waits_for:?}");
        scene.route_to("v1");
        assert_eq!(held(&scene.judge(1200)), None);
        delete(&mut scene);
        assert_eq!(held(&scene.judge(2000)), Some(7000));
        assert_eq!(held(&scene.judge(7000)), None, "then it is gone");
    }

    /// As `kubectl delete` and `apply` bring it, however fast they follow one another.
    #[test]
    fn what_is_deleted_and_made_anew_is_served_as_if_it_had_never_gone() {
        let mut scene = Scene::new();
        scene.define("v1");
        scene.route_to("v1");
        let routes = |s: &mut Scene| {
            let proxy = Proxy::parse(SIDECAR, &serde_json::Value::Null).unwrap();
            let c = s.compiler.compile(&s.store.snapshot(), &proxy);
            format!("{:?}", c.config.routes)
        };
        scene.judge(0);
        let before = routes(&mut scene);
        for round in 1..5 {
            scene.store.delete(Kind::VirtualService, "default", "reviews");
            scene.judge(round * 1000);
            scene.store.delete(Kind::DestinationRule, "default", "reviews");
            assert_eq!(held(&scene.judge(round * 1000 + 15)), None);
            scene.route_to("v1");
            assert!(held(&scene.judge(round * 1000 + 30)).is_some());
            scene.define("v1");
            assert_eq!(held(&scene.judge(round * 1000 + 45)), None);
            assert_eq!(routes(&mut scene), before);
        }
    }

    #[test]
    fn a_rule_that_is_deleted_leaves_sidecars_the_service_itself() {
        let mut scene = Scene::new();
        scene.define("v1");
        scene.route_to("v1");
        scene.judge(0);
        scene.store.delete(Kind::VirtualService, "default", "reviews");
        assert_eq!(held(&scene.judge(1000)), None);
    }

    #[test]
    fn a_proxy_that_connects_is_served_at_once() {
        let mut scene = Scene::new();
        scene.route_to("v1");
        assert_eq!(held(&scene.judge(0)), None);
    }
}
