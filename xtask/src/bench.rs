//! `cargo xtask bench`: the proxy beside Envoy (from the same bootstrap file), nginx and HAProxy, in one
//! run with interleaved repetitions; only ratios within a run mean anything. Every proxy has one worker,
//! pinned to the first processor; load and backend are pinned to the second. The figure is CPU time of
//! all threads of the proxy divided by completed requests.
//!
//! `--quick` measures small bodies on 64 connections only; `--only http1|http2|tcp` one protocol;
//! `--repetitions N` and `--seconds N` (of each cell) change how long it takes.

mod config;
mod measure;
mod report;

use crate::{peers, shell};
use anyhow::{Context, Result, bail};
use config::{Body, Protocol, Proxy};
use measure::{Process, Sample};
use report::Row;
use std::path::Path;
use std::process::Command;

/// What is measured, how long and how often.
struct Plan {
    seconds: u64,
    repetitions: usize,
    bodies: &'static [Body],
    connections: &'static [u32],
    protocols: Vec<Protocol>,
}

impl Plan {
    fn parse(args: &[String]) -> Result<Plan> {
        let mut plan = Plan {
            seconds: 2,
            repetitions: 5,
            bodies: &Body::ALL,
            connections: &[1, 64, 256],
            protocols: Protocol::ALL.to_vec(),
        };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().with_context(|| format!("{arg} wants a value"));
            match arg.as_str() {
                "--quick" => (plan.bodies, plan.connections) = (&[Body::Small], &[64]),
                "--repetitions" => plan.repetitions = value()?.parse()?,
                "--seconds" => plan.seconds = value()?.parse()?,
                "--only" => {
                    let name = value()?;
                    plan.protocols.retain(|p| p.name() == name);
                    if plan.protocols.is_empty() {
                        bail!("--only {name}: use http1, http2 or tcp");
                    }
                }
                other => bail!("{other}: use --quick, --only, --repetitions or --seconds"),
            }
        }
        Ok(plan)
    }
}

pub fn run(args: &[String]) -> Result<()> {
    let plan = Plan::parse(args)?;
    for tool in ["wrk", "h2load", "nginx", "haproxy", "taskset"] {
        if shell::which(tool).is_none() {
            bail!("{tool} is not there: cargo xtask setup");
        }
    }
    let envoy = peers::envoy().context("real Envoy is not there: cargo xtask setup")?;
    shell::run(&mut shell::cargo(&["build", "--release", "-p", "lateen-proxy"]))?;
    let ours = shell::target_dir().join("release/lateen-proxy");
    let dir = shell::target_dir().join("bench");
    config::write(&dir)?;
    let _backend = backend(&dir)?;
    let proxies = config::proxies(&ours, &envoy, &dir);
    let mut rows = Vec::new();
    for &protocol in &plan.protocols {
        rows.extend(measure_protocol(protocol, &proxies, &plan, &dir)?);
    }
    let text = report::markdown(&rows, &plan.protocols, &proxies)?;
    println!("{text}");
    let out = dir.join("results.md");
    std::fs::write(&out, text)?;
    println!("bench: written to {}", out.display());
    Ok(())
}

/// What all proxies pass requests to; it listens when this returns.
fn backend(dir: &Path) -> Result<Process> {
    let process = measure::start(&["nginx", "-c", &path(dir, "backend.conf")], "1", dir)?;
    measure::wait_for_port(config::BACKEND_HTTP1).context("the backend")?;
    Ok(process)
}

fn path(dir: &Path, name: &str) -> String {
    dir.join(name).display().to_string()
}

/// One pass over all proxies per repetition, so that the machine's moods hit all alike.
fn measure_protocol(
    protocol: Protocol,
    proxies: &[Proxy],
    plan: &Plan,
    dir: &Path,
) -> Result<Vec<Row>> {
    let mut rows: Vec<Row> = Vec::new();
    for repetition in 0..plan.repetitions {
        for proxy in proxies.iter().filter(|p| p.protocol == protocol) {
            println!("bench: {} ({}/{})", proxy.name, repetition + 1, plan.repetitions);
            let process = start(proxy, dir)?;
            measure::load(protocol, proxy.port, Body::Small, 64, 1)?;
            for &body in plan.bodies {
                for &connections in plan.connections {
                    let sample =
                        one_cell(proxy, process.as_ref(), body, connections, plan.seconds)?;
                    report::add(&mut rows, proxy, body, connections, sample);
                }
            }
        }
    }
    Ok(rows)
}

/// `None` for the row without a proxy.
fn start(proxy: &Proxy, dir: &Path) -> Result<Option<Process>> {
    let Some(argv) = &proxy.argv else { return Ok(None) };
    let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
    let process = measure::start(&argv, "0", dir)?;
    measure::wait_for_port(proxy.port).with_context(|| proxy.name.to_owned())?;
    Ok(Some(process))
}

fn one_cell(
    proxy: &Proxy,
    process: Option<&Process>,
    body: Body,
    connections: u32,
    seconds: u64,
) -> Result<Sample> {
    let before = process.map_or(0, Process::cpu_ns);
    let load = measure::load(proxy.protocol, proxy.port, body, connections, seconds)?;
    let spent = process.map_or(0, Process::cpu_ns).saturating_sub(before);
    Ok(Sample {
        cpu_us: spent as f64 / 1000.0 / load.requests.max(1) as f64,
        requests_per_second: load.requests as f64 / seconds as f64,
        errors: load.errors,
        rss_kib: process.map_or(0, Process::rss_kib),
    })
}

/// Our proxy and its backend under all three protocols, for a soak.
pub struct Rig {
    ours: Vec<(Protocol, u16, Process)>,
    _backend: Process,
}

impl Rig {
    pub fn start() -> Result<Rig> {
        shell::run(&mut shell::cargo(&["build", "--profile", "demo", "-p", "lateen-proxy"]))?;
        let program = shell::target_dir().join("demo/lateen-proxy");
        let dir = shell::target_dir().join("bench");
        config::write(&dir)?;
        let _backend = backend(&dir)?;
        let mut ours = Vec::new();
        for proxy in config::ours(&program, &dir) {
            if let Some(process) = start(&proxy, &dir)? {
                ours.push((proxy.protocol, proxy.port, process));
            }
        }
        Ok(Rig { ours, _backend })
    }

    /// Loads each protocol in turn for `seconds`, and says how many requests failed.
    pub fn load_for(&self, seconds: u64) -> Result<u64> {
        let mut errors = 0;
        for (protocol, port, _) in &self.ours {
            errors += measure::load(*protocol, *port, Body::Small, 64, seconds)?.errors;
        }
        Ok(errors)
    }

    /// Anonymous memory in KiB, and open descriptors.
    pub fn footprint(&self) -> (u64, usize) {
        let memory = self.ours.iter().map(|(.., p)| p.anonymous_kib()).sum();
        (memory, self.ours.iter().map(|(.., p)| p.descriptors()).sum())
    }
}

/// A command pinned to one processor.
fn pinned(cpu: &str, argv: &[&str]) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", cpu]).args(argv);
    command
}
