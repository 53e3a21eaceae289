//! From a world to what one proxy is to hold: compile, let the settling rule judge, encode. What is
//! alike for several proxies is compiled and encoded once.

use super::patch::Patches;
use crate::settle::{Settle, Verdict};
use crate::world::World;
use base::{Finding, Instant};
use compile::{Compiled, Compiler, Proxy};
use ir::Resource;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use xds::server::{Desired, Encoded};

/// What a proxy is to hold, and why.
#[derive(Clone)]
pub(crate) struct Planned {
    pub resources: Arc<Desired>,
    pub findings: Arc<[Finding]>,
    /// A change waits for its other half until this time.
    pub held_until: Option<Instant>,
    /// What the change lacks; empty unless it is held.
    pub waits_for: Vec<String>,
    /// It names credentials, and whether the proxy may have them has not been asked.
    pub must_ask: bool,
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
    encoded: Cache,
    patches: Patches,
}

impl Planner {
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
        let Inner { compiler, encoded, patches } = &mut *inner;
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
        let mut resources: Desired = all(&compiled).map(|r| (r.key(), encoded.get(&r))).collect();
        let patched = patches.apply(world, proxy, &mut resources);
        let names = super::secrets::named(&compiled);
        let must_ask = credentials == Credentials::NotAsked && !names.is_empty();
        let (secrets, mut lacking) =
            super::secrets::of(world, &proxy.namespace, credentials, names, &compiled);
        lacking.extend(patched);
        resources.extend(secrets.iter().map(|secret| (secret.key(), Encoded::of(secret))));
        let findings = match lacking.is_empty() {
            true => compiled.findings,
            false => compiled.findings.iter().cloned().chain(lacking).collect(),
        };
        Planned { resources: Arc::new(resources), findings, held_until, waits_for, must_ask }
    }
}

fn all(compiled: &Compiled) -> impl Iterator<Item = Resource> {
    let c = &compiled.config;
    let clusters = c.clusters.iter().cloned().map(Resource::Cluster);
    let endpoints = c.endpoints.iter().cloned().map(Resource::Endpoints);
    let listeners = c.listeners.iter().cloned().map(Resource::Listener);
    let routes = c.routes.iter().cloned().map(Resource::Route);
    let secrets = c.secrets.iter().cloned().map(Resource::Secret);
    let names = c.names.iter().cloned().map(Resource::Names);
    clusters.chain(endpoints).chain(listeners).chain(routes).chain(secrets).chain(names)
}

/// Encodings by the address of what was encoded. An entry holds its resource, so an address cannot
/// come to mean another one; entries that nobody else holds are dropped when the cache has doubled.
#[derive(Default)]
struct Cache {
    entries: HashMap<usize, (Resource, Encoded)>,
    swept: usize,
}

impl Cache {
    fn get(&mut self, resource: &Resource) -> Encoded {
        if let Some((_, encoded)) = self.entries.get(&address(resource)) {
            return encoded.clone();
        }
        if self.entries.len() > 2 * self.swept.max(1024) {
            self.entries.retain(|_, (resource, _)| holders(resource) > 1);
            self.swept = self.entries.len();
        }
        let encoded = Encoded::of(resource);
        self.entries.insert(address(resource), (resource.clone(), encoded.clone()));
        encoded
    }
}

fn address(resource: &Resource) -> usize {
    match resource {
        Resource::Cluster(r) => Arc::as_ptr(r) as usize,
        Resource::Endpoints(r) => Arc::as_ptr(r) as usize,
        Resource::Listener(r) => Arc::as_ptr(r) as usize,
        Resource::Route(r) => Arc::as_ptr(r) as usize,
        Resource::Secret(r) => Arc::as_ptr(r) as usize,
        Resource::Names(r) => Arc::as_ptr(r) as usize,
    }
}

fn holders(resource: &Resource) -> usize {
    match resource {
        Resource::Cluster(r) => Arc::strong_count(r),
        Resource::Endpoints(r) => Arc::strong_count(r),
        Resource::Listener(r) => Arc::strong_count(r),
        Resource::Route(r) => Arc::strong_count(r),
        Resource::Secret(r) => Arc::strong_count(r),
        Resource::Names(r) => Arc::strong_count(r),
    }
}
