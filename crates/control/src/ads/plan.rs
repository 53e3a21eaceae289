//! From a world to what one proxy is to hold: compile, let the settling rule judge, encode. What is
//! alike for several proxies is compiled and encoded once.

use super::layers::{Layered, Layers};
use super::patch::Patches;
use crate::settle::{Settle, Verdict};
use crate::world::World;
use base::{Finding, Instant};
use compile::{Compiler, Proxy};
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
        let Inner { compiler, layers, patches } = &mut *inner;
        let proxy = &*compile::as_known(&world.snapshot, proxy);
        let mut compiled = compiler.compile(&world.snapshot, proxy);
        let (mut held_until, mut waits_for) = (None, Vec::new());
        match settle.judge(&world.snapshot, &compiled, patience, now) {
            Verdict::Serve => {}
            Verdict::Hold { instead, until, waits_for: lacks } => {
                waits_for = lacks.iter().map(ToString::to_string).collect();
                held_until = Some(until);
                compiled = compiler.compile(&instead, proxy);
            }
        }
        let Layered { mut resources, credentials: names } = layers.of(&compiled.config);
        let patched = patches.apply(world, proxy, &mut resources);
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
}
