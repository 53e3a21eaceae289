//! Kubernetes Ingress of class istio, in all versions that it ever had, through the ingress gateway.

use super::edge::{Edge, SOON};
use e2e::{curl, eventually};

/// As the tutorial has it, with an IngressClass, TLS, and each kind of path.
const INGRESS: &str = r#"
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: { name: istio }
spec: { controller: istio.io/ingress-controller }
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: { name: paths }
spec:
  ingressClassName: istio
  tls: [{ hosts: [paths.example.com], secretName: paths-cert }]
  rules:
  - host: paths.example.com
    http:
      paths:
      - { path: /status, pathType: Prefix, backend: { service: { name: httpbin, port: { number: 8000 } } } }
      - { path: /get, pathType: Exact, backend: { service: { name: httpbin, port: { name: http } } } }
      - { path: "/anything.*", pathType: ImplementationSpecific, backend: { service: { name: httpbin, port: { number: 8000 } } } }
      - { path: /hello, pathType: ImplementationSpecific, backend: { service: { name: helloworld, port: { number: 5000 } } } }
---
# The older one would take everything, but is not as specific.
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: { name: rest }
spec:
  ingressClassName: istio
  rules:
  - host: rest.example.com
    http: { paths: [{ path: /, pathType: Prefix, backend: { service: { name: helloworld, port: { number: 5000 } } } }] }
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: { name: of-somebody-else }
spec:
  ingressClassName: nginx
  rules:
  - host: else.example.com
    http: { paths: [{ path: /, pathType: Prefix, backend: { service: { name: httpbin, port: { number: 8000 } } } }] }
"#;

/// Before 1.19, by annotation.
const OLD: &str = r#"
apiVersion: VERSION
kind: Ingress
metadata: { name: NAME, annotations: { kubernetes.io/ingress.class: istio } }
spec:
  rules:
  - host: NAME.example.com
    http:
      paths:
      - { path: /status/*, backend: { serviceName: httpbin, servicePort: 8000 } }
"#;

/// The status of a plain request for a host.
fn plain(edge: &Edge<'_>, host: &str, path: &str) -> u16 {
    curl(&format!("{}{path}", edge.mesh.ingress()), &["-H", &format!("Host: {host}")]).status
}

fn until(edge: &Edge<'_>, host: &str, path: &str, status: u16) {
    eventually(&format!("{status} from {host}{path}"), SOON, || match plain(edge, host, path) {
        found if found == status => Ok(()),
        found => Err(found.to_string()),
    });
}

pub fn ingresses_are_served_by_class(edge: &Edge<'_>) {
    edge.tls_secret("paths-cert", &edge.authority.leaf(&["paths.example.com"]));
    edge.mesh.apply_text(INGRESS);
    until(edge, "paths.example.com", "/status/201", 201);
    for (path, status) in [
        ("/status/202", 202),
        ("/get", 200),
        ("/get?a=b", 200),
        ("/get/more", 404),
        ("/anything", 200),
        ("/anything/else", 200),
        ("/hello", 200),
        ("/hello/you", 404),
        ("/statusquo", 404),
        ("/headers", 404),
    ] {
        assert_eq!(plain(edge, "paths.example.com", path), status, "{path}");
    }
    assert_eq!(plain(edge, "rest.example.com", "/hello"), 200);
    assert_eq!(plain(edge, "else.example.com", "/get"), 404, "it is of another class");
    edge.until(&edge.client(), "paths.example.com", "/status/203", 203);
}

/// Where it is reached stands on each of ours, and on no other.
pub fn ingresses_show_where_they_are_reached(edge: &Edge<'_>) {
    let service = edge.mesh.get(&["-n", "istio-system", "service", "istio-ingressgateway"]);
    let ip = &service["status"]["loadBalancer"]["ingress"][0]["ip"];
    assert!(ip.is_string(), "{service}");
    eventually("an address", SOON, || {
        let shown = edge.mesh.get(&["ingress", "paths"])["status"].clone();
        match shown["loadBalancer"]["ingress"][0]["ip"] == *ip {
            true => Ok(()),
            false => Err(shown.to_string()),
        }
    });
    let other = edge.mesh.get(&["ingress", "of-somebody-else"])["status"].to_string();
    assert!(!other.contains("ip"), "{other}");
}

pub fn older_versions_of_ingress_are_the_same(edge: &Edge<'_>) {
    for (version, name) in [("networking.k8s.io/v1beta1", "beta"), ("extensions/v1beta1", "first")]
    {
        edge.mesh.apply_text(&OLD.replace("VERSION", version).replace("NAME", name));
        until(edge, &format!("{name}.example.com"), "/status/204", 204);
        assert_eq!(plain(edge, &format!("{name}.example.com"), "/get"), 404);
    }
    edge.delete(&["ingress", "beta"]);
    until(edge, "beta.example.com", "/status/204", 404);
}
