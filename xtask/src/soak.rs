//! `cargo xtask soak`: ten minutes of load on the proxy, in rounds with a pause after each. After the
//! third minute its own memory must stay level (a line through the samples rises by less than 1 MiB)
//! and its descriptors constant. Memory is read in the pauses, when nothing is under way: what rises
//! from pause to pause is kept for ever. Then the generated configurations of further seeds go through
//! Envoy and through ours, the root is replaced under new connections with leaves of two minutes, and
//! every fuzz target gets its five minutes.

use crate::{bench, fuzz, peers, shell, suite};
use anyhow::{Context, Result, bail};
use std::time::{Duration, Instant};

/// Growth of anonymous memory after the warm-up that is still called level.
const GROWTH_KIB_MAX: f64 = 1024.0;

/// Seconds of load by each protocol in one round.
const LOAD: u64 = 10;

/// Long enough for the proxy to close spare connections and to give memory back.
const PAUSE: u64 = 12;

#[derive(Clone, Copy, Debug, PartialEq)]
struct Sample {
    seconds: f64,
    anonymous_kib: f64,
    descriptors: usize,
}

pub fn run(args: &[String]) -> Result<()> {
    let seconds = match args.iter().position(|a| a == "--seconds") {
        Some(i) => args.get(i + 1).context("--seconds wants a number")?.parse()?,
        None => 600,
    };
    let rig = bench::Rig::start()?;
    let started = Instant::now();
    let warm = (seconds * 3 / 10) as f64;
    let mut samples = Vec::new();
    while started.elapsed() < Duration::from_secs(seconds) {
        let errors = rig.load_for(LOAD)?;
        if errors > 0 {
            bail!("{errors} requests failed");
        }
        std::thread::sleep(Duration::from_secs(PAUSE));
        let (memory, descriptors) = rig.footprint();
        let seconds = started.elapsed().as_secs_f64();
        println!("soak: {seconds:>4.0} s  RssAnon {memory} KiB, {descriptors} descriptors");
        samples.push(Sample { seconds, anonymous_kib: memory as f64, descriptors });
    }
    samples.retain(|s| s.seconds >= warm);
    judge(&samples)?;
    drop(rig);
    SEEDS.into_iter().try_for_each(compare_with_envoy)?;
    rotate()?;
    fuzz::run(fuzz::Budget::of_soak(), &[]).map(drop)
}

/// Of generated configurations, beside the one of the ordinary tests.
const SEEDS: std::ops::RangeInclusive<u64> = 2..=6;

fn compare_with_envoy(seed: u64) -> Result<()> {
    let run = |mut command: std::process::Command| -> Result<()> {
        command.env("DIFFERENTIAL_SEED", seed.to_string()).env("LATEEN_REQUIRE_PEERS", "1");
        if !command.status()?.success() {
            bail!("seed {seed}: not as Envoy");
        }
        Ok(())
    };
    println!("soak: seed {seed}");
    run(shell::cargo(&["build", "--quiet", "-p", "lateen-proxy"]))?;
    let test = ["test", "--quiet", "-p", "differential", "--test", "generated", "--"];
    let only = "generated_configurations_behave_as_in_envoy";
    run(shell::cargo(&[&test[..], &[only, "--nocapture"]].concat()))
}

/// Three ways, of which each makes so many new connections a second.
const ROTATION: [(&str, &str); 2] = [("LATEEN_LEAF_SECONDS", "120"), ("LATEEN_LEAF_RATE", "170")];

fn rotate() -> Result<()> {
    let bin = suite::build_programs()?;
    println!("soak: another root, with leaves of two minutes");
    let test = ["test", "--quiet", "-p", "e2e", "--test", "identity", "--"];
    let only = "certificates_are_replaced_while_they_are_used";
    let mut command = shell::cargo(&[&test[..], &[only, "--nocapture"]].concat());
    command.envs(ROTATION).env("LATEEN_BIN_DIR", bin).env("LATEEN_REQUIRE_PEERS", "1");
    peers::point_to(&mut command);
    shell::run(&mut command)
}

fn judge(samples: &[Sample]) -> Result<()> {
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else {
        bail!("too short to tell");
    };
    let rise = slope(samples).context("too short to tell")? * (last.seconds - first.seconds);
    let descriptors = || samples.iter().map(|s| s.descriptors);
    let (fewest, most) = (descriptors().min().unwrap_or(0), descriptors().max().unwrap_or(0));
    println!("soak: RssAnon rises by {rise:.0} KiB, {fewest} to {most} descriptors");
    if rise > GROWTH_KIB_MAX {
        bail!("memory grows by {rise:.0} KiB in {:.0} s", last.seconds - first.seconds);
    }
    if last.descriptors > first.descriptors {
        bail!("{} descriptors were not closed", last.descriptors - first.descriptors);
    }
    Ok(())
}

/// KiB per second, of the line that fits the samples best.
fn slope(samples: &[Sample]) -> Option<f64> {
    let n = samples.len() as f64;
    let mean = |of: fn(&Sample) -> f64| samples.iter().map(of).sum::<f64>() / n;
    let (time, memory) = (mean(|s| s.seconds), mean(|s| s.anonymous_kib));
    let with = |s: &Sample| (s.seconds - time) * (s.anonymous_kib - memory);
    let spread: f64 = samples.iter().map(|s| (s.seconds - time).powi(2)).sum();
    (spread > 0.0).then(|| samples.iter().map(with).sum::<f64>() / spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(memory: impl Fn(f64) -> f64, descriptors: impl Fn(usize) -> usize) -> Vec<Sample> {
        let sample = |i: usize| Sample {
            seconds: 180.0 + 42.0 * i as f64,
            anonymous_kib: memory(42.0 * i as f64),
            descriptors: descriptors(i),
        };
        (0..11).map(sample).collect()
    }

    #[test]
    fn what_rises_is_a_leak_and_what_wavers_is_none() {
        let wavers = |t: f64| 20_000.0 + 400.0 * (t / 42.0 % 2.0);
        assert!(judge(&samples(wavers, |_| 90)).is_ok());
        assert!(judge(&samples(|t| wavers(t) + 3.0 * t, |_| 90)).is_err());
        assert!(judge(&samples(wavers, |i| 90 + i)).is_err());
        assert!(judge(&samples(wavers, |_| 90)[..1]).is_err());
    }
}
