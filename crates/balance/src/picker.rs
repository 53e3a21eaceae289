//! One worker's choice among the endpoints of one cluster.

use crate::breaker::Usage;
use crate::edf::Edf;
use crate::hosts::{Class, EndpointId, Hosts};
use crate::outlier::{Change, Origin, Outcome, Rules};
use crate::priority::{Amounts, Census, Loads, loads};
use crate::set::Set;
use base::{Env, Instant};
use ir::{
    Address, Cluster, Endpoint, EndpointGroup, Endpoints, LbCommon, LoadBalancer, LocalityMode,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a request asks for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Want<'a> {
    /// Of the hash policy, for ring hash and Maglev; a random number where there is none.
    pub hash: Option<u64>,
    /// Rather not these (tried before), as long as `attempts` allow.
    pub avoid: &'a [EndpointId],
    /// How often to choose anew when the choice is to be avoided (`host_selection_retry_max_attempts`).
    pub attempts: u32,
}

#[derive(Debug)]
pub struct Picker {
    lb: LoadBalancer,
    common: LbCommon,
    outliers: Option<Rules>,
    /// The last look at who comes back and who stands out.
    looked: Instant,
    ejected: usize,
    hosts: Hosts,
    loads: Loads,
    levels: Vec<Level>,
    /// Where it shows whom it leaves out, and whom it does.
    shown_on: Option<Arc<Usage>>,
    left_out: BTreeSet<Address>,
}

/// One priority.
#[derive(Debug)]
struct Level {
    healthy: Source,
    degraded: Source,
    all: Source,
}

/// The endpoints of one priority that are as healthy, as one set or by locality.
#[derive(Debug)]
enum Source {
    Whole(Set),
    Localities { turns: Edf, weights: Vec<f64>, sets: Vec<Set> },
}

impl Picker {
    pub fn new(cluster: &Cluster, endpoints: Arc<Endpoints>, env: &impl Env) -> Self {
        let mut picker = Self {
            lb: cluster.lb.clone(),
            common: cluster.lb_common.clone(),
            outliers: None,
            looked: env.now(),
            ejected: 0,
            hosts: Hosts::default(),
            loads: Loads::default(),
            levels: Vec::new(),
            shown_on: None,
            left_out: BTreeSet::new(),
        };
        picker.update(cluster, endpoints, env);
        picker
    }

    /// Shows from now on who is ejected.
    pub fn shown_on(mut self, usage: Arc<Usage>) -> Self {
        self.shown_on = Some(usage);
        self
    }

    /// Takes over changed settings or endpoints; what is known of surviving endpoints is kept.
    pub fn update(&mut self, cluster: &Cluster, endpoints: Arc<Endpoints>, env: &impl Env) {
        self.lb = cluster.lb.clone();
        self.common = cluster.lb_common.clone();
        self.outliers = cluster.outliers.as_ref().map(Rules::new);
        self.hosts.replace(endpoints, env.now());
        self.rebuild(env);
    }

    /// An endpoint for one request; `None` when no endpoint may be used.
    pub fn pick(&mut self, want: &Want<'_>, env: &impl Env) -> Option<EndpointId> {
        self.sweep(env);
        let mut choice = None;
        for attempt in 0..=want.attempts.min(16) {
            let hash = want.hash.unwrap_or_else(|| env.random());
            choice = self.choose(hash, attempt, env);
            if choice.is_none_or(|id| !want.avoid.contains(&id)) {
                break;
            }
        }
        choice
    }

    fn choose(&mut self, hash: u64, attempt: u32, env: &impl Env) -> Option<EndpointId> {
        let by_hash =
            matches!(self.lb, LoadBalancer::RingHash { .. } | LoadBalancer::Maglev { .. });
        let draw = if by_hash { hash % 100 } else { env.below(100) };
        let source = self.source(draw)?;
        // Borrowed apart, since the choice reads the hosts.
        let level = self.levels.get_mut(source.0)?;
        let source = match source.1 {
            Class::Healthy => &mut level.healthy,
            Class::Degraded => &mut level.degraded,
            Class::Unhealthy => &mut level.all,
        };
        let set = match source {
            Source::Whole(set) => set,
            Source::Localities { turns, weights, sets } => {
                let at = turns.pick(|i| weights[i as usize])?;
                sets.get_mut(at as usize)?
            }
        };
        let slot = set.pick(hash, attempt, &self.hosts, env)?;
        Some(self.hosts.id(slot))
    }

    /// The priority for a draw of 0 to 99, and which of its endpoints: all of them in panic.
    fn source(&self, draw: u64) -> Option<(usize, Class)> {
        let shares =
            [(&self.loads.healthy, Class::Healthy), (&self.loads.degraded, Class::Degraded)];
        let mut sum = 0;
        for (loads, class) in shares {
            for (priority, load) in loads.iter().enumerate() {
                sum += load;
                if draw < sum {
                    let panic = self.loads.panic[priority];
                    return Some((priority, if panic { Class::Unhealthy } else { class }));
                }
            }
        }
        None
    }

    pub fn endpoint(&self, id: EndpointId) -> Option<&Endpoint> {
        Some(self.hosts.place(self.hosts.slot(id)?)?.1)
    }

    /// The locality and priority of an endpoint, with its neighbours.
    pub fn group(&self, id: EndpointId) -> Option<&EndpointGroup> {
        Some(self.hosts.place(self.hosts.slot(id)?)?.0)
    }

    /// The endpoints as they were given.
    pub fn endpoints(&self) -> &Arc<Endpoints> {
        self.hosts.endpoints()
    }

    /// All endpoints, for `/clusters`: id, requests under way, and whether ejected.
    pub fn iter(&self) -> impl Iterator<Item = (EndpointId, u32, bool)> {
        self.hosts.in_order().map(|(slot, _)| {
            let host = self.hosts.host(slot);
            (self.hosts.id(slot), host.active, host.record.is_ejected())
        })
    }

    /// A request goes to this endpoint now.
    pub fn started(&mut self, id: EndpointId) {
        if let Some(slot) = self.hosts.slot(id) {
            self.hosts.host_mut(slot).active += 1;
        }
    }

    /// The request ended, however it did.
    pub fn finished(&mut self, id: EndpointId) {
        if let Some(slot) = self.hosts.slot(id) {
            let host = self.hosts.host_mut(slot);
            host.active = host.active.saturating_sub(1);
        }
    }

    /// Tells outlier detection what became of a request.
    pub fn report(&mut self, id: EndpointId, outcome: Outcome, env: &impl Env) -> Change {
        let (Some(rules), Some(slot)) = (&self.outliers, self.hosts.slot(id)) else {
            return Change::Nothing;
        };
        let (out, of) = (self.ejected, self.hosts.len());
        let record = &mut self.hosts.host_mut(slot).record;
        if !rules.judge(record, outcome, env) {
            return Change::Nothing;
        }
        let change = rules.eject(record, out, of, env.now());
        if change == Change::Ejected {
            self.rebuild(env);
        }
        change
    }

    /// Brings back ejected endpoints whose time is over, and ejects who fails much more often than the
    /// others: what Envoy does at regular intervals is made up for here.
    fn sweep(&mut self, env: &impl Env) {
        let Some(rules) = &self.outliers else { return };
        let now = env.now();
        let Some(due) = rules.look(self.looked, now) else { return };
        let last = std::mem::replace(&mut self.looked, due);
        let slots: Vec<u32> = self.hosts.in_order().map(|(slot, _)| slot).collect();
        let mut out = self.ejected;
        let before = out;
        for &slot in &slots {
            out -= usize::from(rules.pardon(&mut self.hosts.host_mut(slot).record, last, due));
        }
        let mut changed = out < before;
        for origin in [Origin::Answers, Origin::Connections] {
            let records = slots.iter().map(|&slot| &self.hosts.host(slot).record);
            let Some(floor) = rules.floor(origin, records) else { continue };
            for &slot in &slots {
                let record = &mut self.hosts.host_mut(slot).record;
                if rules.below(origin, record, floor, env)
                    && rules.eject(record, out, slots.len(), now) == Change::Ejected
                {
                    out += 1;
                    changed = true;
                }
            }
        }
        for &slot in &slots {
            rules.begin(&mut self.hosts.host_mut(slot).record, last, due);
        }
        if changed {
            self.rebuild(env);
        }
    }

    fn rebuild(&mut self, env: &impl Env) {
        let mut priorities: BTreeMap<u32, Vec<(u32, &EndpointGroup)>> = BTreeMap::new();
        for (slot, group) in self.hosts.in_order() {
            priorities.entry(group.priority).or_default().push((slot, group));
        }
        let hosts = &self.hosts;
        let endpoints = hosts.endpoints();
        let by_weight = endpoints.weighted_priority_health;
        let census: Vec<Census> =
            priorities.values().map(|slots| count(slots, hosts, by_weight)).collect();
        let threshold = self.common.panic_threshold.unwrap_or(50.0).clamp(0.0, 100.0) as u64;
        let factor = endpoints.overprovisioning_factor.unwrap_or(140).into();
        self.loads = loads(&census, factor, threshold);
        let builder = Builder { lb: &self.lb, common: &self.common, hosts, factor, env };
        self.levels = priorities.values().map(|slots| builder.level(slots)).collect();
        let ejected = hosts.in_order().filter(|h| hosts.host(h.0).record.is_ejected());
        let ejected = ejected.filter_map(|h| Some(hosts.place(h.0)?.1.address.clone()));
        self.show(ejected.collect());
        self.ejected = self.left_out.len();
    }

    fn show(&mut self, ejected: BTreeSet<Address>) {
        let before = std::mem::replace(&mut self.left_out, ejected);
        if let Some(usage) = self.shown_on.as_ref().filter(|_| before != self.left_out) {
            usage.leave_out(&before, &self.left_out);
        }
    }
}

impl Drop for Picker {
    fn drop(&mut self) {
        self.show(BTreeSet::new());
    }
}

fn count(slots: &[(u32, &EndpointGroup)], hosts: &Hosts, by_weight: bool) -> Census {
    let number = amounts(slots, hosts, |_| 1);
    let weight = if by_weight { amounts(slots, hosts, |s| hosts.weight(s).into()) } else { number };
    Census { number, weight }
}

fn amounts(slots: &[(u32, &EndpointGroup)], hosts: &Hosts, of: impl Fn(u32) -> u64) -> Amounts {
    let mut amounts = Amounts::default();
    for (slot, _) in slots {
        let n = of(*slot);
        amounts.all += n;
        match hosts.class(*slot) {
            Class::Healthy => amounts.healthy += n,
            Class::Degraded => amounts.degraded += n,
            Class::Unhealthy => {}
        }
    }
    amounts
}

/// Builds the sets of one priority.
struct Builder<'a, E> {
    lb: &'a LoadBalancer,
    common: &'a LbCommon,
    hosts: &'a Hosts,
    factor: u64,
    env: &'a E,
}

type Member<'a> = (u32, &'a EndpointGroup);

impl<E: Env> Builder<'_, E> {
    fn level(&self, slots: &[Member<'_>]) -> Level {
        let of = |class| slots.iter().copied().filter(move |s| self.hosts.class(s.0) == class);
        Level {
            healthy: self.source(slots, of(Class::Healthy).collect()),
            degraded: self.source(slots, of(Class::Degraded).collect()),
            all: self.everybody(slots),
        }
    }

    /// For a panic, in which localities have no weight; a hash table is made as ever.
    fn everybody(&self, slots: &[Member<'_>]) -> Source {
        match self.lb {
            LoadBalancer::RingHash { .. } | LoadBalancer::Maglev { .. } => {
                self.source(slots, slots.to_vec())
            }
            _ => Source::Whole(self.set(slots.to_vec(), |_| 1.0)),
        }
    }

    fn source(&self, level: &[Member<'_>], members: Vec<Member<'_>>) -> Source {
        let weighted = self.common.locality == LocalityMode::Weighted
            && level.iter().any(|(_, group)| group.weight.is_some());
        let hashed = matches!(self.lb, LoadBalancer::RingHash { .. } | LoadBalancer::Maglev { .. });
        if !weighted {
            return Source::Whole(self.set(members, |_| 1.0));
        }
        let localities = self.localities(level, &members);
        // Where nobody has any weight, nobody has more than others.
        if !hashed && localities.iter().all(|l| l.weight <= 0.0) {
            return Source::Whole(self.set(members, |_| 1.0));
        }
        if hashed {
            // One table over all localities, in which each has the share of its weight.
            let factor = |group: &EndpointGroup| {
                let found = localities.iter().find(|l| std::ptr::eq(l.group, group));
                found.map_or(0.0, |l| l.weight / l.total)
            };
            return Source::Whole(self.set(members.clone(), factor));
        }
        let weights: Vec<f64> = localities.iter().map(|l| l.weight).collect();
        let sets = localities.into_iter().map(|l| self.set(l.members, |_| 1.0)).collect();
        Source::Localities { turns: Edf::new(weights.iter().copied()), weights, sets }
    }

    fn set(&self, members: Vec<Member<'_>>, factor: impl Fn(&EndpointGroup) -> f64) -> Set {
        let slots = members.iter().map(|m| m.0).collect();
        let share = |slot| {
            let group = self.hosts.place(slot).map(|p| p.0);
            group.map_or(0.0, |g| f64::from(self.hosts.weight(slot)) * factor(g))
        };
        Set::new(slots, share, self.lb, self.hosts, self.env)
    }

    /// The localities of `members`, with weights that shrink when too few of a locality are left.
    fn localities<'g>(&self, level: &[Member<'g>], members: &[Member<'g>]) -> Vec<Locality<'g>> {
        let mut out: Vec<Locality<'g>> = Vec::new();
        for &(slot, group) in members {
            let at = out.iter().position(|l| std::ptr::eq(l.group, group)).unwrap_or_else(|| {
                out.push(Locality { group, members: Vec::new(), weight: 0.0, total: 0.0 });
                out.len() - 1
            });
            out[at].members.push((slot, group));
            out[at].total += f64::from(self.hosts.weight(slot));
        }
        for locality in &mut out {
            let all = level.iter().filter(|m| std::ptr::eq(m.1, locality.group)).count();
            let left = locality.members.len() as f64 / all.max(1) as f64;
            let available = (left * self.factor as f64 / 100.0).min(1.0);
            locality.weight = f64::from(locality.group.weight.unwrap_or(0)) * available;
        }
        out
    }
}

struct Locality<'g> {
    group: &'g EndpointGroup,
    members: Vec<Member<'g>>,
    weight: f64,
    /// Sum of the weights of its members.
    total: f64,
}

#[cfg(test)]
mod tests;
