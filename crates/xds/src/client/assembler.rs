//! From resources that arrive in any order to configurations that are whole.
//!
//! Each listener and route runs in its newest version whose references have all arrived; until then
//! the version before it goes on, and with it what that one uses, even if the control plane took it
//! away already. How long something may be waited for, or kept, is bounded; after that the newest word
//! counts, and what lacks is reported.

use crate::references::references;
use base::Instant;
use ir::{Config, Kind, Resource, ResourceKey, Str};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// Clusters are told without being asked for, and before what uses them; one that is not there when
/// its route comes will hardly follow.
const UNASKED: Duration = Duration::from_secs(1);

/// A reference to something that has not come.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Missing {
    pub user: ResourceKey,
    pub needs: ResourceKey,
}

#[derive(Clone, Debug)]
struct Item {
    resource: Resource,
    needs: Arc<[ResourceKey]>,
    version: Str,
    /// From the bootstrap: no stream takes it away.
    fixed: bool,
}

#[derive(Debug)]
pub struct Assembler {
    patience: Duration,
    /// The newest word of the control plane.
    accepted: HashMap<ResourceKey, Item>,
    /// It said that there is none.
    absent: HashSet<ResourceKey>,
    /// What runs.
    running: BTreeMap<ResourceKey, Item>,
    /// Since when a reference waits, or something that was taken away is kept.
    since: HashMap<ResourceKey, Instant>,
    changed: bool,
    now: Instant,
}

impl Assembler {
    /// `fixed` is what the bootstrap holds; nothing is waited for longer than `patience`.
    pub fn new(fixed: &Config, patience: Duration) -> Self {
        let mut this = Self {
            patience,
            accepted: HashMap::new(),
            absent: HashSet::new(),
            running: BTreeMap::new(),
            since: HashMap::new(),
            changed: false,
            now: Instant::default(),
        };
        for resource in all(fixed) {
            this.accepted.insert(resource.key(), Item::of(resource, "", true));
        }
        this
    }

    pub(super) fn accept(&mut self, resource: Resource, version: &str, now: Instant) {
        self.now = now;
        let key = resource.key();
        self.absent.remove(&key);
        match self.accepted.get_mut(&key) {
            Some(item) if item.fixed => {}
            // Told again: what runs is not disturbed.
            Some(item) if item.resource == resource => item.version = version.into(),
            _ => {
                let item = Item::of(resource, version, false);
                // That there was none says nothing about this version's.
                item.needs.iter().for_each(|need| {
                    self.absent.remove(need);
                });
                self.accepted.insert(key, item);
            }
        }
    }

    pub(super) fn remove(&mut self, key: ResourceKey, now: Instant) {
        self.now = now;
        if !self.accepted.get(&key).is_some_and(|i| i.fixed) {
            self.accepted.remove(&key);
            self.absent.insert(key);
        }
    }

    /// Nobody refers to it any more.
    pub(super) fn forget(&mut self, key: &ResourceKey) {
        self.absent.remove(key);
        if !self.accepted.get(key).is_some_and(|i| i.fixed) {
            self.accepted.remove(key);
        }
    }

    /// Names of this kind that what has arrived, or runs, refers to.
    pub(super) fn wanted(&self, kind: Kind) -> BTreeSet<Str> {
        let users = self.accepted.values().chain(self.running.values());
        users
            .flat_map(|i| i.needs.iter())
            .filter(|k| k.kind == kind)
            .filter(|k| !self.accepted.get(k).is_some_and(|i| i.fixed))
            .map(|k| k.name.clone())
            .collect()
    }

    pub(super) fn versions(&self, kind: Kind) -> impl Iterator<Item = (String, String)> {
        self.dynamic(kind).filter_map(|k| {
            let version = self.accepted.get(&k)?.version.to_string();
            Some((k.name.to_string(), version))
        })
    }

    /// What the control plane told of this kind.
    pub(super) fn dynamic(&self, kind: Kind) -> impl Iterator<Item = ResourceKey> {
        let told = self.accepted.iter().filter(move |(k, i)| k.kind == kind && !i.fixed);
        told.map(|(k, _)| k.clone())
    }

    /// Decides anew what runs.
    pub(super) fn settle(&mut self, now: Instant) {
        self.now = now;
        let mut next = BTreeMap::new();
        self.choose(Kind::Cluster, &mut next);
        self.choose(Kind::Route, &mut next);
        self.choose(Kind::Listener, &mut next);
        self.choose(Kind::Names, &mut next);
        self.keep_used(Kind::Route, &mut next);
        self.keep_used(Kind::Cluster, &mut next);
        self.complete(&mut next);
        self.forget_times(&next);
        let same =
            |(a, b): ((&ResourceKey, &Item), (&ResourceKey, &Item))| a.0 == b.0 && a.1.is(b.1);
        self.changed |=
            next.len() != self.running.len() || !next.iter().zip(&self.running).all(same);
        self.running = next;
    }

    /// The newest version that can run, of each resource of the kind.
    fn choose(&mut self, kind: Kind, next: &mut BTreeMap<ResourceKey, Item>) {
        let keys: Vec<ResourceKey> =
            self.accepted.keys().filter(|k| k.kind == kind).cloned().collect();
        for key in keys {
            let item = &self.accepted[&key];
            let lacking: Vec<ResourceKey> =
                item.needs.iter().filter(|n| !self.is_there(n, next)).cloned().collect();
            // Every wait starts now, whatever the others say.
            let overdue = lacking.iter().filter(|need| self.is_overdue(need)).count();
            let ready = overdue == lacking.len();
            let chosen = match ready {
                true => self.accepted.get(&key),
                false => self.running.get(&key),
            };
            if let Some(item) = chosen {
                next.insert(key, item.clone());
            }
        }
    }

    /// A reference can be followed: to what runs next, or to what is not chosen but simply there.
    fn is_there(&self, need: &ResourceKey, next: &BTreeMap<ResourceKey, Item>) -> bool {
        match need.kind {
            Kind::Endpoints | Kind::Secret => {
                self.accepted.contains_key(need) || self.absent.contains(need)
            }
            _ => next.contains_key(need) || self.may_keep(need),
        }
    }

    /// It was taken away, but runs still.
    fn may_keep(&self, key: &ResourceKey) -> bool {
        let fresh = self.since.get(key).is_none_or(|t| self.now.since(*t) < self.limit(key));
        fresh && !self.accepted.contains_key(key) && self.running.contains_key(key)
    }

    /// The wait for it is over. Starts the wait.
    fn is_overdue(&mut self, need: &ResourceKey) -> bool {
        let since = *self.since.entry(need.clone()).or_insert(self.now);
        self.now.since(since) >= self.limit(need)
    }

    /// How long it is waited for, or kept while it runs.
    fn limit(&self, key: &ResourceKey) -> Duration {
        match key.kind {
            Kind::Cluster if !self.running.contains_key(key) => self.patience.min(UNASKED),
            _ => self.patience,
        }
    }

    /// What was taken away while something that runs uses it.
    fn keep_used(&mut self, kind: Kind, next: &mut BTreeMap<ResourceKey, Item>) {
        let used: BTreeSet<ResourceKey> = next
            .values()
            .flat_map(|i| i.needs.iter())
            .filter(|k| k.kind == kind)
            .cloned()
            .collect();
        for key in used {
            if next.contains_key(&key) || self.accepted.contains_key(&key) {
                continue;
            }
            if let Some(item) = self.running.get(&key).cloned()
                && !self.is_overdue(&key)
            {
                next.insert(key, item);
            }
        }
    }

    /// Adds the endpoints and secrets that what runs refers to. What is kept keeps its own.
    fn complete(&self, next: &mut BTreeMap<ResourceKey, Item>) {
        let mut found = Vec::new();
        for (user, item) in next.iter() {
            let kept = !self.accepted.contains_key(user);
            for key in
                item.needs.iter().filter(|k| matches!(k.kind, Kind::Endpoints | Kind::Secret))
            {
                let running =
                    || self.running.get(key).filter(|_| kept || !self.absent.contains(key));
                if let Some(item) = self.accepted.get(key).or_else(running) {
                    found.push((key.clone(), item.clone()));
                }
            }
        }
        next.extend(found);
    }

    /// Times of what has come, or is no longer of interest.
    fn forget_times(&mut self, next: &BTreeMap<ResourceKey, Item>) {
        let wanted: HashSet<&ResourceKey> =
            self.accepted.values().chain(next.values()).flat_map(|i| i.needs.iter()).collect();
        let accepted = &self.accepted;
        self.since.retain(|key, _| wanted.contains(key) && !accepted.contains_key(key));
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let ends = self.since.iter().map(|(key, t)| t.after(self.limit(key)));
        ends.filter(|end| *end > self.now).min()
    }

    pub(super) fn is_settled(&self) -> bool {
        self.deadline().is_none()
    }

    pub(super) fn missing(&self) -> Vec<Missing> {
        let mut list: Vec<Missing> = self
            .accepted
            .iter()
            .flat_map(|(user, item)| item.needs.iter().map(move |needs| (user, needs)))
            .filter(|(_, needs)| !self.accepted.contains_key(needs))
            .map(|(user, needs)| Missing { user: user.clone(), needs: needs.clone() })
            .collect();
        list.sort();
        list
    }

    pub(super) fn take_config(&mut self) -> Option<Config> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        let mut config = Config::default();
        for item in self.running.values() {
            match item.resource.clone() {
                Resource::Cluster(r) => config.clusters.push(r),
                Resource::Endpoints(r) => config.endpoints.push(r),
                Resource::Listener(r) => config.listeners.push(r),
                Resource::Route(r) => config.routes.push(r),
                Resource::Secret(r) => config.secrets.push(r),
                Resource::Names(r) => config.names = Some(r),
            }
        }
        Some(config)
    }
}

impl Item {
    fn of(resource: Resource, version: &str, fixed: bool) -> Self {
        let needs = references(&resource).into();
        Self { resource, needs, version: version.into(), fixed }
    }

    /// The very same resource.
    fn is(&self, other: &Item) -> bool {
        match (&self.resource, &other.resource) {
            (Resource::Cluster(a), Resource::Cluster(b)) => Arc::ptr_eq(a, b),
            (Resource::Endpoints(a), Resource::Endpoints(b)) => Arc::ptr_eq(a, b),
            (Resource::Listener(a), Resource::Listener(b)) => Arc::ptr_eq(a, b),
            (Resource::Route(a), Resource::Route(b)) => Arc::ptr_eq(a, b),
            (Resource::Secret(a), Resource::Secret(b)) => Arc::ptr_eq(a, b),
            (Resource::Names(a), Resource::Names(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

fn all(config: &Config) -> impl Iterator<Item = Resource> {
    let clusters = config.clusters.iter().cloned().map(Resource::Cluster);
    let endpoints = config.endpoints.iter().cloned().map(Resource::Endpoints);
    let listeners = config.listeners.iter().cloned().map(Resource::Listener);
    let routes = config.routes.iter().cloned().map(Resource::Route);
    let secrets = config.secrets.iter().cloned().map(Resource::Secret);
    clusters.chain(endpoints).chain(listeners).chain(routes).chain(secrets)
}
