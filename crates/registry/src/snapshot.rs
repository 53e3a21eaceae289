//! The world at one revision, immutable and shared.

use crate::{
    AuthorizationPolicies, Collection, DestinationRules, EndpointIndex, ExportTo, Item, KeySets,
    PeerAuthentications, RequestAuthentications, Service, Services, Sidecars, Workloads,
};
use api::{EnvoyFilter, Gateway, MeshConfig, VirtualService};
use std::collections::BTreeSet;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Grows with every change.
    pub version: u64,
    /// The DNS domain of the cluster, as in `cluster.local`.
    pub domain: Arc<str>,
    pub mesh: Arc<Mesh>,
    pub services: Arc<Services>,
    pub endpoints: Arc<EndpointIndex>,
    pub workloads: Arc<Workloads>,
    pub virtual_services: Arc<Collection<VirtualService>>,
    pub destination_rules: Arc<DestinationRules>,
    pub gateways: Arc<Collection<Gateway>>,
    pub sidecars: Arc<Sidecars>,
    /// Those that are served, by namespace and name.
    pub ingresses: Arc<BTreeSet<(String, String)>>,
    pub envoy_filters: Arc<Collection<EnvoyFilter>>,
    pub peer_authentications: Arc<PeerAuthentications>,
    pub authorization_policies: Arc<AuthorizationPolicies>,
    pub request_authentications: Arc<RequestAuthentications>,
    pub key_sets: Arc<KeySets>,
}

/// The mesh configuration, and the visibility that objects have by default.
#[derive(Clone, Debug)]
pub struct Mesh {
    pub version: u64,
    pub config: MeshConfig,
    pub service_export: ExportTo,
    pub virtual_service_export: ExportTo,
    pub destination_rule_export: ExportTo,
}

impl Mesh {
    pub(crate) fn new(version: u64, config: MeshConfig) -> Mesh {
        let export = |list: &[String]| {
            ExportTo::parse(list.iter().map(String::as_str)).unwrap_or(ExportTo::Everybody)
        };
        Mesh {
            version,
            service_export: export(&config.default_service_export_to),
            virtual_service_export: export(&config.default_virtual_service_export_to),
            destination_rule_export: export(&config.default_destination_rule_export_to),
            config,
        }
    }
}

impl Snapshot {
    /// Whether clients in namespace `from` may address the service.
    pub fn sees_service(&self, service: &Service, from: &str) -> bool {
        let export = service.export_to.as_ref().unwrap_or(&self.mesh.service_export);
        export.reaches(&service.namespace, from)
    }

    /// Whether the VirtualService counts for proxies in namespace `from`.
    pub fn sees_route(&self, item: &Item<VirtualService>, from: &str) -> bool {
        let export = item.export_to.as_ref().unwrap_or(&self.mesh.virtual_service_export);
        export.reaches(item.namespace(), from)
    }
}
