//! A model client that accepts, refuses, dawdles and reconnects at random, under a configuration that
//! changes at random: it never runs a route or listener whose cluster it lacks, and in the end holds
//! exactly what it should.

use super::{encoded, key};
use crate::server::*;
use base::{Env, FixedEnv};
use std::collections::{BTreeMap, BTreeSet};

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// A closed configuration: routes and listeners use clusters that are there.
fn random_world(env: &FixedEnv) -> Arc<Desired> {
    let mut desired = Desired::new();
    let clusters: Vec<&str> = NAMES.iter().copied().filter(|_| env.below(2) == 0).collect();
    for name in &clusters {
        let endpoints = key(Kind::Endpoints, name);
        desired.insert(
            key(Kind::Cluster, name),
            encoded(env.below(3), std::slice::from_ref(&endpoints)),
        );
        desired.insert(endpoints, encoded(env.below(3), &[]));
    }
    let some = |env: &FixedEnv| -> Vec<ResourceKey> {
        let used = clusters.iter().filter(|_| env.below(2) == 0);
        used.map(|n| key(Kind::Cluster, n)).collect()
    };
    for name in ["r", "s"] {
        if env.below(3) > 0 {
            let needs = some(env);
            desired.insert(key(Kind::Route, name), encoded(hash(&needs), &needs));
            if env.below(3) > 0 {
                let needs = [key(Kind::Route, name)];
                desired.insert(key(Kind::Listener, name), encoded(hash(&needs), &needs));
            }
        }
    }
    if env.below(2) == 0 {
        let needs = some(env);
        desired.insert(key(Kind::Listener, "tcp"), encoded(hash(&needs), &needs));
    }
    Arc::new(desired)
}

/// Equal versions are equal needs, as a hash of the content gives it.
fn hash(needs: &[ResourceKey]) -> u64 {
    needs.iter().flat_map(|k| k.name.bytes()).fold(7, |h, b| h * 31 + u64::from(b))
}

#[derive(Default)]
struct Client {
    held: BTreeMap<ResourceKey, Encoded>,
    subscribed: BTreeSet<ResourceKey>,
    inbox: Vec<Push>,
}

impl Client {
    /// Takes a push, or refuses it; returns what it says.
    fn take(&mut self, push: Push, refuse: bool) -> Request {
        if !refuse {
            for (name, encoded) in &push.resources {
                let key = ResourceKey { kind: push.kind, name: name.clone() };
                // What it no longer asked for came too late.
                if matches!(push.kind, Kind::Cluster | Kind::Listener)
                    || self.subscribed.contains(&key)
                {
                    self.held.insert(key, encoded.clone());
                }
            }
        }
        for name in &push.removed {
            self.held.remove(&ResourceKey { kind: push.kind, name: name.clone() });
        }
        let error = refuse.then(|| "refused".to_owned());
        request(push.kind, Some(Ack { nonce: push.nonce, error }), vec![], vec![], HashMap::new())
    }

    /// Endpoints of the clusters and routes of the listeners that it holds.
    fn wants(&self) -> BTreeSet<ResourceKey> {
        let needs = self.held.values().flat_map(|e| e.needs.iter());
        needs.filter(|k| matches!(k.kind, Kind::Endpoints | Kind::Route)).cloned().collect()
    }

    fn update_subscriptions(&mut self, session: &mut Session) {
        let wants = self.wants();
        for kind in [Kind::Endpoints, Kind::Route] {
            let names = |keys: Vec<&ResourceKey>| -> Vec<Str> {
                keys.into_iter().filter(|k| k.kind == kind).map(|k| k.name.clone()).collect()
            };
            let new = names(wants.difference(&self.subscribed).collect());
            let old = names(self.subscribed.difference(&wants).collect());
            for name in &old {
                self.held.remove(&ResourceKey { kind, name: name.clone() });
            }
            if !new.is_empty() || !old.is_empty() {
                session.receive(request(kind, None, new, old, HashMap::new()));
            }
        }
        self.subscribed = wants;
    }

    fn connect(&mut self, session: &mut Session) {
        self.inbox.clear();
        self.subscribed = self.wants();
        let wanted = &self.subscribed;
        self.held
            .retain(|k, _| !matches!(k.kind, Kind::Endpoints | Kind::Route) || wanted.contains(k));
        for kind in [Kind::Cluster, Kind::Endpoints, Kind::Listener, Kind::Route] {
            let holds: HashMap<_, _> = self
                .held
                .iter()
                .filter(|(k, _)| k.kind == kind)
                .map(|(k, e)| (k.name.clone(), request::version_text(e.version)))
                .collect();
            let names = self.subscribed.iter().filter(|k| k.kind == kind).map(|k| k.name.clone());
            session.receive(request(kind, None, names.collect(), vec![], holds));
        }
    }

    fn assert_whole(&self, seed: u64, step: u32) {
        for (user, encoded) in &self.held {
            // Only what carries traffic counts: a route that no listener uses does not.
            let idle = user.kind == Kind::Route && !self.subscribed.contains(user);
            for need in encoded.needs.iter().filter(|k| k.kind == Kind::Cluster) {
                assert!(
                    idle || self.held.contains_key(need),
                    "seed {seed}, step {step}: {user:?} uses {need:?}, which the client lacks"
                );
            }
        }
    }
}

fn request(
    kind: Kind,
    ack: Option<Ack>,
    subscribe: Vec<Str>,
    unsubscribe: Vec<Str>,
    holds: HashMap<Str, String>,
) -> Request {
    Request { kind, ack, subscription: Subscription::Delta { subscribe, unsubscribe, holds } }
}

fn run(seed: u64) {
    let env = FixedEnv::seeded(seed);
    let mut desired = random_world(&env);
    let mut session = Session::new(Dialect::Delta);
    session.set_desired(desired.clone());
    let mut client = Client::default();
    client.connect(&mut session);
    for step in 0..200 {
        match env.below(10) {
            0 => {
                desired = random_world(&env);
                session.set_desired(desired.clone());
            }
            1 if step % 7 == 0 => {
                session = Session::new(Dialect::Delta);
                session.set_desired(desired.clone());
                client.connect(&mut session);
            }
            2..5 => client.inbox.extend(session.poll()),
            5 => client.update_subscriptions(&mut session),
            _ if !client.inbox.is_empty() => {
                let i = env.below(client.inbox.len() as u64) as usize;
                let push = client.inbox.remove(i);
                let refuse = env.below(8) == 0 && push.removed.is_empty();
                session.receive(client.take(push, refuse));
            }
            _ => {}
        }
        client.assert_whole(seed, step);
    }
    converge(seed, &mut session, &mut client, &desired);
}

/// From now on everything is accepted. A stream of its own, so that old refusals are forgotten.
fn converge(seed: u64, session: &mut Session, client: &mut Client, desired: &Arc<Desired>) {
    *session = Session::new(Dialect::Delta);
    session.set_desired(desired.clone());
    client.connect(session);
    for round in 0..100 {
        client.update_subscriptions(session);
        while let Some(push) = session.poll() {
            session.receive(client.take(push, false));
            client.assert_whole(seed, 1000 + round);
        }
    }
    assert!(session.is_synced(), "seed {seed}");
    let wants = client.wants();
    for (key, encoded) in desired.iter() {
        let wanted = matches!(key.kind, Kind::Cluster | Kind::Listener) || wants.contains(key);
        let held = client.held.get(key).map(|e| e.version);
        assert_eq!(held, wanted.then_some(encoded.version), "seed {seed}: {key:?}");
    }
    for key in client.held.keys() {
        assert!(desired.contains_key(key), "seed {seed}: {key:?} is left over");
    }
}

#[test]
fn a_client_is_never_left_without_what_it_uses_and_converges() {
    for seed in 0..600 {
        run(seed);
    }
}
