//! What an installation has and files seldom hold: the ingress gateway's pod and Service. Files that are
//! analyzed alone are analyzed as if it were there.

use serde_json::{Value, json};

/// To be put before the objects of the files, which so replace them.
pub fn installed(root: &str) -> Vec<Value> {
    let name = "istio-ingressgateway";
    let labels = json!({"app": name, "istio": "ingressgateway"});
    let port = |name: &str, port: u16, target: u16| json!({"name": name, "port": port, "targetPort": target, "protocol": "TCP"});
    let ports = [
        port("status-port", 15021, 15021),
        port("http2", 80, 8080),
        port("https", 443, 8443),
        port("tcp", 31400, 31400),
        port("tls", 15443, 15443),
    ];
    vec![
        json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": root, "labels": labels},
            "spec": {"containers": [{"name": "istio-proxy"}]}}),
        json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name, "namespace": root, "labels": labels},
            "spec": {"selector": labels, "ports": ports}}),
    ]
}
