//! The client's side of discovery, without its I/O: what to ask for, what to answer, and which
//! configuration to run ([`Assembler`]). A new stream takes up where the last one ended: it says which
//! versions are held and is told only what changed.

mod assembler;

pub use assembler::{Assembler, Missing};

use crate::bootstrap::Node;
use crate::codec::{self, kind_of, type_url_of};
use crate::message::{Msg, Val, struct_of, write_wire};
use crate::schema;
use crate::server::Dialect;
use base::{Finding, Instant};
use ir::{Config, Kind, ResourceKey, Str};
use prost::Message;
use proto::discovery as pb;
use std::collections::{BTreeSet, HashMap};

/// `google.rpc.Code.INVALID_ARGUMENT`, which says that a response was refused.
const INVALID_ARGUMENT: i32 = 3;

/// One discovery client over however many streams.
#[derive(Debug)]
pub struct Session {
    dialect: Dialect,
    node: pb::Node,
    assembler: Assembler,
    /// What this stream was asked for, by kind; absent before the first request of a stream.
    asked: HashMap<Kind, BTreeSet<Str>>,
    nonces: HashMap<Kind, (String, String)>,
    /// Of `WILDCARDS`, what is asked for.
    asks: &'static [Kind],
    /// The node goes with the first request of a stream.
    node_sent: bool,
    findings: Vec<Finding>,
}

/// What to send: the same in both dialects.
#[derive(Clone, Debug, PartialEq)]
pub enum Outgoing {
    Delta(pb::DeltaDiscoveryRequest),
    Whole(pb::DiscoveryRequest),
}

/// Envoy waits for CDS before it asks for the rest; all of these are asked for at once here.
const WILDCARDS: [Kind; 3] = [Kind::Cluster, Kind::Listener, Kind::Names];
/// What a data plane runs.
pub const CONFIGURATION: &[Kind] = &[Kind::Cluster, Kind::Listener];
/// Where DNS is answered, too.
pub const CONFIGURATION_AND_NAMES: &[Kind] = &WILDCARDS;
/// Where only DNS is answered.
pub const NAMES: &[Kind] = &[Kind::Names];
/// Asked for by name, as others refer to them.
const NAMED: [Kind; 3] = [Kind::Endpoints, Kind::Route, Kind::Secret];

impl Session {
    pub fn new(dialect: Dialect, node: &Node, assembler: Assembler) -> Self {
        Self {
            dialect,
            node: node_message(node),
            assembler,
            asked: HashMap::new(),
            nonces: HashMap::new(),
            asks: CONFIGURATION,
            node_sent: false,
            findings: Vec::new(),
        }
    }

    /// Asks for these, instead of a configuration alone.
    pub fn asking_for(self, asks: &'static [Kind]) -> Self {
        Self { asks, ..self }
    }

    /// The first requests of a new stream.
    pub fn connect(&mut self) -> Vec<Outgoing> {
        self.asked.clear();
        self.nonces.clear();
        self.node_sent = false;
        let mut out = Vec::new();
        for kind in self.asks.iter().copied() {
            self.asked.insert(kind, BTreeSet::new());
            out.push(self.request(kind, Vec::new(), Vec::new(), self.holds(kind)));
        }
        out.extend(self.subscriptions());
        out
    }

    /// Takes a response; what comes back is to be sent in this order.
    pub fn receive_delta(
        &mut self,
        response: pb::DeltaDiscoveryResponse,
        now: Instant,
    ) -> Vec<Outgoing> {
        let Some(kind) = kind_of(&response.type_url) else { return Vec::new() };
        let mut refusals = Vec::new();
        for resource in response.resources {
            let any = resource.resource.unwrap_or_default();
            self.accept(kind, Some(resource.name), resource.version, &any, now, &mut refusals);
        }
        for name in response.removed_resources {
            self.assembler.remove(ResourceKey::new(kind, name), now);
        }
        self.answer(kind, response.nonce, String::new(), refusals, now)
    }

    /// As [`Self::receive_delta`], for a response that holds all there is of clusters or listeners.
    pub fn receive_whole(
        &mut self,
        response: pb::DiscoveryResponse,
        now: Instant,
    ) -> Vec<Outgoing> {
        let Some(kind) = kind_of(&response.type_url) else { return Vec::new() };
        let mut refusals = Vec::new();
        let mut there = BTreeSet::new();
        for any in &response.resources {
            let version = response.version_info.clone();
            there.extend(self.accept(kind, None, version, any, now, &mut refusals));
        }
        if WILDCARDS.contains(&kind) && refusals.is_empty() {
            for key in self
                .assembler
                .dynamic(kind)
                .filter(|k| !there.contains(&k.name))
                .collect::<Vec<_>>()
            {
                self.assembler.remove(key, now);
            }
        }
        self.answer(kind, response.nonce, response.version_info, refusals, now)
    }

    /// Hands a good resource on; says why a bad one is refused. Gives its name.
    fn accept(
        &mut self,
        kind: Kind,
        name: Option<String>,
        version: String,
        any: &pb::Any,
        now: Instant,
        refusals: &mut Vec<String>,
    ) -> Option<Str> {
        if kind_of(&any.type_url) != Some(kind) {
            let name = name.unwrap_or_default();
            refusals
                .push(format!("{name:?}: is of type {} in a response of {kind:?}", any.type_url));
            return None;
        }
        match codec::decode(&any.type_url, &any.value) {
            Err(refusal) => {
                refusals.push(refusal.to_string());
                self.findings.extend(refusal.findings);
                None
            }
            Ok((resource, findings)) => {
                let key = resource.key();
                let named = kind != Kind::Names;
                if named && name.as_ref().is_some_and(|n| **n != *key.name) {
                    refusals.push(format!(
                        "{:?}: calls itself {:?}",
                        name.unwrap_or_default(),
                        key.name
                    ));
                    return None;
                }
                self.findings.extend(findings);
                let asked = self.asked.get(&kind).is_some_and(|names| names.contains(&key.name));
                // What is no longer asked for may still be under way.
                if asked || WILDCARDS.contains(&kind) {
                    self.assembler.accept(resource, &version, now);
                }
                Some(key.name)
            }
        }
    }

    fn answer(
        &mut self,
        kind: Kind,
        nonce: String,
        version: String,
        refusals: Vec<String>,
        now: Instant,
    ) -> Vec<Outgoing> {
        self.assembler.settle(now);
        // New subscriptions go before the acknowledgement: a server that holds routes back until their
        // clusters have endpoints can see what is still to come.
        let mut out = self.subscriptions();
        if !out.is_empty() {
            // What is no longer asked for is no longer there.
            self.assembler.settle(now);
        }
        let accepted = refusals.is_empty();
        let error = (!accepted)
            .then(|| pb::Status { code: INVALID_ARGUMENT, message: refusals.join("\n") });
        let last = self.nonces.entry(kind).or_default();
        last.0.clone_from(&nonce);
        if accepted {
            last.1 = version;
        }
        let mut ack = self.request(kind, Vec::new(), Vec::new(), HashMap::new());
        match &mut ack {
            Outgoing::Delta(r) => (r.response_nonce, r.error_detail) = (nonce, error),
            Outgoing::Whole(r) => (r.response_nonce, r.error_detail) = (nonce, error),
        }
        out.push(ack);
        out
    }

    /// Requests for what is referred to and not asked for, and for what is no longer referred to.
    fn subscriptions(&mut self) -> Vec<Outgoing> {
        let mut out = Vec::new();
        for kind in NAMED {
            let wanted = self.assembler.wanted(kind);
            let asked = self.asked.get(&kind);
            let first = asked.is_none();
            let before = asked.cloned().unwrap_or_default();
            if wanted == before {
                continue;
            }
            let new: Vec<Str> = wanted.difference(&before).cloned().collect();
            let old: Vec<Str> = before.difference(&wanted).cloned().collect();
            for name in &old {
                self.assembler.forget(&ResourceKey::new(kind, name.clone()));
            }
            let mut holds = HashMap::new();
            if first {
                holds = self.holds(kind);
                holds.retain(|name, _| wanted.contains(&**name));
            }
            self.asked.insert(kind, wanted);
            out.push(self.request(kind, new, old, holds));
        }
        out
    }

    fn holds(&self, kind: Kind) -> HashMap<String, String> {
        self.assembler.versions(kind).collect()
    }

    fn request(
        &mut self,
        kind: Kind,
        subscribe: Vec<Str>,
        unsubscribe: Vec<Str>,
        holds: HashMap<String, String>,
    ) -> Outgoing {
        let node = (!std::mem::replace(&mut self.node_sent, true)).then(|| self.node.clone());
        let texts = |names: &[Str]| names.iter().map(Str::to_string).collect();
        let type_url = type_url_of(kind);
        match self.dialect {
            Dialect::Delta => Outgoing::Delta(pb::DeltaDiscoveryRequest {
                node,
                type_url,
                resource_names_subscribe: texts(&subscribe),
                resource_names_unsubscribe: texts(&unsubscribe),
                initial_resource_versions: holds,
                ..Default::default()
            }),
            Dialect::StateOfTheWorld => {
                let (nonce, version) = self.nonces.get(&kind).cloned().unwrap_or_default();
                let names = self.asked.get(&kind).map(|n| n.iter().map(Str::to_string).collect());
                Outgoing::Whole(pb::DiscoveryRequest {
                    version_info: version,
                    node,
                    resource_names: names.unwrap_or_default(),
                    type_url,
                    response_nonce: nonce,
                    error_detail: None,
                })
            }
        }
    }

    /// When [`Self::tick`] has something to do, if nothing arrives before.
    pub fn deadline(&self) -> Option<Instant> {
        self.assembler.deadline()
    }

    /// Gives up waiting for what is overdue.
    pub fn tick(&mut self, now: Instant) {
        self.assembler.settle(now);
    }

    /// The configuration to run, if it is another one than before.
    pub fn take_config(&mut self) -> Option<Config> {
        self.assembler.take_config()
    }

    /// What refers to something that has not come.
    pub fn missing(&self) -> Vec<Missing> {
        self.assembler.missing()
    }

    /// Clusters and listeners have arrived, and all that they refer to or the wait for it is over.
    pub fn is_complete(&self) -> bool {
        self.nonces.contains_key(&Kind::Cluster)
            && self.nonces.contains_key(&Kind::Listener)
            && self.assembler.is_settled()
    }

    /// What was said about resources since the last call.
    pub fn take_findings(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.findings)
    }
}

/// Who asks, as a message.
fn node_message(node: &Node) -> pb::Node {
    let msg = Msg::new(&schema::NODE)
        .set("id", &node.id)
        .set("cluster", &node.cluster)
        .set("metadata", Val::Struct(struct_of(&node.metadata)))
        .set("locality", codec::endpoint::write_locality(&node.locality));
    // Our own bytes under Envoy's definition: they are always readable.
    pb::Node::decode(write_wire(&msg)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
