//! What passes from sidecar to sidecar beside plain requests: large bodies, streams, upgrades, gRPC,
//! and protocols that are not HTTP at all.

use e2e::{Mesh, eventually};
use std::time::Duration;

const WORKLOAD: &str = r#"
apiVersion: v1
kind: Service
metadata: { name: echo }
spec:
  selector: { app: echo }
  ports:
  - { name: http, port: 8080 }
  - { name: grpc, port: 8079 }
  - { name: tcp, port: 8078 }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: echo }
spec:
  replicas: 3
  selector: { matchLabels: { app: echo } }
  template:
    metadata: { labels: { app: echo } }
    spec: { containers: [{ name: echo, image: fortio/fortio }] }
---
apiVersion: v1
kind: Service
metadata: { name: httpbin }
spec:
  selector: { app: httpbin }
  ports: [{ name: http, port: 8000, targetPort: 8080 }]
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: httpbin }
spec:
  selector: { matchLabels: { app: httpbin } }
  template:
    metadata: { labels: { app: httpbin } }
    spec: { containers: [{ name: httpbin, image: docker.io/mccutchen/go-httpbin }] }
---
apiVersion: v1
kind: Service
metadata: { name: redis }
spec:
  selector: { app: redis }
  ports: [{ name: tcp-redis, port: 6379 }]
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: redis }
spec:
  selector: { matchLabels: { app: redis } }
  template:
    metadata: { labels: { app: redis } }
    spec: { containers: [{ name: redis, image: redis }] }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: client }
spec:
  selector: { matchLabels: { app: client } }
  template:
    metadata: { labels: { app: client } }
    spec: { containers: [{ name: client, image: fortio/fortio, command: ["/bin/sleep", "infinity"] }] }
"#;

/// What a shell in the client's pod prints.
fn shell(mesh: &Mesh, script: &str) -> String {
    mesh.exec("deploy/client", "client", &["sh", "-c", script])
}

#[test]
fn protocols_pass_from_sidecar_to_sidecar() {
    let Some(mesh) = Mesh::up("protocols", &[]) else { return };
    mesh.kubectl(&["label", "namespace", "default", "istio-injection=enabled"]);
    mesh.apply_text(WORKLOAD);
    mesh.wait_for_deployments("default");
    eventually("the first answer", Duration::from_secs(20), || {
        let text =
            shell(&mesh, "curl -s -o /dev/null -w '%{http_code}' http://httpbin:8000/get || true");
        if text == "200" { Ok(()) } else { Err(text) }
    });
    large_bodies_arrive_whole(&mesh);
    streams_are_not_held_back(&mesh);
    an_expectation_is_met(&mesh);
    a_connection_is_upgraded(&mesh);
    grpc_is_spread_over_all_endpoints(&mesh);
    other_protocols_pass(&mesh);
}

fn large_bodies_arrive_whole(mesh: &Mesh) {
    let script = "head -c 104857600 /dev/urandom > /tmp/big && sha256sum < /tmp/big && \
                  curl -sf -T /tmp/big -H 'Content-Type: application/octet-stream' -X POST http://echo:8080/ | sha256sum";
    let before = sidecar_memory(mesh);
    let hashes = shell(mesh, script);
    let (sent, received) = hashes.trim().split_once('\n').expect("two hashes");
    assert_eq!(sent, received, "100 MiB up and down");
    let grown = sidecar_memory(mesh).saturating_sub(before);
    assert!(grown <= 8 << 10, "the client's proxy grew by {grown} KiB");
}

/// Resident memory of the client's proxy in KiB.
fn sidecar_memory(mesh: &Mesh) -> u64 {
    let status = mesh.exec(
        "deploy/client",
        "istio-proxy",
        &["sh", "-c", "cat /proc/[0-9]*/comm /proc/[0-9]*/status"],
    );
    let mut rss = 0;
    let mut ours = false;
    for line in status.lines() {
        if let Some(name) = line.strip_prefix("Name:") {
            ours = name.trim().starts_with("lateen-proxy");
        } else if let Some(value) = line.strip_prefix("VmRSS:").filter(|_| ours) {
            rss =
                rss.max(value.split_whitespace().next().and_then(|v| v.parse().ok()).unwrap_or(0));
        }
    }
    assert!(rss > 0, "no lateen-proxy in\n{status}");
    rss
}

/// The first line of a slow stream comes long before its last.
fn streams_are_not_held_back(mesh: &Mesh) {
    let times = shell(
        mesh,
        "curl -sN 'http://httpbin:8000/drip?duration=2&numbytes=4&delay=0' -o /dev/null -w '%{time_starttransfer} %{time_total}'",
    );
    let (first, total) = times.trim().split_once(' ').expect("two times");
    let (first, total): (f64, f64) =
        (first.parse().expect("seconds"), total.parse().expect("seconds"));
    assert!(total > 1.0 && first < total / 2.0, "first byte after {first} s of {total} s");
}

fn an_expectation_is_met(mesh: &Mesh) {
    let text = shell(
        mesh,
        "curl -sv --max-time 10 -H 'Expect: 100-continue' -d hello http://echo:8080/ 2>&1",
    );
    assert!(text.contains("HTTP/1.1 100 Continue"), "{text}");
    assert!(text.ends_with("hello"), "{text}");
}

fn a_connection_is_upgraded(mesh: &Mesh) {
    let text = shell(
        mesh,
        "curl -si --max-time 2 -H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13' \
         -H 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==' http://httpbin:8000/websocket/echo || true",
    );
    assert!(text.starts_with("HTTP/1.1 101"), "{text}");
    assert!(
        text.to_lowercase().contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="),
        "{text}"
    );
}

fn grpc_is_spread_over_all_endpoints(mesh: &Mesh) {
    let load = "load --url http://echo:8079/echo.Echo/Call --mode grpc --rate 300 --seconds 8 --count-header x-served-by";
    let words: Vec<&str> =
        std::iter::once("/lateen/programs/lateen-apps").chain(load.split(' ')).collect();
    let text = mesh.exec("deploy/client", "client", &words);
    let summary: serde_json::Value = serde_json::from_str(&text).expect("a JSON summary");
    assert_eq!(summary["sent"], summary["ok"], "{summary}");
    let shares: Vec<u64> = summary["classes"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(_, n)| n.as_u64())
        .collect();
    assert_eq!(shares.len(), 3, "{summary}");
    // A third of 2,400 each, within 5%: five standard deviations of a fair choice.
    assert!(shares.iter().all(|n| (680..=920).contains(n)), "{summary}");
}

fn other_protocols_pass(mesh: &Mesh) {
    assert_eq!(shell(mesh, "printf 'SET a 1\\r\\nGET a\\r\\nQUIT\\r\\n' | timeout 5 curl -s telnet://redis:6379 || true").replace('\r', ""), "+OK\n$1\n1\n+OK\n");
}
