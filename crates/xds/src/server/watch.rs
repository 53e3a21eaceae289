//! What one client asked for and holds of one kind.

use super::request::{Ack, Push, Subscription, version_of};
use super::{Desired, Dialect, Encoded, Event, Needs, Status};
use ir::{Kind, ResourceKey, Str};
use std::collections::{BTreeSet, HashMap, HashSet};

/// Names beyond these are not heard: no proxy needs as many.
const MAX_NAMES: usize = 100_000;

/// The name that asks for everything.
const WILDCARD: &str = "*";

#[derive(Debug, Default)]
pub(super) struct Watch {
    wildcard: bool,
    /// Each request says all names, not what is new among them.
    by_whole: bool,
    names: BTreeSet<Str>,
    told: HashMap<Str, Told>,
    /// Those of which a version was refused, at least.
    refused: BTreeSet<Str>,
    /// Those that are held since an earlier stream, and not yet known by what they are.
    strangers: HashSet<Str>,
    in_flight: Option<InFlight>,
    /// Parts of a push that was refused, to be sent apart so that the bad resource is found and the
    /// good ones arrive.
    parts: Vec<Vec<Str>>,
    /// A request stands that wants a response even if it is empty.
    must_answer: bool,
    /// The client came back with what an earlier stream told it.
    pub resumed: bool,
    sent_nonce: String,
    acked_nonce: String,
    error: Option<String>,
}

#[derive(Debug)]
struct InFlight {
    nonce: String,
    /// What the push set, or took away.
    changes: Vec<(Str, Option<Encoded>)>,
}

/// What the client knows of one name. There are as many as it holds resources, and few are under way.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Accepted; or held since an earlier stream.
    pub held: Option<Held>,
    /// Sent and not yet answered.
    pub pending: Option<Box<Held>>,
    /// Sent and refused together with others, of which it may have applied some.
    maybe: Option<Box<Held>>,
    /// The version that it refused.
    pub refused: Option<u64>,
    /// It was told that there is no such resource.
    absent: bool,
    /// What it holds must be sent again.
    renew: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Held {
    pub version: u64,
    /// `None` for what an earlier stream told.
    body: Option<Encoded>,
    /// `None` where it is not known.
    pub needs: Option<Needs>,
}

impl Told {
    /// All that the client may be running, whichever way its answer turns out.
    pub fn possible(&self) -> impl Iterator<Item = &Held> {
        self.held.iter().chain(self.pending.as_deref()).chain(self.maybe.as_deref())
    }

    /// The client accepted some version, and was not told since that it is gone.
    pub fn is_usable(&self) -> bool {
        self.held.is_some() && !self.absent
    }

    fn latest(&self) -> Option<u64> {
        self.pending.as_deref().or(self.held.as_ref()).map(|h| h.version)
    }
}

fn has_wildcard(kind: Kind) -> bool {
    matches!(kind, Kind::Cluster | Kind::Listener | Kind::Names)
}

/// What is asked for as a whole: everything or not, and how many names, which only a client of the
/// state of the world replaces at once.
pub(super) type Scope = (bool, Option<BTreeSet<Str>>);

impl Watch {
    pub fn is_wildcard_name(name: &str) -> bool {
        name == WILDCARD
    }

    pub fn scope(&self) -> Scope {
        (self.wildcard, self.by_whole.then(|| self.names.clone()))
    }

    /// The names of the push that waits for its answer.
    pub fn in_flight(&self) -> impl Iterator<Item = &Str> {
        self.in_flight.iter().flat_map(|f| &f.changes).map(|(name, _)| name)
    }

    pub fn is_waiting(&self) -> bool {
        self.in_flight.is_some()
    }

    /// Perhaps; never false where a version is refused.
    pub fn has_refused(&self) -> bool {
        !self.refused.is_empty()
    }

    pub fn must_answer(&self) -> bool {
        self.must_answer
    }

    pub fn is_wildcard(&self) -> bool {
        self.wildcard
    }

    pub fn wants(&self, name: &str) -> bool {
        self.wildcard || self.names.contains(name)
    }

    pub fn has_name(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    pub fn names(&self) -> impl Iterator<Item = &Str> {
        self.names.iter()
    }

    pub fn told(&self) -> impl Iterator<Item = (&Str, &Told)> {
        self.told.iter()
    }

    pub fn told_of(&self, name: &str) -> Option<&Told> {
        self.told.get(name)
    }

    /// The client lacks this version, and has not refused it.
    pub fn lacks(&self, name: &str, version: u64) -> bool {
        match self.told.get(name) {
            None => true,
            Some(t) if t.refused == Some(version) => false,
            Some(t) => t.absent || t.renew || t.latest() != Some(version),
        }
    }

    /// The client asked for a name that there is not, and has not been told so.
    pub fn lacks_absence(&self, name: &str) -> bool {
        self.told.get(name).is_none_or(|t| !t.absent)
    }

    /// Sent again on the next occasion.
    pub fn forget(&mut self, name: &str) {
        if let Some(told) = self.told.get_mut(name) {
            told.renew = true;
        }
    }

    /// `None` where the request only says what it subscribes to, under the nonce it answered before.
    pub fn answered(&mut self, kind: Kind, ack: &Ack) -> Option<Event> {
        match self.in_flight.take() {
            Some(sent) if sent.nonce == ack.nonce => self.settle(sent.changes, ack.error.is_none()),
            other => {
                let repeated = other.is_none() && ack.nonce == self.sent_nonce;
                self.in_flight = other;
                return (!repeated).then_some(Event::Stale(kind));
            }
        }
        self.error.clone_from(&ack.error);
        Some(match &ack.error {
            Some(error) => Event::Nacked(kind, error.clone()),
            None => {
                self.acked_nonce.clone_from(&ack.nonce);
                Event::Acked(kind)
            }
        })
    }

    fn settle(&mut self, changes: Vec<(Str, Option<Encoded>)>, accepted: bool) {
        let set: Vec<Str> =
            changes.iter().filter(|(_, c)| c.is_some()).map(|(n, _)| n.clone()).collect();
        let found = set.len() <= 1;
        if !accepted && !found {
            let (first, second) = set.split_at(set.len() / 2);
            self.parts.extend([second.to_vec(), first.to_vec()]);
        }
        for (name, change) in changes {
            let Some(told) = self.told.get_mut(&name) else { continue };
            let pending = told.pending.take();
            match change {
                Some(_) if accepted => {
                    told.held = pending.map(|held| *held).or(told.held.take());
                    (told.refused, told.maybe) = (None, None);
                    self.refused.remove(&name);
                }
                Some(encoded) => {
                    told.maybe = pending;
                    told.refused = found.then_some(encoded.version);
                    if found {
                        self.refused.insert(name);
                    }
                }
                // A client cannot refuse to lose something.
                None => {
                    (told.held, told.maybe) = (None, None);
                    if !self.names.contains(&name) {
                        self.told.remove(&name);
                    }
                }
            }
        }
    }

    /// Of the names to set, those of the part whose turn it is.
    pub fn in_turn(&mut self, set: Vec<Str>) -> Vec<Str> {
        while let Some(part) = self.parts.pop() {
            let now: Vec<Str> = set.iter().filter(|n| part.contains(n)).cloned().collect();
            if !now.is_empty() {
                return now;
            }
        }
        set
    }

    pub fn subscribe(&mut self, kind: Kind, subscription: Subscription, desired: &Desired) {
        match subscription {
            Subscription::Whole(names) => self.subscribe_whole(kind, names),
            Subscription::Delta { subscribe, unsubscribe, holds } => {
                self.subscribe_delta(kind, subscribe, unsubscribe, holds, desired);
            }
        }
    }

    fn subscribe_whole(&mut self, kind: Kind, names: Vec<Str>) {
        self.by_whole = true;
        let first = self.sent_nonce.is_empty() && self.names.is_empty() && !self.wildcard;
        let wildcard = has_wildcard(kind)
            && (names.is_empty() && (first || self.wildcard)
                || names.iter().any(|n| &**n == WILDCARD));
        let names: BTreeSet<Str> =
            names.into_iter().filter(|n| &**n != WILDCARD).take(MAX_NAMES).collect();
        if first || wildcard != self.wildcard || !names.is_subset(&self.names) {
            self.must_answer = has_wildcard(kind);
        }
        self.told.retain(|n, _| wildcard || names.contains(n));
        (self.wildcard, self.names) = (wildcard, names);
    }

    fn subscribe_delta(
        &mut self,
        kind: Kind,
        subscribe: Vec<Str>,
        unsubscribe: Vec<Str>,
        holds: HashMap<Str, String>,
        desired: &Desired,
    ) {
        let first = self.sent_nonce.is_empty() && self.names.is_empty() && !self.wildcard;
        self.resumed |= !holds.is_empty();
        for (name, version) in holds {
            // However many requests say it.
            if self.told.len() < MAX_NAMES || self.told.contains_key(&name) {
                self.resume(kind, name, &version, desired);
            }
        }
        if first && has_wildcard(kind) {
            self.wildcard = subscribe.is_empty() || subscribe.iter().any(|n| &**n == WILDCARD);
            self.must_answer = true;
        }
        for name in unsubscribe {
            self.wildcard &= &*name != WILDCARD;
            self.names.remove(&name);
            if !self.wildcard {
                self.told.remove(&name);
            }
        }
        for name in subscribe {
            if &*name == WILDCARD {
                self.wildcard = true;
                continue;
            }
            if self.names.len() >= MAX_NAMES {
                break;
            }
            // Asking again is a wish to be told again, but not for what it says it holds.
            if !self.names.insert(name.clone()) {
                self.forget(&name);
            }
        }
    }

    /// Takes a client's word for what it holds.
    fn resume(&mut self, kind: Kind, name: Str, version: &str, desired: &Desired) {
        let Some(version) = version_of(version) else { return };
        let key = ResourceKey { kind, name: name.clone() };
        let body = desired.get(&key).filter(|e| e.version == version).cloned();
        let needs = body.as_ref().map(|e| e.needs.clone());
        if body.is_none() {
            self.strangers.insert(name.clone());
        }
        self.told.entry(name).or_default().held = Some(Held { version, body, needs });
    }

    /// Learns what a client holds since an earlier stream, where it is what it should hold now.
    pub fn recognize(&mut self, kind: Kind, desired: &Desired) {
        let told = &mut self.told;
        self.strangers.retain(|name| {
            let held = told.get_mut(name).and_then(|t| t.held.as_mut());
            let Some(held) = held.filter(|h| h.body.is_none()) else { return false };
            let key = ResourceKey { kind, name: name.clone() };
            let Some(e) = desired.get(&key).filter(|e| e.version == held.version) else {
                return true;
            };
            (held.needs, held.body) = (Some(e.needs.clone()), Some(e.clone()));
            false
        });
    }

    /// Puts a push together and remembers it until it is answered.
    pub fn send(
        &mut self,
        kind: Kind,
        dialect: Dialect,
        nonce: &str,
        set: &[Str],
        removed: Vec<Str>,
        desired: &Desired,
    ) -> Push {
        let mut changes = Vec::with_capacity(set.len() + removed.len());
        for name in set {
            let Some(encoded) = desired.get(&ResourceKey { kind, name: name.clone() }) else {
                continue;
            };
            let told = self.told.entry(name.clone()).or_default();
            let needs = Some(encoded.needs.clone());
            let (version, body) = (encoded.version, Some(encoded.clone()));
            told.pending = Some(Box::new(Held { version, body, needs }));
            (told.absent, told.renew) = (false, false);
            changes.push((name.clone(), Some(encoded.clone())));
        }
        for name in &removed {
            let told = self.told.entry(name.clone()).or_default();
            (told.pending, told.absent, told.refused) = (None, true, None);
            self.refused.remove(name);
            changes.push((name.clone(), None));
        }
        let resources = match dialect {
            Dialect::StateOfTheWorld if has_wildcard(kind) => self.everything(&removed),
            _ => changes.iter().filter_map(|(n, e)| Some((n.clone(), e.clone()?))).collect(),
        };
        self.must_answer = false;
        nonce.clone_into(&mut self.sent_nonce);
        self.in_flight = Some(InFlight { nonce: nonce.to_owned(), changes });
        Push { kind, nonce: nonce.to_owned(), resources, removed }
    }

    /// All that the client is to hold after this push, since what is absent is removed.
    fn everything(&self, removed: &[Str]) -> Vec<(Str, Encoded)> {
        let body = |t: &Told| t.pending.as_deref().or(t.held.as_ref()).and_then(|h| h.body.clone());
        let mut all: Vec<_> = self
            .told
            .iter()
            .filter(|(n, _)| !removed.contains(n))
            .filter_map(|(n, t)| Some((n.clone(), body(t)?)))
            .collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    pub fn status(&self, kind: Kind, desired: &Desired) -> Status {
        let is_refused = |name: &&Str| {
            let key = ResourceKey { kind, name: Str::clone(name) };
            let version = desired.get(&key).map(|e| e.version);
            let refused = self.told.get(*name).and_then(|told| told.refused);
            refused.is_some() && refused == version
        };
        let refused = self.refused.iter().filter(is_refused).cloned().collect();
        Status {
            watched: true,
            sent_nonce: self.sent_nonce.clone(),
            acked_nonce: self.acked_nonce.clone(),
            error: self.error.clone(),
            refused,
        }
    }
}
