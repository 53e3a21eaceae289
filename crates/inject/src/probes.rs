//! Probes of the application go to the agent, which passes them on: the node's prober has no
//! certificate, and must not be captured like a client.

use crate::pod::{PROXY, list_mut, name, port_number};
use crate::settings::{Settings, Template};
use serde_json::{Map, Value, json};

const PROBES: [(&str, &str); 3] =
    [("livenessProbe", "livez"), ("readinessProbe", "readyz"), ("startupProbe", "startupz")];

/// Rewrites the probes of every container of the application; what they were, by path, is what the
/// agent gets as `ISTIO_KUBE_APP_PROBERS`.
pub(crate) fn rewrite(pod: &mut Value, settings: &Settings) -> Map<String, Value> {
    let mut probers = Map::new();
    let wanted = settings.rewrite_probes && settings.template == Template::Sidecar;
    if !wanted || settings.status_port == 0 {
        return probers;
    }
    for container in list_mut(&mut pod["spec"], "containers") {
        if name(container) == PROXY {
            continue;
        }
        for (field, word) in PROBES {
            let Some(prober) = prober(container, field) else { continue };
            let path = format!("/app-health/{}/{word}", name(container));
            redirect(&mut container[field], &path, settings.status_port);
            probers.insert(path, prober);
        }
    }
    probers
}

/// What the agent is to do for a probe; `None` for one that runs inside the container, or that
/// names a port which does not exist (which fails as it would without us).
fn prober(container: &Value, field: &str) -> Option<Value> {
    let probe = container.get(field)?;
    let action = ["httpGet", "tcpSocket", "grpc"].into_iter().find(|a| probe[a].is_object())?;
    let mut what = probe[action].clone();
    what["port"] = port_number(container, &what["port"])?.into();
    let mut prober = json!({ action: what });
    if let Some(timeout) = probe.get("timeoutSeconds") {
        prober["timeoutSeconds"] = timeout.clone();
    }
    Some(prober)
}

fn redirect(probe: &mut Value, path: &str, port: u16) {
    if let Some(fields) = probe.as_object_mut() {
        for action in ["tcpSocket", "grpc", "httpGet"] {
            fields.remove(action);
        }
        fields.insert("httpGet".into(), json!({"path": path, "port": port}));
    }
}
