//! gRPC's own xDS clients and servers (grpcio, which is its C core) under our control plane: names, the split
//! of a VirtualService, headers, faults, mutual TLS on both sides, and authorization.

use super::*;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// A Python that has grpcio: `GRPC_PYTHON`, or what `cargo xtask setup` installed.
fn python() -> Option<PathBuf> {
    let named = std::env::var_os("GRPC_PYTHON").map(PathBuf::from);
    let ours =
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/peers/grpcio/bin/python");
    let found = Some(named.unwrap_or_else(ours)).filter(|p| p.is_file());
    if found.is_none() {
        assert!(std::env::var_os("LATEEN_REQUIRE_PEERS").is_none(), "there is no grpcio");
        eprintln!("skipped: there is no grpcio; `cargo xtask setup` installs it");
    }
    found
}

const PORT: u16 = 7070;
const NAME: &str = "echo.default.svc.cluster.local:7070";

/// Where files of one test lie.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("lateen-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn put(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A process of its own, with its bootstrap and the certificate of its account.
async fn start(plane: &Plane, folder: &Folder, ip: &str, account: &str, args: &[&str]) -> Child {
    let id = SpiffeId::new("cluster.local", "default", account);
    let (csr, key) = tls::request(&id).unwrap();
    let names = ca::Names::Workload(id);
    let chain = plane.authority.issue(&csr, names, Duration::ZERO).await.unwrap().chain;
    let file = |what: &str, text: &str| folder.put(&format!("{account}-{ip}-{what}"), text);
    let bootstrap = json!({
        "xds_servers": [{"server_uri": plane.plaintext.to_string(),
            "channel_creds": [{"type": "insecure"}], "server_features": ["xds_v3"]}],
        "node": {"id": format!("sidecar~{ip}~{account}.default~default.svc.cluster.local"),
            "metadata": {"GENERATOR": "grpc", "NAMESPACE": "default"}},
        "certificate_providers": {"default": {"plugin_name": "file_watcher", "config": {
            "certificate_file": file("chain.pem", &chain.concat()),
            "private_key_file": file("key.pem", &key),
            "ca_certificate_file": file("roots.pem", &plane.authority.roots()),
            "refresh_interval": "900s"}}},
        "server_listener_resource_name_template": "xds.istio.io/grpc/lds/inbound/%s"});
    Command::new(python().unwrap())
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/proxyless.py"))
        .args(args)
        .env("GRPC_XDS_BOOTSTRAP", file("bootstrap.json", &bootstrap.to_string()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

struct Client {
    _child: Child,
    stdin: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

/// Answers by their number.
type Seen = BTreeMap<String, u64>;

impl Client {
    async fn start(plane: &Plane, folder: &Folder, name: &str) -> Client {
        let target = format!("xds:///{name}");
        let mut child = start(plane, folder, "127.0.0.3", "client", &["call", &target]).await;
        let stdin = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap()).lines();
        Client { _child: child, stdin, answers }
    }

    async fn calls(&mut self, calls: u64, headers: Value) -> Seen {
        let wish = json!({"calls": calls, "headers": headers});
        self.stdin.write_all(format!("{wish}\n").as_bytes()).await.unwrap();
        let answer = self.answers.next_line().await.unwrap().expect("an answer");
        serde_json::from_str(&answer).unwrap()
    }

    /// Until so many calls have only these answers, at most so many seconds.
    async fn until(&mut self, what: &str, calls: u64, wanted: &[&str]) -> Seen {
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        loop {
            let seen = self.calls(calls, json!({})).await;
            if seen.keys().map(String::as_str).eq(wanted.iter().copied()) {
                return seen;
            }
            assert!(std::time::Instant::now() < deadline, "{what}: {seen:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Two versions of an echo, each a server of gRPC's own, and the port of the first.
async fn echoes(plane: &Plane, folder: &Folder) -> (Vec<Child>, u16) {
    plane.apply(service("echo", PORT)).await;
    let (mut servers, mut ports) = (Vec::new(), Vec::new());
    for (version, ip) in [("v1", "127.0.0.1"), ("v2", "127.0.0.2")] {
        let port = free_port(ip);
        ports.push(port);
        plane.apply(pod(version, "echo", version, ip)).await;
        plane.apply(slice("echo", version, ip, port)).await;
        let at = format!("{ip}:{port}");
        servers.push(start(plane, folder, ip, "echo", &["serve", &at, version]).await);
    }
    plane.synced().await;
    (servers, ports[0])
}

/// A host outside of the mesh, at a name that is looked up.
fn outside(port: u16) -> Value {
    json!({"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry",
        "metadata": {"name": "outside", "namespace": "default"},
        "spec": {"hosts": ["outside.example"], "resolution": "DNS", "location": "MESH_EXTERNAL",
            "ports": [{"number": PORT, "name": "grpc", "protocol": "GRPC"}],
            "endpoints": [{"address": "localhost", "ports": {"grpc": port}}]}})
}

fn free_port(ip: &str) -> u16 {
    std::net::TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap().port()
}

fn subsets(tls: Option<&str>) -> Value {
    let policy = tls.map(|mode| json!({"tls": {"mode": mode}}));
    json!({"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
        "metadata": {"name": "echo", "namespace": "default"},
        "spec": {"host": "echo", "trafficPolicy": policy, "subsets": [
            {"name": "v1", "labels": {"version": "v1"}},
            {"name": "v2", "labels": {"version": "v2"}}]}})
}

fn rules(http: Value) -> Value {
    json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": "echo", "namespace": "default"},
        "spec": {"hosts": ["echo"], "http": http}})
}

fn to(subset: &str, weight: u32) -> Value {
    json!({"destination": {"host": "echo", "subset": subset}, "weight": weight})
}

fn strict() -> Value {
    json!({"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
        "metadata": {"name": "echo", "namespace": "default"},
        "spec": {"mtls": {"mode": "STRICT"}}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_without_a_proxy_follows_its_routes() {
    if python().is_none() {
        return;
    }
    let (plane, folder) = (Plane::start().await, Folder::new("proxyless-routes"));
    let (_servers, first) = echoes(&plane, &folder).await;
    let mut client = Client::start(&plane, &folder, NAME).await;
    client.until("both versions answer", 20, &["v1", "v2"]).await;

    plane.apply(subsets(None)).await;
    let only_v1 = json!({"match": [{"headers": {"x-version": {"exact": "v1"}}}],
        "route": [to("v1", 100)]});
    plane.apply(rules(json!([only_v1, {"route": [to("v2", 100)]}]))).await;
    client.until("version 2 has all", 20, &["v2"]).await;
    let picked = client.calls(10, json!({"x-version": "v1"})).await;
    assert_eq!(picked, Seen::from([("v1".to_owned(), 10)]));

    plane.apply(rules(json!([{"route": [to("v1", 20), to("v2", 80)]}]))).await;
    client.until("a share goes to version 1", 20, &["v1", "v2"]).await;
    let seen = client.calls(1000, json!({})).await;
    // Four standard deviations of a fair draw.
    assert!(seen.len() == 2 && seen["v1"].abs_diff(200) < 51, "{seen:?}");

    let abort = json!({"abort": {"httpStatus": 503, "percentage": {"value": 100}}});
    plane.apply(rules(json!([{"fault": abort, "route": [to("v1", 100)]}]))).await;
    client.until("a fault", 10, &["UNAVAILABLE"]).await;
    plane.apply(rules(json!([{"route": [to("v1", 100)]}]))).await;
    client.until("no fault", 10, &["v1"]).await;

    plane.apply(outside(first)).await;
    let mut client = Client::start(&plane, &folder, "outside.example:7070").await;
    client.until("a name is looked up", 10, &["v1"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_without_a_proxy_speaks_mutual_tls_and_is_authorized() {
    if python().is_none() {
        return;
    }
    let (plane, folder) = (Plane::start().await, Folder::new("proxyless-tls"));
    let (_servers, _) = echoes(&plane, &folder).await;
    // The short name, without a port: the service has only one.
    let mut client = Client::start(&plane, &folder, "echo").await;
    client.until("in plaintext", 20, &["v1", "v2"]).await;
    plane.apply(strict()).await;
    client.until("plaintext is refused", 4, &["UNAVAILABLE"]).await;
    plane.apply(subsets(Some("ISTIO_MUTUAL"))).await;
    client.until("by mutual TLS", 20, &["v1", "v2"]).await;

    let only = |account: &str| {
        json!({"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
            "metadata": {"name": "echo", "namespace": "default"},
            "spec": {"action": "ALLOW", "rules": [{"from": [{"source": {
                "principals": [format!("cluster.local/ns/default/sa/{account}")]}}]}]}})
    };
    plane.apply(only("somebody")).await;
    client.until("another account is let in", 10, &["PERMISSION_DENIED"]).await;
    plane.apply(only("client")).await;
    client.until("this account is let in", 20, &["v1", "v2"]).await;

    // The servers run as account `echo`: whoever else answered is not believed.
    for (version, ip) in [("v1", "127.0.0.1"), ("v2", "127.0.0.2")] {
        plane.apply(pod(version, "impostor", version, ip)).await;
    }
    client.until("the certificate is of another account", 4, &["UNAVAILABLE"]).await;
}
