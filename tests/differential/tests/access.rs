//! Decisions about access at large: thousands of requests to rules made from a seed, decided by Envoy and by
//! ours. `DIFFERENTIAL_SEED` repeats a run.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::observe;
use differential::cases::{self, FIELDS};
use std::collections::{BTreeMap, BTreeSet};

/// Allowed and denied.
type Count = [usize; 2];

#[test]
fn every_decision_is_envoys() {
    let seed = std::env::var("DIFFERENTIAL_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
    let cases = cases::decisions(seed);
    let Some(report) = observe("access", &cases, &|_| {}) else { return };
    for f in &report.findings {
        println!("{}: {}\n  {:?}", f.case, f.request, f.difference);
    }
    assert!(report.findings.is_empty(), "{} differences, seed {seed}", report.findings.len());
    let mut pairs = report.pairs.iter();
    let (mut all, mut of_field): (Count, BTreeMap<&str, Count>) = Default::default();
    let mut paths = BTreeSet::new();
    for case in &cases {
        let field = FIELDS.into_iter().find(|f| case.name.starts_with(&format!("decisive_{f}_")));
        for request in &case.requests {
            paths.insert(request.target.clone());
            let (envoy, _) = pairs.next().expect("a pair for each request");
            let Some(decided) = [200, 403].iter().position(|s| *s == envoy.response.status) else {
                continue;
            };
            all[decided] += 1;
            if let Some(field) = field {
                of_field.entry(field).or_default()[decided] += 1;
            }
        }
    }
    let total: usize = cases.iter().map(|c| c.requests.len()).sum();
    println!(
        "{total} requests, {} paths, allowed and denied: {all:?}, by one field: {of_field:?}",
        paths.len()
    );
    assert!(total >= 5_000 && paths.len() >= 300);
    assert!(all.iter().all(|n| n * 5 >= total * 2), "40% each: {all:?} of {total}");
    assert_eq!(of_field.len(), FIELDS.len());
    assert!(of_field.values().flatten().all(|n| *n >= 50), "{of_field:?}");
}
