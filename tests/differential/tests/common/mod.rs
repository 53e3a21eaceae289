//! Finding the peers and running cases through them.

mod peers;

use differential::cases::Case;
use differential::run::{Report, Setup, run};
use peers::{directory, peers};
use serde_json::Value;

/// Runs cases through both; `None` where Envoy may be missing and is. `plant` changes what ours gets.
pub fn observe(name: &str, cases: &[Case], plant: &dyn Fn(&mut Value)) -> Option<Report> {
    let (envoy, ours) = peers()?;
    let dir = directory(name);
    let report = run(&Setup { envoy, ours, dir: &dir, plant }, cases).unwrap();
    if std::env::var_os("DIFFERENTIAL_KEEP").is_none() {
        std::fs::remove_dir_all(&dir).unwrap();
    }
    Some(report)
}
