//! The control plane itself: Deployment and Service `istiod`.

use crate::{Values, meta};
use serde_json::{Value, json};

pub(crate) fn objects(values: &Values) -> Vec<Value> {
    vec![service(values), disruption_budget(values), deployment(values)]
}

/// What selects the pods: the selector of Service and Deployment.
fn selector() -> Value {
    json!({"app": "istiod", "istio": "pilot"})
}

fn service(values: &Values) -> Value {
    let mut meta = meta(values, "istiod", "istiod");
    meta["labels"]["istio"] = "pilot".into();
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": meta,
        "spec": {
            "selector": selector(),
            "ports": [
                {"name": "grpc-xds", "port": 15010, "protocol": "TCP"},
                {"name": "https-dns", "port": 15012, "protocol": "TCP"},
                {"name": "https-webhook", "port": 443, "targetPort": 15017, "protocol": "TCP"},
                {"name": "http-monitoring", "port": 15014, "protocol": "TCP"}]}})
}

fn disruption_budget(values: &Values) -> Value {
    json!({
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": meta(values, "istiod", "istiod"),
        "spec": {"minAvailable": 1, "selector": {"matchLabels": selector()}}})
}

fn deployment(values: &Values) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": meta(values, "istiod", "istiod"),
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": selector()},
            "strategy": {"rollingUpdate": {"maxSurge": "100%", "maxUnavailable": "25%"}},
            "template": {
                "metadata": {
                    "labels": {
                        "app": "istiod", "istio": "pilot", "istio.io/rev": values.revision,
                        "sidecar.istio.io/inject": "false"},
                    "annotations": {
                        "prometheus.io/scrape": "true", "prometheus.io/port": "15014"}},
                "spec": {
                    "serviceAccountName": "istiod",
                    "containers": [container(values)],
                    "volumes": [{
                        "name": "cacerts",
                        "secret": {"secretName": "cacerts", "optional": true}}]}}}})
}

fn container(values: &Values) -> Value {
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}});
    json!({
        "name": "discovery",
        "image": values.image("pilot"),
        "args": [
            "discovery", "--monitoringAddr=:15014", "--log_output_level=default:info",
            "--domain", values.cluster_domain],
        "ports": [
            {"containerPort": 8080, "protocol": "TCP", "name": "http-debug"},
            {"containerPort": 15010, "protocol": "TCP", "name": "grpc-xds"},
            {"containerPort": 15012, "protocol": "TCP", "name": "tls-xds"},
            {"containerPort": 15017, "protocol": "TCP", "name": "https-webhooks"},
            {"containerPort": 15014, "protocol": "TCP", "name": "http-monitoring"}],
        "readinessProbe": {
            "httpGet": {"path": "/ready", "port": 8080},
            "initialDelaySeconds": 0, "periodSeconds": 1, "timeoutSeconds": 5},
        "env": [
            {"name": "REVISION", "value": values.revision},
            {"name": "PILOT_CERT_PROVIDER", "value": "istiod"},
            field("POD_NAME", "metadata.name"),
            field("POD_NAMESPACE", "metadata.namespace"),
            field("SERVICE_ACCOUNT", "spec.serviceAccountName"),
            {"name": "CLUSTER_ID", "value": values.cluster_id},
            {"name": "LATEEN_PLAINTEXT_DISCOVERY", "value": values.plaintext_discovery.to_string()}],
        // An authority that the operator brings; the volume is empty without the Secret.
        "volumeMounts": [{"name": "cacerts", "mountPath": "/etc/cacerts", "readOnly": true}],
        "resources": {"requests": {"cpu": "50m", "memory": "32Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": true, "runAsNonRoot": true,
            "runAsUser": 1337, "runAsGroup": 1337}})
}
