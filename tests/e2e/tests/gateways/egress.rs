//! The way out: TLS begun by sidecars and by the egress gateway, and passed through it.

use super::edge::{Edge, SOON};
use e2e::eventually;
use serde_json::Value;

const OUTSIDE: &str = include_str!("outside.yaml");

/// The address by which a host outside is known in the mesh.
fn address(host: &str) -> &'static str {
    if host.starts_with("shop") { "198.51.100.7" } else { "198.51.100.8" }
}

/// Hosts outside, which plain HTTP and TLS lead to.
fn entry(name: &str, ip: &str) -> String {
    format!(
        r#"
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{ name: {name} }}
spec:
  hosts: [{name}.example.com]
  addresses: [{}]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports:
  - {{ number: 80, name: http, protocol: HTTP }}
  - {{ number: 443, name: tls, protocol: TLS }}
  endpoints: [{{ address: {ip}, ports: {{ http: 443, tls: 443 }} }}]
"#,
        address(name)
    )
}

/// How the hosts are reached on port 80.
fn rule(name: &str, selector: &str, tls: &str) -> String {
    format!(
        r#"
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{ name: {name} }}
spec:
  host: {name}.example.com
  {selector}
  trafficPolicy:
    portLevelSettings:
    - port: {{ number: 80 }}
      tls: {tls}
"#
    )
}

const OF_CLIENT: &str = "workloadSelector: { matchLabels: { app: client } }";

fn pod_ip(edge: &Edge<'_>, namespace: &str, labels: &str) -> String {
    let pods = edge.mesh.get(&["pods", "-n", namespace, "-l", labels]);
    pods["items"][0]["status"]["podIP"].as_str().expect("an address").to_owned()
}

/// What the client's pod gets from a URL, as (status, body).
fn fetch(edge: &Edge<'_>, url: &str, more: &str) -> (String, String) {
    let host = url.split('/').nth(2).unwrap_or_default();
    let at = address(host);
    let script = format!(
        "curl -s --max-time 10 -w '\\n%{{http_code}}' --resolve {host}:80:{at} --resolve \
         {host}:443:{at} {more} {url} || true"
    );
    let text = edge.mesh.exec("deploy/client", "client", &["sh", "-c", &script]);
    let (body, status) = text.rsplit_once('\n').unwrap_or(("", &text));
    (status.to_owned(), body.to_owned())
}

/// Waits until the server says this of what it has seen.
fn until_seen(edge: &Edge<'_>, url: &str, more: &str, right: impl Fn(&Value) -> bool) -> Value {
    let mut seen = Value::Null;
    eventually(&format!("an answer of {url}"), SOON, || {
        let (status, body) = fetch(edge, url, more);
        seen = serde_json::from_str(&body).unwrap_or_default();
        match status == "200" && right(&seen) {
            true => Ok(()),
            false => Err(format!("{status} {body}")),
        }
    });
    seen
}

fn until_status(edge: &Edge<'_>, url: &str, status: &str) {
    eventually(&format!("{status} from {url}"), SOON, || match fetch(edge, url, "") {
        (found, _) if found == status => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

pub fn set_up(edge: &Edge<'_>) {
    edge.mesh.kubectl(&["create", "namespace", "mesh-external"]);
    let leaf = edge.authority.leaf(&["shop.example.com", "bank.example.com"]);
    edge.credential("mesh-external", "server", &leaf);
    edge.mesh.apply_text(OUTSIDE);
    for namespace in ["mesh-external", "default"] {
        edge.mesh.wait_for_deployments(namespace);
    }
    let client = edge.authority.leaf(&["the-client"]);
    for namespace in ["default", "istio-system"] {
        edge.credential(namespace, "client-credential", &client);
    }
    for name in ["shop", "bank"] {
        edge.mesh.apply_text(&entry(name, &pod_ip(edge, "mesh-external", &format!("app={name}"))));
    }
}

/// As the tutorial about TLS origination has it, with a Role for the Secret.
pub fn sidecars_begin_tls(edge: &Edge<'_>) {
    let (shop, bank) = ("http://shop.example.com/seen", "http://bank.example.com/seen");
    let simple = "{ mode: SIMPLE, credentialName: client-credential }";
    edge.mesh.apply_text(&rule("shop", OF_CLIENT, simple));
    until_status(edge, shop, "503");
    let say = "the service account of the proxy may not list Secrets in namespace default";
    edge.until_status_says("destinationrule", "shop", &[say]);
    edge.mesh.kubectl(&["create", "role", "secrets", "--resource=secrets", "--verb=list"]);
    edge.mesh.kubectl(&[
        "create",
        "rolebinding",
        "secrets",
        "--role=secrets",
        "--serviceaccount=default:client",
    ]);
    let of_client = pod_ip(edge, "default", "app=client");
    let seen = until_seen(edge, shop, "", |seen| seen["peer"] == *of_client);
    assert_eq!(seen["tls"]["sni"], "shop.example.com", "{seen}");
    assert_eq!(seen["tls"]["client"], Value::Null, "{seen}");
    // A certificate of its own.
    let mutual = "{ mode: MUTUAL, credentialName: client-credential, sni: bank.example.com }";
    edge.mesh.apply_text(&rule("bank", OF_CLIENT, mutual));
    until_seen(edge, bank, "", |seen| seen["tls"]["client"] == "CN=the-client");
    // Who the server must be.
    let other =
        "{ mode: SIMPLE, credentialName: client-credential, subjectAltNames: [other.example] }";
    edge.mesh.apply_text(&rule("shop", OF_CLIENT, other));
    until_status(edge, shop, "503");
    let trusting = "{ mode: SIMPLE, insecureSkipVerify: true, sni: anything.example }";
    edge.mesh.apply_text(&rule("shop", "", trusting));
    until_seen(edge, shop, "", |seen| seen["tls"]["sni"] == "anything.example");
    // The system's roots do not know the scenes' authority.
    edge.mesh.apply_text(&rule("shop", "", "{ mode: SIMPLE }"));
    until_status(edge, shop, "503");
    edge.delete(&["destinationrule", "shop", "bank"]);
}

const PASSED: &str = r#"
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: egress-passing }
spec:
  selector: { istio: egressgateway }
  servers:
  - port: { number: 443, name: tls, protocol: TLS }
    hosts: [shop.example.com]
    tls: { mode: PASSTHROUGH }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: shop-through-gateway }
spec:
  hosts: [shop.example.com]
  gateways: [mesh, egress-passing]
  tls:
  - match: [{ gateways: [mesh], port: 443, sniHosts: [shop.example.com] }]
    route: [{ destination: { host: istio-egressgateway.istio-system.svc.cluster.local, port: { number: 443 } } }]
  - match: [{ gateways: [egress-passing], port: 443, sniHosts: [shop.example.com] }]
    route: [{ destination: { host: shop.example.com, port: { number: 443 } } }]
"#;

pub fn tls_of_clients_leaves_through_the_gateway(edge: &Edge<'_>) {
    let url = "https://shop.example.com/seen";
    let of_client = pod_ip(edge, "default", "app=client");
    until_seen(edge, url, "-k", |seen| seen["peer"] == *of_client);
    edge.mesh.apply_text(PASSED);
    let of_gateway = pod_ip(edge, "istio-system", "istio=egressgateway");
    let seen = until_seen(edge, url, "-k", |seen| seen["peer"] == *of_gateway);
    assert_eq!(seen["tls"]["sni"], "shop.example.com", "{seen}");
    edge.delete(&["gateway/egress-passing", "virtualservice/shop-through-gateway"]);
}

const BEGUN: &str = r#"
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: egress-beginning }
spec:
  selector: { istio: egressgateway }
  servers:
  - port: { number: 80, name: http, protocol: HTTP }
    hosts: [bank.example.com]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: bank-through-gateway }
spec:
  hosts: [bank.example.com]
  gateways: [mesh, egress-beginning]
  http:
  - match: [{ gateways: [mesh], port: 80 }]
    route: [{ destination: { host: istio-egressgateway.istio-system.svc.cluster.local, port: { number: 80 } } }]
  - match: [{ gateways: [egress-beginning], port: 80 }]
    route: [{ destination: { host: bank.example.com, port: { number: 443 } } }]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: bank-from-gateway }
spec:
  host: bank.example.com
  trafficPolicy:
    portLevelSettings:
    - port: { number: 443 }
      tls: { mode: MUTUAL, credentialName: client-credential, sni: bank.example.com }
"#;

pub fn the_gateway_begins_tls(edge: &Edge<'_>) {
    edge.mesh.apply_text(BEGUN);
    let of_gateway = pod_ip(edge, "istio-system", "istio=egressgateway");
    let url = "http://bank.example.com/seen";
    let seen = until_seen(edge, url, "", |seen| seen["peer"] == *of_gateway);
    assert_eq!(seen["tls"]["client"], "CN=the-client", "{seen}");
    assert_eq!(seen["tls"]["sni"], "bank.example.com", "{seen}");
}

/// Connections that are kept have the old one: those of real Envoy go on to be used, ours do not.
pub fn a_new_certificate_of_the_gateway_is_shown_at_once(edge: &Edge<'_>) {
    let url = "http://bank.example.com/seen";
    let next = edge.authority.leaf(&["the-next-client"]);
    edge.credential("istio-system", "client-credential", &next);
    until_seen(edge, url, "", |seen| seen["tls"]["client"] == "CN=the-next-client");
    edge.delete(&["gateway/egress-beginning", "virtualservice/bank-through-gateway"]);
    edge.delete(&["destinationrule/bank-from-gateway"]);
}
