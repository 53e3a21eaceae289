//! Filter chains of one listener must not overlap: Envoy refuses the whole listener where two chains
//! could take one connection. The first keeps what they share.

use crate::build::Build;
use base::{Finding, OriginId};
use ir::{ChainMatch, FilterChain, Str};
use std::collections::HashSet;

/// One combination of single values that a chain takes; an empty list stands for any value.
type Point = (Option<u16>, Option<ir::Cidr>, Str, Str, Str);

/// Takes from each chain the server names that one before it has, and drops the chains that nothing is
/// left of; their authors are told.
pub(crate) fn without_overlaps(b: &mut Build<'_>, chains: Vec<FilterChain>) -> Vec<FilterChain> {
    let mut taken: HashSet<Point> = HashSet::new();
    let mut out = Vec::with_capacity(chains.len());
    for mut chain in chains {
        let any = chain.matches.server_names.is_empty();
        let names = if any { vec!["".into()] } else { chain.matches.server_names.clone() };
        let is_free = |name: &Str| points(&chain.matches, name).all(|p| !taken.contains(&p));
        let free: Vec<Str> = names.iter().filter(|n| is_free(n)).cloned().collect();
        if free.len() < names.len() {
            tell(b, chain.origin);
        }
        if free.is_empty() {
            continue;
        }
        taken.extend(free.iter().flat_map(|n| points(&chain.matches, n)).collect::<Vec<_>>());
        if !any {
            chain.matches.server_names = free;
        }
        out.push(chain);
    }
    out
}

fn points(m: &ChainMatch, name: &Str) -> impl Iterator<Item = Point> {
    let ranges: Vec<Option<ir::Cidr>> = match m.destination_ranges.as_slice() {
        [] => vec![None],
        ranges => ranges.iter().copied().map(Some).collect(),
    };
    let protocols: Vec<Str> = match m.application_protocols.as_slice() {
        [] => vec!["".into()],
        protocols => protocols.to_vec(),
    };
    let (port, name, transport) = (m.destination_port, name.clone(), m.transport_protocol.clone());
    ranges.into_iter().flat_map(move |range| {
        let rest = (name.clone(), transport.clone());
        protocols.clone().into_iter().map(move |p| {
            let (name, transport) = rest.clone();
            (port, range, name, transport, p)
        })
    })
}

fn tell(b: &mut Build<'_>, origin: OriginId) {
    if let Some(origin) = b.origins.get(origin).cloned() {
        let say = "another rule before it takes the same connections; it has no effect for them";
        b.say(&origin.object, Finding::warning(origin.path, say));
    }
}
