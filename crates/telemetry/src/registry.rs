//! Which cells mean what: sets of metrics by name and labels, in a bounded number.

use crate::cells::{Cells, Counter, Gauge, HISTOGRAM_CELLS, Histogram, MAX_CELLS, Shard};
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Sets of metrics there can be; further ones are counted nowhere but in `dropped_sets`.
const MAX_SETS: usize = 40_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    fn cells(self) -> u32 {
        if self == Kind::Histogram { HISTOGRAM_CELLS } else { 1 }
    }
}

/// One metric of a set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Def {
    pub name: &'static str,
    pub kind: Kind,
}

/// Where a set of metrics belongs: what is put around the names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Scope {
    /// Before the name in Envoy's own format, `cluster.a.`; empty for metrics it does not have.
    pub prefix: String,
    /// After the name in Envoy's own format.
    pub suffix: String,
    /// Before the name in the Prometheus format.
    pub family: &'static str,
    /// `a="b",c="d"`, escaped.
    pub labels: String,
}

impl Scope {
    pub(crate) fn label(mut self, name: &str, value: &str) -> Self {
        push_label(&mut self.labels, name, value);
        self
    }
}

pub(crate) fn push_label(labels: &mut String, name: &str, value: &str) {
    if !labels.is_empty() {
        labels.push(',');
    }
    // Writing to a String cannot fail.
    let _ = write!(labels, "{name}=\"");
    for c in value.chars() {
        match c {
            '\\' => labels.push_str("\\\\"),
            '"' => labels.push_str("\\\""),
            '\n' => labels.push_str("\\n"),
            c => labels.push(c),
        }
    }
    labels.push('"');
}

#[derive(Debug)]
struct Group {
    scope: Arc<Scope>,
    defs: &'static [Def],
    first: u32,
}

#[derive(Debug)]
struct Groups {
    list: Vec<Group>,
    /// By the name of the first metric of the set, and its scope.
    index: HashMap<(&'static str, Arc<Scope>), u32>,
    next: u32,
    dropped: u64,
}

/// All metrics of one process. Names are looked up under a lock, when configuration changes or a new
/// label set appears; adding takes none.
#[derive(Debug)]
pub struct Registry {
    groups: Mutex<Groups>,
    shards: Mutex<Vec<Arc<Cells>>>,
    /// For what is set when somebody looks.
    own: Mutex<Shard>,
}

impl Default for Registry {
    fn default() -> Self {
        let groups = Groups { list: Vec::new(), index: HashMap::new(), next: 1, dropped: 0 };
        let own = Arc::new(Cells::new());
        let shards = Mutex::new(vec![own.clone()]);
        Self { groups: Mutex::new(groups), shards, own: Mutex::new(Shard::new(own)) }
    }
}

/// A merged metric.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Counter(u64),
    Gauge(i64),
    /// Count per bucket (not cumulated) and the sum.
    Histogram(Vec<u64>, u64),
}

/// A metric with its place, as the printers see it.
pub(crate) struct Sample {
    pub scope: Arc<Scope>,
    pub def: Def,
    pub value: Value,
}

/// A set of metrics whose cells follow each other.
pub(crate) trait Set: Sized {
    const DEFS: &'static [Def];
    fn at(cells: Cursor) -> Self;
}

/// Hands out the cells of a set in the order of its definitions.
pub(crate) struct Cursor {
    next: u32,
}

impl Cursor {
    pub(crate) fn counter(&mut self) -> Counter {
        Counter(self.take(Kind::Counter))
    }

    pub(crate) fn gauge(&mut self) -> Gauge {
        Gauge(self.take(Kind::Gauge))
    }

    pub(crate) fn histogram(&mut self) -> Histogram {
        Histogram(self.take(Kind::Histogram))
    }

    /// Where there is no room, all metrics share the cells from 0 on, which nobody reads.
    fn take(&mut self, kind: Kind) -> u32 {
        let at = self.next;
        if at != 0 {
            self.next += kind.cells();
        }
        at
    }
}

impl Registry {
    /// A new writer. What it counts stays when it is gone.
    pub fn shard(&self) -> Shard {
        let cells = Arc::new(Cells::new());
        lock(&self.shards).push(cells.clone());
        Shard::new(cells)
    }

    /// The cells of a set, the same for the same scope.
    pub(crate) fn set<S: Set>(&self, scope: Scope) -> S {
        let mut groups = lock(&self.groups);
        let key = (S::DEFS[0].name, Arc::new(scope));
        if let Some(&first) = groups.index.get(&key) {
            return S::at(Cursor { next: first });
        }
        let size: u32 = S::DEFS.iter().map(|d| d.kind.cells()).sum();
        if groups.list.len() >= MAX_SETS || MAX_CELLS - groups.next < size {
            groups.dropped += 1;
            return S::at(Cursor { next: 0 });
        }
        // Cell numbers below this bound belong to whatever did not fit.
        let first = groups.next.max(HISTOGRAM_CELLS);
        groups.next = first + size;
        groups.list.push(Group { scope: key.1.clone(), defs: S::DEFS, first });
        groups.index.insert(key, first);
        S::at(Cursor { next: first })
    }

    /// Sets a gauge that no worker writes to.
    pub fn overwrite(&self, gauge: Gauge, value: u64) {
        lock(&self.own).set(gauge, value);
    }

    /// How many sets were refused because there are too many.
    pub fn dropped_sets(&self) -> u64 {
        lock(&self.groups).dropped
    }

    /// The sum of a counter over all shards.
    pub fn total(&self, counter: Counter) -> u64 {
        sum(&lock(&self.shards), counter.0)
    }

    /// The sum of a gauge over all shards.
    pub fn level(&self, gauge: Gauge) -> i64 {
        sum(&lock(&self.shards), gauge.0) as i64
    }

    pub(crate) fn samples(&self) -> Vec<Sample> {
        let shards = lock(&self.shards).clone();
        let groups = lock(&self.groups);
        let mut out = Vec::new();
        for group in &groups.list {
            let mut cell = group.first;
            for &def in group.defs {
                let value = merge(&shards, def.kind, cell);
                cell += def.kind.cells();
                out.push(Sample { scope: group.scope.clone(), def, value });
            }
        }
        out
    }
}

fn merge(shards: &[Arc<Cells>], kind: Kind, cell: u32) -> Value {
    match kind {
        Kind::Counter => Value::Counter(sum(shards, cell)),
        Kind::Gauge => Value::Gauge(sum(shards, cell) as i64),
        Kind::Histogram => {
            let last = cell + HISTOGRAM_CELLS - 1;
            Value::Histogram((cell..last).map(|c| sum(shards, c)).collect(), sum(shards, last))
        }
    }
}

fn sum(shards: &[Arc<Cells>], cell: u32) -> u64 {
    shards.iter().fold(0, |sum: u64, cells| sum.wrapping_add(cells.read(cell)))
}

/// A panic elsewhere leaves the tables whole: they are only ever appended to.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Declares a set of metrics: a struct of cells and their names, in one order.
macro_rules! metrics {
    ($(#[$meta:meta])* $set:ident { $($kind:ident $field:ident = $name:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug)]
        pub struct $set { $(pub $field: metrics!(@type $kind),)* }

        impl crate::registry::Set for $set {
            const DEFS: &'static [crate::registry::Def] = &[
                $(crate::registry::Def { name: $name, kind: metrics!(@kind $kind) },)*
            ];
            fn at(mut cells: crate::registry::Cursor) -> Self {
                Self { $($field: cells.$kind(),)* }
            }
        }
    };
    (@type counter) => { crate::Counter };
    (@type gauge) => { crate::Gauge };
    (@type histogram) => { crate::Histogram };
    (@kind counter) => { crate::registry::Kind::Counter };
    (@kind gauge) => { crate::registry::Kind::Gauge };
    (@kind histogram) => { crate::registry::Kind::Histogram };
}
pub(crate) use metrics;

#[cfg(test)]
mod tests {
    use super::*;

    metrics! { Pair { counter hits = "hits", gauge open = "open", histogram time = "time", } }

    fn scope(name: &str) -> Scope {
        Scope { prefix: format!("{name}."), ..Scope::default() }
    }

    #[test]
    fn shards_add_up() {
        let registry = Registry::default();
        let (one, two) = (registry.shard(), registry.shard());
        let set: Pair = registry.set(scope("a"));
        let same: Pair = registry.set(scope("a"));
        let other: Pair = registry.set(scope("b"));
        one.add(set.hits, 5);
        two.inc(same.hits);
        two.inc(other.hits);
        one.up(set.open);
        two.down(set.open);
        two.up(set.open);
        one.observe(set.time, 7);
        two.observe(set.time, 4_000_000);
        assert_eq!((registry.total(set.hits), registry.total(other.hits)), (6, 1));
        assert_eq!(registry.level(set.open), 1);
        drop(one);
        let time = registry.samples().remove(2).value;
        let Value::Histogram(buckets, sum) = time else { panic!("{time:?}") };
        assert_eq!((buckets[3], buckets[19], sum), (1, 1, 4_000_007));
    }

    #[test]
    fn a_flood_of_label_sets_is_bounded_and_harms_no_other() {
        let registry = Registry::default();
        let shard = registry.shard();
        let first: Pair = registry.set(scope("first"));
        for i in 0..MAX_SETS + 10 {
            let set: Pair = registry.set(scope(&i.to_string()));
            shard.inc(set.hits);
            shard.observe(set.time, 3);
        }
        assert_eq!(registry.dropped_sets(), 11);
        assert_eq!(registry.total(first.hits), 0);
        assert_eq!(registry.samples().len(), MAX_SETS * 3);
    }
}
