//! The names that a proxy's DNS answers itself (`istio.networking.nds.v1.NameTable`).

use crate::Str;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Host names, in lower case and without the final dot, and what each stands for. A host may begin
/// with `*.`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameTable {
    pub hosts: BTreeMap<Str, NameInfo>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameInfo {
    pub ips: Vec<IpAddr>,
    /// Who described it: `Kubernetes` or `External`.
    pub registry: Str,
    /// Of what Kubernetes described: `reviews` of `reviews.default.svc.cluster.local`, and `db-0.db` of
    /// one of its pods. It has short forms, too.
    pub short_name: Str,
    pub namespace: Str,
}
