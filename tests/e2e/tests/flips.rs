//! Configuration that changes ten times a second, in the worst order there is, under load: no request
//! may fail that the old and the new configuration could both serve, and every answer must come from a
//! version that some configuration of the last moments asked for.
//!
//! `LATEEN_FLIP_SECONDS` sets how long (200 in `cargo xtask soak`; a short run in `cargo xtask test`).

use e2e::load::{Load, Outcome, Target};
use e2e::{Mesh, eventually};
use std::time::{Duration, Instant};

/// How long after a change the old configuration may still be seen.
const PROPAGATION: Duration = Duration::from_secs(2);
const SLOW: Duration = Duration::from_secs(1);

const WORKLOAD: &str = r#"
apiVersion: v1
kind: Service
metadata: { name: helloworld }
spec:
  selector: { app: helloworld }
  ports: [{ name: http, port: 5000 }]
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: helloworld-v1 }
spec:
  selector: { matchLabels: { app: helloworld, version: v1 } }
  template:
    metadata: { labels: { app: helloworld, version: v1 } }
    spec: { containers: [{ name: helloworld, image: docker.io/istio/examples-helloworld-v1, ports: [{ containerPort: 5000 }] }] }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: helloworld-v2 }
spec:
  selector: { matchLabels: { app: helloworld, version: v2 } }
  template:
    metadata: { labels: { app: helloworld, version: v2 } }
    spec: { containers: [{ name: helloworld, image: docker.io/istio/examples-helloworld-v2, ports: [{ containerPort: 5000 }] }] }
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: helloworld }
spec:
  selector: { istio: ingressgateway }
  servers: [{ port: { number: 80, name: http, protocol: HTTP }, hosts: ["helloworld.example"] }]
"#;

fn virtual_service(subset: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{ name: helloworld }}\nspec:\n  hosts: [helloworld.example, helloworld]\n  gateways: [helloworld, mesh]\n  http: [{{ route: [{{ destination: {{ host: helloworld, subset: {subset} }} }}] }}]\n"
    )
}

fn destination_rule(subsets: &[(&str, &str)]) -> String {
    let list: String = subsets
        .iter()
        .map(|(name, version)| {
            format!("  - {{ name: {name}, labels: {{ version: {version} }} }}\n")
        })
        .collect();
    format!(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{ name: helloworld }}\nspec:\n  host: helloworld\n  subsets:\n{list}"
    )
}

/// One change, and the versions that may answer once it has taken effect.
enum Flip {
    Apply(String, &'static [&'static str]),
    Delete(&'static str, &'static [&'static str]),
}

/// One round: plain flips, the rule before its subsets, the subsets deleted under the rule, renamed.
fn round() -> Vec<Flip> {
    let both = [("v1", "v1"), ("v2", "v2")];
    let renamed = [("blue", "v1"), ("green", "v2")];
    let (v1, v2): (&[&str], &[&str]) = (&["v1"], &["v2"]);
    vec![
        Flip::Apply(virtual_service("v2"), v2),
        Flip::Apply(virtual_service("v1"), v1),
        Flip::Apply(virtual_service("v2"), v2),
        // In use, deleted and put back: the hold keeps serving.
        Flip::Delete("destinationrule", v2),
        Flip::Apply(destination_rule(&both), v2),
        // The rule first, its subset after it.
        Flip::Apply(virtual_service("green"), v2),
        Flip::Apply(destination_rule(&renamed), v2),
        Flip::Apply(virtual_service("blue"), v1),
        // And back, the subsets pulled from under the rule first.
        Flip::Apply(destination_rule(&both), v1),
        Flip::Apply(virtual_service("v1"), v1),
    ]
}

fn answered_by(body: &str) -> &str {
    body.split("version: ").nth(1).and_then(|r| r.split(',').next()).unwrap_or(body)
}

#[test]
fn no_request_fails_while_configuration_flips() {
    let Some(mesh) = Mesh::up("flips", &[]) else { return };
    mesh.kubectl(&["label", "namespace", "default", "istio-injection=enabled"]);
    mesh.apply_text(WORKLOAD);
    mesh.apply_text(&destination_rule(&[("v1", "v1"), ("v2", "v2")]));
    mesh.apply_text(&virtual_service("v1"));
    mesh.wait_for_deployments("default");
    let address = mesh.ingress_address();
    let keep = Target {
        address,
        host: "helloworld.example".into(),
        path: "/hello".into(),
        reconnect: false,
    };
    eventually("the first answer", Duration::from_secs(30), || {
        let answer = mesh.curl("/hello", &["-H", "Host: helloworld.example"]);
        if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
    });

    let seconds: u64 =
        std::env::var("LATEEN_FLIP_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(20);
    let loads = [
        Load::start(&keep, 300, 8),
        Load::start(&Target { reconnect: true, ..keep.clone() }, 200, 8),
    ];
    let history = flip_for(&mesh, Duration::from_secs(seconds));
    let outcomes: Vec<Outcome> = loads.into_iter().flat_map(Load::stop).collect();
    judge(&outcomes, &history);

    eventually("the final state", Duration::from_secs(10), || {
        let answer = mesh.curl("/hello", &["-H", "Host: helloworld.example"]);
        let want = history.last().map(|(_, v)| v[0]).unwrap_or("v1");
        if answered_by(&answer.body) == want { Ok(()) } else { Err(answer.body) }
    });
}

/// When each change was acknowledged, and which versions it allows from then on.
type History = Vec<(Instant, &'static [&'static str])>;

fn flip_for(mesh: &Mesh, duration: Duration) -> History {
    let mut history: History = vec![(Instant::now(), &["v1"])];
    let begin = Instant::now();
    let mut next = begin;
    while begin.elapsed() < duration {
        for flip in round() {
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            next += Duration::from_millis(100);
            match flip {
                Flip::Apply(text, versions) => {
                    mesh.apply_text(&text);
                    history.push((Instant::now(), versions));
                }
                Flip::Delete(kind, versions) => {
                    mesh.kubectl(&["delete", kind, "helloworld"]);
                    history.push((Instant::now(), versions));
                }
            }
        }
    }
    history
}

fn judge(outcomes: &[Outcome], history: &History) {
    assert!(outcomes.len() > 1000, "only {} requests were sent", outcomes.len());
    let mut wrong = Vec::new();
    for outcome in outcomes {
        let verdict = match &outcome.result {
            Err(e) => Some(e.clone()),
            Ok((status, body)) if *status != 200 => Some(format!("{status} {body}")),
            Ok(_) if outcome.took > SLOW => Some(format!("took {:?}", outcome.took)),
            Ok((_, body)) if !allowed(outcome, history, answered_by(body)) => {
                Some(format!("wrong version: {body}"))
            }
            Ok(_) => None,
        };
        wrong.extend(verdict);
    }
    let sample: Vec<_> = wrong.iter().take(10).collect();
    println!(
        "flips: {} changes, {} requests, {} failed",
        history.len() - 1,
        outcomes.len(),
        wrong.len()
    );
    assert!(wrong.is_empty(), "{} of {} requests failed: {sample:#?}", wrong.len(), outcomes.len());
}

/// A version is right if a configuration asked for it that was in force at most [`PROPAGATION`] before
/// the request, or that came while it was answered.
fn allowed(outcome: &Outcome, history: &History, version: &str) -> bool {
    let (from, to) =
        (outcome.scheduled - PROPAGATION, outcome.scheduled + outcome.took + PROPAGATION);
    let in_force = history.iter().zip(history.iter().skip(1).map(|(t, _)| *t).chain([to]));
    in_force
        .into_iter()
        .any(|((begin, versions), end)| *begin <= to && end >= from && versions.contains(&version))
}
