//! The kinds that analyzers read. Every version of a group is the same kind.

/// API group and name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KindName {
    pub group: &'static str,
    pub name: &'static str,
    pub namespaced: bool,
}

macro_rules! kinds {
    ($($constant:ident $group:literal $name:literal $namespaced:literal)*) => {
        $(pub const $constant: KindName =
            KindName { group: $group, name: $name, namespaced: $namespaced };)*

        /// All of them: what has to be fetched from a cluster before it can be analyzed.
        pub const ALL: &[KindName] = &[$($constant),*];
    };
}

kinds! {
    NAMESPACE "" "Namespace" false
    NODE "" "Node" false
    POD "" "Pod" true
    SERVICE "" "Service" true
    CONFIG_MAP "" "ConfigMap" true
    SECRET "" "Secret" true
    ENDPOINT_SLICE "discovery.k8s.io" "EndpointSlice" true
    DEPLOYMENT "apps" "Deployment" true
    STATEFUL_SET "apps" "StatefulSet" true
    DAEMON_SET "apps" "DaemonSet" true
    INGRESS "networking.k8s.io" "Ingress" true
    MUTATING_WEBHOOK "admissionregistration.k8s.io" "MutatingWebhookConfiguration" false
    VALIDATING_WEBHOOK "admissionregistration.k8s.io" "ValidatingWebhookConfiguration" false
    K8S_GATEWAY "gateway.networking.k8s.io" "Gateway" true
    GATEWAY_CLASS "gateway.networking.k8s.io" "GatewayClass" false
    HTTP_ROUTE "gateway.networking.k8s.io" "HTTPRoute" true
    GRPC_ROUTE "gateway.networking.k8s.io" "GRPCRoute" true
    VIRTUAL_SERVICE "networking.istio.io" "VirtualService" true
    DESTINATION_RULE "networking.istio.io" "DestinationRule" true
    GATEWAY "networking.istio.io" "Gateway" true
    SERVICE_ENTRY "networking.istio.io" "ServiceEntry" true
    SIDECAR "networking.istio.io" "Sidecar" true
    WORKLOAD_ENTRY "networking.istio.io" "WorkloadEntry" true
    WORKLOAD_GROUP "networking.istio.io" "WorkloadGroup" true
    ENVOY_FILTER "networking.istio.io" "EnvoyFilter" true
    PROXY_CONFIG "networking.istio.io" "ProxyConfig" true
    AUTHORIZATION_POLICY "security.istio.io" "AuthorizationPolicy" true
    PEER_AUTHENTICATION "security.istio.io" "PeerAuthentication" true
    REQUEST_AUTHENTICATION "security.istio.io" "RequestAuthentication" true
    TELEMETRY "telemetry.istio.io" "Telemetry" true
    WASM_PLUGIN "extensions.istio.io" "WasmPlugin" true
    TRAFFIC_EXTENSION "extensions.istio.io" "TrafficExtension" true
}

impl KindName {
    /// By `apiVersion` and `kind`.
    pub fn of(api_version: &str, kind: &str) -> Option<KindName> {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        ALL.iter().copied().find(|k| k.name == kind && k.group == group)
    }

    /// One of the mesh's own, which have a schema here.
    pub fn is_istio(self) -> bool {
        self.group.ends_with(".istio.io")
    }
}
