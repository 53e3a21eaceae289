//! TCP and TLS rules of a VirtualService.

use super::{Place, action, binds, from_source};
use crate::build::Build;
use crate::cluster::{TcpOptions, tcp_options};
use api::{RouteDestination, VirtualService};
use base::OriginId;
use ir::{Cidr, Str, TcpDestination, WeightedCluster};
use registry::Item;

/// One rule of connections: which, and where to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct L4Route {
    /// Empty takes any.
    pub sni: Vec<Str>,
    pub subnets: Vec<Cidr>,
    pub to: TcpDestination,
    pub options: TcpOptions,
    pub origin: OriginId,
}

/// The `tls` rules that apply at a place, in order.
pub(crate) fn tls_routes(
    b: &mut Build<'_>,
    place: &Place<'_>,
    item: &Item<VirtualService>,
) -> Vec<L4Route> {
    let mut routes = Vec::new();
    for (index, tls) in item.spec.tls.iter().enumerate() {
        let path = format!("spec.tls[{index}]");
        for (at, m) in tls.r#match.iter().enumerate() {
            let here = binds(place, item, &m.gateways)
                && m.port.is_none_or(|p| p == u32::from(place.port))
                && from_source(b, &m.source_labels, &m.source_namespace);
            if !here {
                continue;
            }
            let Some((to, options)) = destination(b, place, item, &tls.route, &path) else {
                continue;
            };
            routes.push(L4Route {
                sni: sni(&m.sni_hosts),
                subnets: cidrs(&m.destination_subnets),
                to,
                options,
                origin: b.origin(&item.object, format!("{path}.match[{at}]")),
            });
        }
    }
    routes
}

/// The `tcp` rules that apply at a place, in order, up to one that takes everything.
pub(crate) fn tcp_routes(
    b: &mut Build<'_>,
    place: &Place<'_>,
    item: &Item<VirtualService>,
) -> Vec<L4Route> {
    let mut routes = Vec::new();
    for (index, tcp) in item.spec.tcp.iter().enumerate() {
        let path = format!("spec.tcp[{index}]");
        let mut subnets: Vec<Vec<Cidr>> = Vec::new();
        if tcp.r#match.is_empty() && binds(place, item, &[]) {
            subnets.push(Vec::new());
        }
        for m in &tcp.r#match {
            let here = binds(place, item, &m.gateways)
                && m.port.is_none_or(|p| p == u32::from(place.port))
                && from_source(b, &m.source_labels, &m.source_namespace);
            if here {
                subnets.push(cidrs(&m.destination_subnets));
            }
        }
        for subnets in subnets {
            let Some((to, options)) = destination(b, place, item, &tcp.route, &path) else {
                continue;
            };
            let origin = b.origin(&item.object, path.as_str());
            let all = subnets.is_empty();
            routes.push(L4Route { sni: Vec::new(), subnets, to, options, origin });
            if all {
                return routes;
            }
        }
    }
    routes
}

/// With several destinations the first one's policy holds for the connection.
fn destination(
    b: &mut Build<'_>,
    place: &Place<'_>,
    item: &Item<VirtualService>,
    routes: &[RouteDestination],
    path: &str,
) -> Option<(TcpDestination, TcpOptions)> {
    let several = routes.len() > 1;
    let mut clusters = Vec::new();
    let mut options = None;
    for (index, route) in routes.iter().enumerate().filter(|(_, r)| !several || r.weight > 0) {
        let field = format!("{path}.route[{index}].destination");
        let target = action::resolve(b, place, item, route.destination.as_ref(), &field)?;
        let subset = route.destination.as_ref().map_or("", |d| d.subset.as_str());
        if let Some(service) = &target.service {
            options.get_or_insert_with(|| tcp_options(b, service, target.port, subset));
        }
        clusters.push(WeightedCluster {
            name: target.cluster,
            weight: u32::try_from(route.weight).unwrap_or(0),
            headers: ir::HeaderOps::default(),
            host_rewrite: "".into(),
            metadata_match: ir::Metadata::new(),
            per_filter: Vec::new(),
            origin: b.origin(&item.object, format!("{path}.route[{index}]")),
        });
    }
    let to = match clusters.as_slice() {
        [] => return None,
        [only] => TcpDestination::Cluster(only.name.clone()),
        _ => TcpDestination::Weighted(clusters),
    };
    Some((to, options.unwrap_or_default()))
}

/// Server names as chains match them; `*` takes any.
fn sni(hosts: &[String]) -> Vec<Str> {
    if hosts.iter().any(|h| h == "*") {
        return Vec::new();
    }
    hosts.iter().map(|h| h.to_ascii_lowercase().into()).collect()
}

fn cidrs(written: &[String]) -> Vec<Cidr> {
    let mut ranges: Vec<Cidr> = Vec::new();
    for range in written.iter().filter_map(|s| cidr(s)) {
        // Envoy takes a range that is there twice for two that overlap.
        if !ranges.contains(&range) {
            ranges.push(range);
        }
    }
    ranges
}

/// A range, or one address.
fn cidr(text: &str) -> Option<Cidr> {
    let (ip, bits) = match text.split_once('/') {
        Some((ip, bits)) => (ip, Some(bits.parse::<u8>().ok()?)),
        None => (text, None),
    };
    let base: std::net::IpAddr = ip.parse().ok()?;
    let whole = if base.is_ipv4() { 32 } else { 128 };
    let bits = bits.unwrap_or(whole);
    (bits <= whole).then_some(Cidr { base, bits })
}
