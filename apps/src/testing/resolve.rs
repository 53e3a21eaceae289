//! From a name to an endpoint: listener, route, cluster, endpoints, as the control plane has told them.

use anyhow::{Context, bail};
use prost::Message;
use proto::envoy::envoy::config::cluster::v3::Cluster;
use proto::envoy::envoy::config::core::v3 as core;
use proto::envoy::envoy::config::endpoint::v3::{ClusterLoadAssignment, lb_endpoint};
use proto::envoy::envoy::config::listener::v3::{self as listener, Listener};
use proto::envoy::envoy::config::route::v3 as route;
use proto::envoy::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use proto::envoy::envoy::extensions::transport_sockets::tls::v3 as tls;
use proto::envoy::envoy::r#type::matcher::v3::StringMatcher;
use proto::envoy::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use proto::envoy::google::protobuf::Any;

use super::bootstrap::Peers;
use super::discovery::Known;
use super::messages::Header;
use base::TrustDomain;

/// Where one call goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub address: String,
    /// Who must be there, by mutual TLS; `None` is plaintext.
    pub peers: Option<Peers>,
}

/// What a server of ours is to do with connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ways {
    pub mutual: bool,
    /// There are rules about who may call, which are not judged here.
    pub has_rules: bool,
}

/// Whether a name leads somewhere yet. The numbers, from 0 to 1 and any, decide where there is a choice.
pub fn target(
    known: &Known,
    name: &str,
    (path, headers): (&str, &[Header]),
    (share, turn): (f64, usize),
) -> Option<anyhow::Result<Target>> {
    let routes = known.routes.get(&route_of(known.listeners.get(name)?)?)?;
    let host = routes.virtual_hosts.first()?;
    let taken =
        host.routes.iter().find(|r| r.r#match.as_ref().is_some_and(|m| takes(m, path, headers)));
    let Some(cluster) = taken.and_then(|r| cluster_of(r, share)) else {
        return Some(Err(anyhow::anyhow!("no route of {name} takes {path}")));
    };
    let cluster = known.clusters.get(&cluster)?;
    let endpoints = known.endpoints.get(&service_of(cluster))?;
    Some(endpoint(cluster, endpoints, turn))
}

fn endpoint(
    cluster: &Cluster,
    endpoints: &ClusterLoadAssignment,
    turn: usize,
) -> anyhow::Result<Target> {
    let all = addresses(endpoints);
    if all.is_empty() {
        bail!("{} has no endpoints", cluster.name);
    }
    let address = all[turn % all.len()].clone();
    Ok(Target { address, peers: peers(cluster)? })
}

fn addresses(endpoints: &ClusterLoadAssignment) -> Vec<String> {
    let well = |status: i32| {
        matches!(
            core::HealthStatus::try_from(status),
            Ok(core::HealthStatus::Unknown | core::HealthStatus::Healthy)
        )
    };
    let localities = endpoints.endpoints.iter().filter(|l| l.priority == 0);
    localities
        .flat_map(|l| &l.lb_endpoints)
        .filter(|e| well(e.health_status))
        .filter_map(|e| match &e.host_identifier {
            Some(lb_endpoint::HostIdentifier::Endpoint(e)) => address(e.address.as_ref()?),
            _ => None,
        })
        .collect()
}

fn address(of: &core::Address) -> Option<String> {
    let Some(core::address::Address::SocketAddress(at)) = &of.address else { return None };
    let Some(core::socket_address::PortSpecifier::PortValue(port)) = at.port_specifier else {
        return None;
    };
    match at.address.contains(':') {
        true => Some(format!("[{}]:{port}", at.address)),
        false => Some(format!("{}:{port}", at.address)),
    }
}

fn manager(any: Option<&Any>) -> Option<hcm::HttpConnectionManager> {
    hcm::HttpConnectionManager::decode(&*any?.value).ok()
}

/// The routes that a client's listener names.
pub fn route_of(listener: &Listener) -> Option<String> {
    let api = listener.api_listener.as_ref()?;
    match manager(api.api_listener.as_ref())?.route_specifier? {
        hcm::http_connection_manager::RouteSpecifier::Rds(rds) => Some(rds.route_config_name),
        _ => None,
    }
}

pub fn clusters_of(routes: &route::RouteConfiguration) -> Vec<String> {
    let actions = routes.virtual_hosts.iter().flat_map(|h| &h.routes);
    actions.flat_map(shares).map(|(name, _)| name).collect()
}

/// The clusters of a route with their weights.
fn shares(route: &route::Route) -> Vec<(String, u32)> {
    let Some(route::route::Action::Route(action)) = &route.action else { return Vec::new() };
    match &action.cluster_specifier {
        Some(route::route_action::ClusterSpecifier::Cluster(name)) => vec![(name.clone(), 1)],
        Some(route::route_action::ClusterSpecifier::WeightedClusters(all)) => {
            let weight = |c: &route::weighted_cluster::ClusterWeight| {
                (c.name.clone(), c.weight.as_ref().map_or(0, |w| w.value))
            };
            all.clusters.iter().map(weight).collect()
        }
        _ => Vec::new(),
    }
}

fn cluster_of(route: &route::Route, share: f64) -> Option<String> {
    let shares = shares(route);
    let total: u32 = shares.iter().map(|(_, weight)| weight).sum();
    let mut left = share * f64::from(total);
    shares.into_iter().find_map(|(name, weight)| {
        left -= f64::from(weight);
        (left < 0.0).then_some(name)
    })
}

/// The name under which its endpoints come.
pub fn service_of(cluster: &Cluster) -> String {
    let eds = cluster.eds_cluster_config.as_ref().map(|e| e.service_name.clone());
    eds.filter(|name| !name.is_empty()).unwrap_or_else(|| cluster.name.clone())
}

fn takes(of: &route::RouteMatch, path: &str, headers: &[Header]) -> bool {
    use route::route_match::PathSpecifier;
    let on_path = match &of.path_specifier {
        Some(PathSpecifier::Prefix(prefix)) => path.starts_with(prefix.as_str()),
        Some(PathSpecifier::Path(whole)) => path == whole,
        _ => false,
    };
    on_path && of.headers.iter().all(|m| has(m, headers))
}

fn has(of: &route::HeaderMatcher, headers: &[Header]) -> bool {
    use route::header_matcher::HeaderMatchSpecifier;
    let value = headers.iter().find(|h| h.key.eq_ignore_ascii_case(&of.name)).map(|h| &h.value);
    let holds = match &of.header_match_specifier {
        Some(HeaderMatchSpecifier::PresentMatch(wanted)) => value.is_some() == *wanted,
        Some(HeaderMatchSpecifier::StringMatch(m)) => value.is_some_and(|v| matches(m, v)),
        _ => false,
    };
    holds != of.invert_match
}

fn matches(of: &StringMatcher, value: &str) -> bool {
    match &of.match_pattern {
        Some(MatchPattern::Exact(s)) => value == s,
        Some(MatchPattern::Prefix(s)) => value.starts_with(s.as_str()),
        Some(MatchPattern::Suffix(s)) => value.ends_with(s.as_str()),
        Some(MatchPattern::Contains(s)) => value.contains(s.as_str()),
        _ => false,
    }
}

/// Who must answer at a cluster's endpoints. What is not understood is an error, never plaintext.
fn peers(cluster: &Cluster) -> anyhow::Result<Option<Peers>> {
    use tls::common_tls_context::ValidationContextType;
    let Some(socket) = &cluster.transport_socket else { return Ok(None) };
    let Some(core::transport_socket::ConfigType::TypedConfig(any)) = &socket.config_type else {
        bail!("{}: a transport without configuration", cluster.name);
    };
    let context = tls::UpstreamTlsContext::decode(&*any.value)?;
    let common = context.common_tls_context.context("no TLS context")?;
    let Some(ValidationContextType::CombinedValidationContext(combined)) =
        common.validation_context_type
    else {
        bail!("{}: servers are to be checked in a way that is not known here", cluster.name);
    };
    #[expect(deprecated, reason = "the field that gRPC's libraries read")]
    let names = combined.default_validation_context.unwrap_or_default().match_subject_alt_names;
    let (mut ids, mut domain) = (Vec::new(), None);
    for name in names {
        match name.match_pattern {
            Some(MatchPattern::Exact(id)) => ids.push(id.parse()?),
            Some(MatchPattern::Prefix(prefix)) => {
                let of = prefix.strip_prefix("spiffe://").and_then(|p| p.strip_suffix('/'));
                domain = Some(TrustDomain(of.context("not a trust domain")?.into()));
            }
            other => bail!("{}: {other:?} is not known here", cluster.name),
        }
    }
    Ok(Some(match domain {
        Some(domain) if ids.is_empty() => Peers::AnyOf(domain),
        _ => Peers::OneOf(ids),
    }))
}

/// How a port of ours is to be served.
pub fn ways(listener: &Listener) -> Option<Ways> {
    let chain = listener.filter_chains.first()?;
    let Some(listener::filter::ConfigType::TypedConfig(any)) = &chain.filters.first()?.config_type
    else {
        return None;
    };
    let is_rule = |f: &hcm::HttpFilter| match &f.config_type {
        Some(hcm::http_filter::ConfigType::TypedConfig(c)) => !c.type_url.ends_with(".Router"),
        _ => true,
    };
    let has_rules = manager(Some(any))?.http_filters.iter().any(is_rule);
    Some(Ways { mutual: chain.transport_socket.is_some(), has_rules })
}

#[cfg(test)]
mod tests;
