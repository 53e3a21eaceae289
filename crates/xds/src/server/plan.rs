//! The push plan: what may be told now, so that no request fails that both the old and the new
//! configuration could serve. It is computed anew from what the client holds, so a change in the
//! middle of another, a refusal or a reconnect need no special case.
//!
//! - add: clusters, endpoints and secrets, at once.
//! - switch: a listener or route, once the client has every cluster that it uses; names, once all of
//!   these have been told.
//! - remove: a cluster, its endpoints or a route, once nothing that the client may be running uses it;
//!   a secret that is named and not there, at once.

use super::watch::{Told, Watch};
use super::{Desired, Encoded, Push};
use ir::{Kind, ResourceKey, Str};
use std::collections::{HashMap, HashSet};

/// What may go out now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PushPlan {
    pub add: Vec<ResourceKey>,
    pub switch: Vec<ResourceKey>,
    pub remove: Vec<ResourceKey>,
    /// Wait for what they use to be accepted.
    pub held_back: Vec<ResourceKey>,
}

/// What there should be, and what there is.
pub(super) struct View<'a> {
    pub desired: &'a Desired,
    pub watches: &'a HashMap<Kind, Watch>,
}

impl PushPlan {
    /// `keys`: those of which anything may have changed.
    pub(super) fn of(view: &View, keys: &HashSet<ResourceKey>) -> Self {
        let (mut plan, mut names) = (Self::default(), Vec::new());
        let settled = view.is_settled(keys);
        for (key, encoded) in keys.iter().filter_map(|k| Some((k, view.desired.get(k)?))) {
            let Some(watch) = view.watches.get(&key.kind) else { continue };
            if !watch.wants(&key.name) || !watch.lacks(&key.name, encoded.version) {
                continue;
            }
            #[cfg(test)]
            assert!(!settled || view.may_use(encoded), "it need not be looked for: {key:?}");
            match key.kind {
                Kind::Cluster | Kind::Endpoints | Kind::Secret => plan.add.push(key.clone()),
                Kind::Listener | Kind::Route if settled || view.may_use(encoded) => {
                    plan.switch.push(key.clone())
                }
                Kind::Listener | Kind::Route => plan.held_back.push(key.clone()),
                Kind::Names => names.push(key.clone()),
            }
        }
        // A name leads to an address, which something must listen to.
        let under_way = view.watches.values().any(Watch::is_waiting);
        match plan.is_empty() && !under_way {
            true => plan.switch = names,
            false => plan.held_back.extend(names),
        }
        plan.remove = view.removable(keys);
        for list in [&mut plan.add, &mut plan.switch, &mut plan.remove, &mut plan.held_back] {
            list.sort();
        }
        plan
    }

    pub fn is_empty(&self) -> bool {
        self.add.is_empty() && self.switch.is_empty() && self.remove.is_empty()
    }

    pub(super) fn holds_back(&self, kind: Kind) -> bool {
        self.held_back.iter().any(|k| k.kind == kind)
    }

    /// Takes out what a push of this kind said.
    pub(super) fn sent(&mut self, kind: Kind, push: &Push) {
        let set: HashSet<&Str> = push.resources.iter().map(|(name, _)| name).collect();
        for list in [&mut self.add, &mut self.switch] {
            list.retain(|k| k.kind != kind || !set.contains(&k.name));
        }
        self.remove.retain(|k| k.kind != kind);
    }

    /// Names of this kind to set.
    pub(super) fn sets(&self, kind: Kind) -> Vec<Str> {
        names(kind, self.add.iter().chain(&self.switch))
    }

    pub(super) fn removals(&self, kind: Kind) -> Vec<Str> {
        names(kind, self.remove.iter())
    }
}

fn names<'a>(kind: Kind, keys: impl Iterator<Item = &'a ResourceKey>) -> Vec<Str> {
    keys.filter(|k| k.kind == kind).map(|k| k.name.clone()).collect()
}

impl View<'_> {
    /// The client has accepted all clusters and endpoints that it is to hold, so nothing that is to be
    /// used has to be looked for. `keys`: those of which anything may have changed.
    fn is_settled(&self, keys: &HashSet<ResourceKey>) -> bool {
        let lower = [Kind::Cluster, Kind::Endpoints];
        let mut watches = lower.iter().filter_map(|kind| self.watches.get(kind));
        let open = |k: &ResourceKey| lower.contains(&k.kind) && self.is_open(k);
        watches.all(|w| !w.is_waiting() && !w.has_refused()) && !keys.iter().any(open)
    }

    /// The client has accepted every cluster that this uses. A client that asks for clusters by name
    /// asks because of its routes, so it is not kept waiting; neither does a route wait for a cluster
    /// that there is not.
    fn may_use(&self, encoded: &Encoded) -> bool {
        let Some(clusters) = self.watches.get(&Kind::Cluster).filter(|w| w.is_wildcard()) else {
            return true;
        };
        let wanted =
            |key: &&ResourceKey| key.kind == Kind::Cluster && self.desired.contains_key(key);
        encoded.needs.iter().filter(wanted).all(|key| {
            let accepted = clusters.told_of(&key.name).is_some_and(Told::is_usable);
            accepted && self.has_endpoints(key)
        })
    }

    /// The endpoints that the client asked for because of this cluster have arrived.
    fn has_endpoints(&self, cluster: &ResourceKey) -> bool {
        let Some(watch) = self.watches.get(&Kind::Endpoints) else { return true };
        let Some(encoded) = self.desired.get(cluster) else { return true };
        encoded.needs.iter().filter(|k| k.kind == Kind::Endpoints && watch.wants(&k.name)).all(
            |k| {
                let absent = !self.desired.contains_key(k);
                absent
                    || watch
                        .told_of(&k.name)
                        .is_some_and(|t| t.held.is_some() || t.refused.is_some())
            },
        )
    }

    /// Names that the client holds, or asked for, and that there are not (any more).
    fn removable(&self, keys: &HashSet<ResourceKey>) -> Vec<ResourceKey> {
        let gone: Vec<&ResourceKey> = keys.iter().filter(|k| self.is_gone(k)).collect();
        if gone.is_empty() {
            return Vec::new();
        }
        let users = self.users();
        let may_go = |k: &&ResourceKey| users.allow_removal_of(k) || self.is_withdrawn(k);
        gone.into_iter().filter(may_go).cloned().collect()
    }

    fn is_gone(&self, key: &ResourceKey) -> bool {
        let Some(watch) = self.watches.get(&key.kind) else { return false };
        let held = || watch.told_of(&key.name).is_some_and(|t| t.possible().next().is_some());
        let absent = || watch.has_name(&key.name) && watch.lacks_absence(&key.name);
        !self.desired.contains_key(key) && (held() || absent())
    }

    /// Whether something is still to be said about it.
    pub fn is_open(&self, key: &ResourceKey) -> bool {
        let Some(watch) = self.watches.get(&key.kind) else { return false };
        match self.desired.get(key) {
            Some(e) => watch.wants(&key.name) && watch.lacks(&key.name, e.version),
            None => self.is_gone(key),
        }
    }

    /// All that there is.
    #[cfg(test)]
    pub fn all(&self) -> HashSet<ResourceKey> {
        let known = self.watches.iter().flat_map(|(kind, watch)| {
            let names = watch.told().map(|(name, _)| name).chain(watch.names());
            names.map(|name| ResourceKey { kind: *kind, name: name.clone() })
        });
        known.chain(self.desired.keys().cloned()).collect()
    }

    /// A secret that there is not, though what the client is to hold names it: who may not have it
    /// (any more) is told so at once, and who waits for it waits no longer.
    fn is_withdrawn(&self, key: &ResourceKey) -> bool {
        key.kind == Kind::Secret && self.desired.iter().any(|(_, e)| e.needs.contains(key))
    }

    /// All that the client may be running refers to.
    fn users(&self) -> Users {
        let mut users = Users::default();
        for (kind, watch) in self.watches {
            for (_, told) in watch.told() {
                users.note(*kind, told);
            }
        }
        // A client that resumes may run listeners and routes of which it has not spoken yet.
        let resumed = self.watches.get(&Kind::Cluster).is_some_and(|w| w.resumed);
        if resumed {
            users.unknown_listeners |= !self.watches.contains_key(&Kind::Listener);
            let unspoken = |k: &ResourceKey| {
                let told = self.watches.get(&Kind::Route).and_then(|w| w.told_of(&k.name));
                self.desired.contains_key(k) && told.is_none_or(|t| t.held.is_none())
            };
            users.unknown_routes |= users.used.iter().any(|k| k.kind == Kind::Route && unspoken(k));
        }
        users
    }
}

#[derive(Default)]
struct Users {
    used: HashSet<ResourceKey>,
    unknown_listeners: bool,
    unknown_routes: bool,
    unknown_clusters: bool,
}

impl Users {
    fn note(&mut self, kind: Kind, told: &Told) {
        for held in told.possible() {
            match (&held.needs, kind) {
                (Some(needs), _) => self.used.extend(needs.iter().cloned()),
                (None, Kind::Listener) => self.unknown_listeners = true,
                (None, Kind::Route) => self.unknown_routes = true,
                (None, Kind::Cluster) => self.unknown_clusters = true,
                (None, Kind::Endpoints | Kind::Secret | Kind::Names) => {}
            }
        }
    }

    fn allow_removal_of(&self, key: &ResourceKey) -> bool {
        let unknown = match key.kind {
            Kind::Cluster => self.unknown_listeners || self.unknown_routes,
            Kind::Route => self.unknown_listeners,
            Kind::Endpoints => self.unknown_clusters,
            Kind::Secret => self.unknown_clusters || self.unknown_listeners,
            Kind::Listener | Kind::Names => false,
        };
        !unknown && !self.used.contains(key)
    }
}
