//! Explanations in a running mesh: before a request, after it, and both say the same.

#[path = "why/observed.rs"]
mod observed;

use e2e::{Mesh, eventually, workspace};
use serde_json::Value;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);
const ID: &str = "11111111-2222-4333-8444-555555555555";

#[test]
fn a_request_is_followed_from_pod_to_pod() {
    let Some(mesh) = Mesh::up("why", &[]) else { return };
    mesh.kubectl(&["label", "namespace", "default", "istio-injection=enabled"]);
    let samples = workspace().join("samples/bookinfo");
    for file in [
        "platform/kube/bookinfo.yaml",
        "networking/bookinfo-gateway.yaml",
        "networking/destination-rule-all.yaml",
        "networking/virtual-service-reviews-test-v2.yaml",
    ] {
        mesh.apply(&samples.join(file));
    }
    mesh.wait_for_deployments("default");
    eventually("reviews are served by version 1", PATIENCE, || {
        let page = mesh.curl("/productpage", &[]);
        match page.status == 200 && page.body.contains("reviews-v1-") {
            true => Ok(()),
            false => Err(format!("status {}", page.status)),
        }
    });
    explained_before(&mesh);
    told_afterwards(&mesh);
    observed::play(&mesh);
}

/// What a pod of the product page would meet.
fn explained_before(mesh: &Mesh) {
    let ask = |header: &str| {
        mesh.lateen(&[
            "explain",
            "GET",
            "http://reviews:9080/reviews/1",
            "--from",
            "deploy/productpage-v1",
            "-H",
            header,
        ])
    };
    let jason = ask("end-user: jason");
    assert!(jason.contains("VirtualService default/reviews spec.http[0].match[0]"), "{jason}");
    assert!(jason.contains("cluster       outbound|9080|v2|reviews.default"), "{jason}");
    assert!(jason.contains("reviews-v2-"), "the endpoint's pod is named: {jason}");
    let other = ask("end-user: somebody");
    assert!(
        other.contains("header end-user is not exact \"jason\" (it is \"somebody\")"),
        "{other}"
    );
    let edge = mesh.lateen(&["explain", "http://bookinfo.example.com/login", "--at", "gateway"]);
    assert!(edge.contains("cluster       outbound|9080||productpage.default"), "{edge}");
}

/// What a request has met, whose id the application passes on.
fn told_afterwards(mesh: &Mesh) {
    let pod = mesh.get(&["pod", "-l", "app=productpage"]);
    let pod = pod["items"][0]["metadata"]["name"].as_str().expect("a pod").to_owned();
    // From inside: the edge gives requests from outside an id of its own.
    let reviews = "http://reviews:9080/reviews/1";
    let id = format!("x-request-id: {ID}");
    mesh.exec(&pod, "productpage", &["curl", "-s", "-H", &id, "-H", "end-user: jason", reviews]);
    let text = mesh.lateen(&["why", ID, "-o", "json"]);
    let told: Value = serde_json::from_str(&text).expect("why prints JSON");
    let hops = told["hops"].as_array().expect("hops");
    let sides: Vec<(&str, &str)> = hops
        .iter()
        .map(|h| {
            let text = |v: &'static str| h[v].as_str().unwrap_or_default();
            let app = text("pod").split('-').next().unwrap_or_default();
            (app, h["live"]["direction"].as_str().unwrap_or_default())
        })
        .collect();
    let expected = [
        ("productpage", "outbound"),
        ("reviews", "inbound"),
        ("reviews", "outbound"),
        ("ratings", "inbound"),
    ];
    assert_eq!(sides, expected, "{text}");
    for hop in hops {
        assert_eq!(hop["differs"], Value::Null, "{hop:#}");
        let picks = hop["explanation"]["verdict"]["picks"].as_array().expect("picks");
        let among = picks.iter().any(|p| p["cluster"]["name"] == hop["live"]["cluster"]);
        assert!(among && picks.len() == 1, "{hop:#}");
    }
    let first = &hops[0]["explanation"];
    assert_eq!(first["route"]["path"], "spec.http[0].match[0]", "{first:#}");
    let text = mesh.lateen(&["why", ID]);
    assert!(text.contains("seen by 4 proxies"), "{text}");
    assert!(text.contains("outbound: GET reviews:9080/reviews/1 -> 200 in"), "{text}");
}
