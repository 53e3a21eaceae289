//! The VirtualServices that apply to a sidecar, by host; and which of them are others than before.

use crate::route::{Delegates, delegates};
use api::VirtualService;
use base::Host;
use registry::{Item, Snapshot};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// A VirtualService and those that it delegates to.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    item: Arc<Item<VirtualService>>,
    delegates: Delegates,
}

impl Rules {
    pub fn of(world: &Snapshot, item: &Arc<Item<VirtualService>>) -> Rules {
        Rules { item: item.clone(), delegates: delegates(world, item) }
    }

    pub fn item(&self) -> &Arc<Item<VirtualService>> {
        &self.item
    }

    pub fn is(&self, other: &Rules) -> bool {
        let one = |d: &Option<Arc<Item<VirtualService>>>| d.as_ref().map(Arc::as_ptr);
        Arc::ptr_eq(&self.item, &other.item)
            && self.delegates.iter().map(one).eq(other.delegates.iter().map(one))
    }
}

/// Oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct RuleSet {
    list: Vec<Rules>,
    exact: HashMap<Host, usize>,
    /// The most specific first.
    wildcards: Vec<(Host, usize)>,
}

impl RuleSet {
    /// Of several VirtualServices with one host the oldest counts.
    pub fn of<'a>(
        world: &Snapshot,
        items: impl Iterator<Item = &'a Arc<Item<VirtualService>>>,
    ) -> RuleSet {
        let mut set = RuleSet::default();
        for (index, item) in items.enumerate() {
            for host in &item.hosts {
                if host.is_wildcard() {
                    set.wildcards.push((host.clone(), index));
                } else {
                    set.exact.entry(host.clone()).or_insert(index);
                }
            }
            set.list.push(Rules::of(world, item));
        }
        set.wildcards.sort_by(|a, b| a.0.by_specificity(&b.0).then(a.1.cmp(&b.1)));
        set
    }

    pub fn iter(&self) -> impl Iterator<Item = &Rules> {
        self.list.iter()
    }

    pub fn of_host(&self, host: &Host) -> Option<&Rules> {
        let covering = || self.wildcards.iter().find(|(w, _)| w.covers(host)).map(|(_, i)| i);
        self.exact.get(host).or_else(covering).map(|i| &self.list[*i])
    }

    pub fn since(&self, old: &RuleSet) -> Turn {
        let mut gone: HashMap<_, &Rules> = old.iter().map(|r| (Arc::as_ptr(&r.item), r)).collect();
        let mut turn = Turn::default();
        for rules in &self.list {
            let address = Arc::as_ptr(&rules.item);
            if gone.get(&address).is_some_and(|known| known.is(rules)) {
                gone.remove(&address);
                turn.kept.insert(address as usize);
            } else {
                turn.hosts.extend(rules.item.hosts.iter().cloned());
            }
        }
        turn.hosts.extend(gone.values().flat_map(|r| &r.item.hosts).cloned());
        turn
    }
}

/// From one set of rules to the next.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turn {
    /// The hosts of rules that came, went, or are others now.
    pub hosts: HashSet<Host>,
    /// Addresses of VirtualServices that are as they were, with all that they delegate to.
    kept: HashSet<usize>,
}

impl Turn {
    pub fn is_kept(&self, item: &Arc<Item<VirtualService>>) -> bool {
        self.kept.contains(&(Arc::as_ptr(item) as usize))
    }
}
