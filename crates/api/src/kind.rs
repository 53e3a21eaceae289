//! The kinds that the registry reads, by API group and name.

/// A kind that the control plane watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    VirtualService,
    DestinationRule,
    Gateway,
    ServiceEntry,
    Sidecar,
    WorkloadEntry,
    WorkloadGroup,
    ProxyConfig,
    EnvoyFilter,
    PeerAuthentication,
    AuthorizationPolicy,
    RequestAuthentication,
    Service,
    EndpointSlice,
    Pod,
    Namespace,
    Node,
    ConfigMap,
    Secret,
    IngressClass,
    Ingress,
}

const NETWORKING: &str = "networking.istio.io";
const SECURITY: &str = "security.istio.io";

impl Kind {
    pub const ALL: [Kind; 21] = [
        Kind::Namespace,
        Kind::Node,
        Kind::ConfigMap,
        Kind::Secret,
        Kind::Service,
        Kind::Pod,
        Kind::EndpointSlice,
        Kind::IngressClass,
        Kind::Ingress,
        Kind::WorkloadEntry,
        Kind::WorkloadGroup,
        Kind::ProxyConfig,
        Kind::ServiceEntry,
        Kind::DestinationRule,
        Kind::Gateway,
        Kind::Sidecar,
        Kind::VirtualService,
        Kind::EnvoyFilter,
        Kind::PeerAuthentication,
        Kind::AuthorizationPolicy,
        Kind::RequestAuthentication,
    ];

    /// By `apiVersion` and `kind`; every version of a group is the same kind.
    pub fn of(api_version: &str, kind: &str) -> Option<Kind> {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        Kind::ALL.into_iter().find(|k| k.name() == kind && k.group() == group)
    }

    pub fn name(self) -> &'static str {
        match self {
            Kind::VirtualService => "VirtualService",
            Kind::DestinationRule => "DestinationRule",
            Kind::Gateway => "Gateway",
            Kind::ServiceEntry => "ServiceEntry",
            Kind::Sidecar => "Sidecar",
            Kind::WorkloadEntry => "WorkloadEntry",
            Kind::WorkloadGroup => "WorkloadGroup",
            Kind::ProxyConfig => "ProxyConfig",
            Kind::EnvoyFilter => "EnvoyFilter",
            Kind::PeerAuthentication => "PeerAuthentication",
            Kind::AuthorizationPolicy => "AuthorizationPolicy",
            Kind::RequestAuthentication => "RequestAuthentication",
            Kind::Service => "Service",
            Kind::EndpointSlice => "EndpointSlice",
            Kind::Pod => "Pod",
            Kind::Namespace => "Namespace",
            Kind::Node => "Node",
            Kind::ConfigMap => "ConfigMap",
            Kind::Secret => "Secret",
            Kind::IngressClass => "IngressClass",
            Kind::Ingress => "Ingress",
        }
    }

    pub fn group(self) -> &'static str {
        match self {
            Kind::VirtualService
            | Kind::DestinationRule
            | Kind::Gateway
            | Kind::ServiceEntry
            | Kind::Sidecar
            | Kind::WorkloadEntry
            | Kind::WorkloadGroup
            | Kind::ProxyConfig
            | Kind::EnvoyFilter => NETWORKING,
            Kind::PeerAuthentication | Kind::AuthorizationPolicy | Kind::RequestAuthentication => {
                SECURITY
            }
            Kind::EndpointSlice => "discovery.k8s.io",
            Kind::IngressClass | Kind::Ingress => "networking.k8s.io",
            _ => "",
        }
    }

    /// The version that is watched.
    pub fn version(self) -> &'static str {
        match self {
            Kind::ProxyConfig => "v1beta1",
            Kind::EnvoyFilter => "v1alpha3",
            _ => "v1",
        }
    }

    /// As in URLs.
    pub fn plural(self) -> &'static str {
        match self {
            Kind::VirtualService => "virtualservices",
            Kind::DestinationRule => "destinationrules",
            Kind::Gateway => "gateways",
            Kind::ServiceEntry => "serviceentries",
            Kind::Sidecar => "sidecars",
            Kind::WorkloadEntry => "workloadentries",
            Kind::WorkloadGroup => "workloadgroups",
            Kind::ProxyConfig => "proxyconfigs",
            Kind::EnvoyFilter => "envoyfilters",
            Kind::PeerAuthentication => "peerauthentications",
            Kind::AuthorizationPolicy => "authorizationpolicies",
            Kind::RequestAuthentication => "requestauthentications",
            Kind::Service => "services",
            Kind::EndpointSlice => "endpointslices",
            Kind::Pod => "pods",
            Kind::Namespace => "namespaces",
            Kind::Node => "nodes",
            Kind::ConfigMap => "configmaps",
            Kind::Secret => "secrets",
            Kind::IngressClass => "ingressclasses",
            Kind::Ingress => "ingresses",
        }
    }

    pub fn is_namespaced(self) -> bool {
        !matches!(self, Kind::Namespace | Kind::Node | Kind::IngressClass)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_versions_of_a_group_are_one_kind_and_other_groups_are_not() {
        for v in ["v1", "v1beta1", "v1alpha3"] {
            let kind = Kind::of(&format!("networking.istio.io/{v}"), "Gateway");
            assert_eq!(kind, Some(Kind::Gateway));
        }
        assert_eq!(Kind::of("gateway.networking.k8s.io/v1", "Gateway"), None);
        assert_eq!(Kind::of("v1", "Service"), Some(Kind::Service));
        assert_eq!(Kind::of("serving.knative.dev/v1", "Service"), None);
    }
}
