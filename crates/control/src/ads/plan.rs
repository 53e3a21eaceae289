//! From a world to what one proxy is to hold: compile, let the settling rule judge, encode. What is
//! alike for several proxies is compiled and encoded once.

use super::layers::{Layered, Layers};
use super::patch::Patches;
use crate::settle::{Settle, Verdict};
use crate::world::World;
use base::{Finding, Instant};
use compile::{Compiled, Compiler, Proxy};
use ir::ResourceKey;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use xds::server::{Desired, Encoded, Layer};

/// What a proxy is to hold, and why.
#[derive(Clone)]
pub(crate) struct Planned {
    pub resources: Arc<Desired>,
    pub findings: Arc<[Finding]>,
    /// A change waits for its other half until this time.
    pub held_until: Option<Instant>,
    /// What the change lacks; empty unless it is held.
    pub waits_for: Vec<String>,
    /// It names credentials, which not every proxy may have.
    pub names_any: bool,
}

/// Which secrets a proxy may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Credentials {
    /// Nobody has asked yet, since none was named.
    NotAsked,
    None,
    /// Those of its namespace that its configuration names.
    OfNamespace,
}

/// Shared by all connections.
#[derive(Default)]
pub(crate) struct Planner(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    compiler: Compiler,
    layers: Layers,
    patches: Patches,
}

impl Planner {
    /// How much was compiled since the start.
    #[cfg(test)]
    pub fn work(&self) -> compile::Work {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).compiler.work()
    }

    pub fn plan(
        &self,
        world: &World,
        proxy: &Proxy,
        credentials: Credentials,
        settle: &mut Settle,
        patience: Duration,
        now: Instant,
    ) -> Planned {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let proxy = &*compile::as_known(&world.snapshot, proxy);
        let Settled { compiled, held_until, waits_for } =
            inner.settled(world, proxy, settle, patience, now);
        let Layered { mut resources, credentials: names } = inner.layers.of(&compiled.config);
        let patched = inner.patches.apply(world, proxy, &mut resources);
        let names_any = !names.is_empty();
        let (secrets, mut lacking) =
            super::secrets::of(world, &proxy.namespace, credentials, &names, &compiled);
        lacking.extend(patched);
        if !secrets.is_empty() {
            // Not kept any longer than the proxy that they are for.
            let own = secrets.iter().map(|secret| (secret.key(), Encoded::of(secret)));
            resources = Arc::new(resources.with(Arc::new(own.collect::<Layer>())));
        }
        let findings = match lacking.is_empty() {
            true => compiled.findings,
            false => compiled.findings.iter().cloned().chain(lacking).collect(),
        };
        Planned { resources, findings, held_until, waits_for, names_any }
    }

    /// For an application that speaks xDS itself: only what it asks for by name.
    pub fn plan_named(
        &self,
        world: &World,
        proxy: &Proxy,
        wanted: &[ResourceKey],
        settle: &mut Settle,
        patience: Duration,
        now: Instant,
    ) -> Planned {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let proxy = &*compile::as_known(&world.snapshot, proxy);
        let Settled { compiled, held_until, waits_for } =
            inner.settled(world, proxy, settle, patience, now);
        // What one client asks for keeps nobody else waiting.
        drop(inner);
        let named = Arc::new(xds::grpc::resources(&compiled.config, wanted.iter()));
        let (resources, findings) = (Arc::new(Desired::of(vec![named])), compiled.findings);
        Planned { resources, findings, held_until, waits_for, names_any: false }
    }
}

/// What was compiled from the configuration that the settling rule lets through.
struct Settled {
    compiled: Compiled,
    held_until: Option<Instant>,
    waits_for: Vec<String>,
}

impl Inner {
    fn settled(
        &mut self,
        world: &World,
        proxy: &Proxy,
        settle: &mut Settle,
        patience: Duration,
        now: Instant,
    ) -> Settled {
        let compiled = self.compiler.compile(&world.snapshot, proxy);
        match settle.judge(&world.snapshot, &compiled, patience, now) {
            Verdict::Serve => Settled { compiled, held_until: None, waits_for: Vec::new() },
            Verdict::Hold { instead, until, waits_for } => Settled {
                compiled: self.compiler.compile(&instead, proxy),
                held_until: Some(until),
                waits_for: waits_for.iter().map(ToString::to_string).collect(),
            },
        }
    }
}
