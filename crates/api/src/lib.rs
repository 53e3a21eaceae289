//! The kinds that the mesh reads: each with its type, its defaults and its validation, and the CRD
//! schemas made from one table of fields. Istio's networking kinds have one type under all their
//! versions; of Kubernetes' objects only the fields that we use are here.

mod authorization_policy;
mod core;
mod crd;
mod decode;
mod destination_rule;
mod duration;
mod envoy_filter;
mod extension_provider;
mod gateway;
mod kind;
mod mesh;
mod meta;
mod peer_authentication;
mod protocol;
mod request_authentication;
mod service_entry;
mod sidecar;
mod target;
mod validate;
mod virtual_service;
mod workload_entry;
mod workload_group;

pub use crate::core::config_map::ConfigMap;
pub use crate::core::endpoint_slice::{EndpointSlice, SliceConditions, SliceEndpoint, SlicePort};
pub use crate::core::ingress::{
    Ingress, IngressBackend, IngressClass, IngressPath, IngressSpec, PathType,
};
pub use crate::core::namespace::Namespace;
pub use crate::core::node::Node;
pub use crate::core::pod::{
    Container, ContainerPort, Pod, PodCondition, PodIp, PodSpec, PodStatus,
};
pub use crate::core::secret::Secret;
pub use crate::core::service::{IntOrString, Service, ServicePort, ServiceSpec};
pub use authorization_policy::*;
pub use crd::crds;
pub use decode::{Decoded, decode};
pub use destination_rule::*;
pub use duration::{Duration, InvalidDuration};
pub use envoy_filter::*;
pub use extension_provider::*;
pub use gateway::*;
pub use kind::Kind;
pub use mesh::*;
pub use meta::{Metadata, Object, OwnerReference};
pub use peer_authentication::{MutualTls, MutualTlsMode, PeerAuthentication};
pub use protocol::Protocol;
pub use request_authentication::*;
pub use service_entry::*;
pub use sidecar::*;
pub use target::PolicyTargetReference;
pub use validate::validate;
pub use virtual_service::*;
pub use workload_entry::WorkloadEntry;
pub use workload_group::*;
