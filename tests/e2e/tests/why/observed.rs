//! What has been seen decides what is safe to close: who still calls in plaintext, policies that allow those who
//! have called, and a refusal that is explained afterwards.

use e2e::{Mesh, eventually};
use serde_json::Value;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);
const ID: &str = "22222222-3333-4444-8555-666666666666";

/// A client that has no proxy.
const STRANGER: &str = "
apiVersion: v1
kind: Namespace
metadata: { name: outside }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: stranger, namespace: outside }
spec:
  selector: { matchLabels: { app: stranger } }
  template:
    metadata: { labels: { app: stranger } }
    spec: { containers: [{ name: app, image: curlimages/curl, command: [sleep, infinity] }] }
";

pub fn play(mesh: &Mesh) {
    mesh.apply_text(STRANGER);
    mesh.wait_for_deployments("outside");
    plaintext_callers_are_named(mesh);
    suggestions_deny_nothing_that_was_seen(mesh);
    a_refusal_is_explained(mesh);
}

fn plaintext_callers_are_named(mesh: &Mesh) {
    let rows = readiness(mesh, true);
    let of = |rows: &Value, workload: &str| {
        let all = rows.as_array().expect("rows");
        all.iter().find(|r| r["workload"] == workload).cloned().expect("a row")
    };
    let before = of(&rows, "details");
    assert_eq!((&before["mode"], &before["ready"]), (&"PERMISSIVE".into(), &true.into()));
    let status = as_stranger(mesh, "http://details.default:9080/details/0");
    assert_eq!(status, "200");
    let after = of(&readiness(mesh, false), "details");
    assert_eq!((&after["plaintext"], &after["ready"]), (&1.into(), &false.into()), "{after}");
    let caller = after["callers"][0].as_str().unwrap_or_default();
    assert!(caller.starts_with("stranger-") && caller.ends_with(".outside"), "{after}");
    assert_eq!(of(&readiness(mesh, false), "reviews")["ready"], true);
}

fn readiness(mesh: &Mesh, succeeds: bool) -> Value {
    let output = mesh.command("lateen").args(["strict-readiness", "-o", "json"]).output();
    let output = output.expect("lateen runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.success(), succeeds, "{text}");
    serde_json::from_str(&text).expect("JSON")
}

fn suggestions_deny_nothing_that_was_seen(mesh: &Mesh) {
    let suggested = mesh.lateen(&["policy", "suggest"]);
    assert!(suggested.contains("# details: no policy: 1 calls came from clients"), "{suggested}");
    for (policy, caller) in [
        ("productpage-callers", "cluster.local/ns/istio-system/sa/istio-ingressgateway"),
        ("reviews-callers", "cluster.local/ns/default/sa/bookinfo-productpage"),
        ("ratings-callers", "cluster.local/ns/default/sa/bookinfo-reviews"),
    ] {
        assert!(suggested.contains(policy) && suggested.contains(caller), "{suggested}");
    }
    mesh.apply_text(&suggested);
    eventually("who never called is denied", SOON, || {
        match as_stranger(mesh, "http://reviews.default:9080/reviews/0").as_str() {
            "403" => Ok(()),
            other => Err(other.to_owned()),
        }
    });
    for _ in 0..20 {
        let page = mesh.curl("/productpage", &["-H", "end-user: jason"]);
        assert!(page.status == 200 && !page.body.contains("unavailable"), "{}", page.body);
    }
    assert_eq!(as_stranger(mesh, "http://details.default:9080/details/0"), "200", "seen before");
}

fn a_refusal_is_explained(mesh: &Mesh) {
    let script = format!(
        "curl -s -o /dev/null -w '%{{http_code}}' -H 'x-request-id: {ID}' http://ratings:9080/ratings/0"
    );
    let bash = ["bash", "-c", &script];
    eventually("the page has no business with ratings", SOON, || {
        match mesh.exec("deploy/productpage-v1", "productpage", &bash).as_str() {
            "403" => Ok(()),
            other => Err(other.to_owned()),
        }
    });
    let told = mesh.lateen(&["why", ID]);
    assert!(told.contains("  access        ratings-v1-") && told.contains("refuses it"), "{told}");
    assert!(told.contains("ns[default]-policy[ratings-callers]-rule[0]"), "{told}");
    assert!(told.contains("it allows the operation, not the client"), "{told}");
}

/// The status that a client without a proxy gets.
fn as_stranger(mesh: &Mesh, url: &str) -> String {
    let curl = ["curl", "-s", "-m", "5", "-o", "/dev/null", "-w", "%{http_code}", url];
    let exec = ["exec", "-n", "outside", "deploy/stranger", "-c", "app", "--"];
    mesh.kubectl(&[&exec, &curl[..]].concat())
}
