//! Which requests the cluster shows us: pods to be injected, configuration to be checked. The bundle
//! of trusted roots is filled in by the control plane, which alone knows it.

use crate::Values;
use crate::rbac::cluster_meta;
use serde_json::{Value, json};

pub(crate) fn objects(values: &Values) -> Vec<Value> {
    vec![injector(values), validator(values)]
}

fn is(key: &str, operator: &str, words: &[&str]) -> Value {
    match words {
        [] => json!({"key": key, "operator": operator}),
        words => json!({"key": key, "operator": operator, "values": words}),
    }
}

fn injector(values: &Values) -> Value {
    const INJECT: &str = "sidecar.istio.io/inject";
    const REV: &str = "istio.io/rev";
    const NS: &str = "istio-injection";
    let rev = values.revision.as_str();
    let wanted = is(INJECT, "NotIn", &["false"]);
    let (no_rev, no_ns) = (is(REV, "DoesNotExist", &[]), is(NS, "DoesNotExist", &[]));
    let hook = |name: &str, namespace: &[&Value], object: &[&Value]| {
        json!({
            "name": format!("{name}.sidecar-injector.istio.io"),
            "clientConfig": client(values, "/inject"),
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "failurePolicy": "Fail",
            "reinvocationPolicy": "Never",
            "timeoutSeconds": 10,
            "rules": [{
                "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"],
                "operations": ["CREATE"]}],
            "namespaceSelector": {"matchExpressions": namespace},
            "objectSelector": {"matchExpressions": object}})
    };
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": cluster_meta(values, "istio-sidecar-injector"),
        "webhooks": [
            hook("rev.namespace", &[&is(REV, "In", &[rev]), &no_ns], &[&wanted]),
            hook("rev.object", &[&no_rev, &no_ns], &[&wanted, &is(REV, "In", &[rev])]),
            hook("namespace", &[&is(NS, "In", &["enabled"])], &[&wanted]),
            hook("object", &[&no_ns, &no_rev], &[&is(INJECT, "In", &["true"]), &no_rev])]})
}

fn validator(values: &Values) -> Value {
    let hook = |name: &str, selector: Value| {
        json!({
            "name": name,
            "clientConfig": client(values, "/validate"),
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            // Nothing unchecked gets in, also while the control plane starts.
            "failurePolicy": "Fail",
            "timeoutSeconds": 10,
            "rules": [{
                "apiGroups": [
                    "networking.istio.io", "security.istio.io", "telemetry.istio.io",
                    "extensions.istio.io"],
                "apiVersions": ["*"], "resources": ["*"], "operations": ["CREATE", "UPDATE"]}],
            "objectSelector": {"matchExpressions": [selector]}})
    };
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": cluster_meta(values, &format!("istio-validator-{}", values.namespace)),
        "webhooks": [
            hook("rev.validation.istio.io", is("istio.io/rev", "In", &[&values.revision])),
            hook("validation.istio.io", is("istio.io/rev", "DoesNotExist", &[]))]})
}

fn client(values: &Values, path: &str) -> Value {
    json!({"service": {
        "name": "istiod", "namespace": values.namespace, "path": path, "port": 443}})
}
