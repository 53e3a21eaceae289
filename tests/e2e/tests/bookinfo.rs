//! The tutorial as its followers walk it: Bookinfo with the manifests as they were released (or our own
//! where those are not there), routes that move traffic, and metrics that count exactly.

use e2e::{Mesh, counter, eventually, released_samples, tally, workspace};
use std::path::PathBuf;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

/// The folder of Bookinfo's manifests, of the newest release.
fn bookinfo() -> PathBuf {
    match released_samples() {
        Some(dir) => dir.join("1.14.3/bookinfo"),
        None => workspace().join("samples/bookinfo"),
    }
}

fn bring_up() -> Option<Mesh> {
    let mesh = Mesh::up("bookinfo", &[])?;
    mesh.kubectl(&["label", "namespace", "default", "istio-injection=enabled"]);
    mesh.apply(&bookinfo().join("platform/kube/bookinfo.yaml"));
    mesh.apply(&bookinfo().join("networking/bookinfo-gateway.yaml"));
    mesh.apply(&bookinfo().join("networking/destination-rule-all.yaml"));
    mesh.wait_for_deployments("default");
    eventually("the product page answers", PATIENCE, || page(&mesh, &[]).map(drop));
    Some(mesh)
}

/// The version of reviews that a page shows: v1 has no stars, v2 black ones, v3 red ones.
fn page(mesh: &Mesh, args: &[&str]) -> Result<&'static str, String> {
    let answer = mesh.curl("/productpage", args);
    if answer.status != 200 || !answer.body.contains("<title>Simple Bookstore App</title>") {
        return Err(format!("{} {}", answer.status, answer.body));
    }
    if answer.body.contains("unavailable") {
        return Err("some part of the page is unavailable".into());
    }
    Ok(match (answer.body.contains("reviews-v2"), answer.body.contains("reviews-v3")) {
        (true, _) => "v2",
        (_, true) => "v3",
        _ => "v1",
    })
}

fn versions(
    mesh: &Mesh,
    requests: usize,
    args: &[&str],
) -> std::collections::BTreeMap<&'static str, usize> {
    tally((0..requests).map(|_| page(mesh, args).expect("every request gets its page")))
}

/// Applies a manifest and waits until only `expected` is seen.
fn route_to(mesh: &Mesh, file: &str, expected: &str) {
    mesh.apply(&bookinfo().join("networking").join(file));
    eventually(file, PATIENCE, || match versions(mesh, 5, &[]) {
        seen if seen.keys().all(|v| *v == expected) => Ok(()),
        seen => Err(format!("{seen:?}")),
    });
}

#[test]
fn the_tutorial_works_as_written() {
    let Some(mesh) = bring_up() else { return };

    // Pods show their sidecar.
    let pods = mesh.kubectl(&["get", "pods"]);
    assert_eq!(
        pods.lines().skip(1).filter(|l| l.contains("2/2") && l.contains("Running")).count(),
        6,
        "{pods}"
    );

    // Without a route each version is seen.
    let seen = versions(&mesh, 60, &[]);
    assert_eq!(seen.len(), 3, "{seen:?}");

    // All to v1.
    route_to(&mesh, "virtual-service-all-v1.yaml", "v1");
    assert_eq!(versions(&mesh, 100, &[]), [("v1", 100)].into());

    // Jason sees black stars, the others none.
    mesh.apply(&bookinfo().join("networking/virtual-service-reviews-test-v2.yaml"));
    let jar = mesh.state().join("cookies").display().to_string();
    mesh.curl("/login", &["-c", &jar, "-d", "username=jason&passwd=x"]);
    eventually("jason's route", PATIENCE, || match page(&mesh, &["-b", &jar]) {
        Ok("v2") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    assert_eq!(versions(&mesh, 20, &["-b", &jar]), [("v2", 20)].into());
    assert_eq!(versions(&mesh, 20, &[]), [("v1", 20)].into());

    // Half to v3.
    mesh.apply(&bookinfo().join("networking/virtual-service-reviews-50-v3.yaml"));
    eventually("the split", PATIENCE, || match versions(&mesh, 20, &[]).get("v3") {
        Some(_) => Ok(()),
        None => Err("no v3 yet".into()),
    });
    let seen = versions(&mesh, 400, &[]);
    assert!(seen.keys().all(|v| *v != "v2"), "{seen:?}");
    assert!((150..=250).contains(&seen["v3"]), "{seen:?}");

    // What is not routed is not found.
    assert_eq!(mesh.curl("/nowhere", &[]).status, 404);

    requests_are_counted_exactly(&mesh);

    // After deletion all three again.
    mesh.kubectl(&[
        "delete",
        "-f",
        &bookinfo().join("networking/virtual-service-all-v1.yaml").display().to_string(),
    ]);
    eventually("all three versions", PATIENCE, || match versions(&mesh, 20, &[]).len() {
        3 => Ok(()),
        n => Err(format!("{n} versions")),
    });
    let seen = versions(&mesh, 300, &[]);
    assert!(seen.values().all(|n| (60..=141).contains(n)), "{seen:?}");
}

/// Both reporters of productpage -> details count each request once.
fn requests_are_counted_exactly(mesh: &Mesh) {
    let count = |deployment: &str, reporter: &str| {
        let metrics = mesh.kubectl(&[
            "exec",
            &format!("deploy/{deployment}"),
            "-c",
            "istio-proxy",
            "--",
            "pilot-agent",
            "request",
            "GET",
            "stats/prometheus",
        ]);
        let labels =
            [("reporter", reporter), ("destination_service", "details.default.svc.cluster.local")];
        counter(&metrics, "istio_requests_total", &labels)
    };
    let before = [count("productpage-v1", "source"), count("details-v1", "destination")];
    for _ in 0..50 {
        page(mesh, &[]).expect("the page");
    }
    eventually("exact counts", PATIENCE, || {
        let after = [count("productpage-v1", "source"), count("details-v1", "destination")];
        match [after[0] - before[0], after[1] - before[1]] {
            [50.0, 50.0] => Ok(()),
            grown => Err(format!("{grown:?} instead of 50 each")),
        }
    });
}
