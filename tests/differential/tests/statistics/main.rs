//! Rates and distributions of Envoy and of ours, with upstreams that fail on demand. What is certain is
//! compared as it is; what is chance, within five standard deviations (`differential::statistics::bounds`).
//! Without Envoy it is skipped, unless `LATEEN_REQUIRE_PEERS=1`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod balancers;
mod ejections;
mod limits;
#[path = "../common/peers.rs"]
mod peers;
mod rates;

use differential::statistics::{Both, Ground, Scene};

/// Both proxies on these scenes; `None` where Envoy may be missing and is.
fn both(name: &str, scenes: impl Fn(&Ground) -> Vec<Scene>) -> Option<Both> {
    Some(Both::start(peers::peers()?, &peers::directory(name), scenes).unwrap())
}
