//! Shares and words: faults, mirrors, retries and timeouts, how often each and what the log says of it.

use crate::both;
use differential::statistics::scene::even;
use differential::statistics::{Ground, Load, Scene, Side, bounds};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const FAULT: &str = "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault";

fn faults(ground: &Ground) -> Scene {
    let fault = json!({ "@type": FAULT,
        "delay": { "fixed_delay": "0.02s", "percentage": { "numerator": 20 } },
        "abort": { "http_status": 418, "percentage": { "numerator": 30 } } });
    Scene::new("faults", even(ground, &["a"]))
        .filter(json!({ "name": "envoy.filters.http.fault", "typed_config": fault }))
}

/// Delays and aborts are drawn one without the other, and the log says which came about.
#[test]
fn faults_have_their_share() {
    const N: usize = 4000;
    let Some(both) = both("faults", |g| vec![faults(g)]) else { return };
    let logs = both.each(|side| {
        let answers = side.send("faults", &Load::of(N).callers(12));
        let late = answers.iter().filter(|a| a.took >= Duration::from_millis(15)).count();
        let log = side.log("faults", N);
        let said = |flag: &str| sum(&log, |line| line.split(' ').nth(1).unwrap().contains(flag));
        bounds::share("delays", said("DI"), N, 0.2).unwrap();
        bounds::share("aborts", said("FI"), N, 0.3).unwrap();
        bounds::share("both", said("DI,FI"), N, 0.06).unwrap();
        assert_eq!(answers.iter().filter(|a| a.status == 418).count(), said("FI"), "{}", side.name);
        assert!(late >= said("DI"), "{}: {late} were late", side.name);
        log
    });
    same_words(&logs);
}

fn sum(log: &BTreeMap<String, usize>, of: impl Fn(&str) -> bool) -> usize {
    log.iter().filter(|(line, _)| of(line)).map(|(_, n)| n).sum()
}

/// The same lines, whatever their number.
fn same_words(logs: &[BTreeMap<String, usize>; 2]) {
    let [envoy, ours] = [0, 1].map(|i| logs[i].keys().collect::<Vec<_>>());
    assert_eq!(envoy, ours, "what Envoy's log says, and what ours does");
}

#[test]
fn mirrors_get_their_share() {
    const N: usize = 4000;
    let scenes = |ground: &Ground| {
        let part =
            |n: u32, of: &str| json!({ "default_value": { "numerator": n, "denominator": of } });
        let mirrors = json!([
            { "cluster": "quarter", "runtime_fraction": part(25, "HUNDRED") },
            { "cluster": "tenth", "runtime_fraction": part(100_000, "MILLION") },
        ]);
        let to = |name: &str| json!([{ "lb_endpoints": even(ground, &[name]) }]);
        let scene = Scene::new("mirrors", even(ground, &["a"]));
        vec![
            scene
                .route(json!({ "route": { "request_mirror_policies": mirrors } }))
                .cluster("quarter", to("b"))
                .cluster("tenth", to("c")),
        ]
    };
    let Some(both) = both("mirrors", scenes) else { return };
    both.each(|side| {
        let answers = side.send("mirrors", &Load::of(N));
        assert!(answers.iter().all(|a| a.status == 200 && a.upstream == "a"), "{}", side.name);
        let counts = || ["a", "b", "c"].map(|name| side.ground.backend(name).arrived());
        let [whole, quarter, tenth] = still(counts);
        assert_eq!(whole, N);
        bounds::share("a quarter", quarter, N, 0.25).unwrap();
        bounds::share("a tenth", tenth, N, 0.1).unwrap();
    });
}

/// A value once it no longer changes.
fn still<T: PartialEq>(get: impl Fn() -> T) -> T {
    let mut before = get();
    for _ in 0..100 {
        std::thread::sleep(Duration::from_millis(50));
        let now = get();
        if now == before {
            break;
        }
        before = now;
    }
    before
}

/// A weighted choice of clusters, as canary releases have it.
#[test]
fn weighted_clusters_get_their_share() {
    const N: usize = 6000;
    let scenes = |ground: &Ground| {
        let to = |name: &str| json!([{ "lb_endpoints": even(ground, &[name]) }]);
        let weights: Vec<Value> = [("weights", 5), ("w2", 20), ("w3", 75)]
            .map(|(n, w)| json!({ "name": n, "weight": w }))
            .into();
        let mut scene = Scene::new("weights", even(ground, &["a"]));
        scene = scene.route(
            json!({ "route": { "cluster": null, "weighted_clusters": { "clusters": weights } } }),
        );
        vec![scene.cluster("w2", to("b")).cluster("w3", to("c"))]
    };
    let Some(both) = both("weights", scenes) else { return };
    both.each(|side| {
        let answers = side.send("weights", &Load::of(N));
        let of = |name: &str| answers.iter().filter(|a| a.upstream == name).count();
        bounds::shares(side.name, &["a", "b", "c"].map(of), &[5.0, 20.0, 75.0]).unwrap();
    });
}

/// Retries of every kind of failure: the same number of attempts, and the same words in the log.
#[test]
fn retries_are_as_many_and_say_the_same() {
    const N: usize = 40;
    let Some(both) = both("retries", retries) else { return };
    let told = both.each(|side| {
        let mut told = Vec::new();
        for (scene, prepare) in PLAY {
            side.ground.heal();
            prepare(side);
            let before: Vec<_> = side.ground.backends.iter().map(|b| b.arrived()).collect();
            // One after the other: limits have tests of their own.
            let answers = side.send(scene, &Load::of(N).callers(1));
            let log = side.log(scene, N);
            let arrived = side.ground.backends.iter().zip(before);
            let arrived: usize = arrived.map(|(b, before)| b.arrived() - before).sum();
            let counters = COUNTERS.map(|c| format!("{c}={}", side.count(scene, c)));
            told.push((scene, answers.len(), log, arrived, counters));
        }
        told
    });
    let [envoy, ours] = told;
    for (envoy, ours) in envoy.into_iter().zip(ours) {
        println!("{envoy:?}");
        assert_eq!(envoy, ours);
    }
}

const COUNTERS: [&str; 6] = [
    "upstream_rq_retry",
    "upstream_rq_retry_limit_exceeded",
    "upstream_rq_retry_overflow",
    "upstream_rq_timeout",
    "upstream_rq_per_try_timeout",
    "upstream_cx_connect_fail",
];

type Prepare = fn(&Side);

/// Each scene, and what its upstreams do.
const PLAY: [(&str, Prepare); 10] = [
    ("status", |s| s.ground.backend("a").answer(503)),
    ("gateway", |s| s.ground.backend("a").answer(500)),
    ("codes", |s| s.ground.backend("a").answer(418)),
    ("none", |s| s.ground.backend("a").answer(503)),
    ("refused", |_| ()),
    ("alone", |_| ()),
    ("reset", |s| s.ground.backend("a").reset()),
    ("late", |s| s.ground.backend("a").delay(Duration::from_millis(100))),
    ("tries", |s| s.ground.backend("a").delay(Duration::from_millis(100))),
    ("silent", |_| ()),
];

fn retries(ground: &Ground) -> Vec<Scene> {
    let policy = |on: &str, n: u32| {
        json!({ "retry_on": on, "num_retries": n,
        "retry_back_off": { "base_interval": "0.001s", "max_interval": "0.002s" } })
    };
    let scene = |name: &'static str, policy: Value| {
        let fresh = json!({ "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "common_http_protocol_options": { "max_requests_per_connection": 1 },
                "explicit_http_config": { "http_protocol_options": {} } } } });
        Scene::new(name, even(ground, &["a"]))
            .with(fresh)
            .route(json!({ "route": { "retry_policy": policy } }))
    };
    let mut codes = policy("retriable-status-codes", 1);
    codes["retriable_status_codes"] = json!([418]);
    let mut tries = policy("5xx", 2);
    tries["per_try_timeout"] = json!("0.02s");
    let mut silent = tries.clone();
    silent["num_retries"] = json!(0);
    let only = |name: &str| json!([{ "lb_endpoints": even(ground, &[name]) }]);
    vec![
        scene("status", policy("5xx", 2)),
        scene("gateway", policy("gateway-error", 2)),
        scene("codes", codes),
        scene("none", policy("5xx", 0)),
        scene("refused", policy("connect-failure", 3)).localities(only("dead")),
        Scene::new("alone", even(ground, &["dead"])),
        scene("reset", policy("reset", 1)),
        Scene::new("late", even(ground, &["a"])).route(json!({ "route": { "timeout": "0.03s" } })),
        scene("tries", tries),
        scene("silent", silent)
            .localities(only("silent"))
            .with(json!({ "connect_timeout": "0.05s" })),
    ]
}
