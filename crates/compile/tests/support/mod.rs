//! A world for tests: objects from YAML, Bookinfo's pods, and configuration as readable text.
#![allow(dead_code, reason = "each test uses a part of it")]

use api::Kind;
use base::Finding;
use compile::Proxy;
use registry::{Snapshot, Store};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

pub fn store() -> Store {
    Store::new("cluster.local", "istio-system")
}

/// Applies every document of a YAML text, and fails on what the registry refuses.
pub fn apply(store: &mut Store, yaml: &str) {
    for object in documents(yaml) {
        let findings = apply_any(store, object);
        assert!(findings.is_empty(), "{findings:?}");
    }
}

/// Applies an object and gives what the registry has to say about it.
pub fn apply_any(store: &mut Store, mut object: Value) -> Vec<Finding> {
    let version = object["apiVersion"].as_str().unwrap_or_default();
    let kind = Kind::of(version, object["kind"].as_str().unwrap_or_default());
    let kind = kind.expect("a kind that is read");
    if object["metadata"]["namespace"].is_null() {
        object["metadata"]["namespace"] = "default".into();
    }
    if object["metadata"]["creationTimestamp"].is_null() {
        object["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
    }
    store.apply(kind, &object).findings
}

pub fn documents(yaml: &str) -> Vec<Value> {
    use serde::Deserialize as _;
    serde_yaml_ng::Deserializer::from_str(yaml)
        .map(|d| Value::deserialize(d).expect("YAML"))
        .filter(|v| !v.is_null())
        .collect()
}

/// A pod, its labels `app` and `version`, ready, and nothing else.
pub fn pod(store: &mut Store, namespace: &str, app: &str, version: &str, ip: &str) {
    let name = format!("{app}-{version}-0");
    let object = json!({
        "metadata": {"name": name, "namespace": namespace,
            "labels": {"app": app, "version": version, "security.istio.io/tlsMode": "istio"},
            "ownerReferences": [{"kind": "StatefulSet", "name": format!("{app}-{version}"), "controller": true}]},
        "spec": {"serviceAccountName": format!("bookinfo-{app}")},
        "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}],
            "conditions": [{"type": "Ready", "status": "True"}]}
    });
    store.apply(Kind::Pod, &object);
}

/// The slice of a service: (address, ready).
pub fn slice(
    store: &mut Store,
    namespace: &str,
    service: &str,
    port: (&str, u16),
    ips: &[(&str, bool)],
) {
    let endpoints: Vec<Value> = ips
        .iter()
        .map(|(ip, ready)| json!({"addresses": [ip], "conditions": {"ready": ready}}))
        .collect();
    let object = json!({
        "metadata": {"name": format!("{service}-1"), "namespace": namespace,
            "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4", "endpoints": endpoints,
        "ports": [{"name": port.0, "port": port.1}]
    });
    store.apply(Kind::EndpointSlice, &object);
}

/// Bookinfo with all its pods and an ingress gateway.
pub fn bookinfo() -> Store {
    let mut store = store();
    apply(&mut store, include_str!("../inputs/bookinfo.yaml"));
    let pods = [
        ("productpage", "v1", "10.1.0.1"),
        ("details", "v1", "10.1.0.2"),
        ("ratings", "v1", "10.1.0.3"),
        ("reviews", "v1", "10.1.0.4"),
        ("reviews", "v2", "10.1.0.5"),
        ("reviews", "v3", "10.1.0.6"),
    ];
    for (app, version, ip) in pods {
        pod(&mut store, "default", app, version, ip);
    }
    for app in ["productpage", "details", "ratings", "reviews"] {
        let ips: Vec<_> = pods.iter().filter(|p| p.0 == app).map(|p| (p.2, true)).collect();
        slice(&mut store, "default", app, ("http", 9080), &ips);
    }
    store
}

pub fn sidecar(namespace: &str, app: &str, version: &str, ip: &str) -> Proxy {
    let id = format!("sidecar~{ip}~{app}-{version}-0.{namespace}~{namespace}.svc.cluster.local");
    Proxy::parse(&id, &json!({"LABELS": {"app": app, "version": version}})).expect("a node")
}

pub fn ingress() -> Proxy {
    let id = "router~10.1.9.1~istio-ingressgateway-0.istio-system~istio-system.svc.cluster.local";
    let labels = json!({"app": "istio-ingressgateway", "istio": "ingressgateway"});
    Proxy::parse(id, &json!({ "LABELS": labels })).expect("a node")
}

pub fn snapshot(store: &mut Store) -> Arc<Snapshot> {
    store.snapshot()
}

/// `{:#?}` without the fields that say nothing and without origins, short blocks on one line, so that
/// what is there can be read.
pub fn text(value: &impl std::fmt::Debug) -> String {
    let full = format!("{value:#?}");
    let mut out: Vec<String> = Vec::new();
    for line in full.lines().filter(|l| !says_nothing(l)) {
        out.push(line.to_owned());
        close_block(&mut out);
    }
    out.join("\n") + "\n"
}

fn says_nothing(line: &str) -> bool {
    let empty = [": None,", ": [],", ": {},", ": false,", ": \"\",", ": 0,"];
    empty.iter().any(|e| line.ends_with(e)) || line.ends_with("source_type: Any,")
}

/// Joins a block that has just ended, if it is empty or has one short line.
fn close_block(out: &mut Vec<String>) {
    let last = out.last().map_or("", |l| l.trim()).to_owned();
    if !matches!(last.as_str(), ")" | ")," | "}" | "}," | "]" | "],") {
        return;
    }
    let opens = |l: &String| l.ends_with(['(', '{', '[']);
    let n = out.len();
    let inner = match n {
        2.. if opens(&out[n - 2]) => String::new(),
        3.. if opens(&out[n - 3]) => out[n - 2].trim().trim_end_matches(',').to_owned(),
        _ => return,
    };
    let open = out[if inner.is_empty() { n - 2 } else { n - 3 }].clone();
    let nothing = inner.is_empty() && open.contains(": ") && !open.contains("lb: ");
    if open.trim_start().starts_with("origin: ") || nothing {
        out.truncate(if inner.is_empty() { n - 2 } else { n - 3 });
    } else if open.len() + inner.len() < 100 && !inner.ends_with('{') {
        out.truncate(if inner.is_empty() { n - 2 } else { n - 3 });
        out.push(format!("{open}{inner}{last}"));
    }
}

/// Compares with a golden file beside the feature; `UPDATE_GOLDEN=1` writes it.
pub fn golden(name: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(&path, actual).expect("written");
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    if expected != actual {
        let at = expected.lines().zip(actual.lines()).position(|(a, b)| a != b);
        let line = at.unwrap_or(expected.lines().count().min(actual.lines().count()));
        panic!(
            "{name} differs at line {}: expected {:?}, got {:?} (UPDATE_GOLDEN=1 writes it)",
            line + 1,
            expected.lines().nth(line),
            actual.lines().nth(line)
        );
    }
}
