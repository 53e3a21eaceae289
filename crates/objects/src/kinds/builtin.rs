//! The table of built-in kinds.

use std::sync::Arc;

use super::{Kind, ScalePaths, Served};
use crate::schema::{Shape, builtin};

/// group, version, kind, plural, short names, categories, flags:
/// `n` namespaced, `s` status subresource, `c` scale subresource, `r` a review (not stored).
type Row = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
    &'static str,
);

const ALL: &[&str] = &["all"];

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("", "v1", "Binding", "bindings", &[], &[], "nr"),
    ("", "v1", "ComponentStatus", "componentstatuses", &["cs"], &[], ""),
    ("", "v1", "ConfigMap", "configmaps", &["cm"], &[], "n"),
    ("", "v1", "Endpoints", "endpoints", &["ep"], &[], "n"),
    ("", "v1", "Event", "events", &["ev"], &[], "n"),
    ("", "v1", "LimitRange", "limitranges", &["limits"], &[], "n"),
    ("", "v1", "Namespace", "namespaces", &["ns"], &[], "s"),
    ("", "v1", "Node", "nodes", &["no"], &[], "s"),
    ("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", &["pvc"], &[], "ns"),
    ("", "v1", "PersistentVolume", "persistentvolumes", &["pv"], &[], "s"),
    ("", "v1", "Pod", "pods", &["po"], ALL, "ns"),
    ("", "v1", "PodTemplate", "podtemplates", &[], &[], "n"),
    ("", "v1", "ReplicationController", "replicationcontrollers", &["rc"], ALL, "nsc"),
    ("", "v1", "ResourceQuota", "resourcequotas", &["quota"], &[], "ns"),
    ("", "v1", "Secret", "secrets", &[], &[], "n"),
    ("", "v1", "ServiceAccount", "serviceaccounts", &["sa"], &[], "n"),
    ("", "v1", "Service", "services", &["svc"], ALL, "ns"),
    ("apps", "v1", "ControllerRevision", "controllerrevisions", &[], &[], "n"),
    ("apps", "v1", "DaemonSet", "daemonsets", &["ds"], ALL, "ns"),
    ("apps", "v1", "Deployment", "deployments", &["deploy"], ALL, "nsc"),
    ("apps", "v1", "ReplicaSet", "replicasets", &["rs"], ALL, "nsc"),
    ("apps", "v1", "StatefulSet", "statefulsets", &["sts"], ALL, "nsc"),
    ("authentication.k8s.io", "v1", "SelfSubjectReview", "selfsubjectreviews", &[], &[], "r"),
    ("authentication.k8s.io", "v1", "TokenReview", "tokenreviews", &[], &[], "r"),
    ("authorization.k8s.io", "v1", "LocalSubjectAccessReview", "localsubjectaccessreviews", &[], &[], "nr"),
    ("authorization.k8s.io", "v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews", &[], &[], "r"),
    ("authorization.k8s.io", "v1", "SelfSubjectRulesReview", "selfsubjectrulesreviews", &[], &[], "r"),
    ("authorization.k8s.io", "v1", "SubjectAccessReview", "subjectaccessreviews", &[], &[], "r"),
    ("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", &["hpa"], ALL, "ns"),
    ("batch", "v1", "CronJob", "cronjobs", &["cj"], ALL, "ns"),
    ("batch", "v1", "Job", "jobs", &[], ALL, "ns"),
    ("networking.k8s.io", "v1", "IngressClass", "ingressclasses", &[], &[], ""),
    ("networking.k8s.io", "v1", "Ingress", "ingresses", &["ing"], &[], "ns"),
    ("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", &["netpol"], &[], "n"),
    ("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", &["pdb"], &[], "ns"),
    ("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebindings", &[], &[], ""),
    ("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles", &[], &[], ""),
    ("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings", &[], &[], "n"),
    ("rbac.authorization.k8s.io", "v1", "Role", "roles", &[], &[], "n"),
    ("storage.k8s.io", "v1", "StorageClass", "storageclasses", &["sc"], &[], ""),
    ("admissionregistration.k8s.io", "v1", "MutatingWebhookConfiguration", "mutatingwebhookconfigurations", &[], &["api-extensions"], ""),
    ("admissionregistration.k8s.io", "v1", "ValidatingWebhookConfiguration", "validatingwebhookconfigurations", &[], &["api-extensions"], ""),
    ("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", &["crd", "crds"], &["api-extensions"], "s"),
    ("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", &["pc"], &[], ""),
    ("coordination.k8s.io", "v1", "Lease", "leases", &[], &[], "n"),
    ("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", &[], &[], "n"),
];

/// Other groups and versions under which the same objects are served:
/// group, version, stored group, kind, deprecated.
#[rustfmt::skip]
const OTHER_VERSIONS: &[(&str, &str, &str, &str, bool)] = &[
    ("apps", "v1beta2", "apps", "Deployment", true),
    ("apps", "v1beta1", "apps", "Deployment", true),
    ("extensions", "v1beta1", "apps", "Deployment", true),
    ("apps", "v1beta2", "apps", "DaemonSet", true),
    ("extensions", "v1beta1", "apps", "DaemonSet", true),
    ("apps", "v1beta2", "apps", "ReplicaSet", true),
    ("extensions", "v1beta1", "apps", "ReplicaSet", true),
    ("apps", "v1beta2", "apps", "StatefulSet", true),
    ("apps", "v1beta1", "apps", "StatefulSet", true),
    ("networking.k8s.io", "v1beta1", "networking.k8s.io", "Ingress", true),
    ("extensions", "v1beta1", "networking.k8s.io", "Ingress", true),
    ("extensions", "v1beta1", "networking.k8s.io", "NetworkPolicy", true),
    ("policy", "v1beta1", "policy", "PodDisruptionBudget", true),
    ("batch", "v1beta1", "batch", "CronJob", true),
    ("rbac.authorization.k8s.io", "v1beta1", "rbac.authorization.k8s.io", "Role", true),
    ("rbac.authorization.k8s.io", "v1beta1", "rbac.authorization.k8s.io", "RoleBinding", true),
    ("rbac.authorization.k8s.io", "v1beta1", "rbac.authorization.k8s.io", "ClusterRole", true),
    ("rbac.authorization.k8s.io", "v1beta1", "rbac.authorization.k8s.io", "ClusterRoleBinding", true),
    ("apiextensions.k8s.io", "v1beta1", "apiextensions.k8s.io", "CustomResourceDefinition", true),
    ("admissionregistration.k8s.io", "v1beta1", "admissionregistration.k8s.io", "MutatingWebhookConfiguration", true),
    ("admissionregistration.k8s.io", "v1beta1", "admissionregistration.k8s.io", "ValidatingWebhookConfiguration", true),
    ("autoscaling", "v1", "autoscaling", "HorizontalPodAutoscaler", false),
    ("autoscaling", "v2beta2", "autoscaling", "HorizontalPodAutoscaler", true),
    ("autoscaling", "v2beta1", "autoscaling", "HorizontalPodAutoscaler", true),
    ("events.k8s.io", "v1", "", "Event", false),
];

pub fn kinds() -> Vec<Kind> {
    ROWS.iter().map(kind).collect()
}

fn kind(row: &Row) -> Kind {
    let (group, version, name, plural, short_names, categories, flags) = *row;
    let mut served = vec![Served {
        group: group.to_owned(),
        version: version.to_owned(),
        deprecation: None,
        shape: builtin(group, version, name).unwrap_or(Shape::Any),
        schema: None,
        columns: Arc::default(),
    }];
    let others = OTHER_VERSIONS.iter().filter(|(_, _, g, k, _)| (*g, *k) == (group, name));
    served.extend(others.map(|other| other_version(other, version)));
    let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
    Kind {
        group: group.to_owned(),
        kind: name.to_owned(),
        list_kind: format!("{name}List"),
        plural: plural.to_owned(),
        singular: name.to_lowercase(),
        short_names: owned(short_names),
        categories: owned(categories),
        namespaced: flags.contains('n'),
        storage_version: version.to_owned(),
        served,
        status: flags.contains('s'),
        scale: flags.contains('c').then(builtin_scale),
        custom: false,
        stored: !flags.contains('r'),
    }
}

fn other_version(row: &(&str, &str, &str, &str, bool), current: &str) -> Served {
    let (group, version, stored_group, kind, deprecated) = *row;
    let wanted = crate::meta::join_api_version(stored_group, current);
    let deprecation = deprecated.then(|| {
        format!("{group}/{version} {kind} is deprecated and gone from current Kubernetes; use {wanted} {kind}")
    });
    let reshaped =
        matches!(kind, "Ingress" | "CustomResourceDefinition" | "HorizontalPodAutoscaler");
    let same_as_current = || {
        let current = builtin(stored_group, current, kind).filter(|_| !reshaped);
        current.unwrap_or(Shape::Any)
    };
    Served {
        group: group.to_owned(),
        version: version.to_owned(),
        deprecation,
        shape: builtin(group, version, kind).unwrap_or_else(same_as_current),
        schema: None,
        columns: Arc::default(),
    }
}

fn builtin_scale() -> ScalePaths {
    let path = |keys: &[&str]| keys.iter().map(|k| (*k).to_owned()).collect();
    ScalePaths {
        replicas: path(&["spec", "replicas"]),
        status_replicas: path(&["status", "replicas"]),
        selector: path(&["spec", "selector"]),
    }
}
