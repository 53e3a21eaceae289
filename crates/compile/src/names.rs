//! The names that Istio gives to resources, which users, dashboards and tools know.

use ir::Str;
use std::net::IpAddr;

pub const BLACK_HOLE: &str = "BlackHoleCluster";
pub const PASSTHROUGH: &str = "PassthroughCluster";
pub const INBOUND_PASSTHROUGH: &str = "InboundPassthroughCluster";

/// `outbound|9080|v1|reviews.default.svc.cluster.local`
pub fn outbound_cluster(port: u16, subset: &str, host: &str) -> Str {
    format!("outbound|{port}|{subset}|{host}").into()
}

/// `outbound_.9080_.v1_.reviews.default.svc.cluster.local`: what sidecars ask each other for, and the
/// cluster that a gateway passes such connections on to.
pub fn server_name(port: u16, subset: &str, host: &str) -> Str {
    format!("outbound_.{port}_.{subset}_.{host}").into()
}

/// `inbound|9080||`, of clusters and of routes.
pub fn inbound(port: u16) -> Str {
    format!("inbound|{port}||").into()
}

/// `0.0.0.0_9080`
pub fn listener(ip: IpAddr, port: u16) -> Str {
    format!("{ip}_{port}").into()
}

/// `reviews.default.svc.cluster.local:9080`, of virtual hosts and of routes of detected ports.
pub fn host_port(host: &str, port: u16) -> Str {
    format!("{host}:{port}").into()
}
