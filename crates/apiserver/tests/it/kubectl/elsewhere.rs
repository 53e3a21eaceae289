//! The suite itself: pointed at another cluster it runs to the end, and says all that differs there.

use std::process::Command;

use serde_json::json;

use super::ELSEWHERE;
use crate::support::Cluster;

/// The suite's steps against this cluster: whether all was as expected, and what it printed.
fn pointed_at(cluster: &Cluster) -> (bool, String) {
    let out = Command::new(std::env::current_exe().unwrap())
        .args(["kubectl::plain::", "--test-threads=2"])
        .env(ELSEWHERE, &cluster.kubeconfig)
        .output()
        .unwrap();
    let text = [out.stdout, out.stderr].concat();
    (out.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_cluster_of_ours_does_not_differ() {
    let cluster = Cluster::start("kubectl-elsewhere").await;
    let (same, text) = pointed_at(&cluster);
    assert!(same, "{text}");
    let left = cluster.client.list("", "namespaces", None);
    let left = left.iter().filter(|n| n["metadata"]["deletionTimestamp"].is_null());
    let left: Vec<_> = left.filter_map(|n| n["metadata"]["name"].as_str()).collect();
    assert!(left.iter().all(|name| !name.starts_with("suite-")), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_differs_is_told_in_full() {
    let cluster = Cluster::start("kubectl-different").await;
    // A webhook that nobody answers: two kinds cannot be created here.
    let refuse = json!({"apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration", "metadata": {"name": "refuse"},
        "webhooks": [{"name": "refuse.sea.example", "failurePolicy": "Fail", "sideEffects": "None",
            "admissionReviewVersions": ["v1"], "timeoutSeconds": 1,
            "clientConfig": {"url": "https://127.0.0.1:1/"},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
                "resources": ["secrets", "serviceaccounts"], "scope": "Namespaced"}]}]});
    cluster.client.create(refuse).await.unwrap();
    let (same, text) = pointed_at(&cluster);
    assert!(!same, "the suite saw no difference");
    for part in [
        "create secret generic s --from-literal=p=q",
        "create serviceaccount robot",
        "expected \"cQ== Opaque\"",
        "refuse.sea.example",
    ] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
    // What does not depend on them is as ever.
    assert!(text.contains("small_changes ... ok"), "{text}");
}
