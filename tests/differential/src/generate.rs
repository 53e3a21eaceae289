//! Configurations made of Istio's objects from a seed, and requests that aim at them: hits, near
//! misses and edges of what each object says.
//!
//! `stage` is the ground that each stands on (services, endpoints, names), `virtual_service`,
//! `destination_rule`, `layer4`, `entry` and `gateway` make objects together with their requests,
//! `render` compiles them and makes one bootstrap of many, `side_by_side` runs it through Envoy and
//! through ours, `coverage` tells which fields of the API occur.

pub mod certificates;
mod condition;
pub mod coverage;
mod destination_rule;
mod draft;
mod edges;
mod entry;
mod extras;
mod gateway;
mod ground;
mod known;
mod layer4;
pub mod render;
mod route;
pub mod side_by_side;
mod stage;
mod text;
mod virtual_service;

pub use stage::{Net, Node, UPSTREAM_PORT};

use crate::client::Request;
use crate::dice::Dice;
use serde_json::Value;
use stage::Stage;

/// What one proxy is given, and what is sent to it.
#[derive(Clone, Debug)]
pub struct Config {
    pub name: String,
    pub node: Node,
    pub objects: Vec<Value>,
    pub asks: Vec<Ask>,
}

/// One request, and by which way it comes.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Last octet of the address that the proxy listens on.
    pub host: u8,
    pub port: u16,
    /// Last octet of the client's address.
    pub client: u8,
    /// The server name of TLS; without it, plaintext.
    pub sni: Option<String>,
    pub request: Request,
}

impl std::fmt::Display for Ask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tls = self.sni.as_ref().map(|sni| format!(" by TLS for {sni:?}")).unwrap_or_default();
        write!(f, "from .{} to .{}:{}{tls}: {}", self.client, self.host, self.port, self.request)
    }
}

/// How many configurations the suite has.
pub const COUNT: usize = 320;

/// The configuration of a seed with this number; it depends on nothing else.
pub fn config(seed: u64, index: usize, net: Net) -> Config {
    let dice = Dice::of(seed, index);
    let stage = Stage::new(index, net);
    let mut config = match index % 16 {
        0..=7 => virtual_service::config(&dice, stage, index),
        8..=11 => destination_rule::config(&dice, stage),
        12 | 13 => layer4::config(&dice, stage),
        14 => entry::config(&dice, stage),
        _ => gateway::config(&dice, stage),
    };
    edges::fill(&dice, &mut config);
    config
}
