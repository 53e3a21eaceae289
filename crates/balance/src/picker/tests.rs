//! What users of a cluster rely on: shares, stickiness, failover, ejection.

use super::*;
use crate::hash::xxh64;
use base::FixedEnv;
use ir::{Discovery, Health, OutlierDetection, SlowStart};
use std::collections::HashMap;
use std::time::Duration;

fn endpoint(ip: u8) -> Endpoint {
    Endpoint::at(Address::Ip(([10, 0, 0, ip], 80).into()))
}

fn group(priority: u32, endpoints: Vec<Endpoint>) -> EndpointGroup {
    EndpointGroup { priority, endpoints, ..EndpointGroup::default() }
}

fn of(groups: Vec<EndpointGroup>) -> Arc<Endpoints> {
    Arc::new(Endpoints { groups, ..Endpoints::default() })
}

fn cluster(lb: LoadBalancer) -> Cluster {
    Cluster { lb, ..Cluster::new("c", Discovery::Static(vec![])) }
}

fn round_robin() -> LoadBalancer {
    LoadBalancer::RoundRobin { slow_start: None }
}

/// The last octet of the chosen address.
fn octet(picker: &Picker, id: EndpointId) -> u8 {
    match &picker.endpoint(id).expect("present").address {
        Address::Ip(std::net::SocketAddr::V4(a)) => a.ip().octets()[3],
        other => panic!("{other}"),
    }
}

fn tally(picker: &mut Picker, env: &FixedEnv, n: usize) -> HashMap<u8, usize> {
    let mut seen = HashMap::new();
    for _ in 0..n {
        if let Some(id) = picker.pick(&Want::default(), env) {
            *seen.entry(octet(picker, id)).or_default() += 1;
        }
    }
    seen
}

fn weighted(ip: u8, weight: u32) -> Endpoint {
    Endpoint { weight: Some(weight), ..endpoint(ip) }
}

fn sick(ip: u8) -> Endpoint {
    Endpoint { health: Health::Unhealthy, ..endpoint(ip) }
}

#[test]
fn round_robin_is_exact() {
    let env = FixedEnv::seeded(3);
    let endpoints = of(vec![group(0, (1..=3).map(endpoint).collect())]);
    let mut picker = Picker::new(&cluster(round_robin()), endpoints, &env);
    assert_eq!(tally(&mut picker, &env, 300), HashMap::from([(1, 100), (2, 100), (3, 100)]));
    let endpoints = of(vec![group(0, vec![weighted(1, 1), weighted(2, 3)])]);
    picker.update(&cluster(round_robin()), endpoints, &env);
    assert_eq!(tally(&mut picker, &env, 400), HashMap::from([(1, 100), (2, 300)]));
}

#[test]
fn random_ignores_weights_and_is_even() {
    let env = FixedEnv::seeded(3);
    let endpoints = of(vec![group(0, vec![weighted(1, 1), weighted(2, 9)])]);
    let mut picker = Picker::new(&cluster(LoadBalancer::Random), endpoints, &env);
    let seen = tally(&mut picker, &env, 10_000);
    assert!((4800..5200).contains(&seen[&1]), "{seen:?}");
}

#[test]
fn least_request_avoids_the_busy() {
    let env = FixedEnv::seeded(3);
    let lb = LoadBalancer::LeastRequest { choices: None, bias: None, slow_start: None };
    let endpoints = of(vec![group(0, (1..=3).map(endpoint).collect())]);
    let mut picker = Picker::new(&cluster(lb.clone()), endpoints, &env);
    let busy = picker.iter().next().expect("three").0;
    for _ in 0..50 {
        picker.started(busy);
    }
    // Chosen only when both choices fall on it: one in nine.
    let seen = tally(&mut picker, &env, 9000);
    assert!((850..1150).contains(&seen[&1]), "{seen:?}");
    let endpoints = of(vec![group(0, vec![weighted(1, 2), weighted(2, 1)])]);
    picker.update(&cluster(lb), endpoints, &env);
    let seen = tally(&mut picker, &env, 1000);
    assert!(seen.get(&1).copied().unwrap_or(0) < 60, "weight 2 of 51 active: {seen:?}");
    let careless = LoadBalancer::LeastRequest { choices: None, bias: Some(0.0), slow_start: None };
    let endpoints = of(vec![group(0, vec![weighted(1, 2), weighted(2, 1)])]);
    picker.update(&cluster(careless), endpoints, &env);
    let seen = tally(&mut picker, &env, 900);
    assert_eq!(seen, HashMap::from([(1, 600), (2, 300)]), "without bias only weights count");
}

/// Envoy goes back to plain choices once nobody starts slowly any more.
#[test]
fn a_slow_start_that_is_over_leaves_the_choice_to_chance() {
    let env = FixedEnv::seeded(3);
    let window = Duration::from_secs(60);
    let slow = SlowStart { window, aggression: None, min_weight_percent: None };
    let least = LoadBalancer::LeastRequest { choices: None, bias: None, slow_start: Some(slow) };
    let endpoints = of(vec![group(0, (1..=3).map(endpoint).collect())]);
    let mut picker = Picker::new(&cluster(least.clone()), endpoints.clone(), &env);
    env.now.set(env.now.get().after(window));
    picker.update(&cluster(least), endpoints, &env);
    let busy = picker.iter().next().expect("three").0;
    for _ in 0..50 {
        picker.started(busy);
    }
    let seen = tally(&mut picker, &env, 9000);
    assert!((850..1150).contains(&seen[&1]), "one in nine: {seen:?}");
}

#[test]
fn panic_knows_no_localities() {
    let env = FixedEnv::seeded(3);
    let zone = |weight, endpoints| EndpointGroup { weight: Some(weight), ..group(0, endpoints) };
    let mut cluster = cluster(round_robin());
    cluster.lb_common.locality = LocalityMode::Weighted;
    let endpoints = of(vec![zone(9, vec![sick(1), sick(2)]), zone(1, vec![sick(3)])]);
    let mut picker = Picker::new(&cluster, endpoints, &env);
    assert_eq!(tally(&mut picker, &env, 300), HashMap::from([(1, 100), (2, 100), (3, 100)]));
}

#[test]
fn localities_without_weight_are_one() {
    let env = FixedEnv::seeded(3);
    let zone = |weight, endpoints| EndpointGroup { weight: Some(weight), ..group(0, endpoints) };
    let mut cluster = cluster(round_robin());
    cluster.lb_common.locality = LocalityMode::Weighted;
    let endpoints = of(vec![zone(1, vec![sick(1)]), zone(0, vec![endpoint(2), endpoint(3)])]);
    let mut picker = Picker::new(&cluster, endpoints, &env);
    assert_eq!(tally(&mut picker, &env, 100), HashMap::from([(2, 50), (3, 50)]));
}

#[test]
fn hashes_stick_and_spread() {
    let env = FixedEnv::seeded(3);
    for lb in [
        LoadBalancer::RingHash { min_size: None, max_size: None },
        LoadBalancer::Maglev { table_size: None },
    ] {
        let endpoints = of(vec![group(0, (1..=3).map(endpoint).collect())]);
        let mut picker = Picker::new(&cluster(lb), endpoints, &env);
        let mut seen: HashMap<u8, usize> = HashMap::new();
        for key in 0..3000u32 {
            let want = Want { hash: Some(xxh64(&key.to_le_bytes())), ..Want::default() };
            let id = picker.pick(&want, &env).expect("one");
            assert_eq!(picker.pick(&want, &env), Some(id));
            *seen.entry(octet(&picker, id)).or_default() += 1;
        }
        assert!(seen.values().all(|n| (800..1200).contains(n)), "{seen:?}");
    }
}

#[test]
fn tried_endpoints_are_avoided_while_attempts_last() {
    let env = FixedEnv::seeded(3);
    let endpoints = of(vec![group(0, vec![endpoint(1), endpoint(2)])]);
    let mut picker = Picker::new(&cluster(round_robin()), endpoints, &env);
    for _ in 0..20 {
        let first = picker.pick(&Want::default(), &env).expect("one");
        let want = Want { avoid: &[first], attempts: 5, ..Want::default() };
        assert_ne!(picker.pick(&want, &env), Some(first));
    }
    let all: Vec<_> = picker.iter().map(|e| e.0).collect();
    let want = Want { avoid: &all, attempts: 5, ..Want::default() };
    assert!(picker.pick(&want, &env).is_some(), "better a tried one than none");
}

#[test]
fn the_next_priority_takes_over() {
    let env = FixedEnv::seeded(3);
    let endpoints =
        of(vec![group(0, vec![endpoint(1), sick(2), sick(3)]), group(1, vec![endpoint(9)])]);
    let mut picker = Picker::new(&cluster(round_robin()), endpoints, &env);
    let seen = tally(&mut picker, &env, 10_000);
    assert_eq!(seen.len(), 2);
    assert!((4400..4900).contains(&seen[&1]), "1 of 3 healthy carries 46%: {seen:?}");
    let endpoints = of(vec![group(0, vec![sick(1)]), group(1, vec![endpoint(9)])]);
    picker.update(&cluster(round_robin()), endpoints, &env);
    assert_eq!(tally(&mut picker, &env, 100), HashMap::from([(9, 100)]));
}

#[test]
fn nobody_healthy_means_everybody_or_nobody() {
    let env = FixedEnv::seeded(3);
    let endpoints = of(vec![group(0, vec![sick(1), sick(2)])]);
    let mut picker = Picker::new(&cluster(round_robin()), endpoints.clone(), &env);
    assert_eq!(tally(&mut picker, &env, 10).values().sum::<usize>(), 10);
    let mut strict = cluster(round_robin());
    strict.lb_common.panic_threshold = Some(0.0);
    picker.update(&strict, endpoints, &env);
    assert_eq!(picker.pick(&Want::default(), &env), None);
    picker.update(&strict, of(vec![]), &env);
    assert_eq!(picker.pick(&Want::default(), &env), None);
}

#[test]
fn localities_share_by_weight_and_lose_it_when_sick() {
    let env = FixedEnv::seeded(3);
    let zone = |weight, endpoints| EndpointGroup { weight: Some(weight), ..group(0, endpoints) };
    let mut cluster = cluster(round_robin());
    cluster.lb_common.locality = LocalityMode::Weighted;
    let endpoints = of(vec![zone(80, vec![endpoint(1), endpoint(2)]), zone(20, vec![endpoint(3)])]);
    let mut picker = Picker::new(&cluster, endpoints, &env);
    assert_eq!(tally(&mut picker, &env, 1000), HashMap::from([(1, 400), (2, 400), (3, 200)]));
    let endpoints =
        of(vec![zone(50, vec![endpoint(1), sick(2)]), zone(50, vec![endpoint(3), endpoint(4)])]);
    picker.update(&cluster, endpoints, &env);
    let seen = tally(&mut picker, &env, 1700);
    assert!((690..710).contains(&seen[&1]), "half healthy, 70% of its weight: {seen:?}");
    cluster.lb = LoadBalancer::Maglev { table_size: None };
    let endpoints = of(vec![zone(80, vec![endpoint(1), endpoint(2)]), zone(20, vec![endpoint(3)])]);
    picker.update(&cluster, endpoints, &env);
    let seen = tally(&mut picker, &env, 10_000);
    assert!((1850..2150).contains(&seen[&3]), "{seen:?}");
}

#[test]
fn failing_endpoints_are_left_out_and_come_back() {
    let env = FixedEnv::seeded(3);
    let mut cluster = cluster(round_robin());
    cluster.outliers = Some(OutlierDetection {
        consecutive_5xx: Some(2),
        max_ejection_percent: Some(100),
        ..OutlierDetection::default()
    });
    let endpoints = of(vec![group(0, vec![endpoint(1), endpoint(2), endpoint(3)])]);
    let usage = Arc::<Usage>::default();
    let other = Picker::new(&cluster, endpoints.clone(), &env).shown_on(usage.clone());
    let mut picker = Picker::new(&cluster, endpoints.clone(), &env).shown_on(usage.clone());
    let bad = picker.iter().next().expect("three").0;
    assert_eq!(picker.report(bad, Outcome::Status(503), &env), Change::Nothing);
    assert!(usage.ejected().is_empty());
    assert_eq!(picker.report(bad, Outcome::Status(503), &env), Change::Ejected);
    drop(other);
    assert_eq!(usage.ejected(), [endpoint(1).address].into());
    assert_eq!(tally(&mut picker, &env, 100), HashMap::from([(2, 50), (3, 50)]));
    picker.update(&cluster, endpoints, &env);
    assert!(!tally(&mut picker, &env, 10).contains_key(&1), "an update does not pardon");
    env.now.set(env.now.get().after(Duration::from_secs(31)));
    assert_eq!(tally(&mut picker, &env, 99).get(&1), Some(&33));
    assert!(usage.ejected().is_empty());
}

#[test]
fn survivors_keep_their_state_and_names_of_the_gone_are_void() {
    let env = FixedEnv::seeded(3);
    let cluster = cluster(round_robin());
    let first = of(vec![group(0, vec![endpoint(1), endpoint(2)])]);
    let mut picker = Picker::new(&cluster, first, &env);
    let ids: Vec<_> = picker.iter().map(|e| e.0).collect();
    picker.started(ids[0]);
    picker.started(ids[1]);
    picker.update(&cluster, of(vec![group(0, vec![endpoint(7), endpoint(2)])]), &env);
    assert!(picker.endpoint(ids[0]).is_none(), "gone, though its slot serves another now");
    picker.finished(ids[0]);
    let active: Vec<_> = picker.iter().map(|(id, n, _)| (octet(&picker, id), n)).collect();
    assert_eq!(active, [(7, 0), (2, 1)]);
}

#[test]
fn new_endpoints_start_slowly() {
    let env = FixedEnv::seeded(3);
    let slow =
        SlowStart { window: Duration::from_secs(60), aggression: None, min_weight_percent: None };
    let cluster = cluster(LoadBalancer::RoundRobin { slow_start: Some(slow) });
    let mut picker = Picker::new(&cluster, of(vec![group(0, vec![endpoint(1)])]), &env);
    env.now.set(env.now.get().after(Duration::from_secs(60)));
    picker.update(&cluster, of(vec![group(0, vec![endpoint(1), endpoint(2)])]), &env);
    let seen = tally(&mut picker, &env, 1100);
    assert!((80..120).contains(&seen[&2]), "a tenth at first: {seen:?}");
    env.now.set(env.now.get().after(Duration::from_secs(60)));
    tally(&mut picker, &env, 30);
    let seen = tally(&mut picker, &env, 1000);
    assert!((480..520).contains(&seen[&2]), "then its full share: {seen:?}");
}
