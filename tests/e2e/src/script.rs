//! The changes that the flip test makes, round after round, each with the mark that its answers bear.

use crate::flips::Mark;
use serde_json::{Value, json};

pub const RULE: &str = "/apis/networking.istio.io/v1/namespaces/default/virtualservices/echo";
pub const SUBSETS: &str = "/apis/networking.istio.io/v1/namespaces/default/destinationrules/echo";

/// The response header in which a rule says its number.
pub const HEADER: &str = "x-flip";

/// One write to the API.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    Apply(&'static str, Value),
    Delete(&'static str),
}

/// Writes that belong together, in the order in which they come, and what then rules.
#[derive(Clone, Debug)]
pub struct Flip {
    pub writes: Vec<Write>,
    pub mark: Mark,
    /// Between the first write and the last there is no rule.
    pub gap: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Rules before their subsets, subsets pulled from under their rules, rules deleted in use.
    Adversarial,
    /// What is new comes before what uses it, what is old goes after.
    MakeBeforeBreak,
}

/// Writes rounds of ten flips.
#[derive(Debug, Default)]
pub struct Script {
    number: u32,
}

const BOTH: &[(&str, &str)] = &[("v1", "v1"), ("v2", "v2")];
const CROSSED: &[(&str, &str)] = &[("v1", "v2"), ("v2", "v1")];
const COLOURS: &[(&str, &str)] = &[("blue", "v1"), ("green", "v2")];
const ALL: &[(&str, &str)] = &[("v1", "v1"), ("v2", "v2"), ("blue", "v1"), ("green", "v2")];

impl Script {
    /// Where every round begins and ends.
    pub fn begin(&mut self) -> Flip {
        flip(vec![subsets(BOTH), self.route("v1")], self.mark("v1"))
    }

    pub fn round(&mut self, order: Order) -> Vec<Flip> {
        let mut flips = vec![
            flip(vec![self.route("v2")], self.mark("v2")),
            flip(vec![subsets(CROSSED)], self.mark("v1")),
            flip(vec![self.route("v1")], self.mark("v2")),
        ];
        flips.extend(match order {
            Order::Adversarial => self.adversarial(),
            Order::MakeBeforeBreak => self.make_before_break(),
        });
        flips
    }

    fn adversarial(&mut self) -> Vec<Flip> {
        let gone = || Write::Delete(RULE);
        vec![
            // Subsets in use, deleted and made anew.
            flip(vec![Write::Delete(SUBSETS), subsets(BOTH)], self.mark("v1")),
            // The rule first, its subset after it.
            flip(vec![self.route("green"), subsets(COLOURS)], self.mark("v2")),
            flip(vec![self.route("blue")], self.mark("v1")),
            // Renamed under the rule that uses them.
            flip(vec![subsets(BOTH), self.route("v2")], self.mark("v2")),
            // The rule in use, deleted and made anew; then both.
            Flip { gap: true, ..flip(vec![gone(), self.route("v1")], self.mark("v1")) },
            Flip {
                gap: true,
                ..flip(
                    vec![gone(), Write::Delete(SUBSETS), self.route("v2"), subsets(BOTH)],
                    self.mark("v2"),
                )
            },
            flip(vec![self.route("v1")], self.mark("v1")),
        ]
    }

    fn make_before_break(&mut self) -> Vec<Flip> {
        vec![
            flip(vec![subsets(BOTH)], self.mark("v1")),
            flip(vec![subsets(ALL), self.route("green")], self.mark("v2")),
            flip(vec![self.route("blue")], self.mark("v1")),
            flip(vec![self.route("green")], self.mark("v2")),
            flip(vec![subsets(COLOURS), self.route("blue")], self.mark("v1")),
            flip(vec![subsets(ALL), self.route("v2")], self.mark("v2")),
            flip(vec![self.route("v1"), subsets(BOTH)], self.mark("v1")),
        ]
    }

    fn mark(&self, version: &str) -> Mark {
        Mark::Rule(self.number, version.to_owned())
    }

    /// The next rule: everything to one subset, from the mesh and from the gateway, where gRPC has a
    /// port of its own.
    fn route(&mut self, subset: &str) -> Write {
        self.number += 1;
        let headers = json!({"response": {"set": {HEADER: self.number.to_string()}}});
        let to = |port: Option<u32>| {
            let mut destination = json!({"host": "echo", "subset": subset});
            if let Some(port) = port {
                destination["port"] = json!({"number": port});
            }
            json!([{"destination": destination}])
        };
        let grpc = json!({"content-type": {"prefix": "application/grpc"}});
        let spec = json!({
            "hosts": ["echo.example", "echo"],
            "gateways": ["echo", "mesh"],
            "http": [
                {"match": [{"gateways": ["echo"], "headers": grpc}], "route": to(Some(8079)), "headers": headers},
                {"match": [{"gateways": ["echo"]}], "route": to(Some(8080)), "headers": headers},
                {"match": [{"gateways": ["mesh"], "port": 8080}, {"gateways": ["mesh"], "port": 8079}],
                    "route": to(None), "headers": headers}]});
        object(RULE, "VirtualService", &spec)
    }
}

fn flip(writes: Vec<Write>, mark: Mark) -> Flip {
    Flip { writes, mark, gap: false }
}

fn subsets(list: &[(&str, &str)]) -> Write {
    let subset =
        |(name, version): &(&str, &str)| json!({"name": name, "labels": {"version": version}});
    let subsets: Vec<Value> = list.iter().map(subset).collect();
    object(SUBSETS, "DestinationRule", &json!({"host": "echo", "subsets": subsets}))
}

fn object(path: &'static str, kind: &str, spec: &Value) -> Write {
    let object = json!({"apiVersion": "networking.istio.io/v1", "kind": kind,
        "metadata": {"name": "echo", "namespace": "default"}, "spec": spec});
    Write::Apply(path, object)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// Were two states of a round alike, an answer of one would be taken for the other's.
    #[test]
    fn every_flip_has_a_mark_of_its_own() {
        for order in [Order::Adversarial, Order::MakeBeforeBreak] {
            let mut script = Script::default();
            let mut marks = vec![script.begin().mark];
            for _ in 0..3 {
                let round = script.round(order);
                assert_eq!(round.len(), 10);
                marks.extend(round.into_iter().map(|f| f.mark));
            }
            let different: HashSet<&Mark> = marks.iter().collect();
            assert_eq!(different.len(), marks.len(), "{order:?}: {marks:?}");
        }
    }
}
