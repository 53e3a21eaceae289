//! Whose Ingresses are ours, and what their paths become.

use crate::Store;
use api::Kind;
use serde_json::{Value, json};

fn ingress(name: &str, at: u32, spec: Value) -> Value {
    json!({"metadata": {"name": name, "namespace": "shop",
        "creationTimestamp": format!("2026-01-0{at}T00:00:00Z")}, "spec": spec})
}

fn path(kind: &str, path: &str, service: &str) -> Value {
    json!({"path": path, "pathType": kind,
        "backend": {"service": {"name": service, "port": {"number": 80}}}})
}

fn store(ingresses: &[Value]) -> Store {
    let mut store = Store::new("cluster.local", "istio-system");
    for (name, controller) in [("istio", "istio.io/ingress-controller"), ("nginx", "k8s.io/nginx")]
    {
        let class = json!({"metadata": {"name": name}, "spec": {"controller": controller}});
        store.apply(Kind::IngressClass, &class);
    }
    for ingress in ingresses {
        assert_eq!(store.apply(Kind::Ingress, ingress).findings, []);
    }
    store
}

/// Each route of each host, as `HOST MATCH -> SERVICE`.
fn routes(store: &mut Store) -> Vec<String> {
    let mut lines = Vec::new();
    for item in store.snapshot().virtual_services.iter() {
        for route in &item.spec.http {
            let uri = route.r#match.first().and_then(|m| m.uri.clone()).unwrap_or_default();
            let parts = [
                uri.exact.map(|t| format!("={t}")),
                uri.prefix.map(|t| format!("^{t}")),
                uri.regex,
            ];
            let text = parts.into_iter().flatten().next().unwrap_or_else(|| "any".to_owned());
            let to = route.route[0].destination.as_ref().expect("a destination");
            let port = to.port.as_ref().map_or(0, |p| p.number);
            let service = to.host.strip_suffix(".shop.svc.cluster.local").expect("its name");
            lines.push(format!("{} {text} -> {service}:{port}", item.spec.hosts[0]));
        }
    }
    lines
}

#[test]
fn ours_are_told_by_class_and_by_annotation() {
    let rules = json!([{"http": {"paths": [path("Prefix", "/", "web")]}}]);
    let classed = |name: &str, class: Option<&str>| {
        ingress(name, 1, json!({"ingressClassName": class, "rules": rules}))
    };
    let annotated = |name: &str, class: &str| {
        let mut made = classed(name, Some("istio"));
        made["metadata"]["annotations"] = json!({"kubernetes.io/ingress.class": class});
        made
    };
    let mut store = store(&[
        classed("by-class", Some("istio")),
        classed("others", Some("nginx")),
        classed("unknown", Some("nobody")),
        classed("unclassed", None),
        annotated("by-annotation", "istio"),
        annotated("annotated-for-others", "nginx"),
    ]);
    let snapshot = store.snapshot();
    let claimed: Vec<_> = snapshot.ingresses.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(claimed, ["by-annotation", "by-class"]);
    assert_eq!(snapshot.gateways.len(), 2);
    store.delete(Kind::IngressClass, "", "istio");
    let claimed: Vec<_> = store.snapshot().ingresses.iter().map(|(_, n)| n.clone()).collect();
    assert_eq!(claimed, ["by-annotation"]);
}

#[test]
fn the_more_specific_path_comes_first_whoever_wrote_it() {
    let rules = |host: &str, paths: Value| json!([{"host": host, "http": {"paths": paths}}]);
    let all = path("Prefix", "/", "web");
    let first = json!({"ingressClassName": "istio", "rules": rules("a.example", json!([all,
        path("ImplementationSpecific", "/img.*", "images")])),
        "defaultBackend": {"service": {"name": "rest", "port": {"number": 81}}}});
    let second = json!({"ingressClassName": "istio", "rules": rules("a.example", json!([
        path("Prefix", "/a.pi/", "api"), path("Exact", "/health", "health"),
        path("ImplementationSpecific", "/one", "one")]))});
    let mut store = store(&[ingress("first", 1, first), ingress("second", 2, second)]);
    assert_eq!(
        routes(&mut store),
        [
            "* any -> rest:81",
            "a.example =/health -> health:80",
            "a.example =/one -> one:80",
            r"a.example /a\.pi((\/).*)? -> api:80",
            "a.example ^/img -> images:80",
            "a.example any -> web:80",
        ]
    );
}

#[test]
fn ports_may_be_named_and_secrets_belong_to_hosts() {
    let backend = json!({"service": {"name": "web", "port": {"name": "http"}}});
    let spec = json!({"ingressClassName": "istio",
        "tls": [{"hosts": ["a.example"], "secretName": "a-cert"}, {"secretName": "any-cert"}],
        "rules": [{"host": "a.example", "http": {"paths": [
            {"path": "/", "pathType": "Prefix", "backend": backend}]}}]});
    let mut store = store(&[ingress("named", 1, spec)]);
    assert_eq!(routes(&mut store), [""; 0], "the port is not known yet");
    let service = json!({"metadata": {"name": "web", "namespace": "shop"},
        "spec": {"clusterIP": "10.0.0.1", "ports": [{"name": "http", "port": 8000}]}});
    store.apply(Kind::Service, &service);
    assert_eq!(routes(&mut store), ["a.example any -> web:8000"]);
    let snapshot = store.snapshot();
    let gateway = snapshot.gateways.iter().next().expect("a gateway");
    let servers: Vec<String> = gateway
        .spec
        .servers
        .iter()
        .map(|s| {
            let secret = s.tls.as_ref().map_or("", |t| t.credential_name.as_str());
            format!("{} {} {secret}", s.port.number, s.hosts.join(","))
        })
        .collect();
    assert_eq!(servers, ["443 a.example a-cert", "443 * any-cert", "80 * "]);
    assert_eq!(gateway.namespace(), "istio-system");
    assert_eq!(gateway.object.to_string(), "Ingress shop/named");
    let version = snapshot.gateways.version;
    store.apply(
        Kind::Pod,
        &json!({"metadata": {"name": "p", "namespace": "shop"},
        "status": {"podIP": "10.0.0.9", "phase": "Running"}}),
    );
    assert_eq!(store.snapshot().gateways.version, version, "nothing of it has changed");
}
