use super::*;
use proto::envoy::google::protobuf::UInt32Value;

fn weighted(shares: &[(&str, u32)]) -> route::Route {
    let clusters = shares.iter().map(|(name, weight)| route::weighted_cluster::ClusterWeight {
        name: (*name).to_owned(),
        weight: Some(UInt32Value { value: *weight }),
        ..Default::default()
    });
    let clusters = route::WeightedCluster { clusters: clusters.collect(), ..Default::default() };
    let specifier = route::route_action::ClusterSpecifier::WeightedClusters(clusters);
    route::Route {
        action: Some(route::route::Action::Route(route::RouteAction {
            cluster_specifier: Some(specifier),
            ..Default::default()
        })),
        ..Default::default()
    }
}

#[test]
fn shares_follow_the_weights() {
    let route = weighted(&[("v1", 20), ("none", 0), ("v2", 80)]);
    for (share, expected) in [(0.0, "v1"), (0.19, "v1"), (0.2, "v2"), (0.999, "v2")] {
        assert_eq!(cluster_of(&route, share).as_deref(), Some(expected), "{share}");
    }
    assert_eq!(cluster_of(&weighted(&[("v1", 0)]), 0.5), None);
}

#[test]
fn a_transport_that_is_not_understood_is_never_plaintext() {
    let mut cluster = Cluster::default();
    assert_eq!(peers(&cluster).unwrap(), None);
    cluster.transport_socket = Some(core::TransportSocket::default());
    assert!(peers(&cluster).is_err());
    let context = tls::UpstreamTlsContext {
        common_tls_context: Some(tls::CommonTlsContext::default()),
        ..Default::default()
    };
    let any = Any { type_url: String::new(), value: context.encode_to_vec() };
    cluster.transport_socket = Some(core::TransportSocket {
        config_type: Some(core::transport_socket::ConfigType::TypedConfig(any)),
        ..Default::default()
    });
    assert!(peers(&cluster).is_err());
}
