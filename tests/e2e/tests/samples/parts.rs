//! Bookinfo in parts: the manifests that bring one service or one version, each seen to answer; and those
//! that bring all of it in another shape.

use super::stage::Scene;
use serde_json::Value;

pub fn play(scene: &Scene<'_>) {
    scene.start_client();
    for part in ["details", "ratings", "ratings-discovery", "reviews-v2"] {
        scene.apply(&format!("bookinfo/platform/kube/bookinfo-{part}.yaml"));
    }
    scene.ready();
    // The service of reviews comes with another part.
    scene.apply_text(REVIEWS);
    scene.until("details answer", "http://details:9080/details/0", "", |a| {
        a.status == 200 && a.body.contains("ISBN-13")
    });
    scene.until("ratings answer", "http://ratings:9080/ratings/0", "", |a| {
        a.status == 200 && a.body.contains("\"Reviewer1\":5")
    });
    scene.until("reviews have black stars", "http://reviews:9080/reviews/0", "", |a| {
        a.body.contains("reviews-v2") && a.body.contains("\"stars\":5") && a.body.contains("black")
    });
    match scene.release {
        "1.1.2" => with_accounts(scene),
        "master" => {
            hardened(scene);
            a_service_for_each_version(scene);
        }
        _ => {}
    }
    scene.end();
}

/// The same pods again with accounts of their own; version 3 only comes with them.
fn with_accounts(scene: &Scene<'_>) {
    scene.apply("bookinfo/platform/kube/bookinfo-add-serviceaccount.yaml");
    scene.ready();
    for (app, account) in [("productpage", "bookinfo-productpage"), ("reviews", "bookinfo-reviews")]
    {
        scene.eventually(&format!("{app} runs as {account}"), || {
            let accounts = scene.kubectl(&[
                "get",
                "pods",
                "-l",
                &format!("app={app}"),
                "-o",
                "jsonpath={range .items[*]}{.spec.serviceAccountName} {end}",
            ]);
            let right = accounts.split_whitespace().all(|a| a == account);
            if right && !accounts.is_empty() { Ok(()) } else { Err(accounts) }
        });
    }
    scene.until("version 3 answers", "http://reviews:9080/reviews/0", "", |a| {
        a.body.contains("reviews-v3") && a.body.contains("red")
    });
}

/// Without capabilities and without root.
fn hardened(scene: &Scene<'_>) {
    scene.apply("bookinfo/platform/kube/bookinfo-psa.yaml");
    scene.ready();
    scene.until("the page", "http://productpage:9080/productpage", "", |a| {
        a.status == 200 && a.body.contains("Book Details") && a.body.contains("Reviews served by")
    });
    let status = scene.kubectl(&[
        "exec",
        "deploy/details-v1",
        "-c",
        "details",
        "--",
        "sh",
        "-c",
        "grep -E '^(Uid|CapEff|NoNewPrivs):' /proc/1/status /proc/self/status | sort -u",
    ]);
    let value = |key: &str| {
        let line = status.lines().rfind(|line| line.contains(key)).unwrap_or_default().to_owned();
        line.split_whitespace().nth(1).unwrap_or_default().to_owned()
    };
    assert_ne!(value("self/status:Uid"), "0", "{status}");
    assert_eq!(value("self/status:CapEff"), "0000000000000000", "{status}");
    assert_eq!(value("self/status:NoNewPrivs"), "1", "{status}");
}

fn a_service_for_each_version(scene: &Scene<'_>) {
    scene.apply("bookinfo/platform/kube/bookinfo-versions.yaml");
    for version in ["v1", "v2", "v3"] {
        let url = format!("http://reviews-{version}:9080/reviews/0");
        let pod = format!("reviews-{version}-");
        scene.until(&format!("reviews-{version}"), &url, "", |a| a.body.contains(&pod));
        for _ in 0..5 {
            let answer = scene.ask(&url, "");
            let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
            let name = body["podname"].as_str().unwrap_or_default();
            assert!(name.starts_with(&pod), "{url}: {answer:?}");
        }
    }
    for (service, path) in [
        ("details-v1", "details/0"),
        ("ratings-v1", "ratings/0"),
        ("productpage-v1", "productpage"),
    ] {
        scene.until(service, &format!("http://{service}:9080/{path}"), "", |a| a.status == 200);
    }
}

const REVIEWS: &str = "
apiVersion: v1
kind: Service
metadata: { name: reviews, labels: { app: reviews, service: reviews } }
spec:
  ports: [{ port: 9080, name: http }]
  selector: { app: reviews }
";
