//! What a full handshake with certificates on both sides costs the server, beside rustls alone with the
//! same provider and key exchange; and what an idle connection with mutual TLS keeps.

use super::config::{self, Protocol};
use super::measure::{self, Process};
use crate::{peers, shell};
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

/// Where rustls alone listens.
const ALONE: u16 = 19500;
const SECONDS: &str = "3";
/// A server that waits for its only client sleeps and wakes for every step: what a busy core does shows when
/// there is always another one.
const CLIENTS: &str = "4";
/// As many as fit beside a server's own descriptors where a process may have 1,024.
const HELD: u64 = 400;

struct Server {
    name: &'static str,
    port: u16,
    argv: Vec<String>,
    cpu_us: Vec<f64>,
    held_kib: Vec<f64>,
}

/// A table in Markdown.
pub fn measured(ours: &Path, dir: &Path, repetitions: usize) -> Result<String> {
    shell::run(&mut shell::cargo(&["build", "--release", "-p", "tls", "--example", "handshakes"]))?;
    let peer = shell::target_dir().join("release/examples/handshakes").display().to_string();
    let place = dir.display().to_string();
    let mut servers = servers(ours, dir, &peer)?;
    for repetition in 0..repetitions {
        for server in &mut servers {
            println!("bench: {}, handshakes ({}/{repetitions})", server.name, repetition + 1);
            let argv: Vec<&str> = server.argv.iter().map(String::as_str).collect();
            let process = measure::start(&argv, "0", dir)?;
            measure::wait_for_port(server.port).context(server.name)?;
            let port = server.port.to_string();
            server
                .cpu_us
                .push(cost(&process, &[&peer, "connect", &port, &place, SECONDS, CLIENTS])?);
            if server.port != ALONE {
                server.held_kib.push(memory(&process, &[&peer, "hold", &port, &place])?);
            }
        }
    }
    Ok(table(&mut servers))
}

fn servers(ours: &Path, dir: &Path, peer: &str) -> Result<Vec<Server>> {
    let envoy = peers::envoy().context("real Envoy is not there: cargo xtask setup")?;
    let server = |name, port, argv| Server { name, port, argv, cpu_us: vec![], held_kib: vec![] };
    let alone = [peer, "serve", &ALONE.to_string(), &dir.display().to_string()];
    let mut all = vec![server("rustls alone", ALONE, alone.map(String::from).to_vec())];
    for mut proxy in config::proxies(ours, &envoy, dir) {
        if let (Protocol::Mutual, Some(argv)) = (proxy.protocol, proxy.programs.pop()) {
            let name = if proxy.is_envoy { "envoy" } else { "lateen" };
            all.push(server(name, proxy.port + 1, argv));
        }
    }
    Ok(all)
}

/// Microseconds of the server for each handshake.
fn cost(process: &Process, client: &[&str]) -> Result<f64> {
    let before = process.cpu_ns();
    let said = shell::output(&mut super::pinned("1", client))?;
    let done: u64 = said.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or_default();
    if done == 0 {
        bail!("no handshake succeeded: {said}");
    }
    Ok((process.cpu_ns() - before) as f64 / 1000.0 / done as f64)
}

/// KiB that the server keeps for each connection, beyond those that it had for a first batch.
fn memory(process: &Process, client: &[&str]) -> Result<f64> {
    let hold = || -> Result<_> {
        let count = HELD.to_string();
        let argv: Vec<&str> = client.iter().copied().chain([count.as_str()]).collect();
        let mut child =
            super::pinned("1", &argv).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let out = child.stdout.take().context("its output")?;
        if BufReader::new(out).lines().next().is_none() {
            bail!("the connections could not be held");
        }
        Ok(child)
    };
    let mut first = hold()?;
    let before = process.anonymous_kib();
    let mut second = hold()?;
    let grown = process.anonymous_kib().saturating_sub(before);
    for child in [&mut first, &mut second] {
        drop(child.stdin.take());
        child.wait()?;
    }
    Ok(grown as f64 / HELD as f64)
}

fn table(servers: &mut [Server]) -> String {
    let median = |values: &mut Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    };
    let alone = servers.first_mut().and_then(|s| median(&mut s.cpu_us)).unwrap_or(f64::NAN);
    let mut text = String::from("\n### Mutual TLS: handshakes and idle connections\n\n");
    text.push_str("| server | CPU us/handshake | per core and second, x rustls alone | KiB per idle connection |\n");
    text.push_str("|---|---|---|---|\n");
    for server in servers {
        let cpu = median(&mut server.cpu_us).unwrap_or(f64::NAN);
        let held = median(&mut server.held_kib).map_or(String::new(), |k| format!("{k:.1}"));
        text.push_str(&format!("| {} | {cpu:.0} | {:.2} | {held} |\n", server.name, alone / cpu));
    }
    text
}
