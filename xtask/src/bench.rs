//! `cargo xtask bench`: the proxy beside Envoy (from the same bootstrap file), nginx and HAProxy, in one
//! run with interleaved repetitions; only ratios within a run mean anything. Every proxy has one worker,
//! pinned to the first processor; load and backend are pinned to the second. The figure is CPU time of
//! all threads of the proxy, of both where there are two, divided by completed requests.
//!
//! `--quick` measures small bodies on 64 connections only; `--only http1|http2|tcp|mtls` one protocol, and with
//! `mtls` what handshakes and idle connections cost;
//! `--repetitions N` and `--seconds N` (of each cell) change how long it takes.

mod config;
mod handshakes;
mod measure;
mod mutual;
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
                        bail!("--only {name}: use http1, http2, tcp or mtls");
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
    for tool in ["wrk", "h2load", "nginx", "haproxy", "openssl", "taskset"] {
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
    let mut text = report::markdown(&rows, &plan.protocols, &proxies)?;
    if plan.protocols.contains(&Protocol::Mutual) {
        text += &handshakes::measured(&ours, &dir, plan.repetitions)?;
    }
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
            let processes = start(proxy, dir)?;
            measure::load(protocol, proxy.port, Body::Small, 64, 1)?;
            for &body in plan.bodies {
                for &connections in plan.connections {
                    let sample = one_cell(proxy, &processes, body, connections, plan.seconds)?;
                    report::add(&mut rows, proxy, body, connections, sample);
                }
            }
        }
    }
    Ok(rows)
}

fn start(proxy: &Proxy, dir: &Path) -> Result<Vec<Process>> {
    let one = |argv: &Vec<String>| {
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        measure::start(&argv, "0", dir)
    };
    let processes = proxy.programs.iter().rev().map(one).collect::<Result<_>>()?;
    measure::wait_for_port(proxy.port).with_context(|| proxy.name.to_owned())?;
    Ok(processes)
}

fn one_cell(
    proxy: &Proxy,
    processes: &[Process],
    body: Body,
    connections: u32,
    seconds: u64,
) -> Result<Sample> {
    let spent = || processes.iter().map(Process::cpu_ns).sum::<u64>();
    let before = spent();
    let load = measure::load(proxy.protocol, proxy.port, body, connections, seconds)?;
    let spent = spent().saturating_sub(before);
    Ok(Sample {
        cpu_us: spent as f64 / 1000.0 / load.requests.max(1) as f64,
        requests_per_second: load.requests as f64 / seconds as f64,
        errors: load.errors,
        rss_kib: processes.iter().map(Process::rss_kib).sum(),
    })
}

/// Our proxy and its backend under all protocols, for a soak.
pub struct Rig {
    ours: Vec<(Protocol, u16, Vec<Process>)>,
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
            ours.push((proxy.protocol, proxy.port, start(&proxy, &dir)?));
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
        let all = || self.ours.iter().flat_map(|(.., processes)| processes);
        (all().map(Process::anonymous_kib).sum(), all().map(Process::descriptors).sum())
    }
}

/// A command pinned to one processor.
fn pinned(cpu: &str, argv: &[&str]) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", cpu]).args(argv);
    command
}
