//! The roots of a mesh through their lives. A new root comes in three steps, each as long as leaves
//! live, so that no two workloads ever meet of which one does not trust the other: first everybody is
//! told of it with the next leaf (`Prepare`), then it signs (`Overlap`), then the old one is forgotten
//! (`Steady`). Whoever holds a valid leaf got it after the step before began: time is the proof, and no
//! proxy has to be counted.

use crate::issue::{Answer, Order, Signer, State};
use crate::self_signed::{RootError, SelfSigned, text};
use base::WallTime;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;

/// Which roots there are, and what each is for.
#[derive(Clone, Debug)]
pub enum Roots {
    /// One root, which signs.
    Steady(Arc<SelfSigned>),
    /// `next` is trusted already and signs nothing yet.
    Prepare { signer: Arc<SelfSigned>, next: Arc<SelfSigned>, since: WallTime },
    /// `last` signs nothing any more (its key is gone) and is still trusted.
    Overlap { signer: Arc<SelfSigned>, last: String, since: WallTime },
}

/// How long a step of a rotation lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The longest that any leaf lives.
    pub life: Duration,
    /// How often each control plane looks for what another has decided.
    pub look: Duration,
}

impl Pace {
    /// For leaves of this life.
    pub fn of(life: Duration) -> Self {
        let look = (life / 20).clamp(Duration::from_secs(1), Duration::from_secs(30));
        Self { life, look }
    }

    /// A tenth more than leaves live, for clocks that are behind.
    pub fn step(self) -> Duration {
        self.life + self.life / 10 + self.look * 2
    }
}

/// This much of a root's life is left when the next one comes by itself; more, if two steps take longer.
const DUE: f64 = 0.2;

const SINCE: &str = "lateen-since";
const NEXT: [&str; 2] = ["lateen-next-cert.pem", "lateen-next-key.pem"];
const LAST: &str = "lateen-last-cert.pem";

impl Roots {
    pub fn signer(&self) -> &Arc<SelfSigned> {
        match self {
            Roots::Steady(signer)
            | Roots::Prepare { signer, .. }
            | Roots::Overlap { signer, .. } => signer,
        }
    }

    /// In one word, for people and metrics.
    pub fn phase(&self) -> &'static str {
        match self {
            Roots::Steady(_) => "steady",
            Roots::Prepare { .. } => "prepare",
            Roots::Overlap { .. } => "overlap",
        }
    }

    /// When the step that is under way ends, or the next rotation begins by itself.
    pub fn next_at(&self, pace: Pace) -> WallTime {
        match self {
            Roots::Steady(root) => due(root, pace),
            // What has ended signs nothing, and no leaf of it is left: then the next one signs at once.
            Roots::Prepare { signer, since, .. } => after(*since, pace).min(signer.facts.not_after),
            Roots::Overlap { since, .. } => after(*since, pace),
        }
    }

    /// Whether holders of leaves of the one and of the other believe one another, as at every step of a
    /// rotation.
    pub fn gets_along_with(&self, other: &Roots) -> bool {
        let trusts = |a: &Roots, b: &Roots| a.bundle().contains(b.signer().pem().trim());
        trusts(self, other) && trusts(other, self)
    }

    /// What is to be next, if it is time: steps end by themselves, and rotations begin when they are due
    /// or `asked` for.
    pub fn advance(
        &self,
        now: WallTime,
        pace: Pace,
        asked: bool,
        trust_domain: &str,
    ) -> Result<Option<Roots>, RootError> {
        let time = now >= self.next_at(pace);
        Ok(match self {
            Roots::Steady(signer) if time || asked => Some(Roots::Prepare {
                signer: signer.clone(),
                next: Arc::new(SelfSigned::generate(trust_domain, now)?),
                since: now,
            }),
            Roots::Prepare { signer, next, .. } if time => Some(Roots::Overlap {
                signer: next.clone(),
                last: signer.pem().to_owned(),
                since: now,
            }),
            Roots::Overlap { signer, .. } if time => Some(Roots::Steady(signer.clone())),
            _ => None,
        })
    }

    /// Reads `data` of the Secret.
    pub fn from_secret(data: &Value) -> Result<Self, RootError> {
        let signer = Arc::new(SelfSigned::from_secret(data)?);
        let there = |key: &str| data[key].as_str().is_some_and(|v| !v.is_empty());
        if !there(NEXT[0]) && !there(LAST) {
            return Ok(Roots::Steady(signer));
        }
        let since = text(data, SINCE)?.parse().map_err(|_| RootError::Key { key: SINCE })?;
        let since = WallTime(since);
        if there(LAST) {
            return Ok(Roots::Overlap { signer, last: text(data, LAST)?, since });
        }
        let next = SelfSigned::from_pem(text(data, NEXT[0])?, text(data, NEXT[1])?)?;
        Ok(Roots::Prepare { signer, next: Arc::new(next), since })
    }

    /// `data` of the Secret (type `istio.io/ca-root`); null is what must not be in it.
    pub fn to_secret(&self) -> Value {
        let mut data = Map::new();
        let mut put = |key: &str, value: Option<&str>| {
            data.insert(key.to_owned(), value.map_or(Value::Null, |v| STANDARD.encode(v).into()));
        };
        let signer = self.signer();
        put("ca-cert.pem", Some(signer.pem()));
        put("ca-key.pem", Some(signer.key_pem()));
        put("cert-chain.pem", Some(""));
        put("key.pem", Some(""));
        put("root-cert.pem", Some(&self.bundle()));
        let (next, last, since) = match self {
            Roots::Steady(_) => (None, None, None),
            Roots::Prepare { next, since, .. } => (Some(next), None, Some(since)),
            Roots::Overlap { last, since, .. } => (None, Some(last), Some(since)),
        };
        put(NEXT[0], next.map(|n| n.pem()));
        put(NEXT[1], next.map(|n| n.key_pem()));
        put(LAST, last.map(String::as_str));
        put(SINCE, since.map(|s| s.0.to_string()).as_deref());
        Value::Object(data)
    }

    /// All that is trusted, who signs first.
    fn bundle(&self) -> String {
        let mut bundle = self.signer().pem().to_owned();
        match self {
            Roots::Steady(_) => {}
            Roots::Prepare { next, .. } => bundle.push_str(next.pem()),
            Roots::Overlap { last, .. } => bundle.push_str(last),
        }
        bundle
    }
}

impl Signer for Roots {
    fn issue<'a>(&'a self, order: &'a Order) -> Answer<'a> {
        Box::pin(std::future::ready(self.signer().sign(order, &[], self.bundle())))
    }

    fn roots(&self) -> String {
        self.bundle()
    }

    fn state(&self, pace: Pace) -> State {
        let mut certificates = vec![("signs and is trusted", self.signer().pem().to_owned())];
        match self {
            Roots::Steady(_) => {}
            Roots::Prepare { next, .. } => {
                certificates.push(("is trusted and signs next", next.pem().to_owned()));
            }
            Roots::Overlap { last, .. } => {
                certificates.push(("is trusted and signed before", last.clone()));
            }
        }
        let (phase, next_at) = (self.phase(), Some(self.next_at(pace)));
        State { source: "self-signed (Secret istio-ca-secret)", phase, next_at, certificates }
    }
}

/// A rotation begins while there is time for both of its steps.
fn due(root: &SelfSigned, pace: Pace) -> WallTime {
    let life = root.facts.not_after.0.saturating_sub(root.facts.not_before.0);
    let left = ((life as f64 * DUE) as u64).max(nanos(pace.step()).saturating_mul(2));
    WallTime(root.facts.not_after.0.saturating_sub(left))
}

/// The end of a step.
pub(crate) fn after(since: WallTime, pace: Pace) -> WallTime {
    WallTime(since.0.saturating_add(nanos(pace.step())))
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(crate) mod tests;
