//! Circuit breaking: one connection, one waiting request. Two callers at a time are too many for it, and
//! what overflows is answered at once, counted, and no reason to eject anybody.

use super::stage::Scene;
use e2e::counter;

const URL: &str = "http://httpbin:8000/get";
const CALLS: u64 = 60;

pub fn play(scene: &Scene<'_>) {
    scene.apply("httpbin/httpbin.yaml");
    scene.apply("httpbin/sample-client/fortio-deploy.yaml");
    scene.ready();
    scene.eventually("httpbin answers", || {
        let said = fortio(scene, &format!("curl -quiet {URL}"));
        if said.starts_with("HTTP/1.1 200") { Ok(()) } else { Err(said) }
    });
    scene.apply_text(BREAKER);
    // One caller fits.
    scene.eventually("the breaker closes", || {
        let (good, bad) = load(scene, 3);
        if good > 0 && bad > 0 { Ok(()) } else { Err(format!("{good} good, {bad} bad")) }
    });
    assert_eq!(load(scene, 1), (CALLS, 0), "one caller fits");
    let before = overflown(scene);
    let (good, bad) = load(scene, 3);
    assert_eq!(good + bad, CALLS);
    assert!(bad > 0, "three callers are too many");
    scene.eventually("what overflows is counted", || {
        let grown = overflown(scene) - before;
        if grown == bad { Ok(()) } else { Err(format!("{grown} counted, {bad} seen")) }
    });
    let stats = scene.proxy_says("deploy/fortio-deploy", "stats");
    let name = format!(
        "|8000||httpbin.{}.svc.cluster.local.upstream_rq_pending_overflow: ",
        scene.namespace
    );
    let told = stats.lines().any(|l| l.contains(&name) && !l.ends_with(": 0"));
    assert!(told, "the statistics that the tutorial reads tell of it: {stats}");
    assert_eq!(load(scene, 1), (CALLS, 0), "nobody was ejected for it");
    scene.end();
}

/// The good answers and the 503s of so many callers, as the tutorial reads them from fortio's summary.
fn load(scene: &Scene<'_>, callers: u32) -> (u64, u64) {
    let said =
        fortio(scene, &format!("load -c {callers} -qps 0 -n {CALLS} -loglevel Warning {URL}"));
    let code = |code: &str| {
        let line = said.lines().find_map(|l| l.strip_prefix(&format!("Code {code} : ")));
        line.and_then(|l| l.split(' ').next()?.parse().ok()).unwrap_or(0)
    };
    assert!(said.contains(&format!("All done {CALLS} calls")), "{said}");
    (code("200"), code("503"))
}

/// What it prints, however it ends.
fn fortio(scene: &Scene<'_>, args: &str) -> String {
    let pod = scene.kubectl(&[
        "get",
        "pods",
        "-l",
        "app=fortio",
        "-o",
        "jsonpath={.items[0].metadata.name}",
    ]);
    let words: Vec<&str> = args.split(' ').collect();
    let mut command = scene.mesh().kubectl_command();
    command.args(["-n", &scene.namespace, "exec", &pod, "-c", "fortio", "--", "/usr/bin/fortio"]);
    let out = command.args(words).output().expect("kubectl");
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// How many requests the sidecar's metric says were too many.
fn overflown(scene: &Scene<'_>) -> u64 {
    let text = scene.proxy_says("deploy/fortio-deploy", "stats/prometheus");
    let labels = [("response_flags", "UO"), ("response_code", "503"), ("reporter", "source")];
    counter(&text, "istio_requests_total", &labels) as u64
}

const BREAKER: &str = "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: httpbin }
spec:
  host: httpbin
  trafficPolicy:
    connectionPool:
      tcp: { maxConnections: 1 }
      http: { http1MaxPendingRequests: 1, maxRequestsPerConnection: 1 }
    outlierDetection:
      consecutive5xxErrors: 1
      interval: 1s
      baseEjectionTime: 3m
      maxEjectionPercent: 100
";
