//! Configuration that changes ten times a second, in the worst order there is, under load from the
//! ingress and from a pod, while the workload is restarted and control plane and cluster are killed:
//! no request may fail, and every answer must come from a configuration that was in force.
//!
//! `LATEEN_FLIP_SECONDS` sets how long (200 for the acceptance run; 30 in `cargo xtask test`).

use e2e::api::Api;
use e2e::flips::{EFFECT, History, Mark, Report, Span, State, judge};
use e2e::load::{Aim, Load, Outcome, now};
use e2e::script::{Flip, HEADER, Order, Script, Write};
use e2e::{Mesh, eventually};
use std::sync::Mutex;
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(100);
/// Between the writes of one flip.
const HALF_DONE: Duration = Duration::from_millis(10);

const WORKLOAD: &str = r#"
apiVersion: v1
kind: Service
metadata: { name: echo }
spec:
  selector: { app: echo }
  ports: [{ name: http, port: 8080 }, { name: grpc, port: 8079 }]
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: echo-v1 }
spec:
  selector: { matchLabels: { app: echo, version: v1 } }
  template:
    metadata: { labels: { app: echo, version: v1 } }
    spec: { containers: [{ name: echo, image: fortio/fortio, ports: [{ containerPort: 8080 }], readinessProbe: { tcpSocket: { port: 8079 }, periodSeconds: 1 } }] }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: echo-v2 }
spec:
  selector: { matchLabels: { app: echo, version: v2 } }
  template:
    metadata: { labels: { app: echo, version: v2 } }
    spec: { containers: [{ name: echo, image: fortio/fortio, ports: [{ containerPort: 8080 }], readinessProbe: { tcpSocket: { port: 8079 }, periodSeconds: 1 } }] }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: client }
spec:
  selector: { matchLabels: { app: client } }
  template:
    metadata: { labels: { app: client } }
    spec: { containers: [{ name: client, image: fortio/fortio, command: ["/bin/sleep", "infinity"] }] }
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: echo }
spec:
  selector: { istio: ingressgateway }
  servers: [{ port: { number: 80, name: http, protocol: HTTP }, hosts: ["echo.example"] }]
"#;

#[test]
fn no_request_fails_while_configuration_flips() {
    let Some(mesh) = Mesh::up("flips", &[]) else { return };
    flips(&mesh, Order::Adversarial);
}

#[test]
fn nor_with_real_envoy_if_changes_come_in_order() {
    let Some(mesh) = Mesh::up("flips-envoy", &["--data-plane", "envoy"]) else { return };
    flips(&mesh, Order::MakeBeforeBreak);
}

fn flips(mesh: &Mesh, order: Order) {
    mesh.kubectl(&["label", "namespace", "default", "istio-injection=enabled"]);
    mesh.apply_text(WORKLOAD);
    let mut flipper = Flipper::new(mesh, order);
    mesh.wait_for_deployments("default");
    until_all_ways_answer(mesh);

    let seconds = std::env::var("LATEEN_FLIP_SECONDS").ok().and_then(|s| s.parse().ok());
    let duration = Duration::from_secs(seconds.unwrap_or(30));
    let loads = Ways::start(mesh);
    std::thread::scope(|scope| {
        let trouble = scope.spawn(|| trouble(mesh, duration));
        flipper.run(duration);
        let (restarts, kills) = trouble.join().expect("restarts and kills");
        (flipper.history.restarts, flipper.history.kills) = (restarts, kills);
    });
    let last = flipper.history.states.last().expect("there was a first").mark.clone();
    until_it_rules(mesh, &last);
    let (ingress, pod) = loads.stop(mesh);
    // A gateway that has no rule has nothing to answer, so it keeps the one it had.
    let mut at_the_ingress = flipper.history.clone();
    at_the_ingress.states.retain(|s| s.mark != Mark::NoRule);
    let reports =
        [("ingress", judge(&at_the_ingress, &ingress)), ("pod", judge(&flipper.history, &pod))];
    for (way, report) in &reports {
        tell(way, report);
    }
    println!(
        "flips: {:.1} a second, {} restarts, {} kills",
        flipper.pace(),
        flipper.history.restarts.len(),
        flipper.history.kills.len()
    );
    for (way, report) in &reports {
        passes(way, report);
    }
}

fn tell(way: &str, report: &Report) {
    let Report { requests, failures, seen, flips, effect, outages } = report;
    let at = |share: usize| effect.get((effect.len() * share / 100).min(effect.len() - 1));
    println!(
        "flips: {way}: {requests} requests, {} failed; {seen} of {flips} flips seen; effect after \
         {:?} (median), {:?} (p99); without control plane {outages:?}",
        failures.len(),
        at(50),
        at(99),
    );
    for failure in failures.iter().take(20) {
        println!("flips: {way}: {failure}");
    }
}

fn passes(way: &str, report: &Report) {
    assert!(report.requests > 1000, "{way}: only {} requests were sent", report.requests);
    assert!(report.failures.is_empty(), "{way}: {} failed", report.failures.len());
    assert!(report.seen * 100 >= report.flips * 95, "{way}: {} of {}", report.seen, report.flips);
    let slowest = report.effect.last().copied().unwrap_or_default();
    assert!(slowest <= EFFECT, "{way}: a change took {slowest:?} to rule");
    for outage in &report.outages {
        assert!(*outage < Duration::from_secs(15), "{way}: no control plane for {outage:?}");
    }
}

/// Makes the changes and keeps the history.
struct Flipper {
    api: Api,
    order: Order,
    script: Script,
    history: History,
}

impl Flipper {
    fn new(mesh: &Mesh, order: Order) -> Self {
        let mut flipper = Flipper {
            api: Api::of(mesh),
            order,
            script: Script::default(),
            history: History::default(),
        };
        let begin = flipper.script.begin();
        flipper.make(&begin);
        flipper
    }

    fn run(&mut self, duration: Duration) {
        let end = Instant::now() + duration;
        let mut next = Instant::now();
        while next < end {
            for flip in self.script.round(self.order) {
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
                // What a killed API delayed is not made up for in a rush.
                next = next.max(Instant::now()) + TICK;
                self.make(&flip);
            }
        }
    }

    fn make(&mut self, flip: &Flip) {
        let written = now();
        for (number, write) in flip.writes.iter().enumerate() {
            if number > 0 {
                std::thread::sleep(HALF_DONE);
            }
            match write {
                Write::Apply(path, object) => self.api.apply(path, object),
                Write::Delete(path) => self.api.delete(path),
            }
            if number == 0 && flip.gap {
                let state = State { mark: Mark::NoRule, written, acknowledged: now() };
                self.history.states.push(state);
            }
        }
        let state = State { mark: flip.mark.clone(), written, acknowledged: now() };
        self.history.states.push(state);
    }

    /// Flips a second, over all.
    fn pace(&self) -> f64 {
        let rules = self.history.states.iter().filter(|s| s.mark != Mark::NoRule);
        let times: Vec<u64> = rules.map(|s| s.written).skip(1).collect();
        let (Some(first), Some(last)) = (times.first(), times.last()) else { return 0.0 };
        times.len() as f64 / ((last - first) as f64 / 1e6)
    }
}

/// The ways on which requests come.
struct Ways {
    ingress: Vec<Load>,
    pod: Vec<Load>,
}

const MODES: [(&str, u32); 3] = [("keep-alive", 100), ("new", 75), ("grpc", 75)];

impl Ways {
    /// 500 requests a second in all.
    fn start(mesh: &Mesh) -> Ways {
        let headers = &[HEADER, "x-served-by"];
        let path = |mode: &str| if mode == "grpc" { "/echo.Echo/Call" } else { "/" };
        let ingress = MODES.map(|(mode, rate)| Aim {
            name: mode,
            mode,
            url: format!("http://echo.example{}", path(mode)),
            connect: Some(mesh.ingress_address()),
            rate,
            headers,
        });
        let pod = MODES.map(|(mode, rate)| {
            let port = if mode == "grpc" { 8079 } else { 8080 };
            let url = format!("http://echo:{port}{}", path(mode));
            Aim { name: mode, mode, url, connect: None, rate, headers }
        });
        Ways {
            ingress: ingress.iter().map(|aim| Load::from_host(mesh, aim)).collect(),
            pod: pod
                .iter()
                .map(|aim| Load::from_pod(mesh, "deploy/client", "client", aim))
                .collect(),
        }
    }

    fn stop(self, mesh: &Mesh) -> (Vec<Outcome>, Vec<Outcome>) {
        let all = |loads: Vec<Load>| loads.into_iter().flat_map(|l| l.stop(mesh)).collect();
        (all(self.ingress), all(self.pod))
    }
}

/// One request on each way: what its answer bears as a mark.
fn answers(mesh: &Mesh) -> Vec<(String, String)> {
    let at_the_ingress = mesh.curl("/", &["-H", "Host: echo.example"]).head;
    let at_a_pod = mesh.exec("deploy/client", "client", &["curl", "-si", "http://echo:8080/"]);
    let mark = |head: &str| {
        let value = |name: &str| {
            let line = head.lines().find(|l| l.to_lowercase().starts_with(name));
            line.and_then(|l| l.split_once(": ")).map_or("none", |(_, v)| v.trim()).to_owned()
        };
        format!("{} {}", value(HEADER), value("x-served-by"))
    };
    [at_the_ingress, at_a_pod].into_iter().map(|head| (mark(&head), head)).collect()
}

fn until_all_ways_answer(mesh: &Mesh) {
    eventually("the first answers", Duration::from_secs(30), || {
        let ruled = |mark: &str| matches!(Mark::read(mark), Some(Mark::Rule(..)));
        let answers = answers(mesh);
        if answers.iter().all(|(mark, _)| ruled(mark)) {
            Ok(())
        } else {
            Err(format!("{answers:?}"))
        }
    });
}

fn until_it_rules(mesh: &Mesh, last: &Mark) {
    eventually("the final state", Duration::from_secs(10), || {
        let answers = answers(mesh);
        let right = answers.iter().all(|(mark, _)| Mark::read(mark).as_ref() == Some(last));
        if right { Ok(()) } else { Err(format!("{answers:?} instead of {last:?}")) }
    });
}

/// What else happens meanwhile, in hundredths of the time.
const TROUBLE: [(u32, Trouble); 7] = [
    (5, Trouble::Restart("echo-v1")),
    (20, Trouble::Restart("echo-v2")),
    (35, Trouble::KillControlPlane),
    (45, Trouble::Restart("echo-v1")),
    (60, Trouble::KillCluster),
    (70, Trouble::Restart("echo-v2")),
    (82, Trouble::Restart("echo-v1")),
];

#[derive(Clone, Copy)]
enum Trouble {
    Restart(&'static str),
    KillControlPlane,
    KillCluster,
}

/// Restarts and kills, each in its time, whatever of the one before still goes on; when they were.
fn trouble(mesh: &Mesh, duration: Duration) -> (Vec<Span>, Vec<Span>) {
    let begin = Instant::now();
    let (restarts, kills) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for (hundredth, trouble) in TROUBLE {
            let due = begin + duration * hundredth / 100;
            let (restarts, kills) = (&restarts, &kills);
            scope.spawn(move || {
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                match trouble {
                    Trouble::Restart(name) => {
                        let span = restart(mesh, name);
                        restarts.lock().expect("a panic ends the scope").push(span);
                    }
                    Trouble::KillControlPlane => {
                        let span = kill_control_plane(mesh);
                        kills.lock().expect("a panic ends the scope").push(span);
                    }
                    Trouble::KillCluster => kill_cluster(mesh),
                }
            });
        }
    });
    let spans = |all: Mutex<Vec<Span>>| all.into_inner().expect("a panic ends the scope");
    (spans(restarts), spans(kills))
}

/// Until the old pods have gone, too.
fn restart(mesh: &Mesh, name: &str) -> Span {
    let api = Api::of(mesh);
    let begun = now();
    mesh.kubectl(&["rollout", "restart", &format!("deployment/{name}")]);
    let path = format!("/apis/apps/v1/namespaces/default/deployments/{name}");
    let pods = "/api/v1/namespaces/default/pods";
    eventually("the restart", Duration::from_secs(40), || {
        let (deployment, pods) = (api.get(&path), api.get(pods));
        let status = &deployment["status"];
        let told = status["observedGeneration"] == deployment["metadata"]["generation"];
        let items = pods["items"].as_array().into_iter().flatten();
        let of_it = |n: &&serde_json::Value| {
            n["metadata"]["name"].as_str().is_some_and(|n| n.starts_with(name))
        };
        let left = items.filter(of_it).count();
        if told && status["updatedReplicas"] == 1 && status["availableReplicas"] == 1 && left == 1 {
            Ok(())
        } else {
            Err(format!("{status}, {left} pods"))
        }
    });
    (begun, now())
}

/// Before and after.
fn kill_control_plane(mesh: &Mesh) -> Span {
    let restarts = || {
        let pods = mesh.get(&["pods", "-n", "istio-system", "-l", "app=istiod"]);
        pods["items"][0]["status"]["containerStatuses"][0]["restartCount"].as_u64()
    };
    let before = restarts().expect("the control plane is a pod");
    let begun = now();
    // The shell must not find itself.
    let script = "for p in /proc/[0-9]*; do case $(tr '\\0' ' ' <$p/cmdline) in *'for p in'*) ;; \
                  *control-plane*) kill -9 ${p#/proc/};; esac; done";
    // The shell goes down with its container, or not; the count of restarts tells what it did.
    let exec = ["-n", "istio-system", "exec", "deploy/istiod", "--", "sh", "-c", script];
    mesh.kubectl_command().args(exec).output().expect("kubectl starts");
    let killed = now();
    eventually("the control plane starts again", Duration::from_secs(20), || match restarts() {
        Some(n) if n > before => Ok(()),
        other => Err(format!("{other:?} restarts")),
    });
    (begun, killed)
}

/// The cluster process; `lateen up` finds all that still runs.
fn kill_cluster(mesh: &Mesh) {
    let file = mesh.state().join("cluster.pid");
    let text = std::fs::read_to_string(&file).expect("the cluster process has a pid file");
    let pid = text.split_whitespace().next().expect("a pid");
    let killed = std::process::Command::new("kill").args(["-9", pid]).status().expect("kill");
    assert!(killed.success(), "{text}");
    mesh.lateen(&["up"]);
}
