//! Health checks: probes by command, by HTTP and on the application's own port keep their meaning behind
//! a sidecar, and a container that is no longer well is started again.

use super::stage::Scene;
use std::time::{Duration, Instant};

/// The first probe comes after 5 s, then every 5 s; the third bad one in a row restarts.
const THREE_PROBES: Duration = Duration::from_secs(17);

pub fn play(scene: &Scene<'_>) {
    let mut apps = vec![("liveness", "health-check/liveness-command.yaml")];
    // The two HTTP files have the same names: one after the other, unless there is only one.
    apps.push(("liveness-http", "health-check/liveness-http-same-port.yaml"));
    for (_, file) in &apps {
        scene.apply(file);
    }
    scene.ready();
    lives(scene, &apps);
    let begun = Instant::now();
    scene.kubectl(&["exec", "deploy/liveness", "-c", "liveness", "--", "rm", "/tmp/healthy"]);
    if scene.is(&["1.1.2", "1.7.3"]) {
        let file = "health-check/liveness-http.yaml";
        scene.apply(file);
        scene.kubectl(&["rollout", "status", "deployment/liveness-http", "--timeout=60s"]);
        lives(scene, &[("liveness-http", file)]);
    }
    scene.eventually("the unwell container is started again", || {
        match restarts(scene, "liveness") {
            0 => Err(format!("not after {:?}", begun.elapsed())),
            _ => Ok(()),
        }
    });
    scene.end();
}

/// None is restarted while three probes fall due; each answers.
fn lives(scene: &Scene<'_>, apps: &[(&str, &str)]) {
    let begun = Instant::now();
    scene.eventually("three probes", || match begun.elapsed() {
        past if past > THREE_PROBES => Ok(()),
        past => Err(format!("{past:?}")),
    });
    for (app, file) in apps {
        assert_eq!(restarts(scene, app), 0, "{file}");
        let ready = scene.kubectl(&["get", "pods", "-l", &format!("app={app}"), "--no-headers"]);
        assert!(ready.contains("2/2"), "{file}: {ready}");
    }
}

/// How often the newest pod's application was started again.
fn restarts(scene: &Scene<'_>, app: &str) -> u64 {
    let path = format!(
        "jsonpath={{.items[-1:].status.containerStatuses[?(@.name==\"{app}\")].restartCount}}"
    );
    let text = scene.kubectl(&[
        "get",
        "pods",
        "-l",
        &format!("app={app}"),
        "--sort-by=.metadata.creationTimestamp",
        "-o",
        &path,
    ]);
    text.trim().parse().unwrap_or_else(|_| panic!("{app}: {text:?}"))
}
