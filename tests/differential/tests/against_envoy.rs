//! The suite. `DIFFERENTIAL_SEED` repeats a run; without Envoy it is skipped, unless
//! `LATEEN_REQUIRE_PEERS=1`. `DIFFERENTIAL_KEEP` keeps the bootstraps and logs in the temporary directory.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::observe;
use differential::cases::{self, Case};
use serde_json::Value;

fn seed() -> u64 {
    std::env::var("DIFFERENTIAL_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1)
}

/// `DIFFERENTIAL_ONLY` narrows the run to cases whose name contains it.
fn chosen(seed: u64) -> Vec<Case> {
    let only = std::env::var("DIFFERENTIAL_ONLY").unwrap_or_default();
    cases::all(seed).into_iter().filter(|c| c.name.contains(&only)).collect()
}

#[test]
fn ours_behaves_as_envoy() {
    let seed = seed();
    let cases = chosen(seed);
    println!("seed {seed}: {} configurations", cases.len());
    let Some(report) = observe("differential", &cases, &|_| {}) else { return };
    for f in &report.findings {
        let d = &f.difference;
        println!(
            "{}: {}\n  {}\n    envoy {}\n    ours  {}",
            f.case, f.request, d.what, d.envoy, d.ours
        );
    }
    println!("{} requests, {} differences", report.pairs.len(), report.findings.len());
    assert!(report.findings.is_empty(), "{} differences, seed {seed}", report.findings.len());
}

/// A suite that cannot fail proves nothing: wrong configurations of ours must be noticed.
#[test]
fn planted_bugs_are_found() {
    let bugs: [(&str, &str, Value); 4] = [
        ("paths_0", "/route_config/virtual_hosts/0/routes/0/direct_response/status", 201.into()),
        (
            "ring_hash",
            "/route_config/virtual_hosts/0/routes/0/route/hash_policy/0/header/header_name",
            "x-other".into(),
        ),
        (
            "retries_0",
            "/route_config/virtual_hosts/0/routes/0/route/retry_policy/num_retries",
            0.into(),
        ),
        (
            "path_rewrites",
            "/route_config/virtual_hosts/0/routes/1/route/prefix_rewrite",
            "/y/".into(),
        ),
    ];
    for (name, place, value) in bugs {
        let cases: Vec<Case> = cases::all(1).into_iter().filter(|c| c.name == name).collect();
        assert_eq!(cases.len(), 1);
        let plant = |config: &mut Value| {
            let manager = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
            *config.pointer_mut(&format!("{manager}{place}")).expect(place) = value.clone();
        };
        let Some(report) = observe("planted", &cases, &plant) else { return };
        assert!(!report.findings.is_empty(), "the bug at {name} {place} went unnoticed");
    }
}
