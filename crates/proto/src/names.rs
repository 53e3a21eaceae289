//! The name table that Istio sends to DNS proxies (`istio.networking.nds.v1`).

use std::collections::HashMap;

/// Type URL of the one resource.
pub const NAME_TABLE: &str = "type.googleapis.com/istio.networking.nds.v1.NameTable";

#[derive(Clone, PartialEq, prost::Message)]
pub struct NameTable {
    /// By host name.
    #[prost(map = "string, message", tag = "1")]
    pub table: HashMap<String, NameInfo>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct NameInfo {
    #[prost(string, repeated, tag = "1")]
    pub ips: Vec<String>,
    /// `Kubernetes` or `External`.
    #[prost(string, tag = "2")]
    pub registry: String,
    /// Of Kubernetes services: `reviews` of `reviews.default.svc.cluster.local`.
    #[prost(string, tag = "3")]
    pub shortname: String,
    #[prost(string, tag = "4")]
    pub namespace: String,
}
