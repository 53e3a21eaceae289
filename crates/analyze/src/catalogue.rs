//! The catalogue: every message of Istio's analysis by code, with its level and what it says. Codes,
//! names, levels and the order of the arguments are Istio's, so that scripts, suppressions and
//! dashboards keep working; the words are ours and end with what to do. `{}` stands for an argument,
//! `{q}` for one in quotes.

use base::Level;

#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    pub code: &'static str,
    pub name: &'static str,
    pub level: Level,
    pub template: &'static str,
}

impl Message {
    pub fn by_code(code: &str) -> Option<&'static Message> {
        ALL.iter().copied().find(|m| m.code == code)
    }

    pub fn arguments(&self) -> usize {
        self.template.matches("{}").count() + self.template.matches("{q}").count()
    }

    /// The template with its arguments put in, in order.
    pub fn text(&self, arguments: &[&str]) -> String {
        let mut out = String::new();
        let mut rest = self.template;
        let mut arguments = arguments.iter();
        while let Some(at) = rest.find('{') {
            let end = rest[at..].find('}').map_or(rest.len(), |e| at + e + 1);
            let argument = arguments.next().copied().unwrap_or_default();
            out.push_str(&rest[..at]);
            match &rest[at..end] {
                "{q}" => out.push_str(&format!("{argument:?}")),
                _ => out.push_str(argument),
            }
            rest = &rest[end..];
        }
        out.push_str(rest);
        out
    }
}

macro_rules! messages {
    ($($code:ident $level:ident $constant:ident $name:ident $template:literal)*) => {
        $(pub const $constant: &Message = &Message {
            code: stringify!($code),
            name: stringify!($name),
            level: Level::$level,
            template: $template,
        };)*

        /// All of them, by code.
        pub const ALL: &[&Message] = &[$($constant),*];
    };
}

messages! {
    IST0001 Error INTERNAL_ERROR InternalError
        "Internal error: {}"
    IST0002 Warning DEPRECATED Deprecated
        "Deprecated: {}"
    IST0101 Error NOT_FOUND ReferencedResourceNotFound
        "Referenced {} not found: {q}"
    IST0102 Info NAMESPACE_NOT_INJECTED NamespaceNotInjected
        "No sidecars are injected in this namespace. To have them: 'kubectl label namespace {} istio-injection=enabled'; to say that this is meant: 'kubectl label namespace {} istio-injection=disabled'."
    IST0103 Warning POD_MISSING_PROXY PodMissingProxy
        "The pod {} has no sidecar, though its namespace is injected. Pods get theirs when they are created: restart its workload."
    IST0106 Error SCHEMA_ERROR SchemaValidationError
        "Schema validation error: {}"
    IST0107 Warning MISPLACED_ANNOTATION MisplacedAnnotation
        "Misplaced annotation: {} has a meaning only on {}"
    IST0108 Warning UNKNOWN_ANNOTATION UnknownAnnotation
        "Unknown annotation: {}"
    IST0109 Error CONFLICTING_MESH_HOSTS ConflictingMeshGatewayVirtualServiceHosts
        "The VirtualServices {} are all for sidecars (gateway mesh) and for the same host {}; only one of them would count. Merge them into one."
    IST0110 Error CONFLICTING_SIDECARS ConflictingSidecarWorkloadSelectors
        "The Sidecars {} in namespace {q} select the same workload {q}; only one of them counts."
    IST0111 Error SIDECARS_WITHOUT_SELECTOR MultipleSidecarsWithoutWorkloadSelectors
        "The Sidecars {} in namespace {q} have no workloadSelector; only one of them counts."
    IST0112 Error DESTINATION_PORT_REQUIRED VirtualServiceDestinationPortSelectorRequired
        "The service {q} has several ports {}: say in the destination which one is meant."
    IST0116 Warning DEPLOYMENT_PORT_PROTOCOLS DeploymentAssociatedToMultipleServices
        "The deployment {} is behind several services that declare different protocols for port {}: {}"
    IST0118 Info PORT_NAME PortNameIsNotUnderNamingConvention
        "Port name {} (port: {}, targetPort: {}) names no protocol, so it is detected per connection. Name the port <protocol>[-<suffix>] or set appProtocol."
    IST0123 Warning MULTIPLE_INJECTION_LABELS NamespaceMultipleInjectionLabels
        "The namespace has several labels about injection {}, of which only one counts. Keep one."
    IST0125 Warning INVALID_ANNOTATION InvalidAnnotation
        "Invalid annotation {}: {}"
    IST0126 Error UNKNOWN_REGISTRY UnknownMeshNetworksServiceRegistry
        "Unknown service registry {} in network {}"
    IST0127 Warning NO_MATCHING_WORKLOADS NoMatchingWorkloadsFound
        "It selects no workload: none has the labels {}"
    IST0128 Warning NO_SERVER_VERIFICATION NoServerCertificateVerificationDestinationLevel
        "DestinationRule {} in namespace {} has TLS mode {} and no caCertificates, so it does not say whom to trust as host {}"
    IST0129 Warning NO_SERVER_VERIFICATION_PORT NoServerCertificateVerificationPortLevel
        "DestinationRule {} in namespace {} has TLS mode {} and no caCertificates, so it does not say whom to trust as host {} at port {}"
    IST0130 Warning UNREACHABLE_RULE VirtualServiceUnreachableRule
        "VirtualService rule {} not used ({})."
    IST0131 Info INEFFECTIVE_MATCH VirtualServiceIneffectiveMatch
        "VirtualService rule {} match {} is not used (duplicate/overlapping match in rule {})."
    IST0132 Warning HOST_NOT_IN_GATEWAY VirtualServiceHostNotFoundInGateway
        "None of the hosts {} of VirtualService {} is served by Gateway {}."
    IST0133 Warning SCHEMA_WARNING SchemaWarning
        "Schema validation warning: {}"
    IST0134 Warning ADDRESSES_REQUIRED ServiceEntryAddressesRequired
        "Without addresses, connections to a TCP port of this ServiceEntry cannot be told from others to the same port: set spec.addresses."
    IST0135 Info DEPRECATED_ANNOTATION DeprecatedAnnotation
        "Annotation {q} is deprecated{} and may stop working."
    IST0136 Info ALPHA_ANNOTATION AlphaAnnotation
        "Annotation {q} belongs to a feature in its alpha phase and may change."
    IST0137 Warning DEPLOYMENT_CONFLICTING_PORTS DeploymentConflictingPorts
        "The deployment {} is behind several services {} that map different ports to targetPort {q}: {}."
    IST0138 Warning DUPLICATE_CERTIFICATE GatewayDuplicateCertificate
        "The gateways {} present the same certificate: browsers re-use an HTTP/2 connection to one for hosts of the other and get 404."
    IST0139 Error INVALID_WEBHOOK InvalidWebhook
        "{}"
    IST0140 Warning INGRESS_RULES_NOT_AFFECTED IngressRouteRulesNotAffected
        "Subset in virtual service {} has no effect on ingress gateway {} requests: rules for sidecars are not applied at gateways."
    IST0141 Error INSUFFICIENT_PERMISSIONS InsufficientPermissions
        "Missing permission to create {} ({})"
    IST0142 Error UNSUPPORTED_KUBERNETES UnsupportedKubernetesVersion
        "Kubernetes {q} is older than the oldest that is supported: {}"
    IST0143 Error LOCALHOST_LISTENER LocalhostListener
        "A Service exposes port {}, but the application listens on localhost only: other pods cannot reach it."
    IST0144 Warning RESERVED_UID InvalidApplicationUID
        "User ID (UID) 1337 is the sidecar's: traffic of an application that runs as 1337 passes the sidecar by."
    IST0145 Error CONFLICTING_GATEWAYS ConflictingGateways
        "Conflict with gateways {} (workload selector {}, port {}, hosts {})."
    IST0146 Warning IMAGE_AUTO_WARNING ImageAutoWithoutInjectionWarning
        "{} {} has a container with `image: auto`, but no injection webhook selects it."
    IST0147 Error IMAGE_AUTO_ERROR ImageAutoWithoutInjectionError
        "{} {} has a container with `image: auto`, which injection did not replace: it cannot start."
    IST0148 Info INJECTED_BY_DEFAULT NamespaceInjectionEnabledByDefault
        "is injected, because enableNamespacesByDefault is true in the installation."
    IST0149 Error JWT_CLAIM_WITHOUT_AUTHENTICATION JwtClaimBasedRoutingWithoutRequestAuthN
        "The virtual service routes by a JWT claim (key: {}), but no RequestAuthentication is for the pods of the gateway ({}, pod {}): without one there are no claims. Apply it to the gateway's pods first."
    IST0150 Warning EXTERNAL_NAME_PORT ExternalNameServiceTypeInvalidPortName
        "A port of an ExternalName service that is unnamed or TCP takes all traffic to that port number; name its protocol."
    IST0151 Warning RELATIVE_OPERATION EnvoyFilterUsesRelativeOperation
        "This EnvoyFilter patches relative to something that other filters may not have put there yet, and has no priority. Set spec.priority, or use INSERT_FIRST or ADD."
    IST0152 Error REPLACE_INCORRECT EnvoyFilterUsesReplaceOperationIncorrectly
        "REPLACE works on HTTP_FILTER and NETWORK_FILTER only."
    IST0153 Error ADD_INCORRECT EnvoyFilterUsesAddOperationIncorrectly
        "ADD is ignored where applyTo is ROUTE_CONFIGURATION or HTTP_ROUTE."
    IST0154 Error REMOVE_INCORRECT EnvoyFilterUsesRemoveOperationIncorrectly
        "REMOVE is ignored where applyTo is ROUTE_CONFIGURATION or HTTP_ROUTE."
    IST0155 Warning RELATIVE_WITH_VERSION EnvoyFilterUsesRelativeOperationWithProxyVersion
        "This EnvoyFilter has no priority and patches relative to a filter that another patch adds for one proxyVersion only: during an upgrade it may not apply. Set spec.priority, or use INSERT_FIRST or ADD."
    IST0156 Error GATEWAY_API_TOO_OLD UnsupportedGatewayAPIVersion
        "The Gateway API's CRDs have version {}, older than the oldest that is supported: {}"
    IST0157 Warning TELEMETRY_WITHOUT_PROVIDER InvalidTelemetryProvider
        "The Telemetry {} in namespace {q} names no provider, and the mesh has no default: it is ignored."
    IST0158 Warning PROXY_IMAGE_MISMATCH PodsIstioProxyImageMismatchInNamespace
        "The sidecars of these pods run another image than the injector would give them now: {}. Restart their workloads."
    IST0159 Error CONFLICTING_TELEMETRIES ConflictingTelemetryWorkloadSelectors
        "The Telemetries {} in namespace {q} select the same workload {q}; only one of them counts."
    IST0160 Error TELEMETRIES_WITHOUT_SELECTOR MultipleTelemetriesWithoutWorkloadSelectors
        "The Telemetries {} in namespace {q} have no selector; only one of them counts."
    IST0161 Error INVALID_CREDENTIAL InvalidGatewayCredential
        "The Secret that Gateway {} in namespace {} takes its certificate from holds no usable certificate and key."
    IST0162 Warning GATEWAY_PORT_NOT_ON_SERVICE GatewayPortNotDefinedOnService
        "The gateway listens on port {}, which no Service of its pods (selector {}) leads to: it can be reached at the pods only."
    IST0163 Warning EXTERNAL_CONTROL_PLANE InvalidExternalControlPlaneConfig
        "The hostname ({}) by which webhook {} reaches the external control plane {}."
    IST0164 Info EXTERNAL_CONTROL_PLANE_IP ExternalControlPlaneAddressIsNotAHostname
        "The address ({}) by which webhook {} reaches the external control plane is an IP address; a hostname outlives moves."
    IST0165 Warning INTERNAL_GATEWAY ReferencedInternalGateway
        "VirtualService {} refers to {}, a Gateway that is generated from the Gateway API; its name may change. Attach a route to the original instead."
    IST0166 Warning INEFFECTIVE_SELECTOR IneffectiveSelector
        "A selector has no effect on the pods of Kubernetes Gateway {}. Use targetRefs."
    IST0167 Warning INEFFECTIVE_POLICY IneffectivePolicy
        "It has no effect: {}."
    IST0168 Warning UNKNOWN_UPGRADE UnknownUpgradeCompatibility
        "{q} changed in {}, and whether that matters here cannot be told: {}. `--set compatibilityVersion={}` keeps the old behaviour."
    IST0169 Warning UPDATE_INCOMPATIBILITY UpdateIncompatibility
        "{q} changed in {}: {}. `--set compatibilityVersion={}` keeps the old behaviour."
    IST0170 Warning INCONSISTENT_SERVICE MultiClusterInconsistentService
        "The service {} in namespace {q} is not the same in clusters {q}: {}."
    IST0171 Warning NEGATIVE_CONDITION NegativeConditionStatus
        "Its status has a condition that does not hold: type={}, reason={}, message={}."
    IST0172 Warning GATEWAY_API_SOON_TOO_OLD FutureUnsupportedGatewayAPIVersion
        "The Gateway API's CRDs have version {}; the next release needs at least {}"
    IST0173 Error SUBSET_WITHOUT_PODS DestinationRuleSubsetNotSelectPods
        "The subset {} selects no pods: requests to it are answered 503 (no healthy upstream)."
    IST0174 Warning UNKNOWN_RULE_HOST UnknownDestinationRuleHost
        "No service has the host {} of the DestinationRule."
    IST0175 Warning JWKS_UNRESTRICTED JwksUriFetchUnrestricted
        "BLOCKED_CIDRS_IN_JWKS_URIS is not set, and {} RequestAuthentications name a jwksUri ({}): whoever may write them can make the control plane fetch any address."
    IST0176 Warning GATEWAY_API_CRD_TOO_OLD GatewayAPICRDVersionBelowMinimum
        "The CRD {q} has version {q}, and at least {q} is needed: objects of this kind are not read. Update the Gateway API's CRDs."
    IST0177 Warning CONFLICTING_ENTRY_PROTOCOL ConflictingServiceEntryProtocol
        "The ServiceEntries {} give host {q} at port {} different protocols ({}); only one of them counts."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_in_order() {
        assert_eq!(ALL.len(), 68);
        assert!(ALL.windows(2).all(|w| w[0].code < w[1].code));
    }

    #[test]
    fn arguments_are_put_in_where_the_template_has_them() {
        assert_eq!(NOT_FOUND.text(&["host", "a"]), "Referenced host not found: \"a\"");
        assert_eq!(NOT_FOUND.arguments(), 2);
        assert_eq!(INVALID_WEBHOOK.text(&["x{y}"]), "x{y}");
    }

    /// Where the released catalogue is at hand: the same codes, names, levels and numbers of arguments.
    #[test]
    fn the_catalogue_is_istios() {
        let Some(dir) = released::folder("analyzers") else { return };
        let text = std::fs::read_to_string(dir.join("messages.json")).unwrap();
        let released: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        let mut theirs: Vec<String> = released
            .iter()
            .map(|m| {
                let text = |key: &str| m[key].as_str().unwrap_or_default().to_owned();
                let arguments = m["args"].as_array().map_or(0, Vec::len);
                format!("{} {} {} {arguments}", text("code"), text("level"), text("name"))
            })
            .collect();
        theirs.sort();
        let ours: Vec<String> = ALL
            .iter()
            .map(|m| format!("{} {:?} {} {}", m.code, m.level, m.name, m.arguments()))
            .collect();
        assert_eq!(ours, theirs);
    }
}
