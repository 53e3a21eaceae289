//! `lateen control-plane`: what runs in the pod `istiod`. Takes the flags of Istio's manifests and
//! heeds those that mean something here.

use crate::cluster::{log_to_stderr, settle};
use anyhow::Context;
use control::Options;
use tokio::signal::unix::{SignalKind, signal};

/// Runs until it is told to end.
pub fn run(args: &[String]) -> anyhow::Result<()> {
    log_to_stderr();
    let mut options = Options::from_env(|key| std::env::var(key).ok());
    if let Some(domain) = value_of(args, "--domain") {
        options.cluster_domain = domain;
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.context("starting")?.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("signals")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("signals")?;
        tokio::spawn(settle());
        let stop = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        Ok(control::run(options, stop).await?)
    })
}

/// `--flag value` or `--flag=value`.
fn value_of(args: &[String], flag: &str) -> Option<String> {
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        if arg == flag {
            return rest.next().cloned();
        }
        if let Some(value) = arg.strip_prefix(flag).and_then(|r| r.strip_prefix('=')) {
            return Some(value.to_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_of_a_flag_are_read() {
        let args = ["discovery", "--a=1", "--domain", "x.local"].map(str::to_owned);
        assert_eq!(value_of(&args, "--domain").as_deref(), Some("x.local"));
        assert_eq!(value_of(&args, "--a").as_deref(), Some("1"));
        assert_eq!(value_of(&args, "--b"), None);
    }
}
