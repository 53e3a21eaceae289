//! Who gets how many: the balancers' distributions over the same endpoints and weights, beside what their
//! configuration says.

use crate::both;
use differential::statistics::scene::even;
use differential::statistics::{Ground, Load, Scene, Side, bounds};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// How many each of them answered.
fn counts(side: &Side, scene: &str, requests: usize) -> Vec<usize> {
    let answers = side.send(scene, &Load::of(requests).callers(1));
    let of = |name: &str| answers.iter().filter(|a| a.upstream == name).count();
    NAMES.map(of).into()
}

fn weighted(ground: &Ground, weights: &[(&str, u32)]) -> Vec<Value> {
    let one = |(name, weight): &(&str, u32)| {
        ground.endpoint(name, json!({ "load_balancing_weight": weight }))
    };
    weights.iter().map(one).collect()
}

fn of_health(ground: &Ground, health: &[(&str, &str)]) -> Vec<Value> {
    let one =
        |(name, health): &(&str, &str)| ground.endpoint(name, json!({ "health_status": health }));
    health.iter().map(one).collect()
}

/// Scenes, each with the shares of `a` to `d`.
fn scenes(ground: &Ground) -> Vec<(Scene, [f64; 4])> {
    let scene =
        |name, endpoints, lb: &str| Scene::new(name, endpoints).with(json!({ "lb_policy": lb }));
    let thirds = weighted(ground, &[("a", 1), ("b", 2), ("c", 5)]);
    let sick = [("a", "HEALTHY"), ("b", "UNHEALTHY"), ("c", "UNHEALTHY"), ("d", "UNHEALTHY")];
    let panic = |percent: u32| json!({ "common_lb_config": { "healthy_panic_threshold": { "value": percent } } });
    let zone = |name: &str, weight: u32, endpoints: Vec<Value>| json!({ "locality": { "zone": name }, "load_balancing_weight": weight, "lb_endpoints": endpoints });
    let level = |priority: u32, endpoints: Vec<Value>| json!({ "priority": priority, "lb_endpoints": endpoints });
    let by_zone = json!({ "common_lb_config": { "locality_weighted_lb_config": {} } });
    let third = &[("a", "HEALTHY"), ("b", "UNHEALTHY"), ("c", "UNHEALTHY")];
    let some = &[("a", "HEALTHY"), ("b", "DEGRADED"), ("c", "UNHEALTHY")];
    vec![
        (scene("turns", thirds.clone(), "ROUND_ROBIN"), [1.0, 2.0, 5.0, 0.0]),
        // Random takes no notice of weights.
        (scene("random", thirds.clone(), "RANDOM"), [1.0, 1.0, 1.0, 0.0]),
        (scene("least", even(ground, &NAMES), "LEAST_REQUEST"), [1.0; 4]),
        (scene("least_weighted", thirds, "LEAST_REQUEST"), [1.0, 2.0, 5.0, 0.0]),
        (scene("panic", of_health(ground, &sick), "RANDOM").with(panic(50)), [1.0; 4]),
        (scene("calm", of_health(ground, &sick), "RANDOM").with(panic(20)), [1.0, 0.0, 0.0, 0.0]),
        (
            scene("zones", vec![], "RANDOM").with(by_zone.clone()).localities(json!([
                zone("near", 80, even(ground, &["a", "b"])),
                zone("far", 20, even(ground, &["c"])),
            ])),
            [40.0, 40.0, 20.0, 0.0],
        ),
        // Half of the near ones carry 70% of their weight: 1.4 times a half.
        (
            scene("zones_sick", vec![], "ROUND_ROBIN").with(by_zone.clone()).localities(json!([
                zone("near", 50, of_health(ground, &[("a", "HEALTHY"), ("b", "UNHEALTHY")])),
                zone("far", 50, even(ground, &["c", "d"])),
            ])),
            [35.0, 0.0, 25.0, 25.0],
        ),
        (
            scene("zones_panic", vec![], "RANDOM").with(by_zone).localities(json!([
                zone(
                    "near",
                    90,
                    of_health(ground, &[("a", "HEALTHY"), ("b", "UNHEALTHY"), ("c", "UNHEALTHY")])
                ),
                zone("far", 10, of_health(ground, &[("d", "UNHEALTHY")])),
            ])),
            [1.0; 4],
        ),
        // One of three healthy: 1.4 thirds stay, rounded down.
        (
            scene("spill", vec![], "RANDOM").localities(json!([
                level(0, of_health(ground, third)),
                level(1, even(ground, &["d"]))
            ])),
            [46.0, 0.0, 0.0, 54.0],
        ),
        // 46 to the healthy, 46 to the degraded, and what is left over to the healthy.
        (
            scene("degraded", vec![], "RANDOM")
                .localities(json!([level(0, of_health(ground, some))])),
            [50.0, 50.0, 0.0, 0.0],
        ),
        (
            scene("spare", vec![], "RANDOM").localities(json!([
                level(0, of_health(ground, &[("a", "UNHEALTHY"), ("b", "UNHEALTHY")])),
                level(1, of_health(ground, &[("c", "UNHEALTHY")])),
                level(2, even(ground, &["d"])),
            ])),
            [0.0, 0.0, 0.0, 1.0],
        ),
    ]
}

#[test]
fn distributions_follow_the_configuration() {
    const N: usize = 2000;
    let Some(both) = both("balancers", |g| scenes(g).into_iter().map(|(s, _)| s).collect()) else {
        return;
    };
    let found = both.each(|side| {
        let all = scenes(&side.ground);
        let one = |(scene, shares): &(Scene, [f64; 4])| {
            let counts = counts(side, scene.name, N);
            (scene.name, bounds::shares(side.name, &counts, shares), counts)
        };
        all.iter().map(one).collect::<Vec<_>>()
    });
    let [envoy, ours] = found;
    let mut wrong = Vec::new();
    for ((name, e, of_envoy), (_, o, of_ours)) in envoy.into_iter().zip(ours) {
        println!("{name}: envoy {of_envoy:?}, ours {of_ours:?}");
        wrong.extend([e.err(), o.err()].into_iter().flatten().map(|why| format!("{name}: {why}")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Requests that are under way to `b` while the others are free.
const UNDER_WAY: usize = 30;

fn busy(ground: &Ground) -> Vec<Scene> {
    let scene = |name, endpoints, config: Value| {
        Scene::new(name, endpoints)
            .with(json!({ "lb_policy": "LEAST_REQUEST", "least_request_lb_config": config }))
    };
    let three = || even(ground, &["a", "b", "c"]);
    let heavy = || weighted(ground, &[("a", 1), ("b", 4), ("c", 1)]);
    let bias =
        |b: f64| json!({ "active_request_bias": { "default_value": b, "runtime_key": "x" } });
    vec![
        scene("choices2", three(), json!({})),
        scene("choices3", three(), json!({ "choice_count": 3 })),
        scene("choices5", three(), json!({ "choice_count": 5 })),
        scene("bias1", heavy(), json!({})),
        scene("bias0", heavy(), bias(0.0)),
        scene("bias_half", heavy(), bias(0.5)),
    ]
}

/// One endpoint has requests under way that do not end; how many new ones it gets follows from how many
/// choices there are, or from its weight and the bias.
#[test]
fn busy_endpoints_are_chosen_as_seldom() {
    const N: usize = 2500;
    let Some(both) = both("busy", busy) else { return };
    let of = |scene: &'static str| {
        let found =
            both.each(|side| with_busy(side, scene, |active| (counts(side, scene, N), active)));
        println!("{scene}: {found:?}");
        found
    };
    for (scene, choices) in [("choices2", 2), ("choices3", 3), ("choices5", 5)] {
        for (counts, _) in of(scene) {
            // Only when every choice falls on it.
            bounds::share(scene, counts[1], N, (1.0 / 3.0_f64).powi(choices)).unwrap();
        }
    }
    for (scene, bias) in [("bias1", 1.0), ("bias0", 0.0), ("bias_half", 0.5)] {
        for (counts, active) in of(scene) {
            let weight = 4.0 / f64::from(u32::try_from(active + 1).unwrap()).powf(bias);
            bounds::shares(scene, &counts, &[1.0, weight, 1.0, 0.0]).unwrap();
        }
    }
}

/// Runs while `b` has as many requests under way as said.
fn with_busy<T: Send>(side: &Side, scene: &str, run: impl Fn(usize) -> T + Send) -> T {
    let backends = ["a", "b", "c"].map(|name| side.ground.backend(name));
    let before = backends.map(|b| b.arrived());
    backends.iter().for_each(|b| b.hold());
    let result = std::thread::scope(|scope| {
        let held = scope.spawn(|| side.send(scene, &Load::of(UNDER_WAY).callers(UNDER_WAY)));
        let arrived = || backends.iter().zip(before).map(|(b, n)| b.arrived() - n).sum::<usize>();
        until("they are under way", || arrived() == UNDER_WAY);
        backends[0].release();
        backends[2].release();
        backends[1].hold_no_more();
        let active = backends[1].arrived() - before[1];
        // Those of the others are over when the proxy has seen their answers.
        until("the others are answered", || {
            side.count(scene, "upstream_rq_active") == i64::try_from(active).unwrap()
        });
        let result = run(active);
        backends[1].release();
        assert!(held.join().unwrap().iter().all(|a| a.status == 200));
        result
    });
    backends.iter().for_each(|b| b.heal());
    result
}

pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < deadline, "not within 10 s: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
