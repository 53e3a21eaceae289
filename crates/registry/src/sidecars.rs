//! Sidecar objects and which of them a proxy obeys: one that selects it, else its namespace's, else
//! the root namespace's. They are never merged.

use crate::item::Table;
use crate::{Collection, Item};
use api::Sidecar;
use base::Labels;
use std::sync::Arc;

#[derive(Clone, Debug, Default)]
pub struct Sidecars {
    pub version: u64,
    all: Collection<Sidecar>,
    root: String,
    /// Whether any is for some workloads of a namespace only.
    pub has_selectors: bool,
}

impl Sidecars {
    pub(crate) fn of(version: u64, root: &str, table: &Table<Item<Sidecar>>) -> Sidecars {
        let all = Collection::of(table);
        let has_selectors = all.iter().any(|i| selector(i).is_some());
        Sidecars { version, all, root: root.to_owned(), has_selectors }
    }

    pub fn of_proxy(&self, namespace: &str, labels: &Labels) -> Option<&Arc<Item<Sidecar>>> {
        let mine = |i: &&Arc<Item<Sidecar>>| i.namespace() == namespace;
        let selects = |i: &&Arc<Item<Sidecar>>| {
            selector(i).is_some_and(|s| s.iter().all(|(k, v)| labels.get(k) == Some(v)))
        };
        let plain = |i: &&Arc<Item<Sidecar>>| selector(i).is_none();
        self.all
            .iter()
            .filter(mine)
            .find(selects)
            .or_else(|| self.all.iter().filter(mine).find(plain))
            .or_else(|| self.all.iter().filter(plain).find(|i| i.namespace() == self.root))
    }
}

fn selector(item: &Item<Sidecar>) -> Option<&Labels> {
    item.spec.workload_selector.as_ref().map(|s| &s.labels).filter(|l| !l.is_empty())
}
