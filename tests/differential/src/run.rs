//! Runs all cases through both proxies and gathers what differs.

use crate::authorizer;
use crate::bootstrap::{Upstreams, bootstrap};
use crate::cases::{Case, Choice};
use crate::client;
use crate::compare::{Difference, Observed, compare, growth};
use crate::proxy::{Proxy, free_ports};
use crate::second;
use crate::upstream::{self, Seen};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The two binaries, a directory for files and logs, and what is done to the configuration that ours
/// gets (nothing, unless a test of the suite itself plants a bug).
pub struct Setup<'a> {
    pub envoy: PathBuf,
    pub ours: PathBuf,
    pub dir: &'a Path,
    pub plant: &'a dyn Fn(&mut Value),
}

/// A difference with its place.
#[derive(Debug)]
pub struct Finding {
    pub case: String,
    pub request: String,
    pub difference: Difference,
}

#[derive(Debug, Default)]
pub struct Report {
    pub findings: Vec<Finding>,
    /// What was observed with Envoy and with ours, request by request.
    pub pairs: Vec<(Observed, Observed)>,
}

pub fn run(setup: &Setup<'_>, cases: &[Case]) -> io::Result<Report> {
    let seen = Seen::default();
    let up = Upstreams {
        a: upstream::start("a", seen.clone())?,
        b: upstream::start("b", seen.clone())?,
        c: upstream::start("c", seen.clone())?,
        second: second::start("second", seen.clone())?,
        authz: upstream::start("authz", seen.clone())?,
        authorizer: authorizer::start(seen.clone())?,
        dead: loopback(free_ports(1)?[0]),
    };
    let [envoy, ours] = start(setup, cases, &up)?;
    let mut report = Report::default();
    for (index, case) in cases.iter().enumerate() {
        run_case(case, index, &envoy, &ours, &seen, &mut report)?;
    }
    Ok(report)
}

/// Envoy and ours on the same bootstrap, with a listener per case.
pub fn start(setup: &Setup<'_>, cases: &[Case], up: &Upstreams) -> io::Result<[Proxy; 2]> {
    let one = |name: &str, binary: &Path, plant: &dyn Fn(&mut Value)| {
        let mut ports = free_ports(cases.len() + 1)?;
        let admin = loopback(ports.pop().unwrap_or_default());
        let mut config = bootstrap(cases, up, admin, &ports);
        plant(&mut config);
        Proxy::start(binary, name, setup.dir, &config, admin, ports)
    };
    Ok([one("envoy", &setup.envoy, &|_| {})?, one("ours", &setup.ours, setup.plant)?])
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn run_case(
    case: &Case,
    index: usize,
    envoy: &Proxy,
    ours: &Proxy,
    seen: &Seen,
    report: &mut Report,
) -> io::Result<()> {
    let observe = |name: &str, proxy: &Proxy| {
        let before = proxy.stats()?;
        let observed: Vec<Observed> = (0..case.requests.len())
            .map(|n| observe(case, n, proxy.address(index), &format!("{name}-{index}-{n}"), seen))
            .collect();
        Ok::<_, io::Error>((observed, growth(&before, &settled(proxy)?)))
    };
    let (mut from_envoy, envoy_growth) = observe("one", envoy)?;
    let (mut from_ours, our_growth) = observe("two", ours)?;
    if case.choice == Choice::InTurn {
        in_any_order(&mut from_envoy);
        in_any_order(&mut from_ours);
    }
    let mut add = |request: &str, difference| {
        report.findings.push(Finding {
            case: case.name.clone(),
            request: request.into(),
            difference,
        });
    };
    for (n, (e, o)) in from_envoy.iter().zip(&from_ours).enumerate() {
        let r = &case.requests[n];
        let shown = r.to_string();
        compare(e, o).into_iter().for_each(|d| add(&shown, d));
    }
    report.pairs.extend(from_envoy.into_iter().zip(from_ours));
    let names: std::collections::BTreeSet<_> =
        envoy_growth.keys().chain(our_growth.keys()).collect();
    for name in names {
        let n = |g: &BTreeMap<String, i64>| g.get(name).copied().unwrap_or(0);
        if n(&envoy_growth) != n(&our_growth) {
            let (envoy, ours) = (n(&envoy_growth).to_string(), n(&our_growth).to_string());
            add("counters", Difference { what: name.clone(), envoy, ours });
        }
    }
    Ok(())
}

/// The counters once they stand still: a request is counted when it is over, a moment after its answer.
fn settled(proxy: &Proxy) -> io::Result<BTreeMap<String, i64>> {
    let deadline = Instant::now() + Duration::from_secs(2);
    let mut before = proxy.stats()?;
    loop {
        std::thread::sleep(Duration::from_millis(10));
        let now = proxy.stats()?;
        if growth(&before, &now).is_empty() || Instant::now() > deadline {
            return Ok(now);
        }
        before = now;
    }
}

/// Where endpoints take turns from a random start, the whole set of answers is compared.
fn in_any_order(observed: &mut [Observed]) {
    observed.sort_by(|a, b| a.arrivals.cmp(&b.arrivals));
}

fn observe(case: &Case, n: usize, to: SocketAddr, id: &str, seen: &Seen) -> Observed {
    let response = client::send(to, &case.requests[n], id);
    let mut arrivals = arrivals(case, id, seen);
    arrivals.sort();
    Observed { response, arrivals }
}

/// Mirrored requests may arrive after the answer.
fn arrivals(case: &Case, id: &str, seen: &Seen) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(2);
    loop {
        let seen = seen.of(id);
        if seen.len() >= case.least_arrivals || Instant::now() > deadline {
            return seen;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
