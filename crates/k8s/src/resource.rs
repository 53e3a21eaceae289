//! Which collection of the API is meant.

/// One served collection, as in `networking.istio.io/v1 VirtualService (virtualservices)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Resource {
    pub group: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
    pub plural: &'static str,
    pub namespaced: bool,
}

impl Resource {
    pub const fn core(kind: &'static str, plural: &'static str) -> Self {
        Self { group: "", version: "v1", kind, plural, namespaced: true }
    }

    pub const fn named(
        group: &'static str,
        version: &'static str,
        kind: &'static str,
        plural: &'static str,
    ) -> Self {
        Self { group, version, kind, plural, namespaced: true }
    }

    pub const fn cluster_wide(self) -> Self {
        Self { namespaced: false, ..self }
    }

    pub const NAMESPACE: Self = Self::core("Namespace", "namespaces").cluster_wide();
    pub const NODE: Self = Self::core("Node", "nodes").cluster_wide();
    pub const SERVICE: Self = Self::core("Service", "services");
    pub const POD: Self = Self::core("Pod", "pods");
    pub const CONFIG_MAP: Self = Self::core("ConfigMap", "configmaps");
    pub const SECRET: Self = Self::core("Secret", "secrets");
    pub const ENDPOINT_SLICE: Self =
        Self::named("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices");
    pub const MUTATING_WEBHOOK: Self = Self::named(
        "admissionregistration.k8s.io",
        "v1",
        "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
    )
    .cluster_wide();
    pub const VALIDATING_WEBHOOK: Self = Self::named(
        "admissionregistration.k8s.io",
        "v1",
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
    )
    .cluster_wide();
    pub const TOKEN_REVIEW: Self =
        Self::named("authentication.k8s.io", "v1", "TokenReview", "tokenreviews").cluster_wide();

    pub const ACCESS_REVIEW: Self =
        Self::named("authorization.k8s.io", "v1", "SubjectAccessReview", "subjectaccessreviews")
            .cluster_wide();

    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }
}
