//! The environment of the proxy container: the contract between injection and agent, under Istio's names.

use crate::pod::{annotation, app_containers, containers, name};
use crate::proxyless;
use crate::settings::{self, DNS_CAPTURE, Settings, Template};
use crate::{Context, Owner};
use serde_json::{Map, Value, json};

pub(crate) fn proxy_env(
    pod: &Value,
    ctx: &Context,
    settings: &Settings,
    probers: &Map<String, Value>,
) -> Vec<Value> {
    let mut env = identity(ctx);
    let mut set = |name: &str, value: String| env.push(json!({"name": name, "value": value}));
    set("PROXY_CONFIG", settings.proxy_config.to_string());
    set("ISTIO_META_POD_PORTS", Value::Array(settings::pod_ports(pod)).to_string());
    let apps: Vec<&str> = app_containers(pod).map(name).collect();
    set("ISTIO_META_APP_CONTAINERS", apps.join(","));
    set("ISTIO_META_CLUSTER_ID", ctx.values.cluster_id.clone());
    set("ISTIO_META_INTERCEPTION_MODE", settings.capture.mode.clone());
    if !ctx.values.network.is_empty() {
        set("ISTIO_META_NETWORK", ctx.values.network.clone());
    }
    if let Some(owner) = owner(pod, ctx) {
        set("ISTIO_META_OWNER", owner_uri(&owner, ctx.namespace));
        set("ISTIO_META_WORKLOAD_NAME", owner.name);
    }
    set("ISTIO_META_MESH_ID", mesh_id(ctx));
    set("TRUST_DOMAIN", trust_domain(ctx).to_owned());
    if !probers.is_empty() {
        set("ISTIO_KUBE_APP_PROBERS", Value::Object(probers.clone()).to_string());
    }
    if let Some(scrape) = scrape_of(pod, settings) {
        set("ISTIO_PROMETHEUS_ANNOTATIONS", scrape.to_string());
    }
    if settings.data_plane != "lateen" {
        set("LATEEN_DATA_PLANE", settings.data_plane.clone());
    }
    if settings.captures_dns() {
        set(DNS_CAPTURE, "true".to_owned());
    }
    if settings.template == Template::GrpcAgent {
        env.extend(proxyless::env());
    }
    let mut set = |name: &str, value: String| env.push(json!({"name": name, "value": value}));
    for (key, value) in settings.proxy_config["proxyMetadata"].as_object().into_iter().flatten() {
        if key == DNS_CAPTURE && settings.captures_dns() {
            continue;
        }
        set(key, value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    }
    env
}

/// Who and where the proxy is, and whom it asks for certificates.
fn identity(ctx: &Context) -> Vec<Value> {
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}});
    let istiod = match ctx.revision {
        "" | "default" => "istiod".to_owned(),
        rev => format!("istiod-{rev}"),
    };
    let ca = format!("{istiod}.{}.svc:15012", ctx.values.istio_namespace);
    vec![
        json!({"name": "PILOT_CERT_PROVIDER", "value": "istiod"}),
        json!({"name": "CA_ADDR", "value": ca}),
        field("POD_NAME", "metadata.name"),
        field("POD_NAMESPACE", "metadata.namespace"),
        field("INSTANCE_IP", "status.podIP"),
        field("SERVICE_ACCOUNT", "spec.serviceAccountName"),
        field("HOST_IP", "status.hostIP"),
        field("ISTIO_META_NODE_NAME", "spec.nodeName"),
        json!({"name": "ISTIO_CPU_LIMIT", "valueFrom": {"resourceFieldRef": {
            "containerName": crate::pod::PROXY, "resource": "limits.cpu", "divisor": "0"}}}),
    ]
}

fn trust_domain<'a>(ctx: &'a Context) -> &'a str {
    ctx.mesh["trustDomain"].as_str().filter(|t| !t.is_empty()).unwrap_or("cluster.local")
}

fn mesh_id(ctx: &Context) -> String {
    if ctx.values.mesh_id.is_empty() {
        trust_domain(ctx).to_owned()
    } else {
        ctx.values.mesh_id.clone()
    }
}

fn owner_uri(owner: &Owner, namespace: &str) -> String {
    let plural = format!("{}s", owner.kind.to_lowercase());
    format!(
        "kubernetes://apis/{}/namespaces/{namespace}/{plural}/{}",
        owner.api_version, owner.name
    )
}

/// The workload behind a pod: for a ReplicaSet with a template hash, its Deployment.
pub(crate) fn owner(pod: &Value, ctx: &Context) -> Option<Owner> {
    if ctx.owner.is_some() {
        return ctx.owner.clone();
    }
    let owners = pod["metadata"]["ownerReferences"].as_array();
    let made_by = owners.into_iter().flatten().find(|o| o["controller"] == Value::Bool(true));
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let Some(made_by) = made_by else {
        let name = pod["metadata"]["name"].as_str()?;
        return Some(Owner { api_version: "v1".into(), kind: "Pod".into(), name: name.into() });
    };
    let (kind, name) = (text(&made_by["kind"]), text(&made_by["name"]));
    if kind == "ReplicaSet" {
        let hash = crate::pod::label(pod, "pod-template-hash").unwrap_or_default();
        if let Some(deployment) = name.strip_suffix(&format!("-{hash}")) {
            let name = deployment.to_owned();
            return Some(Owner { api_version: "apps/v1".into(), kind: "Deployment".into(), name });
        }
    }
    Some(Owner { api_version: text(&made_by["apiVersion"]), kind, name })
}

/// Where the application's own metrics are, when it asks for them to be scraped.
fn scrape_of(pod: &Value, settings: &Settings) -> Option<Value> {
    let wants = annotation(pod, "prometheus.io/scrape") == Some("true");
    if !wants || !settings.merge_metrics {
        return None;
    }
    let of = |key: &str| annotation(pod, key).unwrap_or_default();
    Some(json!({
        "scrape": "true", "path": of("prometheus.io/path"), "port": of("prometheus.io/port")}))
}

/// The application container that `kubectl logs` and `exec` mean when none is named.
pub(crate) fn default_container(pod: &Value) -> Option<&str> {
    containers(pod, "containers").iter().map(name).find(|n| *n != crate::pod::PROXY)
}
