//! Gateways: a Service and a Deployment whose pod is what injection makes of the template `gateway`,
//! so that there is one description of a proxy container.

use crate::rbac::{account, binding, role};
use crate::{Values, meta};
use inject::{Context, Outcome};
use serde_json::{Value, json};

/// One of the gateways that a profile brings.
pub(crate) struct Gateway {
    name: &'static str,
    /// The value of the label `istio`, by which Gateway objects select it.
    istio: &'static str,
    service_type: &'static str,
    /// (name, service port, container port)
    ports: &'static [(&'static str, u16, u16)],
}

impl Gateway {
    pub(crate) fn is(&self, name: &str) -> bool {
        self.name == name
    }
}

pub(crate) const INGRESS: Gateway = Gateway {
    name: "istio-ingressgateway",
    istio: "ingressgateway",
    service_type: "LoadBalancer",
    ports: &[("status-port", 15021, 15021), ("http2", 80, 8080), ("https", 443, 8443)],
};

/// With the ports that the tutorials about TCP and about several clusters go through.
pub(crate) const INGRESS_OF_DEMO: Gateway = Gateway {
    ports: &[
        ("status-port", 15021, 15021),
        ("http2", 80, 8080),
        ("https", 443, 8443),
        ("tcp", 31400, 31400),
        ("tls", 15443, 15443),
    ],
    ..INGRESS
};

pub(crate) const EGRESS: Gateway = Gateway {
    name: "istio-egressgateway",
    istio: "egressgateway",
    service_type: "ClusterIP",
    ports: &[("http2", 80, 8080), ("https", 443, 8443)],
};

pub(crate) fn objects(gateway: &Gateway, values: &Values) -> Vec<Value> {
    let account_name = format!("{}-service-account", gateway.name);
    let sds = format!("{}-sds", gateway.name);
    let secrets = json!([
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "watch", "list"]}]);
    vec![
        account(values, &account_name, gateway.name),
        role(values, &sds, secrets),
        binding(values, &sds, &account_name),
        service(gateway, values),
        disruption_budget(gateway, values),
        deployment(gateway, values, &account_name),
    ]
}

fn selector(gateway: &Gateway) -> Value {
    json!({"app": gateway.name, "istio": gateway.istio})
}

fn labelled(gateway: &Gateway, values: &Values) -> Value {
    let mut meta = meta(values, gateway.name, gateway.name);
    meta["labels"]["istio"] = gateway.istio.into();
    meta
}

fn service(gateway: &Gateway, values: &Values) -> Value {
    let port = |(name, port, target): &(&str, u16, u16)| {
        let mut entry =
            json!({"name": name, "port": port, "targetPort": target, "protocol": "TCP"});
        let fixed = values.ingress_node_ports.iter().find(|(n, _)| n == name);
        if let Some((_, node_port)) = fixed.filter(|_| gateway.service_type == "LoadBalancer") {
            entry["nodePort"] = (*node_port).into();
        }
        entry
    };
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": labelled(gateway, values),
        "spec": {
            "type": gateway.service_type,
            "selector": selector(gateway),
            "ports": gateway.ports.iter().map(port).collect::<Vec<_>>()}})
}

fn disruption_budget(gateway: &Gateway, values: &Values) -> Value {
    json!({
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": labelled(gateway, values),
        "spec": {"minAvailable": 1, "selector": {"matchLabels": selector(gateway)}}})
}

fn deployment(gateway: &Gateway, values: &Values, account: &str) -> Value {
    let bare = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": labelled(gateway, values),
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": selector(gateway)},
            "strategy": {"rollingUpdate": {"maxSurge": "100%", "maxUnavailable": "25%"}},
            "template": {
                "metadata": {
                    "labels": selector(gateway),
                    "annotations": {"inject.istio.io/templates": "gateway"}},
                "spec": {
                    "serviceAccountName": account,
                    "containers": [own_proxy(gateway)],
                    "volumes": certificate_volumes(gateway)}}}});
    let mut deployment = with_proxy(bare, values);
    // Done here already, so the webhook has nothing left to do.
    deployment["spec"]["template"]["metadata"]["labels"]["sidecar.istio.io/inject"] =
        "false".into();
    deployment
}

/// Secrets under these names lie in files of the gateway's pods, for Gateways and DestinationRules that
/// name files.
fn certificate_volumes(gateway: &Gateway) -> Vec<Value> {
    let volume = |name: String| {
        let secret = json!({"secretName": format!("istio-{name}"), "optional": true});
        json!({"name": name, "secret": secret})
    };
    volume_names(gateway).map(volume).into()
}

fn volume_names(gateway: &Gateway) -> [String; 2] {
    [format!("{}-certs", gateway.istio), format!("{}-ca-certs", gateway.istio)]
}

fn own_proxy(gateway: &Gateway) -> Value {
    let mount = |name: String| json!({"mountPath": format!("/etc/istio/{name}"), "name": name, "readOnly": true});
    let ports = gateway
        .ports
        .iter()
        .map(|(_, _, target)| json!({"containerPort": target, "protocol": "TCP"}));
    json!({
        "name": "istio-proxy",
        "image": "auto",
        "ports": ports.collect::<Vec<_>>(),
        "volumeMounts": volume_names(gateway).map(mount),
        "env": [
            {"name": "ISTIO_META_UNPRIVILEGED_POD", "value": "true"},
            {"name": "ISTIO_META_ROUTER_MODE", "value": "standard"}]})
}

fn with_proxy(bare: Value, values: &Values) -> Value {
    let injection = inject::Values::from_json(&values.for_injection());
    let mesh = json!({"trustDomain": values.trust_domain});
    let ctx = Context {
        namespace: &values.namespace,
        namespace_labels: None,
        mesh: &mesh,
        proxy_configs: &[],
        values: &injection,
        nodes_run_native: false,
        revision: &values.revision,
        owner: None,
    };
    match inject::inject_document(&bare, &ctx) {
        Outcome::Injected(deployment) => deployment,
        Outcome::Unchanged(_) | Outcome::Refused(_) => bare,
    }
}
