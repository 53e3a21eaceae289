//! What the HTTP connection managers of all listeners have in common, and the order of filters.

use crate::log;
use crate::{Proxy, ProxyKind};
use api::{MeshConfig, Normalization};
use base::OriginId;
use ir::{
    AppendAction, ClientCertDetails, Comparison, EscapedSlashes, ForwardClientCert, HeaderAdd,
    HttpFilter, HttpFilterConfig, HttpManager, IstioStats, LocalReply, LogFilter, NetworkFilter,
    PeerMetadata, ReplyMapper, RouteSource, ServerHeader, Str, Upgrade,
};
use std::time::Duration;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Outbound,
    Inbound,
    Gateway,
}

pub(crate) const FAULT: &str = "envoy.filters.http.fault";
pub(crate) const CORS: &str = "envoy.filters.http.cors";

/// A manager with Istio's settings for its side.
pub(crate) fn manager(
    mesh: &MeshConfig,
    proxy: &Proxy,
    side: Side,
    stat_prefix: Str,
    routes: RouteSource,
) -> HttpManager {
    let mut manager = HttpManager::new(stat_prefix, routes);
    manager.filters = filters(proxy, side);
    manager.access_log = log::of_requests(mesh);
    manager.generate_request_id = Some(true);
    manager.stream_idle_timeout = Some(Duration::ZERO);
    manager.upgrades = vec![Upgrade { kind: "websocket".into(), enabled: true }];
    manager.http1.accept_http_10 = proxy.http10;
    if proxy.tells_denials && side != Side::Outbound {
        manager.local_reply = Some(telling_denials());
    }
    normalize(mesh, &mut manager);
    match side {
        Side::Outbound => {}
        Side::Inbound => {
            // A sidecar that speaks HTTP/2 with us asks for WebSockets by extended CONNECT.
            manager.http2.allow_connect = true;
            manager.server_name = "istio-envoy".into();
            manager.server_header = ServerHeader::PassThrough;
            manager.forward_client_cert = ForwardClientCert::AppendForward;
            manager.set_client_cert =
                ClientCertDetails { subject: true, dns: true, uri: true, ..Default::default() };
        }
        Side::Gateway => at_the_edge(mesh, &mut manager),
    }
    manager
}

/// The details of a 403 name the policy and the rule, as the log has them.
fn telling_denials() -> LocalReply {
    let details = HeaderAdd {
        name: "x-lateen-denied-by".into(),
        value: "%RESPONSE_CODE_DETAILS%".into(),
        action: AppendAction::OverwriteIfExistsOrAdd,
        keep_empty_value: false,
    };
    let mapper = ReplyMapper {
        filter: LogFilter::StatusCode { op: Comparison::Equal, value: 403 },
        status: None,
        body: None,
        format: None,
        headers: vec![details],
    };
    LocalReply { mappers: vec![mapper], format: None }
}

/// At a gateway the client's address counts, and its claims about itself do not.
fn at_the_edge(mesh: &MeshConfig, manager: &mut HttpManager) {
    let topology = mesh.default_config.gateway_topology.clone().unwrap_or_default();
    manager.server_name = "istio-envoy".into();
    manager.use_remote_address = true;
    manager.xff_num_trusted_hops = topology.num_trusted_proxies;
    manager.set_client_cert =
        ClientCertDetails { subject: true, cert: true, dns: true, uri: true, chain: false };
    manager.forward_client_cert = match topology.forward_client_cert_details {
        None | Some(api::ForwardClientCert::Undefined | api::ForwardClientCert::SanitizeSet) => {
            ForwardClientCert::SanitizeSet
        }
        Some(api::ForwardClientCert::Sanitize) => ForwardClientCert::Sanitize,
        Some(api::ForwardClientCert::ForwardOnly) => ForwardClientCert::ForwardOnly,
        Some(api::ForwardClientCert::AppendForward) => ForwardClientCert::AppendForward,
        Some(api::ForwardClientCert::AlwaysForwardOnly) => ForwardClientCert::AlwaysForwardOnly,
    };
}

/// What the mesh makes of paths before anything looks at them.
pub fn normalize(mesh: &MeshConfig, manager: &mut HttpManager) {
    let wanted = mesh.path_normalization.unwrap_or_default().normalization;
    manager.normalize_path = wanted != Normalization::None;
    manager.merge_slashes =
        matches!(wanted, Normalization::MergeSlashes | Normalization::DecodeAndMergeSlashes);
    if wanted == Normalization::DecodeAndMergeSlashes {
        manager.escaped_slashes = EscapedSlashes::UnescapeAndForward;
    }
}

/// In Istio's order; what upstream Envoy does not have is left out for it.
fn filters(proxy: &Proxy, side: Side) -> Vec<HttpFilter> {
    let ours = !proxy.stock_envoy;
    let mut chain = Vec::new();
    let mut add = |name: &str, config| {
        let name = name.into();
        chain.push(HttpFilter { name, config, disabled: false, origin: OriginId::NONE });
    };
    if ours {
        add("istio.metadata_exchange", HttpFilterConfig::PeerMetadata(peer_metadata(side)));
    }
    add("envoy.filters.http.grpc_stats", HttpFilterConfig::GrpcStats { emit_filter_state: true });
    if ours && side != Side::Inbound {
        add("istio.alpn", HttpFilterConfig::IstioAlpn);
    }
    add(FAULT, HttpFilterConfig::Fault(Box::default()));
    add(CORS, HttpFilterConfig::Cors(None));
    if ours {
        add("istio.stats", HttpFilterConfig::IstioStats(stats(proxy, side == Side::Inbound)));
    }
    chain
}

/// Who speaks gRPC-Web is made to speak gRPC before anything else looks at it.
pub(crate) fn speak_web(manager: &mut HttpManager) {
    let is_stats = |f: &HttpFilter| matches!(f.config, HttpFilterConfig::GrpcStats { .. });
    let place = manager.filters.iter().position(is_stats).unwrap_or(0);
    let web = HttpFilter {
        name: "envoy.filters.http.grpc_web".into(),
        config: HttpFilterConfig::GrpcWeb,
        disabled: false,
        origin: OriginId::NONE,
    };
    manager.filters.insert(place, web);
}

/// A sidecar tells both of its neighbours who it is; a gateway does not tell its clients, who are
/// strangers.
fn peer_metadata(side: Side) -> PeerMetadata {
    PeerMetadata {
        downstream_discovery: side == Side::Inbound,
        downstream_propagation: side == Side::Inbound,
        upstream_discovery: side != Side::Inbound,
        upstream_propagation: side != Side::Inbound,
    }
}

/// Strangers choose the Host header at a gateway, so it must not become a label.
fn stats(proxy: &Proxy, destination: bool) -> IstioStats {
    IstioStats {
        destination,
        disable_host_header_fallback: destination || proxy.kind == ProxyKind::Router,
        tcp_reporting: None,
    }
}

/// The network filters before a TCP proxy.
pub(crate) fn tcp_filters(proxy: &Proxy, side: Side) -> Vec<NetworkFilter> {
    if proxy.stock_envoy {
        return Vec::new();
    }
    vec![NetworkFilter::IstioStats(stats(proxy, side == Side::Inbound))]
}
