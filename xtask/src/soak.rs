//! `cargo xtask soak`: ten minutes of load on the proxy; after the third minute its own memory must stay
//! level (under 1 MiB of growth) and its descriptors constant.

use crate::bench;
use anyhow::{Context, Result, bail};
use std::time::{Duration, Instant};

/// Growth of anonymous memory after the warm-up that is still called level.
const GROWTH_KIB_MAX: u64 = 1024;

pub fn run(args: &[String]) -> Result<()> {
    let seconds = match args.iter().position(|a| a == "--seconds") {
        Some(i) => args.get(i + 1).context("--seconds wants a number")?.parse()?,
        None => 600,
    };
    let rig = bench::Rig::start()?;
    let started = Instant::now();
    let warm = Duration::from_secs(seconds * 3 / 10);
    let mut baseline = None;
    while started.elapsed() < Duration::from_secs(seconds) {
        let errors = rig.load_for(5)?;
        if errors > 0 {
            bail!("{errors} requests failed");
        }
        let (memory, descriptors) = rig.footprint();
        println!(
            "soak: {:>4} s  RssAnon {memory} KiB, {descriptors} descriptors",
            started.elapsed().as_secs()
        );
        if started.elapsed() >= warm && baseline.is_none() {
            baseline = Some((memory, descriptors));
        }
    }
    let (before, open_before) = baseline.context("too short to tell")?;
    let (after, open_after) = rig.footprint();
    println!("soak: RssAnon {before} -> {after} KiB, descriptors {open_before} -> {open_after}");
    if after.saturating_sub(before) > GROWTH_KIB_MAX {
        bail!("memory grew by {} KiB", after - before);
    }
    if open_after > open_before {
        bail!("{} descriptors were not closed", open_after - open_before);
    }
    Ok(())
}
