//! AUTO_PASSTHROUGH: connections of the mesh that name their destination by server name
//! (`outbound_.PORT_.SUBSET_.HOST`) go on to it as they are, still encrypted.
//!
//! Nobody else comes in this way: a chain takes only what offers the mesh's own application protocols,
//! and only endpoints whose sidecars end mutual TLS are reached.

use super::servers::Bound;
use super::tcp_chain;
use crate::build::Build;
use crate::cluster::{self, Clusters};
use crate::names;
use crate::scope::{Scope, rule_of};
use api::Protocol;
use ir::{ChainMatch, FilterChain, Str, TcpDestination};
use registry::Service;
use std::sync::Arc;

/// What sidecars offer each other.
const OF_THE_MESH: [&str; 5] =
    ["istio-peer-exchange", "istio", "istio-http/1.0", "istio-http/1.1", "istio-h2"];

/// One for each port and subset of each service that the server's hosts take in.
pub(super) fn chains(b: &mut Build<'_>, scope: &Scope, bound: &Bound) -> Vec<FilterChain> {
    let mut chains = Vec::new();
    for name in services(scope, bound).flat_map(|s| server_names(b, s)).collect::<Vec<_>>() {
        let mut chain = tcp_chain(b, TcpDestination::Cluster(name.clone()), bound.origin);
        chain.matches = ChainMatch {
            server_names: vec![name],
            application_protocols: OF_THE_MESH.map(Str::from).into(),
            transport_protocol: "tls".into(),
            ..ChainMatch::default()
        };
        chains.push(chain);
    }
    chains
}

/// The clusters that those chains lead to.
pub(super) fn clusters(b: &mut Build<'_>, scope: &Scope, bound: &Bound, into: &mut Clusters) {
    for service in services(scope, bound) {
        cluster::passed_on(b, service, into);
    }
}

/// What lies outside the mesh has no sidecar to pass anything on to, nor have names of which nobody
/// knows who answers to them.
fn services<'a>(scope: &'a Scope, bound: &'a Bound) -> impl Iterator<Item = &'a Arc<Service>> {
    let taken = |s: &&Arc<Service>| {
        !s.external
            && cluster::can_be_passed_on(s)
            && bound.hosts.iter().any(|h| h.host.covers(&s.host))
    };
    scope.services().filter(taken)
}

fn server_names(b: &Build<'_>, service: &Service) -> Vec<Str> {
    let rule = rule_of(b.world, b.proxy, service);
    let subsets = rule.iter().flat_map(|r| &r.subsets).map(|(s, _, _)| s.name.as_str());
    let subsets: Vec<&str> = std::iter::once("").chain(subsets).collect();
    let mut all = Vec::new();
    for port in service.ports.iter().filter(|p| p.protocol != Protocol::Udp) {
        let name = |subset: &&str| names::server_name(port.number, subset, service.host.as_str());
        all.extend(subsets.iter().map(name));
    }
    all
}
