//! Writes what is added to a pod: the proxy, the capture step, volumes, labels and annotations.

use crate::Context;
use crate::env::{default_container, owner, proxy_env};
use crate::pod::{INIT, PROXY, STATUS, annotation, list_mut, map_mut, name};
use crate::settings::{DNS_CAPTURE, Settings, Template, canonical};
use crate::{merge, proxyless};
use serde_json::{Map, Value, json};

/// The user and group under which the proxy runs, whose traffic is not captured.
const PROXY_UID: u32 = 1337;

pub(crate) fn add(pod: &mut Value, ctx: &Context, s: &Settings, probers: &Map<String, Value>) {
    let own = take_own_proxy(pod);
    let env = proxy_env(pod, ctx, s, probers);
    let mut proxy = proxy_container(ctx, s, env);
    for (mount, spec) in &s.user_mounts {
        let mut spec = spec.clone();
        spec["name"] = mount.as_str().into();
        list_mut(&mut proxy, "volumeMounts").push(spec);
    }
    if let Some(own) = own {
        proxy = merge::container(proxy, &own);
    }
    let default = default_container(pod).map(str::to_owned);
    place_proxy(pod, s, proxy);
    if s.template == Template::Sidecar && s.capture.mode != "NONE" {
        place_init(pod, s, init_container(ctx, s));
    }
    if s.template == Template::GrpcAgent {
        proxyless::prepare(pod);
    }
    let volumes = volumes(s);
    let names: Vec<Value> = volumes.iter().map(|v| v["name"].clone()).collect();
    add_volumes(pod, volumes);
    label_pod(pod, ctx, s);
    annotate(pod, ctx, s, default, names);
}

/// A container `istio-proxy` that the user wrote to override ours.
fn take_own_proxy(pod: &mut Value) -> Option<Value> {
    let containers = list_mut(&mut pod["spec"], "containers");
    let index = containers.iter().position(|c| name(c) == PROXY)?;
    Some(containers.remove(index))
}

fn proxy_container(ctx: &Context, s: &Settings, env: Vec<Value>) -> Value {
    let mut container = json!({
        "name": PROXY,
        "image": s.image,
        "args": args(ctx, s),
        "ports": [{"containerPort": 15090, "protocol": "TCP", "name": "http-envoy-prom"}],
        "env": env,
        "resources": s.resources,
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
            "privileged": false,
            "readOnlyRootFilesystem": true,
            "runAsGroup": PROXY_UID,
            "runAsNonRoot": true,
            "runAsUser": PROXY_UID,
        },
        "volumeMounts": mounts(),
    });
    if let Some(policy) = &ctx.values.pull_policy {
        container["imagePullPolicy"] = policy.as_str().into();
    }
    // Port 0 switches the agent's health port off, and with it everything that asks there.
    if s.status_port != 0 {
        let ready = json!({"path": "/healthz/ready", "port": 15021});
        container["startupProbe"] = json!({
            "httpGet": ready, "periodSeconds": 1, "timeoutSeconds": 3, "failureThreshold": 600});
        container["readinessProbe"] = json!({
            "httpGet": ready, "periodSeconds": 15, "timeoutSeconds": 3, "failureThreshold": 4});
    }
    if s.native && s.template == Template::Sidecar {
        container["restartPolicy"] = "Always".into();
        container["lifecycle"] = json!({"preStop": {"httpGet": {
            "path": "/drain", "port": s.status_port}}});
    } else if s.hold {
        container["lifecycle"] =
            json!({"postStart": {"exec": {"command": ["pilot-agent", "wait"]}}});
    }
    container
}

fn args(ctx: &Context, s: &Settings) -> Vec<String> {
    let role = match s.template {
        Template::Sidecar | Template::GrpcAgent => "sidecar",
        Template::Gateway => "router",
    };
    let mut args = vec![
        "proxy".to_owned(),
        role.to_owned(),
        "--domain".to_owned(),
        format!("$(POD_NAMESPACE).svc.{}", ctx.values.cluster_domain),
        format!("--proxyLogLevel={}", s.log_level),
        format!("--proxyComponentLogLevel={}", s.component_log_level),
        format!("--log_output_level={}", s.agent_log_level),
    ];
    if let Some(n) = s.proxy_config["concurrency"].as_u64() {
        args.extend(["--concurrency".to_owned(), n.to_string()]);
    }
    args
}

fn init_container(ctx: &Context, s: &Settings) -> Value {
    let c = &s.capture;
    let mut args: Vec<&str> = vec![
        "istio-iptables",
        "-p",
        "15001",
        "-z",
        "15006",
        "-u",
        "1337",
        "-m",
        &c.mode,
        "-i",
        &c.include_ranges,
        "-x",
        &c.exclude_ranges,
        "-b",
        &c.include_inbound,
        "-d",
        &c.exclude_inbound,
    ];
    for (flag, value) in [
        ("-q", &c.include_outbound),
        ("-o", &c.exclude_outbound),
        ("-c", &c.exclude_interfaces),
        ("-k", &c.virtual_interfaces),
    ] {
        if !value.is_empty() {
            args.extend([flag, value]);
        }
    }
    args.push("--log_output_level=default:info");
    let mut container = json!({
        "name": INIT,
        "image": s.image,
        "args": args,
        "resources": s.resources,
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": {"add": ["NET_ADMIN", "NET_RAW"], "drop": ["ALL"]},
            "privileged": false,
            "readOnlyRootFilesystem": false,
            "runAsGroup": 0,
            "runAsNonRoot": false,
            "runAsUser": 0,
        },
    });
    if s.captures_dns() {
        let data_plane = json!({"name": "LATEEN_DATA_PLANE", "value": s.data_plane});
        let own = (s.data_plane != "lateen").then_some(data_plane);
        let env = std::iter::once(json!({"name": DNS_CAPTURE, "value": "true"})).chain(own);
        container["env"] = env.collect();
    }
    if let Some(policy) = &ctx.values.pull_policy {
        container["imagePullPolicy"] = policy.as_str().into();
    }
    container
}

/// A native sidecar runs before the user's init containers; one that the application waits for
/// stands first, else the proxy comes last.
fn place_proxy(pod: &mut Value, s: &Settings, proxy: Value) {
    if s.native && s.template == Template::Sidecar {
        list_mut(&mut pod["spec"], "initContainers").insert(0, proxy);
        return;
    }
    let containers = list_mut(&mut pod["spec"], "containers");
    let at = if s.hold { 0 } else { containers.len() };
    containers.insert(at, proxy);
}

/// Capture comes last, so that the user's init containers still reach the network; before a native
/// sidecar it comes first, since the sidecar serves them.
fn place_init(pod: &mut Value, s: &Settings, init: Value) {
    let list = list_mut(&mut pod["spec"], "initContainers");
    let at = if s.native { 0 } else { list.len() };
    list.insert(at, init);
}

fn mounts() -> Value {
    json!([
        {"name": "workload-socket", "mountPath": "/var/run/secrets/workload-spiffe-uds"},
        {"name": "credential-socket", "mountPath": "/var/run/secrets/credential-uds"},
        {"name": "workload-certs", "mountPath": "/var/run/secrets/workload-spiffe-credentials"},
        {"name": "istiod-ca-cert", "mountPath": "/var/run/secrets/istio"},
        {"name": "istio-data", "mountPath": "/var/lib/istio/data"},
        {"name": "istio-envoy", "mountPath": "/etc/istio/proxy"},
        {"name": "istio-token", "mountPath": "/var/run/secrets/tokens"},
        {"name": "istio-podinfo", "mountPath": "/etc/istio/pod"},
    ])
}

fn volumes(s: &Settings) -> Vec<Value> {
    let field = |path: &str, file: &str| json!({"path": file, "fieldRef": {"fieldPath": path}});
    // There the key lies for an application that has no proxy.
    let data = match s.template {
        Template::GrpcAgent => json!({"medium": "Memory"}),
        Template::Sidecar | Template::Gateway => json!({}),
    };
    let mut volumes = vec![
        json!({"name": "workload-socket", "emptyDir": {}}),
        json!({"name": "credential-socket", "emptyDir": {}}),
        json!({"name": "workload-certs", "emptyDir": {}}),
        json!({"name": "istio-envoy", "emptyDir": {"medium": "Memory"}}),
        json!({"name": "istio-data", "emptyDir": data}),
        json!({"name": "istio-podinfo", "downwardAPI": {"items": [
            field("metadata.labels", "labels"), field("metadata.annotations", "annotations")]}}),
        json!({"name": "istio-token", "projected": {"sources": [{"serviceAccountToken": {
            "audience": "istio-ca", "expirationSeconds": 43200, "path": "istio-token"}}]}}),
        json!({"name": "istiod-ca-cert", "configMap": {"name": "istio-ca-root-cert"}}),
    ];
    for (volume, spec) in &s.user_volumes {
        let mut spec = spec.clone();
        spec["name"] = volume.as_str().into();
        volumes.push(spec);
    }
    volumes
}

/// A volume that the user wrote under one of our names stays theirs.
fn add_volumes(pod: &mut Value, volumes: Vec<Value>) {
    let list = list_mut(&mut pod["spec"], "volumes");
    for volume in volumes {
        if !list.iter().any(|v| v["name"] == volume["name"]) {
            list.push(volume);
        }
    }
}

fn label_pod(pod: &mut Value, ctx: &Context, s: &Settings) {
    let workload = owner(pod, ctx).map(|o| o.name).unwrap_or_default();
    let (name, revision) = canonical(pod, &workload);
    let labels = map_mut(&mut pod["metadata"], "labels");
    let mut default = |key: &str, value: &str| {
        labels.entry(key).or_insert_with(|| value.into());
    };
    if s.template == Template::Sidecar {
        default("security.istio.io/tlsMode", "istio");
    }
    default("service.istio.io/canonical-name", &name);
    default("service.istio.io/canonical-revision", &revision);
    default("istio.io/rev", ctx.revision);
}

fn annotate(
    pod: &mut Value,
    ctx: &Context,
    s: &Settings,
    default: Option<String>,
    volumes: Vec<Value>,
) {
    let scraped = s.merge_metrics
        && s.status_port != 0
        && annotation(pod, "prometheus.io/scrape") != Some("false");
    let native = s.native && s.template == Template::Sidecar;
    let capture = s.template == Template::Sidecar && s.capture.mode != "NONE";
    let (mut init, mut main) = (Vec::new(), Vec::new());
    if capture {
        init.push(INIT);
    }
    if native {
        init.push(PROXY)
    } else {
        main.push(PROXY)
    }
    let status = json!({
        "initContainers": init, "containers": main, "volumes": volumes,
        "imagePullSecrets": null, "revision": ctx.revision});
    let annotations = map_mut(&mut pod["metadata"], "annotations");
    if let Some(container) = default {
        for key in [
            "kubectl.kubernetes.io/default-container",
            "kubectl.kubernetes.io/default-logs-container",
        ] {
            annotations.entry(key).or_insert_with(|| container.as_str().into());
        }
    }
    if scraped {
        annotations.insert("prometheus.io/scrape".into(), "true".into());
        annotations.insert("prometheus.io/port".into(), s.status_port.to_string().into());
        annotations.insert("prometheus.io/path".into(), "/stats/prometheus".into());
    }
    annotations.insert("istio.io/rev".into(), ctx.revision.into());
    annotations.insert(STATUS.into(), status.to_string().into());
}
