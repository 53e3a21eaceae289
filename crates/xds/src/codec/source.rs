//! Where resources come from (`ConfigSource`). Ours all come by ADS, but for the workload's own
//! secrets, which the agent serves beside the proxy.

use super::at::At;
use crate::message::{Msg, Val};
use crate::schema::*;
use ir::{SecretRef, SecretSource};
use std::time::Duration;

/// `ApiVersion.V3`.
const V3: i32 = 2;
/// `ApiConfigSource.ApiType.GRPC`.
const GRPC: i32 = 2;

/// From the same ADS stream, waited for without end: what is absent comes or the control plane
/// says that there is none.
pub(super) fn ads() -> Msg {
    Msg::new(&CONFIG_SOURCE)
        .set("ads", Msg::new(&AGGREGATED_CONFIG_SOURCE))
        .set("initial_fetch_timeout", Duration::ZERO)
        .set("resource_api_version", V3)
}

pub(super) fn write_secret_ref(secret: &SecretRef) -> Msg {
    let source = match &secret.from {
        SecretSource::Static => None,
        SecretSource::Ads => Some(ads()),
        SecretSource::Cluster(name) => Some(stream_to(name)),
    };
    Msg::new(&SDS_SECRET_CONFIG).set("name", &secret.name).set_opt("sds_config", source)
}

pub(super) fn read_secret_ref(at: &At) -> SecretRef {
    let name = at.str("name");
    if name.is_empty() {
        at.error_in("name", "is missing");
    }
    let from = match at.msg("sds_config") {
        None => SecretSource::Static,
        Some(source) if source.has("ads") => {
            source.pick("resource_api_version", &[(0, ()), (V3, ())]);
            SecretSource::Ads
        }
        Some(source) => match read_stream(&source, "api_config_source") {
            Some((cluster, _)) => SecretSource::Cluster(cluster),
            None => {
                source.error("is not supplied; use ads or api_config_source");
                SecretSource::Ads
            }
        },
    };
    SecretRef { name, from }
}

fn stream_to(cluster: &ir::Str) -> Msg {
    let service = Msg::new(&GRPC_SERVICE)
        .set("envoy_grpc", Msg::new(&ENVOY_GRPC).set("cluster_name", cluster));
    let api = Msg::new(&API_CONFIG_SOURCE)
        .set("api_type", GRPC)
        .set("transport_api_version", V3)
        .set("grpc_services", vec![Val::Msg(service)])
        .set("set_node_on_first_message_only", true);
    Msg::new(&CONFIG_SOURCE)
        .set("api_config_source", api)
        .set("initial_fetch_timeout", Duration::ZERO)
        .set("resource_api_version", V3)
}

/// Requires that the field `name` says ADS.
pub(crate) fn expect_ads(at: &At, name: &str) {
    match at.msg(name) {
        Some(source) if source.has("ads") => {
            source.pick("resource_api_version", &[(0, ()), (V3, ())]);
        }
        Some(source) => source.error("is not supported; use ads"),
        None => at.error_in(name, "is missing"),
    }
}

/// What the field `name` says of a gRPC stream: the cluster to connect to, and whether it is delta.
pub(crate) fn read_stream(at: &At, name: &str) -> Option<(ir::Str, bool)> {
    let api = at.msg(name)?;
    api.pick("transport_api_version", &[(0, ()), (V3, ())]);
    api.bool("set_node_on_first_message_only");
    let delta = api.pick("api_type", &[(GRPC, false), (3, true), (5, false), (6, true)])?;
    let clusters = api.each("grpc_services", |s| {
        s.msg("envoy_grpc").map(|g| g.str("cluster_name")).unwrap_or_else(|| "".into())
    });
    match clusters.into_iter().next() {
        Some(cluster) if !cluster.is_empty() => Some((cluster, delta)),
        _ => {
            api.error_in("grpc_services", "names no cluster under envoy_grpc");
            None
        }
    }
}
