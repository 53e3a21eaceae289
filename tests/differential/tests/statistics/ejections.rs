//! Outlier detection: who is left out after what, for how long, and how many at most.

use crate::balancers::until;
use crate::both;
use differential::statistics::scene::even;
use differential::statistics::{Answer, Backend, Ground, Load, Scene, Side, bounds};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const ALL: [&str; 4] = ["a", "b", "c", "d"];

/// Updates of health are not gathered, as Envoy does within a second; `differences.rs` is about that.
fn scene(name: &'static str, endpoints: Vec<Value>, outliers: Value) -> Scene {
    let mut config = json!({ "interval": "0.1s", "base_ejection_time": "60s",
        "max_ejection_percent": 100, "enforcing_success_rate": 0,
        "enforcing_local_origin_success_rate": 0 });
    differential::bootstrap::merge(&mut config, outliers);
    Scene::new(name, endpoints).with(json!({ "lb_policy": "ROUND_ROBIN", "outlier_detection": config,
        "common_lb_config": { "update_merge_window": "0s", "healthy_panic_threshold": { "value": 0 } } }))
}

/// One after the other and not too fast: Envoy ejects a moment after the failure.
fn calmly(requests: usize) -> Load {
    Load::of(requests).callers(1).rate(200)
}

/// The scene, what its upstreams do, and the number of failures that it takes; none is never.
type Play = (&'static str, fn(&Ground), Option<usize>);

const PLAY: [Play; 11] = [
    ("five", |g| g.backend("b").answer(500), Some(5)),
    ("gateway", |g| g.backend("b").answer(503), Some(3)),
    ("no_gateway", |g| g.backend("b").answer(500), None),
    ("interrupted", |g| odd(g.backend("b"), 500), None),
    ("refused", |_| (), Some(3)),
    ("refused_split", |_| (), Some(2)),
    ("reset", |g| g.backend("b").reset(), Some(3)),
    // Each request found its connection well, so that two never fail in a row.
    ("reset_split", |g| g.backend("b").reset(), None),
    ("late", |g| g.backend("b").delay(Duration::from_millis(40)), Some(3)),
    ("late_split", |g| g.backend("b").delay(Duration::from_millis(40)), None),
    ("never", |g| g.backend("b").answer(500), None),
];

/// Every fourth answer is good, so that no four fail in a row.
fn odd(backend: &Backend, status: u16) {
    backend.answer(status);
    backend.spare_one_of(4);
}

fn scenes(ground: &Ground) -> Vec<Scene> {
    let three = || even(ground, &["a", "b", "c"]);
    let with_dead = || even(ground, &["a", "dead", "c"]);
    let late = json!({ "route": { "timeout": "0.02s" } });
    let local = json!({ "split_external_local_origin_errors": true,
        "consecutive_local_origin_failure": 2 });
    let any = |n: u32| json!({ "consecutive_5xx": n });
    let gateway = || {
        json!({ "enforcing_consecutive_5xx": 0, "consecutive_gateway_failure": 3,
        "enforcing_consecutive_gateway_failure": 100 })
    };
    vec![
        scene("five", three(), json!({})),
        scene("gateway", three(), gateway()),
        scene("no_gateway", three(), gateway()),
        scene("interrupted", three(), any(4)),
        scene("refused", with_dead(), any(3)),
        scene("refused_split", with_dead(), local.clone()),
        scene("reset", three(), any(3)),
        scene("reset_split", three(), local.clone()),
        scene("late", three(), any(3)).route(late.clone()),
        scene("late_split", three(), local).route(late),
        scene("never", three(), json!({ "enforcing_consecutive_5xx": 0 })),
    ]
}

#[test]
fn so_many_failures_eject_and_no_other_request_fails() {
    const N: usize = 60;
    let Some(both) = both("ejections", scenes) else { return };
    both.each(|side| {
        for (name, prepare, expected) in PLAY {
            side.ground.heal();
            prepare(&side.ground);
            let answers = side.send(name, &calmly(N));
            let failed = answers.iter().filter(|a| a.status != 200).count();
            match expected {
                Some(n) => {
                    // Envoy's decision may come after the next request to the same endpoint.
                    let late = usize::from(side.name == "envoy");
                    assert!((n..=n + late).contains(&failed), "{name} of {}: {failed}", side.name);
                    assert_eq!(side.ejected(name), 1, "{name} of {}", side.name);
                }
                None => {
                    assert!(failed >= N / 3 - N / 8, "{name} of {}: {failed} failed", side.name);
                    assert_eq!(side.ejected(name), 0, "{name} of {}", side.name);
                }
            }
        }
    });
}

/// A status of gRPC in the head of the answer counts as what it stands for.
#[test]
fn grpc_failures_eject_as_well() {
    let scenes = |ground: &Ground| {
        let wide = || even(ground, &ALL);
        vec![scene("internal", wide(), json!({})), scene("absent", wide(), json!({}))]
    };
    let Some(both) = both("grpc", scenes) else { return };
    both.each(|side| {
        for (name, status, ejected) in [("internal", 13, 4), ("absent", 5, 0)] {
            let load = calmly(48)
                .with("content-type: application/grpc")
                .with(&format!("x-grpc-wish: {status}"));
            let answers = side.send(name, &load);
            let asked = answers.iter().filter(|a| !a.upstream.is_empty()).count();
            // With everybody out there is nobody left to ask; before, each failed five times.
            let expected = if ejected > 0 { 20..=24 } else { 48..=48 };
            assert!(expected.contains(&asked), "{name} of {}: {asked}", side.name);
            assert_eq!(side.ejected(name), ejected, "{name} of {}", side.name);
        }
    });
}

/// How many may be out at a time, and what becomes of the traffic then.
#[test]
fn no_more_than_allowed_are_out_and_panic_knows_no_ejections() {
    let scenes = |ground: &Ground| {
        let of = |name, percent: u32| {
            scene(name, even(ground, &ALL), json!({ "max_ejection_percent": percent }))
        };
        let panic = json!({ "common_lb_config": { "healthy_panic_threshold": { "value": 50 } } });
        vec![of("tenth", 10), of("half", 50), of("most", 75), of("panic", 75).with(panic)]
    };
    let Some(both) = both("most", scenes) else { return };
    both.each(|side| {
        for name in ["b", "c", "d"] {
            side.ground.backend(name).answer(503);
        }
        for (name, ejected) in [("tenth", 0), ("half", 2), ("most", 3), ("panic", 3)] {
            side.send(name, &calmly(60));
            assert_eq!(side.ejected(name), ejected, "{name} of {}", side.name);
        }
        assert!(side.send("most", &calmly(30)).iter().all(|a| a.status == 200), "only a is left");
        let answers = side.send("panic", &Load::of(400).callers(1));
        let of = |name: &&str| answers.iter().filter(|a| a.upstream == **name).count();
        let counts: Vec<usize> = ALL.iter().map(of).collect();
        bounds::shares(side.name, &counts, &[1.0; 4]).unwrap();
    });
}

/// The one that fails much more often than the others is found by its rate alone.
#[test]
fn the_odd_one_out_is_ejected() {
    let scenes = |ground: &Ground| {
        let rate = json!({ "interval": "0.5s", "enforcing_consecutive_5xx": 0,
            "enforcing_success_rate": 100, "success_rate_request_volume": 20 });
        vec![scene("rate", even(ground, &["a", "b", "c", "d", "e", "f"]), rate)]
    };
    let Some(both) = both("odd", scenes) else { return };
    both.each(|side| {
        odd(side.ground.backend("b"), 503);
        let mut sent = 0;
        until("it is ejected", || {
            sent += side.send("rate", &Load::of(120).callers(2).rate(400)).len();
            side.ejected("rate") == 1
        });
        let failed = side.ground.backend("b").failed();
        assert!(failed >= 15, "{} of {sent} failed before, says {}", failed, side.name);
        let after = side.send("rate", &calmly(60));
        assert!(after.iter().all(|a| a.status == 200 && a.upstream != "b"), "{}", side.name);
    });
}

/// Each ejection is longer than the one before, up to the longest.
#[test]
fn ejections_grow() {
    const BASE: f64 = 0.3;
    let scenes = |ground: &Ground| {
        let times = json!({ "consecutive_5xx": 1, "interval": "0.05s",
            "base_ejection_time": "0.3s", "max_ejection_time": "0.6s" });
        vec![scene("grow", even(ground, &["a", "b"]), times)]
    };
    let Some(both) = both("grow", scenes) else { return };
    both.each(|side| {
        let backend = side.ground.backend("b");
        backend.answer(503);
        let answers = side.send("grow", &Load::of(560).callers(2).rate(200));
        let failures: Vec<f64> =
            answers.iter().filter(|a| a.status != 200).map(|a| a.at.as_secs_f64()).collect();
        // Two may be under way at the end of an ejection.
        let pauses: Vec<f64> =
            failures.windows(2).map(|w| w[1] - w[0]).filter(|p| *p > 0.1).collect();
        println!("{}: pauses {pauses:?}", side.name);
        for (pause, times) in pauses.iter().zip([1.0, 2.0, 2.0]) {
            let least = BASE * times - 0.02;
            assert!((least..least + 0.35).contains(pause), "{}: {pauses:?}", side.name);
        }
        assert!(pauses.len() >= 2 && pauses.len() <= 5, "{}: {pauses:?}", side.name);
    });
}

/// Under 1,000 requests a second an endpoint fails, is left out, recovers and is back; nobody else's
/// request fails. Each of them asks for nothing that would be tried again.
#[test]
fn a_thousand_requests_a_second_lose_none_but_those_of_the_failing() {
    const RATE: u32 = 1000;
    let scenes = |ground: &Ground| {
        let quick =
            json!({ "consecutive_5xx": 5, "interval": "0.2s", "base_ejection_time": "0.5s" });
        vec![scene("load", even(ground, &ALL), quick)]
    };
    let Some(both) = both("load", scenes) else { return };
    // One after the other, since both together would be twice the load.
    for side in [&both.envoy, &both.ours] {
        let backend = side.ground.backend("b");
        let seconds = Duration::from_secs(6);
        let answers = std::thread::scope(|scope| {
            let load = Load::of(RATE as usize * 6).callers(48).rate(RATE);
            let load = scope.spawn(move || side.send("load", &load));
            fail_and_recover(backend, seconds);
            load.join().unwrap()
        });
        judge(side, &answers);
    }
}

/// Fails from the first to the third second.
fn fail_and_recover(backend: &Backend, whole: Duration) {
    let began = Instant::now();
    std::thread::sleep(whole / 6);
    backend.answer(503);
    std::thread::sleep((whole / 2).saturating_sub(began.elapsed()));
    backend.heal();
}

fn judge(side: &Side, answers: &[Answer]) {
    let backend = side.ground.backend("b");
    let bad: Vec<&Answer> = answers.iter().filter(|a| a.status != 200).collect();
    println!("{}: {} of {} failed", side.name, bad.len(), answers.len());
    assert!(bad.iter().all(|a| a.upstream == "b" && a.status == 503), "{}: {bad:?}", side.name);
    assert_eq!(bad.len(), backend.failed(), "{}", side.name);
    // At most three ejections within two seconds, each after five failures and what was under way.
    assert!((5..=3 * 48).contains(&bad.len()), "{}: {} failed", side.name, bad.len());
    let second = |from: u64| {
        let of = move |a: &&Answer| a.at >= Duration::from_secs(from);
        answers.iter().filter(of).filter(|a| a.upstream == "b").count()
    };
    assert!(second(5) > 100, "{}: {} in the last second", side.name, second(5));
    assert!(answers.iter().all(|a| a.took < Duration::from_secs(2)), "{}: too slow", side.name);
}

/// Row S4 of the differences.
#[test]
fn a_second_ejection_takes_effect_at_once() {
    let scenes = |ground: &Ground| {
        let first = json!({ "consecutive_5xx": 1 });
        let window = json!({ "common_lb_config": { "update_merge_window": "1s" } });
        vec![scene("window", even(ground, &ALL), first).with(window)]
    };
    let Some(both) = both("window", scenes) else { return };
    let [envoy, ours] = both.each(|side| {
        for name in ["b", "c"] {
            side.ground.backend(name).answer(503);
        }
        side.send("window", &calmly(80));
        let failed = ["b", "c"].map(|name| side.ground.backend(name).failed());
        until("both are out", || side.send("window", &calmly(8)).iter().all(|a| a.status == 200));
        (failed.iter().min().copied(), failed.iter().max().copied())
    });
    assert_eq!(ours, (Some(1), Some(1)));
    assert!(envoy.0 <= Some(2) && envoy.1 >= Some(8), "{envoy:?}");
}

/// Row S5 of the differences: what comes is no TLS at all.
#[test]
fn strangers_are_refused_before_anybody_is_dialled() {
    let ca = authority::Authority::new("ca");
    let scenes =
        |ground: &Ground| vec![Scene::new("strangers", even(ground, &["a"])).ending_tls(&ca)];
    let Some(both) = both("strangers", scenes) else { return };
    let dialled = both.each(|side| {
        assert_eq!(side.one("strangers").status, 0, "{}", side.name);
        if side.name == "envoy" {
            until("it dials", || side.ground.backend("a").connections() > 0);
        }
        side.ground.backend("a").connections()
    });
    assert_eq!(dialled, [1, 0]);
}
