//! Rules of the built-in kinds that users run into.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::Cause;
use super::names::{is_label, labels};
use crate::kinds::Kind;
use crate::meta::{at, items, number, text};
use crate::selector::LabelSelector;

pub fn object(kind: &Kind, old: Option<&Value>, new: &Value, causes: &mut Vec<Cause>) {
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Pod") => {
            pod_spec(new, "spec", &["Always", "OnFailure", "Never"], causes);
            if let Some(old) = old {
                pod_update(old, new, causes);
            }
        }
        ("", "Service") => service(old, new, causes),
        ("", "ConfigMap" | "Secret") => keys(old, new, causes),
        ("apps", _) if kind.kind != "ControllerRevision" => workload(old, new, causes),
        ("", "ReplicationController") => {
            replicas(new, causes);
            template(new, &["Always"], causes);
        }
        ("batch", "Job") => template(new, &["OnFailure", "Never"], causes),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => {
            binding(old, new, causes);
        }
        ("apiextensions.k8s.io", _) => crd(new, causes),
        ("admissionregistration.k8s.io", _) => webhooks(new, causes),
        ("networking.k8s.io", "Ingress") => ingress(new, causes),
        _ => {}
    }
}

fn replicas(new: &Value, causes: &mut Vec<Cause>) {
    if let Some(n) = number(new, &["spec", "replicas"]).filter(|n| *n < 0) {
        let why = "must be greater than or equal to 0";
        causes.push(Cause::invalid("spec.replicas", &json!(n), why));
    }
}

fn workload(old: Option<&Value>, new: &Value, causes: &mut Vec<Cause>) {
    replicas(new, causes);
    let selector = at(new, &["spec", "selector"]);
    match selector {
        None => causes.push(Cause::required("spec.selector", "")),
        Some(selector) => {
            let template = at(new, &["spec", "template", "metadata", "labels"]);
            let parsed = LabelSelector::from_value(selector);
            if parsed.is_empty() {
                let why = "empty selector is invalid for deployment";
                causes.push(Cause::invalid("spec.selector", selector, why));
            } else if !parsed.matches(template.and_then(Value::as_object)) {
                let found = template.cloned().unwrap_or_default();
                let why = "`selector` does not match template `labels`";
                causes.push(Cause::invalid("spec.template.metadata.labels", &found, why));
            }
        }
    }
    if old.is_some_and(|o| at(o, &["spec", "selector"]) != selector) {
        let found = selector.cloned().unwrap_or_default();
        causes.push(Cause::invalid("spec.selector", &found, "field is immutable"));
    }
    template(new, &["Always"], causes);
}

fn template(new: &Value, policies: &[&str], causes: &mut Vec<Cause>) {
    let Some(template) = at(new, &["spec", "template"]) else {
        causes.push(Cause::required("spec.template", ""));
        return;
    };
    labels(at(template, &["metadata", "labels"]), "spec.template.metadata.labels", causes);
    pod_spec(template, "spec.template.spec", policies, causes);
}

fn pod_spec(pod: &Value, path: &str, policies: &[&str], causes: &mut Vec<Cause>) {
    let containers = items(pod, &["spec", "containers"]);
    if containers.is_empty() {
        causes.push(Cause::required(format!("{path}.containers"), ""));
    }
    let policy = text(pod, &["spec", "restartPolicy"]).unwrap_or("Always");
    if !policies.contains(&policy) {
        causes.push(Cause::unsupported(format!("{path}.restartPolicy"), policy, policies));
    }
    let mut volumes = HashSet::new();
    for (index, volume) in items(pod, &["spec", "volumes"]).iter().enumerate() {
        let name = text(volume, &["name"]).unwrap_or_default();
        let field = format!("{path}.volumes[{index}].name");
        if name.is_empty() {
            causes.push(Cause::required(field, ""));
        } else if !volumes.insert(name) {
            causes.push(Cause::duplicate(field, &json!(name)));
        }
    }
    let mut names = HashSet::new();
    for list in ["initContainers", "containers"] {
        for (index, one) in items(pod, &["spec", list]).iter().enumerate() {
            container(one, &format!("{path}.{list}[{index}]"), &volumes, &mut names, causes);
        }
    }
}

fn container<'a>(
    container: &'a Value,
    path: &str,
    volumes: &HashSet<&str>,
    names: &mut HashSet<&'a str>,
    causes: &mut Vec<Cause>,
) {
    let name = text(container, &["name"]).unwrap_or_default();
    let field = format!("{path}.name");
    if name.is_empty() {
        causes.push(Cause::required(field, ""));
    } else if !is_label(name) {
        let why =
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-'";
        causes.push(Cause::invalid(field, &json!(name), why));
    } else if !names.insert(name) {
        causes.push(Cause::duplicate(field, &json!(name)));
    }
    if text(container, &["image"]).unwrap_or_default().is_empty() {
        causes.push(Cause::required(format!("{path}.image"), ""));
    }
    for (index, port) in items(container, &["ports"]).iter().enumerate() {
        let field = format!("{path}.ports[{index}].containerPort");
        check_port(number(port, &["containerPort"]), field, causes);
    }
    for (index, mount) in items(container, &["volumeMounts"]).iter().enumerate() {
        let name = text(mount, &["name"]).unwrap_or_default();
        if !volumes.contains(name) {
            let field = format!("{path}.volumeMounts[{index}].name");
            let message = format!("Not found: {name:?}");
            causes.push(Cause { reason: "FieldValueNotFound", field, message });
        }
        if text(mount, &["mountPath"]).unwrap_or_default().is_empty() {
            let field = format!("{path}.volumeMounts[{index}].mountPath");
            causes.push(Cause::required(field, ""));
        }
    }
    for (index, variable) in items(container, &["env"]).iter().enumerate() {
        if text(variable, &["name"]).unwrap_or_default().is_empty() {
            causes.push(Cause::required(format!("{path}.env[{index}].name"), ""));
        }
    }
}

fn check_port(port: Option<i64>, field: String, causes: &mut Vec<Cause>) {
    match port {
        None => causes.push(Cause::required(field, "")),
        Some(n) if !(1..=65535).contains(&n) => {
            causes.push(Cause::invalid(field, &json!(n), "must be between 1 and 65535, inclusive"));
        }
        _ => {}
    }
}

/// A running pod's containers stay what they are, but for their images.
fn pod_update(old: &Value, new: &Value, causes: &mut Vec<Cause>) {
    let fixed = |pod: &Value| {
        let mut spec = at(pod, &["spec"]).cloned().unwrap_or_default();
        let map = crate::meta::as_map(&mut spec);
        for key in [
            "activeDeadlineSeconds",
            "tolerations",
            "terminationGracePeriodSeconds",
            "nodeName",
            "schedulingGates",
            "ephemeralContainers",
        ] {
            map.shift_remove(key);
        }
        for key in ["containers", "initContainers"] {
            for container in map.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten() {
                let container = crate::meta::as_map(container);
                container.shift_remove("image");
                container.shift_remove("imagePullPolicy");
            }
        }
        spec
    };
    let placed = text(old, &["spec", "nodeName"]).filter(|n| !n.is_empty());
    let moved = placed.is_some() && placed != text(new, &["spec", "nodeName"]);
    if moved || fixed(old) != fixed(new) {
        let why = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations)";
        causes.push(Cause::forbidden("spec", why));
    }
}

fn service(old: Option<&Value>, new: &Value, causes: &mut Vec<Cause>) {
    const TYPES: &[&str] = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    let kind = text(new, &["spec", "type"]).unwrap_or("ClusterIP");
    if !TYPES.contains(&kind) {
        causes.push(Cause::unsupported("spec.type", kind, TYPES));
    }
    let ports = items(new, &["spec", "ports"]);
    let headless = text(new, &["spec", "clusterIP"]) == Some("None");
    if kind == "ExternalName" {
        if text(new, &["spec", "externalName"]).unwrap_or_default().is_empty() {
            causes.push(Cause::required("spec.externalName", ""));
        }
    } else if ports.is_empty() && !headless {
        causes.push(Cause::required("spec.ports", ""));
    }
    let mut names = HashSet::new();
    for (index, port) in ports.iter().enumerate() {
        check_port(number(port, &["port"]), format!("spec.ports[{index}].port"), causes);
        let name = text(port, &["name"]).unwrap_or_default();
        let field = format!("spec.ports[{index}].name");
        if name.is_empty() && ports.len() > 1 {
            causes.push(Cause::required(field, ""));
        } else if !name.is_empty() && !is_label(name) {
            let why = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-'";
            causes.push(Cause::invalid(field, &json!(name), why));
        } else if !name.is_empty() && !names.insert(name) {
            causes.push(Cause::duplicate(field, &json!(name)));
        }
    }
    let before = old.and_then(|o| text(o, &["spec", "clusterIP"])).filter(|ip| !ip.is_empty());
    let same_type = old.and_then(|o| text(o, &["spec", "type"])) != Some("ExternalName");
    let after = text(new, &["spec", "clusterIP"]);
    if let (Some(before), Some(after)) = (before, after)
        && same_type
        && before != after
    {
        causes.push(Cause::invalid(
            "spec.clusterIPs[0]",
            &json!([after]),
            "may not change once set",
        ));
    }
}

fn keys(old: Option<&Value>, new: &Value, causes: &mut Vec<Cause>) {
    for part in ["data", "binaryData"] {
        for key in at(new, &[part]).and_then(Value::as_object).into_iter().flatten().map(|(k, _)| k)
        {
            let legal = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            if key.is_empty() || key.len() > 253 || !key.chars().all(legal) {
                let why =
                    "a valid config key must consist of alphanumeric characters, '-', '_' or '.'";
                causes.push(Cause::invalid(format!("{part}[{key}]"), &json!(key), why));
            }
        }
    }
    let Some(old) = old else { return };
    let frozen = at(old, &["immutable"]) == Some(&json!(true));
    if frozen && ["data", "binaryData"].iter().any(|p| old.get(p) != new.get(p)) {
        causes.push(Cause::forbidden("data", "field is immutable when `immutable` is set"));
    }
    if old.get("type") != new.get("type") {
        let found = new.get("type").cloned().unwrap_or_default();
        causes.push(Cause::invalid("type", &found, "field is immutable"));
    }
}

fn binding(old: Option<&Value>, new: &Value, causes: &mut Vec<Cause>) {
    const KINDS: &[&str] = &["Role", "ClusterRole"];
    let kind = text(new, &["roleRef", "kind"]).unwrap_or_default();
    if !KINDS.contains(&kind) {
        causes.push(Cause::unsupported("roleRef.kind", kind, KINDS));
    }
    if text(new, &["roleRef", "name"]).unwrap_or_default().is_empty() {
        causes.push(Cause::required("roleRef.name", ""));
    }
    if old.is_some_and(|o| o.get("roleRef") != new.get("roleRef")) {
        let found = new.get("roleRef").cloned().unwrap_or_default();
        causes.push(Cause::invalid("roleRef", &found, "cannot change roleRef"));
    }
}

fn crd(new: &Value, causes: &mut Vec<Cause>) {
    if let Err(problem) = crate::kinds::from_crd(new) {
        causes.push(Cause::required("spec", &problem.to_string()));
        return;
    }
    let part = |path: &[&str]| text(new, path).unwrap_or_default().to_owned();
    let wanted = format!("{}.{}", part(&["spec", "names", "plural"]), part(&["spec", "group"]));
    let name = crate::meta::name(new);
    if name != wanted {
        let why = "must be spec.names.plural+\".\"+spec.group";
        causes.push(Cause::invalid("metadata.name", &json!(name), why));
    }
    const SCOPES: &[&str] = &["Cluster", "Namespaced"];
    let scope = part(&["spec", "scope"]);
    if !SCOPES.contains(&scope.as_str()) {
        causes.push(Cause::unsupported("spec.scope", &scope, SCOPES));
    }
    for (index, version) in items(new, &["spec", "versions"]).iter().enumerate() {
        if at(version, &["schema", "openAPIV3Schema"]).is_none() {
            let field = format!("spec.versions[{index}].schema.openAPIV3Schema");
            causes.push(Cause::required(field, "schemas are required"));
        }
    }
}

fn webhooks(new: &Value, causes: &mut Vec<Cause>) {
    for (index, webhook) in items(new, &["webhooks"]).iter().enumerate() {
        let field = |name: &str| format!("webhooks[{index}].{name}");
        if text(webhook, &["name"]).unwrap_or_default().is_empty() {
            causes.push(Cause::required(field("name"), ""));
        }
        if items(webhook, &["admissionReviewVersions"]).is_empty() {
            causes.push(Cause::required(
                field("admissionReviewVersions"),
                "must specify one of v1, v1beta1",
            ));
        }
        if text(webhook, &["sideEffects"]).is_none() {
            causes.push(Cause::required(
                field("sideEffects"),
                "must specify one of None, NoneOnDryRun",
            ));
        }
        let seconds = number(webhook, &["timeoutSeconds"]).unwrap_or(10);
        if !(1..=30).contains(&seconds) {
            let why = "the timeout value must be between 1 and 30 seconds";
            causes.push(Cause::invalid(field("timeoutSeconds"), &json!(seconds), why));
        }
    }
}

fn ingress(new: &Value, causes: &mut Vec<Cause>) {
    const TYPES: &[&str] = &["Exact", "ImplementationSpecific", "Prefix"];
    if items(new, &["spec", "rules"]).is_empty() && at(new, &["spec", "defaultBackend"]).is_none() {
        let why = "either `defaultBackend` or `rules` must be specified";
        causes.push(Cause::required("spec", why));
    }
    for (index, rule) in items(new, &["spec", "rules"]).iter().enumerate() {
        for (at, path) in items(rule, &["http", "paths"]).iter().enumerate() {
            let field = format!("spec.rules[{index}].http.paths[{at}].pathType");
            match text(path, &["pathType"]) {
                None => causes.push(Cause::required(field, "pathType must be specified")),
                Some(other) if !TYPES.contains(&other) => {
                    causes.push(Cause::unsupported(field, other, TYPES));
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
