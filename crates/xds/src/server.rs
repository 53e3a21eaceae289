//! The server's side of one discovery stream, without its I/O: what the client asks for, what it
//! holds, and what it is told next. The same for both dialects; [`Request`] and [`Push`] translate.
//!
//! What goes out is decided by [`PushPlan`]: first what is new, then what uses it, then what nobody
//! uses any more, each step once the one before is acknowledged.

mod desired;
mod dirty;
mod encoder;
mod layer;
mod needs;
mod plan;
mod request;
mod watch;

pub use desired::Desired;
pub use encoder::Encoder;
pub use layer::Layer;
pub use needs::Needs;
pub use plan::PushPlan;
pub use request::{Ack, Push, Request, Subscription};

use crate::codec::{self, Refusal};
use bytes::Bytes;
use dirty::Dirty;
use ir::{Kind, Resource, ResourceKey, Str};
use plan::View;
use std::collections::HashMap;
use std::sync::Arc;
use watch::Watch;

/// One resource as it goes over the wire; shared by all clients that use it.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoded {
    /// A hash of the bytes.
    pub version: u64,
    pub bytes: Bytes,
    /// What it refers to.
    pub needs: Needs,
}

impl Encoded {
    pub fn of(resource: &Resource) -> Self {
        Encoder::default().encode(resource)
    }

    /// Of bytes that others wrote, and what our own proxy would refuse in them. What it could not read
    /// keeps the references of the resource that it was made from.
    pub fn of_bytes(kind: Kind, bytes: Bytes, made_from: &Needs) -> (Self, Option<Refusal>) {
        match codec::decode(&codec::type_url_of(kind), &bytes) {
            Ok((resource, _)) => {
                (Self::with(bytes, crate::references::references(&resource).into()), None)
            }
            Err(refusal) => (Self::with(bytes, made_from.clone()), Some(refusal)),
        }
    }

    pub(crate) fn with(bytes: Bytes, needs: Needs) -> Self {
        Self { version: encoder::hash(&bytes), bytes, needs }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Each response of clusters and listeners holds all of them.
    StateOfTheWorld,
    Delta,
}

/// What a request said about what was sent before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Acked(Kind),
    /// The client keeps what it had, for this reason.
    Nacked(Kind, String),
    /// An answer to a push that a newer one has overtaken.
    Stale(Kind),
}

/// How far a client is with one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    pub watched: bool,
    pub sent_nonce: String,
    pub acked_nonce: String,
    /// The last refusal, until something of this kind is accepted.
    pub error: Option<String>,
    /// Resources that the client refused in the version it should have.
    pub refused: Vec<Str>,
}

/// One stream.
#[derive(Debug)]
pub struct Session {
    dialect: Dialect,
    desired: Arc<Desired>,
    watches: HashMap<Kind, Watch>,
    /// What has to be looked at when the next plan is made.
    dirty: Dirty,
    next_nonce: u64,
    /// As it stands; absent after anything that could change it.
    plan: Option<PushPlan>,
}

impl Session {
    pub fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            desired: Arc::default(),
            watches: HashMap::new(),
            dirty: Dirty::default(),
            next_nonce: 1,
            plan: None,
        }
    }

    /// Replaces what the client is to hold.
    pub fn set_desired(&mut self, desired: Arc<Desired>) {
        if Arc::ptr_eq(&self.desired, &desired) {
            return;
        }
        self.dirty.desired(&self.desired, &desired);
        self.desired = desired;
        for (kind, watch) in &mut self.watches {
            watch.recognize(*kind, &self.desired);
        }
        self.plan = None;
    }

    pub fn receive(&mut self, request: Request) -> Option<Event> {
        self.plan = None;
        let kind = request.kind;
        let watch = self.watches.entry(kind).or_default();
        self.dirty.request(&request, watch, &self.desired);
        let event = request.ack.as_ref().and_then(|ack| watch.answered(kind, ack));
        let overtaken = matches!(event, Some(Event::Stale(_)));
        // Old answers of the state-of-the-world dialect carry old subscriptions, too.
        if !(overtaken && self.dialect == Dialect::StateOfTheWorld) {
            let before = watch.scope();
            watch.subscribe(kind, request.subscription, &self.desired);
            self.dirty.scope(kind, before, watch, &self.desired);
        }
        event
    }

    /// The next push, if one may go out now. Call until `None` after every change and request.
    pub fn poll(&mut self) -> Option<Push> {
        self.make_plan();
        Kind::ALL.into_iter().find_map(|kind| self.push(kind))
    }

    fn make_plan(&mut self) -> &PushPlan {
        let view = View { desired: &self.desired, watches: &self.watches };
        let dirty = &mut self.dirty;
        self.plan.get_or_insert_with(|| {
            let plan = PushPlan::of(&view, dirty.keys());
            #[cfg(test)]
            assert_eq!(plan, PushPlan::of(&view, &view.all()), "nothing else has to be looked at");
            dirty.retain(|key| view.is_open(key));
            plan
        })
    }

    fn push(&mut self, kind: Kind) -> Option<Push> {
        let plan = self.plan.as_mut()?;
        let watch = self.watches.get_mut(&kind)?;
        if watch.is_waiting() {
            return None;
        }
        let set = watch.in_turn(plan.sets(kind));
        let removed = plan.removals(kind);
        // An empty answer would say that there is nothing, while something waits for its clusters.
        let must_answer = watch.must_answer() && !plan.holds_back(kind);
        if set.is_empty() && removed.is_empty() && !must_answer {
            return None;
        }
        let nonce = self.next_nonce.to_string();
        self.next_nonce += 1;
        let push = watch.send(kind, self.dialect, &nonce, &set, removed, &self.desired);
        plan.sent(kind, &push);
        if kind == Kind::Cluster && !set.is_empty() {
            self.renew_endpoints(&set);
            self.plan = None;
            self.make_plan();
        }
        Some(push)
    }

    /// A cluster that is replaced starts without endpoints, so they are sent again behind it.
    fn renew_endpoints(&mut self, clusters: &[Str]) {
        let Some(endpoints) = self.watches.get_mut(&Kind::Endpoints) else { return };
        for name in clusters {
            let key = ResourceKey { kind: Kind::Cluster, name: name.clone() };
            let Some(cluster) = self.desired.get(&key) else { continue };
            for need in cluster.needs.iter().filter(|k| k.kind == Kind::Endpoints) {
                self.dirty.insert(need.clone());
                endpoints.forget(&need.name);
            }
        }
    }

    /// All that is asked for by name, in the order of kinds and names.
    pub fn names(&self) -> impl Iterator<Item = ResourceKey> {
        let watches = Kind::ALL.into_iter().filter_map(|k| Some((k, self.watches.get(&k)?)));
        let key = |kind, name: &Str| ResourceKey { kind, name: name.clone() };
        watches.flat_map(move |(kind, watch)| watch.names().map(move |name| key(kind, name)))
    }

    pub fn status(&self, kind: Kind) -> Status {
        self.watches.get(&kind).map(|w| w.status(kind, &self.desired)).unwrap_or_default()
    }

    /// The client holds all that it should and asked for, and has said so.
    pub fn is_synced(&mut self) -> bool {
        self.make_plan().is_empty()
            && self.watches.values().all(|w| !w.is_waiting() && !w.must_answer())
    }
}

#[cfg(test)]
mod tests;
