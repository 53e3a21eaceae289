//! Which rules the requests of tests have reached: matches of VirtualServices, subsets of DestinationRules.

use crate::Explanation;
use base::{ObjectRef, Origin};
use registry::Snapshot;
use std::collections::BTreeMap;

/// How many tests reach each rule.
#[derive(Clone, Debug, Default)]
pub struct Coverage(BTreeMap<(ObjectRef, String), usize>);

impl Coverage {
    /// All rules there are, reached by none.
    pub fn of(world: &Snapshot) -> Coverage {
        let mut coverage = Coverage::default();
        for item in world.virtual_services.iter() {
            let http = item.spec.http.iter().map(|r| r.r#match.len());
            coverage.rules(&item.object, "http", http);
            coverage.rules(&item.object, "tls", item.spec.tls.iter().map(|r| r.r#match.len()));
            coverage.rules(&item.object, "tcp", item.spec.tcp.iter().map(|r| r.r#match.len()));
        }
        for (_, object, index) in world.destination_rules.iter().flat_map(|r| &r.subsets) {
            coverage.0.insert((object.clone(), format!("spec.subsets[{index}]")), 0);
        }
        coverage
    }

    /// A rule without matches is one by itself.
    fn rules(&mut self, object: &ObjectRef, list: &str, matches: impl Iterator<Item = usize>) {
        for (index, matches) in matches.enumerate() {
            let rule = format!("spec.{list}[{index}]");
            if matches == 0 {
                self.0.insert((object.clone(), rule.clone()), 0);
            }
            for at in 0..matches {
                self.0.insert((object.clone(), format!("{rule}.match[{at}]")), 0);
            }
        }
    }

    /// Counts what one request has reached.
    pub fn note(&mut self, told: &Explanation) {
        let route = told.route.as_ref().or(told.chain.as_ref()).and_then(|n| n.origin.as_ref());
        let picks = told.verdict.picks();
        let defined = picks.iter().filter_map(|p| p.defined.as_ref());
        let mut reached: Vec<&Origin> = route.into_iter().chain(defined).collect();
        reached.dedup();
        for origin in reached {
            self.count(origin);
        }
    }

    /// A match that a delegate inherits stands nowhere in the delegate; then its whole rule is reached.
    fn count(&mut self, origin: &Origin) {
        let rule = origin.path.split(".match").next().unwrap_or_default();
        for path in [origin.path.as_str(), rule] {
            if let Some(count) = self.0.get_mut(&(origin.object.clone(), path.to_owned())) {
                *count += 1;
                return;
            }
        }
    }

    pub fn total(&self) -> usize {
        self.0.len()
    }

    pub fn reached(&self) -> usize {
        self.0.values().filter(|n| **n > 0).count()
    }

    /// Of a hundred; all of nothing.
    pub fn percent(&self) -> f64 {
        match self.total() {
            0 => 100.0,
            total => 100.0 * self.reached() as f64 / total as f64,
        }
    }

    /// Each rule, and how many tests reach it.
    pub fn rules_reached(&self) -> impl Iterator<Item = (Origin, usize)> {
        self.0.iter().map(|((object, path), count)| {
            (Origin { object: object.clone(), path: path.clone(), line: None }, *count)
        })
    }

    /// Adds what other tests have reached of the same or other rules.
    pub fn add(&mut self, other: Coverage) {
        for (rule, count) in other.0 {
            *self.0.entry(rule).or_default() += count;
        }
    }
}
