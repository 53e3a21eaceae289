//! Our server and our client on a stream that delays and breaks at random, under a configuration that
//! changes at random: every configuration that the client runs is whole, and the last is the right one.

use super::{PATIENCE, cluster, endpoints, listener, route};
use crate::client::{Assembler, Outgoing, Session};
use crate::server::{self, Desired, Dialect, Encoded, Push, Request};
use base::{Env, FixedEnv, Instant};
use ir::{Config, Kind, Resource};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

fn random_world(env: &FixedEnv) -> Vec<Resource> {
    let mut world = Vec::new();
    let clusters: Vec<&str> = NAMES.iter().copied().filter(|_| env.below(2) == 0).collect();
    for name in &clusters {
        world.push(cluster(name));
        world.push(endpoints(name, 1 + env.below(3) as u32));
    }
    for name in ["r", "s"] {
        let used: Vec<&str> = clusters.iter().copied().filter(|_| env.below(2) == 0).collect();
        world.push(route(name, &used));
        if env.below(3) > 0 {
            world.push(listener(&format!("l-{name}"), name));
        }
    }
    world
}

fn desired(world: &[Resource]) -> Arc<Desired> {
    Arc::new(world.iter().map(|r| (r.key(), Encoded::of(r))).collect())
}

struct Link {
    dialect: Dialect,
    server: server::Session,
    client: Session,
    to_server: VecDeque<Outgoing>,
    to_client: VecDeque<Push>,
}

impl Link {
    fn connect(&mut self, world: &[Resource]) {
        self.server = server::Session::new(self.dialect);
        self.server.set_desired(desired(world));
        self.to_client.clear();
        self.to_server = self.client.connect().into();
    }

    fn serve(&mut self) {
        if let Some(out) = self.to_server.pop_front() {
            let request = match out {
                Outgoing::Delta(r) => Request::of_delta(r),
                Outgoing::Whole(r) => Request::of_whole(r),
            };
            self.server.receive(request.unwrap());
        }
    }

    fn deliver(&mut self) {
        let Some(push) = self.to_client.pop_front() else { return };
        let out = match self.dialect {
            Dialect::Delta => self.client.receive_delta(push.into_delta(), Instant::default()),
            Dialect::StateOfTheWorld => {
                self.client.receive_whole(push.into_whole(), Instant::default())
            }
        };
        self.to_server.extend(out);
    }

    fn step(&mut self, choice: u64) {
        match choice {
            0 => self.serve(),
            1 => self.to_client.extend(self.server.poll()),
            _ => self.deliver(),
        }
    }
}

/// Everything that traffic can reach is there.
fn assert_whole(config: &Config, seed: u64) {
    let routes: BTreeSet<_> = config.routes.iter().map(|r| r.name.clone()).collect();
    let clusters: BTreeSet<_> = config.clusters.iter().map(|c| c.name.clone()).collect();
    let endpoints: BTreeSet<_> = config.endpoints.iter().map(|e| e.cluster.clone()).collect();
    let needs = config.listeners.iter().map(|l| Resource::Listener(l.clone()));
    let needs = needs.chain(config.routes.iter().map(|r| Resource::Route(r.clone())));
    let needs = needs.chain(config.clusters.iter().map(|c| Resource::Cluster(c.clone())));
    for user in needs {
        for need in crate::references(&user) {
            let there = match need.kind {
                Kind::Route => routes.contains(&need.name),
                Kind::Cluster => clusters.contains(&need.name),
                Kind::Endpoints => endpoints.contains(&need.name),
                _ => true,
            };
            assert!(there, "seed {seed}: {:?} needs {need:?}", user.key());
        }
    }
}

/// A resource's name and content, short.
fn label(r: &Resource) -> String {
    format!("{:?} {} {:x}", r.key().kind, r.key().name, Encoded::of(r).version)
}

/// What of a world a proxy runs: all but routes that no listener names.
fn expected(world: &[Resource]) -> BTreeSet<String> {
    let used: BTreeSet<_> = world.iter().flat_map(crate::references).collect();
    let runs = |r: &&Resource| r.key().kind != Kind::Route || used.contains(&r.key());
    world.iter().filter(runs).map(label).collect()
}

fn actual(config: &Config) -> BTreeSet<String> {
    let clusters = config.clusters.iter().cloned().map(Resource::Cluster);
    let endpoints = config.endpoints.iter().cloned().map(Resource::Endpoints);
    let listeners = config.listeners.iter().cloned().map(Resource::Listener);
    let routes = config.routes.iter().cloned().map(Resource::Route);
    clusters.chain(endpoints).chain(listeners).chain(routes).map(|r| label(&r)).collect()
}

fn run(dialect: Dialect, seed: u64) {
    let env = FixedEnv::seeded(seed);
    let mut world = random_world(&env);
    let assembler = Assembler::new(&Config::default(), PATIENCE);
    let mut link = Link {
        dialect,
        server: server::Session::new(dialect),
        client: Session::new(dialect, &Default::default(), assembler),
        to_server: VecDeque::new(),
        to_client: VecDeque::new(),
    };
    link.connect(&world);
    let mut last = Config::default();
    for _ in 0..150 {
        match env.below(20) {
            0 => {
                world = random_world(&env);
                link.server.set_desired(desired(&world));
            }
            1 if env.below(4) == 0 => link.connect(&world),
            _ => link.step(env.below(3)),
        }
        if let Some(config) = link.client.take_config() {
            assert_whole(&config, seed);
            last = config;
        }
    }
    for i in 0..600 {
        link.step(i % 3);
    }
    last = link.client.take_config().unwrap_or(last);
    assert!(link.server.is_synced(), "seed {seed}");
    assert_eq!(actual(&last), expected(&world), "seed {seed}");
    assert_eq!(link.client.missing(), [], "seed {seed}");
    assert!(link.client.is_complete());
}

#[test]
fn delta_is_always_whole_and_converges() {
    (0..80).for_each(|seed| run(Dialect::Delta, seed));
}

#[test]
fn the_state_of_the_world_is_always_whole_and_converges() {
    (0..80).for_each(|seed| run(Dialect::StateOfTheWorld, seed));
}
