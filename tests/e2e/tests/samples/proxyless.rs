//! gRPC without proxies: applications that follow the control plane themselves. One that is told to calls the
//! other version and itself, first evenly, then by weight, then by mutual TLS, which the other side demands.

use super::stage::{Scene, agrees};
use super::wire;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, ChildStdout, Command, Stdio};

const SAMPLE: &str = "grpc-echo/grpc-echo.yaml";
/// Which the sample names itself.
const NAMESPACE: &str = "echo-grpc";
const URL: &str = "xds:///echo.echo-grpc.svc.cluster.local:7070";
const CALLS: u32 = 100;

pub fn play(scene: &Scene<'_>) {
    let label = json!({"apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "labels": {"istio-injection": "enabled"}}});
    scene.mesh().apply_text(&label.to_string());
    apply_release(scene, "1.14.3");
    apply_release(scene, "master");
    let door = Door::open(scene);
    weights(scene, &door);
    mutual_tls(scene, &door);
    is_listed(scene);
    drop(door);
    kubectl(scene, &["delete", "namespace", NAMESPACE, "--wait=false"]);
    scene.end();
}

fn kubectl(scene: &Scene<'_>, args: &[&str]) -> String {
    scene.mesh().kubectl(&[&["-n", NAMESPACE], args].concat())
}

/// Both versions answer, each by its own agent's certificate and no proxy.
fn apply_release(scene: &Scene<'_>, release: &str) {
    kubectl(scene, &["apply", "-f", &scene.file_of(release, SAMPLE)]);
    for deployment in ["deploy/echo-v1", "deploy/echo-v2"] {
        kubectl(scene, &["rollout", "status", deployment, "--timeout=60s"]);
    }
    let door = Door::open(scene);
    scene.eventually("both versions answer", || {
        let output = door.forward(URL, 5)?;
        let hosts = said(&output, "Hostname");
        let of = |version: &str| hosts.keys().any(|h| h.starts_with(&format!("echo-{version}-")));
        let whole = hosts.values().sum::<u64>() == 5;
        if of("v1") && of("v2") && whole { Ok(()) } else { Err(format!("{output:?}")) }
    });
}

fn weights(scene: &Scene<'_>, door: &Door) {
    scene.mesh().apply_text(SUBSETS);
    scene.mesh().apply_text(WEIGHTS);
    let mut seen = BTreeMap::new();
    scene.eventually("one of five goes to version 1", || {
        let output = door.forward(URL, CALLS)?;
        seen = said(&output, "ServiceVersion");
        let of = |version: &str| seen.get(version).copied().unwrap_or_default();
        // Far from an even split, which it was before.
        if of("v1") < 35 && of("v1") + of("v2") == 100 { Ok(()) } else { Err(format!("{seen:?}")) }
    });
    let output = door.forward(URL, 4 * CALLS).expect("answers");
    let v1 = said(&output, "ServiceVersion").get("v1").copied().unwrap_or_default();
    assert!(agrees(v1, 4 * CALLS, 0.2), "{v1} of {} went to version 1", 4 * CALLS);
}

fn mutual_tls(scene: &Scene<'_>, door: &Door) {
    scene.mesh().apply_text(CLIENT_TLS);
    scene.eventually("a server of plaintext is not understood", || match door.forward(URL, 1) {
        Err(say) if say.contains("1/1 requests had errors; first error: rpc error") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    scene.mesh().apply_text(SERVER_TLS);
    scene.eventually("mutual TLS", || door.forward(URL, 20).map(drop));
    let seen = said(&door.forward(URL, 20).expect("answers"), "ServiceVersion");
    assert_eq!(seen.values().sum::<u64>(), 20, "{seen:?}");
    let list = ["get", "pods", "-l", "version=v2", "-o", "jsonpath={.items[*].status.podIP}"];
    let ips = kubectl(scene, &list);
    for ip in ips.split_whitespace() {
        let refused = door.forward(&format!("{ip}:17070"), 1).expect_err("plaintext is refused");
        assert!(refused.contains("code = Unavailable"), "{refused}");
        let open = door.forward(&format!("{ip}:17171"), 1);
        assert!(open.is_ok(), "its other port is nobody's: {open:?}");
    }
    real_peers(scene, door);
    // The client goes back to plaintext.
    kubectl(scene, &["delete", "destinationrule", "echo-mtls"]);
    scene.eventually("plaintext is refused", || match door.forward(URL, 1) {
        Err(say) if say.contains("1/1 requests had errors; first error: rpc error") => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

/// gRPC's own library in a pod of its own, as one server more of the service and as a client of all of them, by
/// what our agent tells it.
fn real_peers(scene: &Scene<'_>, door: &Door) {
    let Some(program) = library(scene) else { return };
    kubectl(scene, &["delete", "virtualservice", "echo-weights"]);
    let pod = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "grpcio", "namespace": NAMESPACE,
            "labels": {"app": "echo", "version": "v3"},
            "annotations": {"inject.istio.io/templates": "grpc-agent",
                "proxy.istio.io/config": r#"{"holdApplicationUntilProxyStarts": true}"#,
                "lateen.dev/exec.app": format!("{program} serve 0.0.0.0:17070 ServiceVersion=v3")}},
        "spec": {"containers": [{"name": "app", "image": "grpcio"}]}});
    scene.mesh().apply_text(&pod.to_string());
    let all = |seen: BTreeMap<String, u64>, calls: u64| {
        let versions: Vec<&str> = seen.keys().map(String::as_str).collect();
        let whole = seen.values().sum::<u64>() == calls;
        if versions == ["v1", "v2", "v3"] && whole { Ok(()) } else { Err(format!("{seen:?}")) }
    };
    scene.eventually("its server answers, too", || {
        all(said(&door.forward(URL, 12)?, "ServiceVersion"), 12)
    });
    let script = format!("echo '{{\"calls\": 30}}' | {program} call {URL}");
    scene.eventually("its client reaches all", || {
        let answer = kubectl(scene, &["exec", "grpcio", "-c", "app", "--", "sh", "-c", &script]);
        let answer: Value = serde_json::from_str(&answer).map_err(|e| format!("{answer}: {e}"))?;
        let mut seen = BTreeMap::new();
        for (text, count) in answer.as_object().into_iter().flatten() {
            let version = text.lines().find_map(|l| l.strip_prefix("ServiceVersion="));
            let version = version.unwrap_or(text).to_owned();
            *seen.entry(version).or_default() += count.as_u64().unwrap_or_default();
        }
        all(seen, 30)
    });
}

/// A program that pods can run: the library in a directory of its own, for the Python that they see.
fn library(scene: &Scene<'_>) -> Option<String> {
    const PYTHON: &str = "/usr/bin/python3";
    let python = std::env::var_os("GRPC_PYTHON").unwrap_or_else(|| {
        e2e::workspace().join("target/peers/grpcio/bin/python").into_os_string()
    });
    let ask = "import grpc, os; print(os.path.dirname(os.path.dirname(grpc.__file__)))";
    let found = Command::new(python).args(["-c", ask]).output().ok().filter(|o| o.status.success());
    let site = found.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned());
    let fits = site.as_ref().is_some_and(|site| {
        let load =
            Command::new(PYTHON).args(["-c", "import grpc"]).env("PYTHONPATH", site).output();
        load.is_ok_and(|o| o.status.success())
    });
    let Some(site) = site.filter(|_| fits) else {
        assert!(std::env::var_os("LATEEN_REQUIRE_PEERS").is_none(), "there is no grpcio");
        println!("no real gRPC: there is no grpcio for {PYTHON}; `cargo xtask setup` installs it");
        return None;
    };
    let home = scene.mesh().state().join("grpcio");
    std::fs::create_dir_all(&home).expect("the state directory is ours");
    let sources = [format!("{site}/grpc"), format!("{site}/typing_extensions.py")];
    let copied = Command::new("cp").arg("-r").args(sources).arg(&home).status().expect("cp");
    assert!(copied.success());
    let text = include_str!("../../../../crates/control/src/tests/proxyless.py");
    let program = home.join("proxyless");
    std::fs::write(&program, format!("#!{PYTHON}\n{text}")).expect("the state directory is ours");
    let all = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&program, all).expect("it was just written");
    Some(program.display().to_string())
}

/// Beside the proxies, each with what it asked for: one is called only, the other calls, too.
fn is_listed(scene: &Scene<'_>) {
    let list = scene.mesh().lateen(&["proxy-status"]);
    for (version, asks_for) in [("v1", "4 (CDS,LDS,EDS,RDS)"), ("v2", "1 (LDS)")] {
        let name = format!("echo-{version}-");
        let mut rows = list.lines().filter(|l| l.starts_with(&name) && l.contains(NAMESPACE));
        assert!(rows.any(|l| l.trim_end().ends_with(asks_for)), "{list}");
    }
}

/// The lines `NAME=` of all answers, by their values.
fn said(output: &[String], name: &str) -> BTreeMap<String, u64> {
    let mut seen = BTreeMap::new();
    let lines = output.iter().flat_map(|o| o.lines());
    let values =
        lines.filter_map(|l| l.split_once("body] ")?.1.strip_prefix(name)?.strip_prefix('='));
    for value in values {
        *seen.entry(value.to_owned()).or_default() += 1;
    }
    seen
}

/// `kubectl port-forward` to the first version's port 17171.
struct Door {
    child: Child,
    /// It goes on saying things, and would end if nobody could hear them.
    _said: BufReader<ChildStdout>,
    address: String,
}

impl Door {
    fn open(scene: &Scene<'_>) -> Door {
        let mut child = scene
            .mesh()
            .kubectl_command()
            .args(["-n", NAMESPACE, "port-forward", "deploy/echo-v1", ":17171"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("kubectl");
        let mut line = String::new();
        let mut said = BufReader::new(child.stdout.take().expect("piped"));
        said.read_line(&mut line).expect("it says where it listens");
        let address = line.split_whitespace().nth(2).unwrap_or_default().to_owned();
        assert!(address.starts_with("127.0.0.1:"), "{line}");
        Door { child, _said: said, address }
    }

    /// What `ForwardEcho` puts out, or its status and what is said about it.
    fn forward(&self, url: &str, count: u32) -> Result<Vec<String>, String> {
        let request = wire::Forward { url, count }.framed();
        let file = std::env::temp_dir().join(format!("lateen-forward-{}", std::process::id()));
        std::fs::write(&file, request).map_err(|e| e.to_string())?;
        let out = Command::new("curl")
            .args(["-sS", "--http2-prior-knowledge", "--max-time", "60", "-D", "/dev/stderr"])
            .args(["-H", "content-type: application/grpc", "-H", "te: trailers", "--data-binary"])
            .arg(format!("@{}", file.display()))
            .arg(format!("http://{}/proto.EchoTestService/ForwardEcho", self.address))
            .output()
            .map_err(|e| e.to_string())?;
        let head = String::from_utf8_lossy(&out.stderr).into_owned();
        if !head.contains("grpc-status: 0") {
            return Err(head);
        }
        wire::output(&out.stdout).ok_or_else(|| format!("an answer that cannot be read: {head}"))
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        // It is gone, or goes now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const SUBSETS: &str = "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: echo-versions, namespace: echo-grpc }
spec:
  host: echo.echo-grpc.svc.cluster.local
  subsets:
  - { name: v1, labels: { version: v1 } }
  - { name: v2, labels: { version: v2 } }
";

const WEIGHTS: &str = "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: echo-weights, namespace: echo-grpc }
spec:
  hosts: [echo.echo-grpc.svc.cluster.local]
  http:
  - route:
    - destination: { host: echo.echo-grpc.svc.cluster.local, subset: v1 }
      weight: 20
    - destination: { host: echo.echo-grpc.svc.cluster.local, subset: v2 }
      weight: 80
";

const CLIENT_TLS: &str = "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: echo-mtls, namespace: echo-grpc }
spec:
  host: echo.echo-grpc.svc.cluster.local
  trafficPolicy: { tls: { mode: ISTIO_MUTUAL } }
";

const SERVER_TLS: &str = "
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: echo-mtls, namespace: echo-grpc }
spec:
  selector: { matchLabels: { app: echo } }
  mtls: { mode: STRICT }
";
