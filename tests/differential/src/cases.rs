//! Configurations with the requests that try them, made from a seed.

mod access;
mod authz;
mod balancing;
mod coding;
mod crossing;
mod decisive;
mod filters;
pub mod jwt;
mod local_reply;
mod managers;
mod matching;
mod protocol;
mod rates;
mod resilience;
mod rewriting;
mod second;

use crate::client::Request;
use crate::dice::Dice;
use serde_json::{Value, json};

pub use decisive::FIELDS;

/// One listener, and what is sent to it.
#[derive(Clone, Debug)]
pub struct Case {
    pub name: String,
    /// Put over the default HTTP connection manager.
    pub manager: Value,
    /// The route configuration.
    pub routes: Value,
    pub clusters: Vec<Value>,
    /// HTTP filters before the router.
    pub filters: Vec<Value>,
    pub requests: Vec<Request>,
    pub choice: Choice,
    /// Arrivals at upstreams that each request leads to at least; more than one with mirrors.
    pub least_arrivals: usize,
}

/// Whether the upstream of each request follows from the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    Certain,
    /// Endpoints take turns, but nobody knows who is first.
    InTurn,
}

impl Case {
    fn new(name: &str, virtual_hosts: Vec<Value>, requests: Vec<Request>) -> Self {
        Self {
            name: name.into(),
            manager: json!({}),
            routes: json!({ "virtual_hosts": virtual_hosts }),
            clusters: Vec::new(),
            filters: Vec::new(),
            requests,
            choice: Choice::Certain,
            least_arrivals: 0,
        }
    }

    fn manager(mut self, manager: Value) -> Self {
        self.manager = manager;
        self
    }

    fn cluster(mut self, cluster: Value) -> Self {
        self.clusters.push(cluster);
        self
    }

    /// Routes may name clusters that do not exist.
    fn unvalidated(mut self) -> Self {
        self.routes["validate_clusters"] = false.into();
        self
    }

    fn filter(mut self, filter: Value) -> Self {
        self.filters.push(filter);
        self
    }
}

/// All cases of a seed.
pub fn all(seed: u64) -> Vec<Case> {
    let dice = Dice::seeded(seed);
    let mut cases = Vec::new();
    cases.extend(matching::cases(&dice));
    cases.extend(rewriting::cases(&dice));
    cases.extend(resilience::cases(&dice));
    cases.extend(managers::cases(&dice));
    cases.extend(protocol::cases(&dice));
    cases.extend(balancing::cases(&dice));
    cases.extend(rates::cases());
    cases.extend(filters::cases());
    cases.extend(coding::cases());
    cases.extend(authz::cases());
    cases.extend(jwt::cases());
    cases.extend(local_reply::cases());
    cases.extend(access::cases(&Dice::of(seed, 0)));
    cases.extend(second::cases(&dice));
    cases.extend(crossing::cases());
    cases
}

/// What is about access alone, at large.
pub fn decisions(seed: u64) -> Vec<Case> {
    let mut cases = decisive::cases(&Dice::of(seed, 0));
    cases.extend(access::cases(&Dice::of(seed, 1)));
    cases
}

/// A case of its own: everything to `cluster`, with `extra` in the route action; `nowhere` is no route.
pub fn single(name: &str, cluster: &str, extra: Value, requests: Vec<Request>) -> Case {
    let routes = if cluster == "nowhere" { vec![] } else { vec![all_to(cluster, extra)] };
    Case::new(name, any_host(routes), requests)
}

/// A virtual host for all hosts.
fn any_host(routes: Vec<Value>) -> Vec<Value> {
    vec![host("any", &["*"], routes)]
}

fn host(name: &str, domains: &[&str], routes: Vec<Value>) -> Value {
    json!({ "name": name, "domains": domains, "routes": routes })
}

fn route(matches: Value, action: Value) -> Value {
    json!({ "match": matches, "route": action })
}

/// Everything goes to `cluster`, with `extra` in the route action.
fn all_to(cluster: &str, extra: Value) -> Value {
    let mut action = json!({ "cluster": cluster });
    crate::bootstrap::merge(&mut action, extra);
    route(json!({ "prefix": "/" }), action)
}

fn to(cluster: &str) -> Value {
    json!({ "cluster": cluster })
}

/// An answer that names the route that was chosen.
fn says(matches: Value, what: &str) -> Value {
    json!({ "match": matches, "direct_response": { "status": 200, "body": { "inline_string": what } } })
}

fn gets(paths: &[&str]) -> Vec<Request> {
    paths.iter().map(|p| Request::get(*p)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn there_are_enough_and_the_seed_decides() {
        let cases = all(1);
        assert!(cases.len() >= 60, "{} configurations", cases.len());
        let requests: usize = cases.iter().map(|c| c.requests.len()).sum();
        assert!(requests >= 600, "{requests} requests");
        let names: BTreeSet<_> = cases.iter().map(|c| &c.name).collect();
        assert_eq!(names.len(), cases.len(), "names are unique");
        let shown = |seed| format!("{:?}", all(seed));
        assert!(shown(1) == shown(1), "one seed makes the same cases each time");
        assert!(shown(1) != shown(2), "another makes others");
    }
}
