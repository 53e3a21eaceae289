//! The cluster process: the API server, the controllers and the pod runner in one.

pub mod controller_loop;

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use runner::cluster::ClusterOptions;

/// Runs until it is killed; it keeps nothing that it could not find again.
pub fn run(dir: &Path, api_url: String) -> anyhow::Result<()> {
    log_to_stderr();
    let shim_command = crate::small::command(&["shim"], dir)?;
    let options = ClusterOptions { state: dir.to_owned(), shim_command, api_url };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("starting")?;
    runtime.spawn(settle());
    Ok(runtime.block_on(runner::cluster::run(options, controller_loop::run))?)
}

/// Starting touches much of the program and of memory once. Returns when that is given back.
pub async fn settle() {
    // More is needed once while the first pods start.
    for wait in [3, 10, 30] {
        tokio::time::sleep(Duration::from_secs(wait)).await;
        net::memory::give_back();
        if let Err(error) = net::memory::forget_startup() {
            tracing::debug!(%error, "the pages that starting needed stay");
        }
    }
}

/// Daemons write their log to standard error, which their parent leads into a file.
pub fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("LATEEN_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    // A second initialisation could only come from a test, where the first one serves.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .try_init();
}
