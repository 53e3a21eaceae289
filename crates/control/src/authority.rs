//! The authority of this mesh as it is now: it signs, it is told of, and it may become another while it
//! serves. Where it comes from is told by the files below; `roots` puts its roots where they are needed.

mod handover;
mod kept;
mod plugged;
mod vault;

use crate::env::SystemEnv;
use crate::metrics::Metrics;
use crate::{Options, StartError};
use base::{Env, WallTime};
use ca::{IssueError, Issued, Lifetimes, Names, Order, Pace, Signer};
use k8s::Client;
use kept::Kept;
use plugged::Plugged;
use serde_json::{Value, json};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;
pub use vault::VaultError;
pub(crate) use vault::VaultOptions;

/// Shared by everything that signs or hands out roots.
#[derive(Clone)]
pub(crate) struct Authority {
    current: watch::Receiver<Arc<dyn Signer>>,
    lifetimes: Lifetimes,
    /// Of all leaves that were issued the longest life, in seconds.
    longest: Arc<AtomicU64>,
}

/// What keeps an authority up to date, for ever.
pub(crate) type Keeping = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Vault, or what is plugged in, else roots of our own.
pub(crate) async fn begin(
    client: &Client,
    options: &Options,
    trust_domain: &str,
) -> Result<(Authority, Keeping), StartError> {
    let plugged = Plugged(options.plugged_in.clone());
    let kept = Kept::new(client, options, trust_domain);
    if let Some(vault) = &options.vault {
        if plugged.read()?.is_some() {
            return Err(StartError::TwoAuthorities);
        }
        if kept.read().await?.is_some() {
            return Err(VaultError::Taken.into());
        }
        let (signer, follower) = vault::begin(vault.clone()).await?;
        let authority = Authority::new(signer.subscribe(), options.lifetimes);
        return Ok((authority.clone(), Box::pin(follower.keep(authority, signer))));
    }
    if let Some(first) = plugged.read()? {
        let first = Arc::new(first);
        let handover = kept.hand_over(&first).await?;
        let signs: Arc<dyn Signer> = match &handover {
            Some(handover) => Arc::new(handover.clone()),
            None => first.clone(),
        };
        let (signer, current) = watch::channel(signs);
        let authority = Authority::new(current, options.lifetimes);
        let pacing = authority.clone();
        let keeping = async move {
            if let Some(handover) = handover {
                kept.lead(handover, &first, pacing.clone(), &signer).await;
            }
            plugged.keep(first, pacing, signer).await;
        };
        return Ok((authority, Box::pin(keeping)));
    }
    let first = kept.load().await?;
    let (signer, current) = watch::channel::<Arc<dyn Signer>>(Arc::new(first.clone()));
    let authority = Authority::new(current, options.lifetimes);
    Ok((authority.clone(), Box::pin(kept.keep(first, authority, signer))))
}

impl Authority {
    pub fn new(current: watch::Receiver<Arc<dyn Signer>>, lifetimes: Lifetimes) -> Self {
        Self { current, lifetimes, longest: Arc::default() }
    }

    /// The longest life, in seconds, that any leaf was given by this control plane or, as far as it knows,
    /// by another; `others` is what they have written down.
    pub fn longest(&self, others: u64) -> u64 {
        self.longest.fetch_max(others, Ordering::Relaxed).max(others)
    }

    pub fn roots(&self) -> String {
        self.signer().roots()
    }

    /// Tells of every change of who signs or is trusted.
    pub fn follow(&self) -> watch::Receiver<Arc<dyn Signer>> {
        self.current.clone()
    }

    /// How fast a rotation may be.
    pub fn pace(&self) -> Pace {
        Pace::of(self.lifetimes.default.max(Duration::from_secs(self.longest(0))))
    }

    /// A certificate for `names`, over the public key of `csr`. A zero `asked` means the default.
    pub async fn issue(
        &self,
        csr: &str,
        names: Names,
        asked: Duration,
    ) -> Result<Issued, IssueError> {
        let is_workload = matches!(names, Names::Workload(_));
        // A server of ours is renewed whenever the roots change, so that its life does not count.
        let lifetimes = match is_workload {
            true => self.lifetimes,
            false => Lifetimes::default(),
        };
        let order = Order::new(csr, names, asked, lifetimes, SystemEnv::default().wall())?;
        if is_workload {
            self.longest.fetch_max(order.ttl.as_secs(), Ordering::Relaxed);
        }
        self.signer().issue(&order).await
    }

    fn signer(&self) -> Arc<dyn Signer> {
        self.current.borrow().clone()
    }

    /// For `lateen ca`: what it is, whom it trusts, until when.
    pub fn show(&self) -> Value {
        let pace = self.pace();
        let state = self.signer().state(pace);
        let certificates = state.certificates.iter().map(|(role, pem)| {
            let facts = first_of(pem);
            json!({
                "role": role,
                "serial": facts.as_ref().map(|f| &f.serial),
                "notBefore": facts.as_ref().map(|f| seconds(f.not_before)),
                "notAfter": facts.as_ref().map(|f| seconds(f.not_after)),
                "pem": pem})
        });
        json!({
            "source": state.source,
            "phase": state.phase,
            "nextAt": state.next_at.map(seconds),
            "stepSeconds": pace.step().as_secs(),
            "longestLeafSeconds": pace.life.as_secs(),
            "certificates": certificates.collect::<Vec<_>>()})
    }
}

fn seconds(time: WallTime) -> u64 {
    time.0 / 1_000_000_000
}

fn first_of(pem: &str) -> Option<tls::Facts> {
    tls::certificate_facts(pem).into_iter().next()
}

/// Of a certificate's life, how much is over when it is warned of, in percent.
const WARNINGS: [u64; 3] = [50, 80, 95];

/// Shows for ever how long the authority's certificates live on, and warns as they grow old.
pub(crate) async fn count_down(authority: Authority, metrics: Arc<Metrics>) {
    const EVERY: Duration = Duration::from_secs(30);
    let mut warned = None;
    let mut changes = authority.follow();
    loop {
        let signer = changes.borrow_and_update().clone();
        let now = SystemEnv::default().wall();
        let state = signer.state(authority.pace());
        let signs = state.certificates.first().and_then(|(_, pem)| first_of(pem));
        let roots = tls::certificate_facts(&signer.roots());
        let root = roots.into_iter().min_by_key(|f| f.not_after);
        for (what, facts) in [("cert_chain", &signs), ("root_cert", &root)] {
            let Some(facts) = facts else { continue };
            show_expiry(&metrics, what, facts.not_after, now);
        }
        let old = [("signing certificate", &signs), ("root", &root)];
        let old = old.into_iter().filter_map(|(what, facts)| Some((what, facts.as_ref()?)));
        let worst =
            old.filter_map(|(what, f)| Some((warning(f, now)?, what, f))).max_by_key(|w| w.0);
        let news = worst.as_ref().map(|(percent, _, facts)| (*percent, facts.serial.clone()));
        if news != warned {
            if let Some((percent, what, facts)) = worst {
                let left = facts.not_after.0.saturating_sub(now.0) / 1_000_000_000;
                tracing::warn!(
                    "{percent}% of the life of the authority's {what} ({}) are over, {left} s are left; \
                     `lateen ca show` tells what comes next",
                    facts.serial
                );
            }
            warned = news;
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

fn show_expiry(metrics: &Metrics, what: &str, end: WallTime, now: WallTime) {
    let (timestamp, left) = match what {
        "root_cert" => {
            ("citadel_server_root_cert_expiry_timestamp", "citadel_server_root_cert_expiry_seconds")
        }
        _ => (
            "citadel_server_cert_chain_expiry_timestamp",
            "citadel_server_cert_chain_expiry_seconds",
        ),
    };
    metrics.gauge(timestamp, &[], seconds(end) as f64);
    metrics.gauge(left, &[], (end.0 as f64 - now.0 as f64) / 1e9);
}

/// The highest mark that a certificate's age has passed.
fn warning(facts: &tls::Facts, now: WallTime) -> Option<u64> {
    let life = facts.not_after.0.saturating_sub(facts.not_before.0).max(1);
    let over = u128::from(now.0.saturating_sub(facts.not_before.0)) * 100 / u128::from(life);
    WARNINGS.into_iter().rev().find(|mark| over >= u128::from(*mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_certificates_are_warned_of() {
        let facts = |end| tls::Facts {
            identity: None,
            not_before: WallTime(0),
            not_after: WallTime(end),
            serial: String::new(),
        };
        let marks: Vec<Option<u64>> =
            [49, 50, 79, 80, 94, 95, 200].map(|now| warning(&facts(100), WallTime(now))).into();
        let expected = [None, Some(50), Some(50), Some(80), Some(80), Some(95), Some(95)];
        assert_eq!(marks, expected);
    }
}
