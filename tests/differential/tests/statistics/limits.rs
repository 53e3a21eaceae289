//! Circuit breakers: how many pass, how many wait, how many are told at once, and what is said of it.

use crate::both;
use differential::statistics::scene::even;
use differential::statistics::{Ground, Load, Scene};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// Requests that come at the same time, while nothing is answered yet.
const N: usize = 40;

/// Long enough for all of them to come before the first answer.
const LATE: Duration = Duration::from_millis(700);

fn breakers(thresholds: Value) -> Value {
    json!({ "circuit_breakers": { "thresholds": [thresholds] } })
}

fn retry() -> Value {
    json!({ "route": { "retry_policy": { "retry_on": "5xx", "num_retries": 1,
        "retry_back_off": { "base_interval": "0.001s", "max_interval": "0.002s" } } } })
}

fn scenes(ground: &Ground) -> Vec<Scene> {
    let scene =
        |name, thresholds| Scene::new(name, even(ground, &["a"])).with(breakers(thresholds));
    let second = |name, thresholds| {
        Scene::new(name, even(ground, &["second"])).with(breakers(thresholds)).with(json!({
            "typed_extension_protocol_options": {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    "explicit_http_config": { "http2_protocol_options": { "max_concurrent_streams": 2 } } } } }))
    };
    let many = json!({ "max_retries": 1000 });
    vec![
        scene("requests", json!({ "max_requests": 10 })),
        scene("connections", json!({ "max_connections": 5 })),
        scene("pending", json!({ "max_connections": 5, "max_pending_requests": 10 })),
        scene("retries", json!({ "max_retries": 5 })).route(retry()),
        scene(
            "budget",
            json!({ "retry_budget": {
            "budget_percent": { "value": 20 }, "min_retry_concurrency": 2 } }),
        )
        .route(retry()),
        scene("full", json!({ "max_requests": 10, "max_retries": 1000 })).route(retry()),
        second("streams", many),
        second("one", json!({ "max_connections": 1 })),
        second("few", json!({ "max_connections": 1, "max_pending_requests": 10 })),
        second("asked", json!({ "max_requests": 10 })),
    ]
}

/// What the scene's upstream does.
const PLAY: [(&str, u16); 9] = [
    ("requests", 200),
    ("connections", 200),
    ("pending", 200),
    ("retries", 503),
    ("full", 503),
    ("streams", 0),
    ("one", 0),
    ("few", 0),
    ("asked", 0),
];

const COUNTERS: [&str; 4] = [
    "upstream_rq_pending_overflow",
    "upstream_rq_retry",
    "upstream_rq_retry_overflow",
    "upstream_rq_retry_limit_exceeded",
];

#[test]
fn who_is_too_many_is_told_at_once_and_who_may_wait_is_served() {
    let Some(both) = both("limits", scenes) else { return };
    let told = both.each(|side| {
        let mut told = Vec::new();
        for (scene, status) in PLAY {
            let backend = side.ground.backend("a");
            backend.heal();
            backend.answer(status);
            backend.delay(LATE);
            let delay = format!("x-echo: delay={}", LATE.as_millis() / 4);
            let load = Load::of(N).callers(N).with(&delay);
            // Connections are there already, so that who waits does not depend on how fast they are made.
            let warm = Load::of(5).callers(5).with("x-echo: delay=50");
            assert_eq!(side.send(scene, &warm).len(), 5);
            let answers = side.send(scene, &load);
            let overloaded = answers.iter().filter(|a| a.overloaded).count();
            let at_once = answers.iter().filter(|a| a.overloaded && a.took < LATE).count();
            assert_eq!(overloaded, at_once, "{scene} of {}", side.name);
            let mut statuses = BTreeMap::new();
            answers.iter().for_each(|a| *statuses.entry(a.status).or_insert(0) += 1);
            let counters = COUNTERS.map(|c| format!("{c}={}", side.count(scene, c)));
            told.push((scene, statuses, overloaded, side.log(scene, N + 5), counters));
        }
        told
    });
    let [envoy, ours] = told;
    let differ: Vec<_> = envoy.iter().zip(&ours).filter(|(e, o)| e != o).collect();
    for (envoy, ours) in &differ {
        println!("envoy {envoy:?}\nours  {ours:?}");
    }
    envoy.iter().for_each(|e| println!("{e:?}"));
    assert!(differ.is_empty(), "{} scenes differ", differ.len());
}

/// A budget of a fifth of 40 requests: eight retries, or somewhat fewer, as requests come to their end
/// before retries that count again have begun.
#[test]
fn a_retry_budget_follows_the_requests_under_way() {
    let Some(both) = both("budget", scenes) else { return };
    both.each(|side| {
        let backend = side.ground.backend("a");
        backend.answer(503);
        backend.delay(LATE);
        let answers = side.send("budget", &Load::of(N).callers(N));
        assert!(answers.iter().all(|a| a.status == 503 && !a.overloaded), "{}", side.name);
        let count = |name: &str| usize::try_from(side.count("budget", name)).unwrap();
        let (made, refused) = (count("upstream_rq_retry"), count("upstream_rq_retry_overflow"));
        assert_eq!(made + refused, N);
        assert!((5..=8).contains(&made), "{} of {}", made, side.name);
        let log = side.log("budget", N);
        let of = |line: &str| log.get(line).copied().unwrap_or(0);
        assert_eq!(of("503 UO via_upstream 1"), refused, "{log:?}");
        assert_eq!(of("503 URX via_upstream 2"), made, "{log:?}");
    });
}
