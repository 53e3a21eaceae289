//! Which endpoints a client prefers by where they and it stand: shares by locality, or the nearest
//! first and the others when those fail. What is decided here becomes priorities and weights of the
//! groups of endpoints.

use crate::Proxy;
use crate::cluster::Policy;
use api::{Distribute, Failover, LocalityLbSetting};
use ir::{EndpointGroup, LocalityMode, Str};
use registry::{Closeness, Locality, Service, Workload};
use std::collections::BTreeSet;

/// What an endpoint's place means.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Nearness {
    #[default]
    Nothing,
    /// Shares of the traffic, for clients of each locality.
    Shares(Vec<Distribute>),
    /// The lower the priority the nearer.
    Priorities {
        /// Labels that client and endpoint have in common, the most important first.
        labels: Vec<Wanted>,
        /// Whether region, zone and subzone count (after the labels), and which regions stand in for
        /// which.
        regions: Option<Vec<Failover>>,
    },
}

/// A label of an endpoint, and its value if that is not the client's own.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wanted {
    key: String,
    value: Option<String>,
}

/// What of a client its preference depends on: clients that agree in it get the same endpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Viewpoint {
    locality: Locality,
    /// Of the labels that count, in their order.
    labels: Vec<String>,
}

impl Nearness {
    /// The DestinationRule's setting, else the service's, else the mesh's. Without outlier detection
    /// an endpoint never fails, so that there is nothing to fail over from.
    pub fn of(mesh: &LocalityLbSetting, service: &Service, policy: &Policy<'_>) -> Nearness {
        let written = policy.lb.and_then(|lb| lb.locality_lb_setting.as_ref());
        if written.is_none()
            && let Some(labels) = labels_of(service.closeness)
        {
            let labels = labels.iter().map(|l| Wanted::parse(l)).collect();
            return Nearness::Priorities { labels, regions: None };
        }
        let setting = written.unwrap_or(mesh);
        if setting.enabled == Some(false) {
            return Nearness::Nothing;
        }
        if !setting.distribute.is_empty() {
            return Nearness::Shares(setting.distribute.clone());
        }
        if policy.outliers.is_none() {
            return Nearness::Nothing;
        }
        let labels: Vec<Wanted> =
            setting.failover_priority.iter().map(|l| Wanted::parse(l)).collect();
        let by_region = labels.is_empty() || !setting.failover.is_empty();
        Nearness::Priorities { labels, regions: by_region.then(|| setting.failover.clone()) }
    }

    /// Weights of localities count where somebody asked for more than the default.
    pub fn mode(&self) -> LocalityMode {
        let asked = match self {
            Nearness::Nothing => false,
            Nearness::Shares(_) => true,
            Nearness::Priorities { labels, regions } => {
                !labels.is_empty() || regions.as_ref().is_some_and(|r| !r.is_empty())
            }
        };
        if asked { LocalityMode::Weighted } else { LocalityMode::None }
    }

    pub fn viewpoint(&self, proxy: &Proxy) -> Viewpoint {
        let own = || proxy.locality.clone();
        match self {
            Nearness::Nothing => Viewpoint::default(),
            Nearness::Shares(_) => Viewpoint { locality: own(), labels: Vec::new() },
            Nearness::Priorities { labels, regions } => Viewpoint {
                locality: if regions.is_some() { own() } else { Locality::default() },
                labels: labels.iter().map(|l| l.of(proxy)).collect(),
            },
        }
    }

    /// The priority that an endpoint has by its labels alone: zero when all are right, else the
    /// higher the earlier the first wrong one stands.
    pub fn by_labels(&self, from: &Viewpoint, to: &Workload) -> u32 {
        let Nearness::Priorities { labels, .. } = self else { return 0 };
        let wrong = labels
            .iter()
            .zip(&from.labels)
            .position(|(wanted, value)| to.label(&wanted.key).unwrap_or_default() != value);
        wrong.map_or(0, |at| (labels.len() - at) as u32)
    }

    /// Settles weights and priorities of groups that have their priority by labels.
    pub fn settle(&self, from: &Viewpoint, groups: &mut Vec<EndpointGroup>) {
        match self {
            Nearness::Nothing => {}
            Nearness::Shares(rules) => {
                let here = |r: &&Distribute| covers(&r.from, &from.locality);
                if let Some(rule) = rules.iter().find(here) {
                    share_out(rule, groups);
                }
            }
            Nearness::Priorities { regions, .. } => {
                if let Some(failover) = regions {
                    for group in groups.iter_mut() {
                        let distance = distance(&from.locality, &group.locality, failover);
                        group.priority = group.priority * DISTANCES + distance;
                    }
                }
                close_gaps(groups);
            }
        }
    }
}

/// What traffic distribution asks for, outlier detection or not.
fn labels_of(closeness: Closeness) -> Option<&'static [&'static str]> {
    const LABELS: [&str; 5] = [
        "topology.istio.io/network",
        "topology.kubernetes.io/region",
        "topology.kubernetes.io/zone",
        "topology.istio.io/subzone",
        "kubernetes.io/hostname",
    ];
    match closeness {
        Closeness::Any => None,
        Closeness::SameZone => Some(&LABELS[..3]),
        Closeness::SameNode => Some(&LABELS),
    }
}

impl Wanted {
    /// `label`, or `label=value`.
    fn parse(text: &str) -> Wanted {
        match text.split_once('=') {
            Some((key, value)) => Wanted { key: key.to_owned(), value: Some(value.to_owned()) },
            None => Wanted { key: text.to_owned(), value: None },
        }
    }

    fn of(&self, proxy: &Proxy) -> String {
        self.value.clone().unwrap_or_else(|| proxy.label(&self.key).to_owned())
    }
}

/// `region/zone/subzone`, each of which may be `*` or be left out but the first.
fn covers(pattern: &str, locality: &Locality) -> bool {
    let mut parts = pattern.split('/');
    let mut fits = |value: &str, required: bool| match parts.next().unwrap_or_default() {
        "*" => true,
        "" if !required => true,
        part => part == value,
    };
    fits(&locality.region, true) && fits(&locality.zone, false) && fits(&locality.sub_zone, false)
}

fn locality_of(group: &EndpointGroup) -> Locality {
    let text = |s: &Str| s.to_string();
    let l = &group.locality;
    Locality { region: text(&l.region), zone: text(&l.zone), sub_zone: text(&l.sub_zone) }
}

/// Gives each target its share, divided among its localities by their weights; localities that are
/// no target get nothing.
fn share_out(rule: &Distribute, groups: &mut Vec<EndpointGroup>) {
    let mut left: BTreeSet<usize> = (0..groups.len()).collect();
    for (target, share) in &rule.to {
        let fits = |at: &usize| covers(target, &locality_of(&groups[*at]));
        let weight = |at: usize| u64::from(groups[at].weight.unwrap_or(1));
        let mine: Vec<(usize, u64)> =
            left.iter().copied().filter(fits).map(|at| (at, weight(at))).collect();
        let total: u64 = mine.iter().map(|(_, weight)| weight).sum();
        for (at, weight) in mine {
            left.remove(&at);
            let part = (weight * u64::from(*share)).div_ceil(total.max(1));
            if part > 0 {
                groups[at].weight = Some(u32::try_from(part).unwrap_or(u32::MAX));
            }
        }
    }
    let mut at = 0;
    groups.retain(|_| {
        at += 1;
        !left.contains(&(at - 1))
    });
}

/// From the same subzone to a region that does not even stand in.
const DISTANCES: u32 = 5;

fn distance(from: &Locality, to: &ir::Locality, failover: &[Failover]) -> u32 {
    if from.region == *to.region {
        return match (from.zone == *to.zone, from.sub_zone == *to.sub_zone) {
            (true, true) => 0,
            (true, false) => 1,
            (false, _) => 2,
        };
    }
    match failover.iter().find(|f| f.from == from.region) {
        Some(f) if f.to != *to.region => 4,
        _ => 3,
    }
}

/// Priorities count from zero without gaps, or Envoy refuses them.
fn close_gaps(groups: &mut [EndpointGroup]) {
    let used: BTreeSet<u32> = groups.iter().map(|g| g.priority).collect();
    let used: Vec<u32> = used.into_iter().collect();
    for group in groups {
        let at = used.binary_search(&group.priority).unwrap_or_default();
        group.priority = at as u32;
    }
}

#[cfg(test)]
mod tests;
