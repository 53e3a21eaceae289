//! Configurations made from Istio's objects, compiled, and run by Envoy and by ours.
//! `DIFFERENTIAL_SEED` repeats a run, `DIFFERENTIAL_ONLY=g017` (several with commas) narrows it to
//! configurations. Without Envoy it is skipped, unless `LATEEN_REQUIRE_PEERS=1`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/peers.rs"]
mod peers;

use differential::generate::coverage::{self, Field};
use differential::generate::side_by_side::{Bench, Finding, Report};
use differential::generate::{COUNT, Config, Net, config};
use peers::{directory, peers};
use std::collections::{BTreeMap, BTreeSet};

/// Configurations in one start of the proxies.
const BATCH: usize = 40;

/// So many configurations may differ where they do not differ again: among 22,000 requests one may meet
/// a moment in which the machine did something else. What is wrong is wrong again; both are told.
const ONCE: usize = 2;

fn seed() -> u64 {
    std::env::var("DIFFERENTIAL_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1)
}

fn chosen(net: Net) -> Vec<Config> {
    let only = std::env::var("DIFFERENTIAL_ONLY").unwrap_or_default();
    let names: Vec<&str> = only.split(',').filter(|n| !n.is_empty()).collect();
    let all = (0..COUNT).map(|n| config(seed(), n, net));
    all.filter(|c| names.is_empty() || names.contains(&c.name.as_str())).collect()
}

#[test]
fn generated_configurations_behave_as_in_envoy() {
    let Some((envoy, ours)) = peers() else { return };
    let dir = directory("generated");
    let bench = Bench::new(envoy, ours, &dir).unwrap();
    let configs = chosen(bench.net);
    let mut findings = Vec::new();
    let mut refused = Vec::new();
    let mut total = Report::default();
    for batch in configs.chunks(BATCH) {
        let report = match bench.run(batch, &|text| text) {
            Ok(report) => report,
            Err(error) => {
                refused.push(format!(
                    "{} to {}: {error}",
                    batch[0].name,
                    batch[batch.len() - 1].name
                ));
                continue;
            }
        };
        total.requests += report.requests;
        for (status, n) in report.statuses {
            *total.statuses.entry(status).or_default() += n;
        }
        findings.extend(report.findings);
    }
    println!("seed {}: {} configurations, {} requests", seed(), configs.len(), total.requests);
    println!("answers by status: {:?}", total.statuses);
    tell(&configs, &findings);
    assert!(refused.is_empty(), "not accepted: {refused:#?}");
    let mut again = configs.clone();
    again.retain(|c| findings.iter().any(|f| f.config == c.name));
    if (1..=ONCE).contains(&again.len()) {
        println!("once more, by themselves:");
        findings = bench.run(&again, &|text| text).unwrap().findings;
        tell(&again, &findings);
    }
    assert!(findings.is_empty(), "{} differences, seed {}", findings.len(), seed());
    if std::env::var_os("DIFFERENTIAL_KEEP").is_none() {
        std::fs::remove_dir_all(&dir).unwrap();
    }
}

/// Each configuration with its objects once, and some of what differs.
fn tell(configs: &[Config], findings: &[Finding]) {
    let mut by_config: BTreeMap<&str, Vec<&Finding>> = BTreeMap::new();
    for finding in findings {
        by_config.entry(&finding.config).or_default().push(finding);
    }
    let verbose = by_config.len() <= 3;
    for (name, list) in by_config {
        println!("\n== {name}: {} differences; again by", list.len());
        println!(
            "   DIFFERENTIAL_SEED={} DIFFERENTIAL_ONLY={name} cargo test -p differential --test generated",
            seed()
        );
        if verbose && let Some(config) = configs.iter().find(|c| c.name == name) {
            for object in config.objects.iter().filter(|o| o["spec"].is_object()) {
                println!("   {object}");
            }
        }
        let mut shown = BTreeSet::new();
        let mut told = |f: &&&Finding| shown.insert(f.difference.what.clone()) || verbose;
        for finding in list.iter().filter(&mut told).take(30) {
            let d = &finding.difference;
            println!(
                "  {}\n    {}\n      envoy {}\n      ours  {}",
                finding.ask, d.what, d.envoy, d.ours
            );
            if verbose && !finding.envoy.is_empty() {
                println!("      envoy {}\n      ours  {}", finding.envoy, finding.ours);
            }
        }
    }
}

/// A suite that cannot fail proves nothing: wrong configurations of ours must be noticed.
#[test]
fn a_planted_bug_is_found() {
    let Some((envoy, ours)) = peers() else { return };
    let dir = directory("generated-planted");
    let bench = Bench::new(envoy, ours, &dir).unwrap();
    for (index, right, wrong) in
        [(0, "\"status\":599", "\"status\":598"), (3, "\"prefix\":\"", "\"prefix\":\"/x")]
    {
        let planted = |text: String| {
            let changed = text.replace(right, wrong);
            assert_ne!(changed, text, "configuration {index} has no {right}");
            changed
        };
        let report = bench.run(&[config(1, index, bench.net)], &planted).unwrap();
        assert!(!report.findings.is_empty(), "{wrong} in place of {right} went unnoticed");
    }
    std::fs::remove_dir_all(&dir).unwrap();
}

/// Every field of the networking API occurs, or the list says why not.
#[test]
fn every_field_is_generated_or_its_absence_explained() {
    let configs: Vec<Config> = (0..COUNT).map(|n| config(1, n, Net(20))).collect();
    let occurring = coverage::occurring(&configs);
    let fields = coverage::fields();
    let has = |f: &Field| occurring.contains(&(f.kind.clone(), f.path.clone()));
    let silent: Vec<_> = fields.iter().filter(|f| f.absent.is_none() && !has(f)).collect();
    let wrong: Vec<_> = fields.iter().filter(|f| f.absent.is_some() && has(f)).collect();
    for field in &silent {
        println!("{}\t{}", field.kind, field.path);
    }
    println!("{} fields, {} of them occur", fields.len(), fields.iter().filter(|f| has(f)).count());
    assert!(silent.is_empty(), "{} fields neither occur nor say why not", silent.len());
    assert!(wrong.is_empty(), "these occur and are said to be absent: {wrong:?}");
}

/// What the suite is: its size, and that a seed repeats it.
#[test]
fn there_are_enough_and_the_seed_decides() {
    let shown = |seed| format!("{:?}", config(seed, 17, Net(20)));
    assert_eq!(shown(1), shown(1));
    assert_ne!(shown(1), shown(2));
    for n in 0..COUNT {
        let config = config(1, n, Net(20));
        assert!(config.asks.len() >= 50, "{} has {} requests", config.name, config.asks.len());
    }
}
