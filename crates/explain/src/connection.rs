//! Where a connection comes in: the listener of its destination, and the filter chain that takes it.

use crate::destination::Reached;
use crate::place::{Explainer, Side};
use crate::{Asked, Explanation, Fact, Skipped, Verdict};
use ir::{Address, CertificateSource, Direction, FilterChain, Listener, SecretRef};
use policy::chain::{self, Seen, Spoken};
use std::net::SocketAddr;
use std::sync::Arc;
use wire::detect::Protocol;

/// A connection that a chain has taken.
pub(crate) struct Arrived<'a> {
    pub chain: &'a FilterChain,
    pub source: SocketAddr,
    pub destination: SocketAddr,
    /// The proxy ends the client's TLS.
    pub decrypted: bool,
    /// That is the mesh's own, begun by the client's proxy.
    pub mutual: bool,
}

/// `None`: it is closed, and the verdict says why.
pub(crate) fn arrive<'a>(
    explainer: &'a Explainer<'_>,
    asked: &Asked,
    reached: &Reached,
    told: &mut Explanation,
) -> Option<Arrived<'a>> {
    let listener = listener(explainer, reached.address)?;
    told.listener = explainer.node(&*listener.name, listener.origin);
    let source = SocketAddr::new(explainer.source(), 40_000);
    let at = At { listener, source, destination: reached.address };
    // A server is mostly called by proxies, which begin mutual TLS where it is taken.
    let of_mesh = match explainer.side {
        Side::Server(_) => asked.by_a_proxy().filter(|hello| at.ends_mutual_tls(hello)),
        Side::Client(_) | Side::Gateway(_) => None,
    };
    let mutual = of_mesh.is_some();
    let shown = of_mesh.unwrap_or_else(|| asked.protocol());
    let chosen = at.chain(&shown);
    told.chains = at.seen(&shown, |seen| passed_over(explainer, listener, chosen, seen));
    let Some(chain) = chosen.or(listener.default_chain.as_ref()) else {
        let why = "no filter chain takes the connection: it is reset (filter_chain_not_found)";
        told.verdict = Verdict::Closed { why: why.into() };
        return None;
    };
    told.chain = Some(explainer.node(name(chain), chain.origin));
    let is_tls = matches!(shown, Protocol::Tls(_));
    if chain.tls.is_some() && !is_tls {
        let why = "the filter chain expects TLS, and the client speaks plaintext";
        told.verdict = Verdict::Closed { why: why.into() };
        return None;
    }
    let decrypted = chain.tls.is_some();
    let http = matches!(chain.terminal, ir::Terminal::Http(_));
    if mutual {
        let origin = explainer.origin(chain.origin);
        let value = "mutual TLS of the mesh ends here".to_owned();
        told.facts.push(Fact { name: "tls", value, origin });
    }
    if http && !decrypted && shown != Protocol::Http11 {
        let what = if is_tls { "TLS" } else { "no HTTP" };
        let why = format!("the filter chain expects plain HTTP, and the client speaks {what}");
        told.verdict = Verdict::Closed { why };
        return None;
    }
    Some(Arrived { chain, source, destination: reached.address, decrypted, mutual })
}

/// A connection that comes to a listener.
struct At<'a> {
    listener: &'a Listener,
    source: SocketAddr,
    destination: SocketAddr,
}

impl<'a> At<'a> {
    fn seen<T>(&self, shown: &Protocol, look: impl FnOnce(&Seen<'_>) -> T) -> T {
        let detected = detected(self.listener, shown, self.destination.port());
        let spoken = Spoken::of(detected.as_ref());
        look(&Seen {
            destination: self.destination,
            source: self.source,
            direct_source: self.source.ip(),
            server_name: spoken.server_name,
            transport: spoken.transport,
            protocols: &spoken.protocols,
        })
    }

    fn chain(&self, shown: &Protocol) -> Option<&'a FilterChain> {
        let chains = &self.listener.chains;
        self.seen(shown, |seen| chain::choose(chains, seen)).map(|i| &chains[i])
    }

    /// By the workload's own certificate.
    fn ends_mutual_tls(&self, hello: &Protocol) -> bool {
        let own = CertificateSource::Sds(SecretRef::of_agent("default"));
        let tls = self.chain(hello).and_then(|c| c.tls.as_ref());
        tls.is_some_and(|tls| tls.common.certificates.contains(&own))
    }
}

/// A captured connection gets the listener of its destination, else the one that captured it.
fn listener<'a>(explainer: &'a Explainer<'_>, to: SocketAddr) -> Option<&'a Arc<Listener>> {
    let all = &explainer.compiled.config.listeners;
    // Of several with one address the last counts.
    let at = |address: &Address| {
        all.iter().rev().find(|l| l.address == *address || l.additional_addresses.contains(address))
    };
    match explainer.side {
        Side::Server(_) => all.iter().find(|l| l.direction == Direction::Inbound),
        Side::Client(_) | Side::Gateway(_) => chain::addresses(to)
            .iter()
            .find_map(at)
            .or_else(|| all.iter().find(|l| l.use_original_dst)),
    }
}

/// What the listener comes to know of what the client speaks.
fn detected(listener: &Listener, shown: &Protocol, port: u16) -> Option<Protocol> {
    let wanted = chain::wanted(&listener.filters, port);
    match shown {
        _ if !wanted.tls && !wanted.http => None,
        Protocol::Tls(_) if wanted.tls => Some(shown.clone()),
        Protocol::Http11 if wanted.http => Some(shown.clone()),
        _ => Some(Protocol::Other),
    }
}

/// Chains of the same port that did not take it; those of other ports go without saying.
fn passed_over(
    explainer: &Explainer<'_>,
    listener: &Listener,
    chosen: Option<&FilterChain>,
    seen: &Seen<'_>,
) -> Vec<Skipped> {
    let others = listener.chains.iter().filter(|c| chosen.is_none_or(|t| !std::ptr::eq(*c, t)));
    let said = others.filter_map(|c| {
        let because = chain::why_not(&c.matches, seen)?;
        if because == "destination port" {
            return None;
        }
        let own = wanted(c, because);
        Some(Skipped {
            node: explainer.node(name(c), c.origin),
            because: format!("{because} is not {own}"),
            near: true,
        })
    });
    said.collect()
}

fn wanted(chain: &FilterChain, criterion: &str) -> String {
    let m = &chain.matches;
    let list = |all: &[ir::Str]| all.join(" or ");
    match criterion {
        "server name" => list(&m.server_names),
        "transport protocol" => m.transport_protocol.to_string(),
        "application protocol" => list(&m.application_protocols),
        "destination address" => {
            let all: Vec<String> =
                m.destination_ranges.iter().map(|r| format!("{}/{}", r.base, r.bits)).collect();
            all.join(" or ")
        }
        _ => "the one it wants".to_owned(),
    }
}

/// Chains need no name; what they end in says what they are for.
fn name(chain: &FilterChain) -> String {
    match (&*chain.name, &chain.terminal) {
        ("", ir::Terminal::Http(_)) => "HTTP".to_owned(),
        ("", ir::Terminal::Tcp(_)) if chain.matches.server_names.is_empty() => "TCP".to_owned(),
        ("", ir::Terminal::Tcp(_)) => format!("TLS for {}", chain.matches.server_names.join(", ")),
        ("", ir::Terminal::Close) => "closing".to_owned(),
        (name, _) => name.to_owned(),
    }
}
