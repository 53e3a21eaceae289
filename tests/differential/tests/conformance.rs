//! Suites that nobody here wrote, through Envoy and through ours on the same bootstrap: h2spec for HTTP/2,
//! Autobahn for WebSocket. Compared are the names of what fails, never sums: ours may fail nothing that
//! Envoy does not fail too. What `cargo xtask setup` could not install is skipped.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "conformance/autobahn.rs"]
mod autobahn;
#[path = "conformance/h2spec.rs"]
mod h2spec;
#[path = "common/peers.rs"]
mod peers;

use differential::bootstrap::Upstreams;
use differential::cases::Case;
use differential::proxy::{Proxy, free_ports};
use differential::run::{Setup, start};
use differential::second;
use differential::upstream::{self, Seen};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Both proxies before our own upstreams; the port of `a` may be somebody else's.
fn both(dir: &Path, case: Case, a: Option<SocketAddr>) -> Option<[Proxy; 2]> {
    let (envoy, ours) = peers::peers()?;
    let seen = Seen::default();
    let dead = SocketAddr::from(([127, 0, 0, 1], free_ports(1).unwrap()[0]));
    let second = second::start("second", seen.clone()).unwrap();
    let first = a.unwrap_or_else(|| upstream::start("a", seen).unwrap());
    let up = Upstreams::two(first, second, dead);
    Some(start(&Setup { envoy, ours, dir, plant: &|_| {} }, &[case], &up).unwrap())
}

/// A suite's program: named by `variable`, or where `cargo xtask setup` puts it. `None`, and a word about
/// it, where it is not there; that is no failure, since not every machine can install it.
fn program(variable: &str, below_peers: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable).map(PathBuf::from).unwrap_or_else(|| {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/peers").join(below_peers)
    });
    if path.is_file() {
        return Some(path);
    }
    println!("skipped: {below_peers} is not there; `cargo xtask setup` installs it where it can");
    None
}
