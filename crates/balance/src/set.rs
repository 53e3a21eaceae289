//! Choosing one of a set of endpoints that are all as good (same priority, same health).

use crate::edf::Edf;
use crate::hosts::Hosts;
use crate::maglev::Maglev;
use crate::ring::Ring;
use base::{Env, Instant};
use ir::{LoadBalancer, SlowStart};

#[derive(Debug)]
pub(crate) struct Set {
    members: Vec<u32>,
    way: Way,
    slow_start: Option<SlowStart>,
}

#[derive(Debug)]
enum Way {
    /// In turn, from a random start, so that many clients do not march in step.
    Cycle(usize),
    Weighted(Edf),
    Random,
    /// The least busy of this many, chosen at random.
    Least(u32),
    /// In turn, by weight over activity to this power.
    WeightedLeast(Edf, f64),
    Ring(Ring),
    Maglev(Maglev),
}

impl Set {
    /// `shares`: of a slot's traffic, for hash tables; they need not add up to 1.
    pub(crate) fn new(
        members: Vec<u32>,
        shares: impl Fn(u32) -> f64,
        lb: &LoadBalancer,
        hosts: &Hosts,
        env: &impl Env,
    ) -> Self {
        let slow_start = match lb {
            LoadBalancer::RoundRobin { slow_start }
            | LoadBalancer::LeastRequest { slow_start, .. } => *slow_start,
            _ => None,
        };
        let now = env.now();
        let even = all_even(&members, hosts) && !any_new(&members, hosts, slow_start, now);
        let mut set = Self { members, way: Way::Random, slow_start };
        let start = env.below(set.members.len() as u64);
        set.way = match lb {
            LoadBalancer::RoundRobin { .. } if even => Way::Cycle(start as usize),
            LoadBalancer::RoundRobin { .. } => Way::Weighted(set.schedule(hosts, now, start, 0.0)),
            LoadBalancer::LeastRequest { choices, .. } if even => {
                Way::Least(choices.unwrap_or(2).max(1))
            }
            LoadBalancer::LeastRequest { bias, .. } => {
                let bias = bias.unwrap_or(1.0);
                Way::WeightedLeast(set.schedule(hosts, now, start, bias), bias)
            }
            LoadBalancer::Random | LoadBalancer::ClusterProvided => Way::Random,
            LoadBalancer::RingHash { min_size, max_size } => {
                Way::Ring(Ring::new(&set.keyed(hosts, shares), *min_size, *max_size))
            }
            LoadBalancer::Maglev { table_size } => {
                Way::Maglev(Maglev::new(&set.keyed(hosts, shares), *table_size))
            }
        };
        set
    }

    /// A member; `attempt` counts the tries of one pick.
    pub(crate) fn pick(
        &mut self,
        hash: u64,
        attempt: u32,
        hosts: &Hosts,
        env: &impl Env,
    ) -> Option<u32> {
        let Self { members, way, slow_start } = self;
        let any = |env: &_| Env::below(env, members.len() as u64) as u32;
        let at = match way {
            Way::Cycle(next) => {
                *next = (*next + 1) % members.len().max(1);
                *next as u32
            }
            Way::Random => any(env),
            Way::Least(choices) => {
                let load = |at: u32| members.get(at as usize).map(|&slot| hosts.host(slot).active);
                (0..*choices).map(|_| any(env)).min_by_key(|at| load(*at))?
            }
            Way::Weighted(edf) => {
                edf.pick(|at| weight(hosts, members[at as usize], *slow_start, env.now()))?
            }
            Way::WeightedLeast(edf, bias) => edf.pick(|at| {
                let slot = members[at as usize];
                weight(hosts, slot, *slow_start, env.now()) / busyness(hosts, slot, *bias)
            })?,
            Way::Ring(ring) => ring.pick(hash, attempt)?,
            Way::Maglev(table) => table.pick(hash, attempt)?,
        };
        members.get(at as usize).copied()
    }

    fn schedule(&self, hosts: &Hosts, now: Instant, skip: u64, bias: f64) -> Edf {
        let weigh = |at: u32| {
            let slot = self.members[at as usize];
            weight(hosts, slot, self.slow_start, now) / busyness(hosts, slot, bias)
        };
        let mut edf = Edf::new((0..self.members.len() as u32).map(weigh));
        for _ in 0..skip {
            edf.pick(weigh);
        }
        edf
    }

    /// The members with the keys they are hashed by, and shares that add up to 1.
    fn keyed(&self, hosts: &Hosts, shares: impl Fn(u32) -> f64) -> Vec<(String, f64)> {
        let total: f64 = self.members.iter().map(|&slot| shares(slot)).sum();
        let share = |slot| if total > 0.0 { shares(slot) / total } else { 0.0 };
        self.members.iter().map(|&slot| (hash_key(hosts, slot), share(slot))).collect()
    }
}

fn all_even(members: &[u32], hosts: &Hosts) -> bool {
    members.windows(2).all(|two| hosts.weight(two[0]) == hosts.weight(two[1]))
}

/// Whether one of them is still to start slowly.
fn any_new(members: &[u32], hosts: &Hosts, slow: Option<SlowStart>, now: Instant) -> bool {
    let new = |slot: u32| slow.is_some_and(|s| now.since(hosts.host(slot).since) < s.window);
    members.iter().any(|&slot| new(slot))
}

/// What an endpoint's weight is divided by: its requests and the next one, to the power of `bias`.
fn busyness(hosts: &Hosts, slot: u32, bias: f64) -> f64 {
    f64::from(hosts.host(slot).active + 1).powf(bias)
}

/// The address, unless the metadata `envoy.lb` name another key.
fn hash_key(hosts: &Hosts, slot: u32) -> String {
    let Some((_, endpoint)) = hosts.place(slot) else { return String::new() };
    let named = endpoint.metadata.get("envoy.lb").and_then(|m| m.get("hash_key")?.as_str());
    named.map_or_else(|| endpoint.address.to_string(), str::to_owned)
}

/// The endpoint's weight, less while it is new and the cluster starts slowly.
fn weight(hosts: &Hosts, slot: u32, slow: Option<SlowStart>, now: Instant) -> f64 {
    let weight = f64::from(hosts.weight(slot));
    let Some(slow) = slow else { return weight };
    let age = now.since(hosts.host(slot).since);
    if age >= slow.window || slow.window.is_zero() {
        return weight;
    }
    // Envoy counts from the first millisecond on.
    let part = age.as_secs_f64().max(0.001) / slow.window.as_secs_f64();
    let least = slow.min_weight_percent.unwrap_or(10.0) / 100.0;
    let aggression = slow.aggression.filter(|a| *a > 0.0).unwrap_or(1.0);
    weight * part.powf(1.0 / aggression).max(least)
}
