//! Injected delays and aborts.

use crate::matching::HeaderMatcher;
use base::{Env, Finding};
use ir::{AbortStatus, Fault, HttpFilterConfig, HttpManager, Str};
use std::time::Duration;
use wire::RequestHead;

/// A compiled [`Fault`].
#[derive(Debug)]
pub struct FaultRule {
    delay: Option<(Duration, u32)>,
    abort: Option<(AbortStatus, u32)>,
    cluster: Str,
    headers: Vec<HeaderMatcher>,
    pub max_active: Option<u32>,
}

/// What is injected into one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Injected {
    pub delay: Option<Duration>,
    pub abort: Option<AbortStatus>,
}

impl FaultRule {
    /// Of a connection manager whose chain has the filter, under the filter's name.
    pub fn of_chain(
        manager: &HttpManager,
        path: &str,
        findings: &mut Vec<Finding>,
    ) -> Option<(Str, Self)> {
        manager.filters.iter().filter(|f| !f.disabled).find_map(|f| match &f.config {
            HttpFilterConfig::Fault(fault) => {
                Some((f.name.clone(), Self::new(fault, path, findings)))
            }
            _ => None,
        })
    }

    pub fn new(from: &Fault, path: &str, findings: &mut Vec<Finding>) -> Self {
        let headers = from.headers.iter();
        Self {
            delay: from.delay.map(|d| (d.duration, d.fraction.per_million())),
            abort: from.abort.map(|a| (a.status, a.fraction.per_million())),
            cluster: from.upstream_cluster.clone(),
            headers: headers.map(|h| HeaderMatcher::new(h, path, findings)).collect(),
            max_active: from.max_active_faults,
        }
    }

    /// What may happen to a request that is meant for `cluster`.
    pub fn odds(&self, head: &impl RequestHead, cluster: &str) -> Odds {
        let concerned = (self.cluster.is_empty() || *self.cluster == *cluster)
            && self.headers.iter().all(|h| h.matches(head));
        match concerned {
            true => Odds { delay: self.delay, abort: self.abort },
            false => Odds::default(),
        }
    }
}

/// What may be injected into one request, each with its share in parts of a million.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Odds {
    pub delay: Option<(Duration, u32)>,
    pub abort: Option<(AbortStatus, u32)>,
}

impl Odds {
    /// Draws what happens.
    pub fn draw(&self, env: &impl Env) -> Injected {
        let hit = |fraction: u32| env.below(1_000_000) < u64::from(fraction);
        Injected {
            delay: self.delay.filter(|(_, f)| hit(*f)).map(|(d, _)| d),
            abort: self.abort.filter(|(_, f)| hit(*f)).map(|(s, _)| s),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::FixedEnv;
    use ir::{FaultAbort, FaultDelay, Fraction};
    use wire::Request;

    #[test]
    fn faults_hit_their_share_of_what_they_concern() {
        let fault = Fault {
            delay: Some(FaultDelay {
                duration: Duration::from_secs(7),
                fraction: Fraction::percent(100),
            }),
            abort: Some(FaultAbort {
                status: AbortStatus::Http(555),
                fraction: Fraction::percent(30),
            }),
            upstream_cluster: "ratings".into(),
            ..Default::default()
        };
        let rule = FaultRule::new(&fault, "", &mut Vec::new());
        let env = FixedEnv::seeded(3);
        let request = Request::new(b"GET", b"h", b"/");
        let drawn: Vec<_> = (0..1000).map(|_| rule.odds(&request, "ratings").draw(&env)).collect();
        assert!(drawn.iter().all(|i| i.delay == Some(Duration::from_secs(7))));
        let aborted = drawn.iter().filter(|i| i.abort.is_some()).count();
        assert!((250..350).contains(&aborted), "{aborted}");
        assert_eq!(rule.odds(&request, "other"), Odds::default());
    }
}
