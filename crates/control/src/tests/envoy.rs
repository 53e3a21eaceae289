//! Real Envoy under our control plane, in both dialects: a gateway with one route, which is flipped.

use super::*;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// `ENVOY`, or what `cargo xtask setup` installed.
fn find_envoy() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("ENVOY") {
        return Some(path.into());
    }
    let lib = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/peers/venv/lib");
    let versions = std::fs::read_dir(lib).ok()?.flatten();
    let inside = |v: std::fs::DirEntry| v.path().join("site-packages/envoy/_bin/envoy");
    versions.map(inside).find(|p| p.exists())
}

/// Where the two backends are: the pods of their addresses say which version they are.
const A: &str = "127.0.0.1";
const B: &str = "127.0.0.2";

struct Envoy {
    child: Child,
    admin: u16,
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Envoy {
    fn start(binary: &PathBuf, plane: SocketAddr, api: &str) -> Self {
        let admin = free_port();
        let local =
            |port: u16| json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
        let http2 = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
        let bootstrap = json!({
            "node": {"id": "router~127.0.0.1~gw-1.istio-system~istio-system.svc.cluster.local",
                "cluster": "istio-ingressgateway",
                "metadata": {"STOCK_ENVOY": "true", "NAMESPACE": "istio-system",
                    "LABELS": {"istio": "ingressgateway"}}},
            "admin": {"address": local(admin)},
            "dynamic_resources": {
                "ads_config": {"api_type": api, "transport_api_version": "V3",
                    "grpc_services": [{"envoy_grpc": {"cluster_name": "xds"}}]},
                "lds_config": {"ads": {}, "resource_api_version": "V3"},
                "cds_config": {"ads": {}, "resource_api_version": "V3"}},
            "static_resources": {"clusters": [{"name": "xds", "type": "STATIC",
                "connect_timeout": "1s",
                "typed_extension_protocol_options": {http2: {
                    "@type": format!("type.googleapis.com/{http2}"),
                    "explicit_http_config": {"http2_protocol_options": {}}}},
                "load_assignment": {"cluster_name": "xds", "endpoints": [{"lb_endpoints": [
                    {"endpoint": {"address": local(plane.port())}}]}]}}]}});
        let child = Command::new(binary)
            .args(["--use-dynamic-base-id", "--concurrency", "1", "-l", "error", "--config-yaml"])
            .arg(bootstrap.to_string())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, admin }
    }

    async fn stat(&self, pattern: &str) -> Vec<(String, u64)> {
        let path = format!("/stats?filter={pattern}");
        let page = get(self.admin, &path).await.unwrap_or_default();
        page.lines()
            .filter_map(|l| l.split_once(": "))
            .filter_map(|(k, v)| Some((k.to_owned(), v.trim().parse().ok()?)))
            .collect()
    }
}

/// The body of a 200; `None` for all else.
async fn get(port: u16, path: &str) -> Option<String> {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: reviews\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.starts_with("HTTP/1.1 200").then(|| body.to_owned())
}

/// Answers every request with its name.
async fn backend(name: &'static str, ip: &str) -> u16 {
    let listener = TcpListener::bind((ip, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while socket.read(&mut buffer).await.is_ok_and(|n| n > 0) {
                    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{name}");
                    let _ = socket.write_all(answer.as_bytes()).await;
                }
            });
        }
    });
    port
}

/// Ten requests in a row are answered by `version`.
async fn serves(port: u16, version: &str) {
    eventually(&format!("{version} answers"), || async move {
        for _ in 0..10 {
            get(port, "/").await.filter(|body| body == version)?;
        }
        Some(())
    })
    .await;
}

async fn envoy_follows(api: &str) {
    let Some(binary) = find_envoy() else {
        assert!(std::env::var_os("LATEEN_REQUIRE_PEERS").is_none(), "there is no Envoy");
        eprintln!("skipped: there is no Envoy; `cargo xtask setup` installs it");
        return;
    };
    let plane = Plane::start().await;
    let (v1, v2, port) = (backend("v1", A).await, backend("v2", B).await, free_port());
    // It has no agent that would bring certificates.
    plane
        .apply(json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "istio", "namespace": "istio-system"},
        "data": {"mesh": "enableAutoMtls: false"}}))
        .await;
    plane.apply(service("reviews", 9080)).await;
    plane.apply(pod("a", "reviews", "v1", A)).await;
    plane.apply(slice("reviews", "a", A, v1)).await;
    plane.apply(pod("b", "reviews", "v2", B)).await;
    plane.apply(slice("reviews", "b", B, v2)).await;
    plane.apply(rule(&["v1", "v2"])).await;
    plane.apply(gateway(port)).await;
    plane.apply(route("v1")).await;
    plane.synced().await;
    let envoy = Envoy::start(&binary, plane.plaintext, api);
    serves(port, "v1").await;
    plane.apply(route("v2")).await;
    serves(port, "v2").await;

    // The route comes before its subset, and the route that served goes on until both are there.
    plane.apply(route("v3")).await;
    eventually("the change is held", || async {
        let held = plane.ads.standings().iter().any(|s| !s.waits_for.is_empty());
        held.then_some(())
    })
    .await;
    serves(port, "v2").await;
    plane.apply(rule(&["v1", "v3"])).await;
    plane.apply(pod("a", "reviews", "v3", A)).await;
    serves(port, "v1").await;

    let rejected = envoy.stat("update_rejected").await;
    assert!(!rejected.is_empty());
    assert!(rejected.iter().all(|(_, n)| *n == 0), "{rejected:?}");
    eventually("everything is acknowledged", || async {
        let standings = plane.ads.standings();
        let done = standings.iter().all(|s| s.acked == s.told);
        (done && standings.len() == 1).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envoy_follows_by_delta() {
    envoy_follows("DELTA_GRPC").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envoy_follows_by_state_of_the_world() {
    envoy_follows("GRPC").await;
}
