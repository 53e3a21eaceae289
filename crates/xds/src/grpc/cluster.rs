//! Clusters (A27, A29) and their endpoints. Encryption is what a DestinationRule asks for by `ISTIO_MUTUAL`, with
//! the workload's own certificate; gRPC cannot decide endpoint by endpoint, so nothing is encrypted that no
//! rule asks for. A cluster of any other encryption is not there: it must not be reached in plaintext.

use super::{any, encoded};
use crate::server::Encoded;
use ir::{
    Address, CertificateSource, Cluster, Discovery, EndpointGroup, Endpoints, Health, Kind,
    LoadBalancer, Pattern, ResourceKey, SanMatch, StringMatch, UpstreamTls,
};
use proto::envoy::envoy::config::cluster::v3 as pb;
use proto::envoy::envoy::config::core::v3 as core;
use proto::envoy::envoy::config::endpoint::v3 as eds;
use proto::envoy::envoy::extensions::transport_sockets::tls::v3 as tls;
use proto::envoy::envoy::r#type::matcher::v3 as matcher;
use proto::envoy::google::protobuf::{UInt32Value, UInt64Value};
use std::net::SocketAddr;

pub(super) fn of(cluster: &Cluster) -> Option<Encoded> {
    let transport_socket = match &cluster.tls {
        Some(tls) => Some(socket(TLS_UPSTREAM, &upstream(tls)?)),
        None => None,
    };
    let name = cluster.name.to_string();
    let (lb_policy, lb_config) = balancer(&cluster.lb);
    let mut out = pb::Cluster {
        name: name.clone(),
        lb_policy: lb_policy.into(),
        lb_config,
        transport_socket,
        circuit_breakers: breakers(cluster),
        ..Default::default()
    };
    match &cluster.discovery {
        Discovery::StrictDns { groups, .. } | Discovery::LogicalDns { groups, .. } => {
            set_type(&mut out, pb::cluster::DiscoveryType::LogicalDns);
            out.load_assignment = Some(assignment(name, by_name(groups)?));
            Some(encoded(&out, Vec::new()))
        }
        Discovery::Eds(_) | Discovery::Static(_) => {
            set_type(&mut out, pb::cluster::DiscoveryType::Eds);
            out.eds_cluster_config = Some(pb::cluster::EdsClusterConfig {
                eds_config: Some(super::listener::from_here()),
                service_name: name,
            });
            Some(encoded(&out, vec![ResourceKey::new(Kind::Endpoints, cluster.name.clone())]))
        }
        Discovery::OriginalDst | Discovery::ByHost(_) => None,
    }
}

fn set_type(cluster: &mut pb::Cluster, kind: pb::cluster::DiscoveryType) {
    cluster.cluster_discovery_type = Some(pb::cluster::ClusterDiscoveryType::Type(kind.into()));
}

/// gRPC knows these two, and refuses a cluster of another.
fn balancer(lb: &LoadBalancer) -> (pb::cluster::LbPolicy, Option<pb::cluster::LbConfig>) {
    match lb {
        LoadBalancer::RingHash { min_size, max_size } => {
            let size = |size: &Option<u64>| size.map(|value| UInt64Value { value });
            let config = pb::cluster::RingHashLbConfig {
                minimum_ring_size: size(min_size),
                maximum_ring_size: size(max_size),
                ..Default::default()
            };
            let config = pb::cluster::LbConfig::RingHashLbConfig(config);
            (pb::cluster::LbPolicy::RingHash, Some(config))
        }
        _ => (pb::cluster::LbPolicy::RoundRobin, None),
    }
}

fn breakers(cluster: &Cluster) -> Option<pb::CircuitBreakers> {
    // This many is no limit.
    let most = cluster.breakers.max_requests.filter(|n| *n != u32::MAX)?;
    let thresholds = pb::circuit_breakers::Thresholds {
        max_requests: Some(UInt32Value { value: most }),
        ..Default::default()
    };
    Some(pb::CircuitBreakers { thresholds: vec![thresholds], ..Default::default() })
}

const TLS_UPSTREAM: &str = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";

pub(super) fn socket(context: &str, message: &impl prost::Message) -> core::TransportSocket {
    core::TransportSocket {
        name: "envoy.transport_sockets.tls".to_owned(),
        config_type: Some(core::transport_socket::ConfigType::TypedConfig(any(context, message))),
    }
}

/// By the certificate of the mesh; `None` for any other, which no agent brings to an application.
fn upstream(of: &UpstreamTls) -> Option<tls::UpstreamTlsContext> {
    let by_agent = ir::SecretRef::of_agent("default");
    let own = |c: &CertificateSource| matches!(c, CertificateSource::Sds(s) if *s == by_agent);
    let validation = of.common.validation.as_ref()?;
    let is_of_mesh = of.common.certificates.iter().all(own) && !of.common.certificates.is_empty();
    is_of_mesh.then(|| tls::UpstreamTlsContext {
        common_tls_context: Some(of_workload(&validation.sans)),
        sni: of.sni.to_string(),
        ..Default::default()
    })
}

/// Certificate and roots from the files that the bootstrap names. `peers`: who may be at the other end.
pub(super) fn of_workload(peers: &[SanMatch]) -> tls::CommonTlsContext {
    let instance = |certificate_name: &str| tls::CertificateProviderPluginInstance {
        instance_name: "default".to_owned(),
        certificate_name: certificate_name.to_owned(),
    };
    let older = |certificate_name: &str| tls::common_tls_context::CertificateProviderInstance {
        instance_name: "default".to_owned(),
        certificate_name: certificate_name.to_owned(),
    };
    #[expect(deprecated, reason = "what older gRPC reads, and newer too")]
    let validation = tls::CertificateValidationContext {
        ca_certificate_provider_instance: Some(instance("ROOTCA")),
        match_subject_alt_names: peers.iter().map(|san| matcher(&san.value)).collect(),
        ..Default::default()
    };
    #[expect(deprecated, reason = "what older gRPC reads")]
    let combined = tls::common_tls_context::CombinedCertificateValidationContext {
        default_validation_context: Some(validation),
        validation_context_certificate_provider_instance: Some(older("ROOTCA")),
        ..Default::default()
    };
    #[expect(deprecated, reason = "what older gRPC reads")]
    tls::CommonTlsContext {
        tls_certificate_provider_instance: Some(instance("default")),
        tls_certificate_certificate_provider_instance: Some(older("default")),
        validation_context_type: Some(
            tls::common_tls_context::ValidationContextType::CombinedValidationContext(combined),
        ),
        ..Default::default()
    }
}

fn matcher(of: &StringMatch) -> matcher::StringMatcher {
    use matcher::string_matcher::MatchPattern;
    let pattern = match &of.pattern {
        Pattern::Exact(s) => MatchPattern::Exact(s.to_string()),
        Pattern::Prefix(s) => MatchPattern::Prefix(s.to_string()),
        Pattern::Suffix(s) => MatchPattern::Suffix(s.to_string()),
        Pattern::Contains(s) => MatchPattern::Contains(s.to_string()),
        Pattern::Regex(s) => MatchPattern::SafeRegex(matcher::RegexMatcher {
            regex: s.to_string(),
            ..Default::default()
        }),
    };
    matcher::StringMatcher { match_pattern: Some(pattern), ignore_case: of.ignore_case }
}

/// The endpoints of a cluster, whether they come by themselves (`found`) or stand in it.
pub(super) fn endpoints(cluster: &Cluster, found: Option<&Endpoints>) -> Option<Encoded> {
    let groups = match &cluster.discovery {
        Discovery::Static(groups) => groups,
        _ => &found?.groups,
    };
    let groups = groups.iter().filter_map(|g| group(g, |e| by_ip(&e.address))).collect();
    Some(encoded(&assignment(cluster.name.to_string(), groups), Vec::new()))
}

fn assignment(
    cluster_name: String,
    endpoints: Vec<eds::LocalityLbEndpoints>,
) -> eds::ClusterLoadAssignment {
    eds::ClusterLoadAssignment { cluster_name, endpoints, ..Default::default() }
}

/// gRPC looks up one name.
fn by_name(groups: &[EndpointGroup]) -> Option<Vec<eds::LocalityLbEndpoints>> {
    let [only] = groups else { return None };
    let [_] = only.endpoints.as_slice() else { return None };
    let named = |e: &ir::Endpoint| match &e.address {
        Address::Name(name, port) => Some(address(name.to_string(), *port)),
        other => by_ip(other),
    };
    Some(vec![group(only, named)?])
}

fn group(
    of: &EndpointGroup,
    at: impl Fn(&ir::Endpoint) -> Option<core::Address>,
) -> Option<eds::LocalityLbEndpoints> {
    let (mut weight, mut endpoints) = (0u32, Vec::new());
    for endpoint in &of.endpoints {
        let Some(address) = at(endpoint) else { continue };
        let own = endpoint.weight.unwrap_or(1).max(1);
        weight = weight.saturating_add(own);
        endpoints.push(eds::LbEndpoint {
            health_status: health(endpoint.health).into(),
            load_balancing_weight: Some(UInt32Value { value: own }),
            host_identifier: Some(eds::lb_endpoint::HostIdentifier::Endpoint(eds::Endpoint {
                address: Some(address),
                ..Default::default()
            })),
            ..Default::default()
        });
    }
    if endpoints.is_empty() {
        return None;
    }
    Some(eds::LocalityLbEndpoints {
        locality: Some(core::Locality {
            region: of.locality.region.to_string(),
            zone: of.locality.zone.to_string(),
            sub_zone: of.locality.sub_zone.to_string(),
        }),
        priority: of.priority,
        // Without one gRPC would leave the locality out.
        load_balancing_weight: Some(UInt32Value { value: of.weight.unwrap_or(weight).max(1) }),
        lb_endpoints: endpoints,
        ..Default::default()
    })
}

fn health(of: Health) -> core::HealthStatus {
    match of {
        Health::Unknown | Health::Degraded => core::HealthStatus::Unknown,
        Health::Healthy => core::HealthStatus::Healthy,
        Health::Unhealthy => core::HealthStatus::Unhealthy,
        Health::Draining => core::HealthStatus::Draining,
        Health::Timeout => core::HealthStatus::Timeout,
    }
}

fn by_ip(of: &Address) -> Option<core::Address> {
    match of {
        Address::Ip(at) => Some(socket_address(*at)),
        _ => None,
    }
}

pub(super) fn socket_address(at: SocketAddr) -> core::Address {
    address(at.ip().to_string(), at.port())
}

fn address(address: String, port: u16) -> core::Address {
    let at = core::SocketAddress {
        address,
        port_specifier: Some(core::socket_address::PortSpecifier::PortValue(port.into())),
        ..Default::default()
    };
    core::Address { address: Some(core::address::Address::SocketAddress(at)) }
}
