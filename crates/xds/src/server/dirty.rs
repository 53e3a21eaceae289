//! What may have to be told since the last plan: a plan looks at this and nothing else, so that it costs
//! what changed, however much a client holds.

use super::Desired;
use super::request::{Request, Subscription};
use super::watch::{Scope, Watch};
use ir::{Kind, ResourceKey, Str};
use std::collections::HashSet;

#[derive(Debug, Default)]
pub(super) struct Dirty {
    keys: HashSet<ResourceKey>,
}

impl Dirty {
    pub fn keys(&self) -> &HashSet<ResourceKey> {
        &self.keys
    }

    pub fn insert(&mut self, key: ResourceKey) {
        self.keys.insert(key);
    }

    /// Keeps what is not done with.
    pub fn retain(&mut self, is_open: impl Fn(&ResourceKey) -> bool) {
        self.keys.retain(is_open);
    }

    /// All that differs between what was and what is desired.
    pub fn desired(&mut self, old: &Desired, new: &Desired) {
        for key in old.keys_beside(new).chain(new.keys_beside(old)) {
            let version = |d: &Desired| d.get(key).map(|e| e.version);
            if version(old) != version(new) {
                self.keys.insert(key.clone());
            }
        }
    }

    /// What a request answers, and the names that it speaks of.
    pub fn request(&mut self, request: &Request, watch: &Watch, desired: &Desired) {
        let key = |name: &Str| ResourceKey { kind: request.kind, name: name.clone() };
        if request.ack.is_some() {
            self.keys.extend(watch.in_flight().map(key));
        }
        if let Subscription::Delta { subscribe, unsubscribe, holds } = &request.subscription {
            let names = subscribe.iter().chain(unsubscribe).chain(holds.keys());
            self.keys.extend(names.map(key));
            if unsubscribe.iter().chain(subscribe).any(|n| Watch::is_wildcard_name(n)) {
                self.kind(request.kind, watch, desired);
            }
        }
    }

    /// Everything of the kind, if what is asked for has changed as a whole.
    pub fn scope(&mut self, kind: Kind, before: Scope, watch: &Watch, desired: &Desired) {
        if before != watch.scope() {
            self.kind(kind, watch, desired);
        }
    }

    fn kind(&mut self, kind: Kind, watch: &Watch, desired: &Desired) {
        self.keys.extend(desired.of_kind(kind).cloned());
        let known = watch.told().map(|(name, _)| name).chain(watch.names());
        self.keys.extend(known.map(|name| ResourceKey { kind, name: name.clone() }));
    }
}
