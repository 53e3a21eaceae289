//! Injected delays and aborts.

use crate::matching::HeaderMatcher;
use base::{Env, Finding};
use ir::{AbortStatus, Fault, Str};
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

    /// Draws what happens to a request that is meant for `cluster`.
    pub fn draw(&self, head: &impl RequestHead, cluster: &str, env: &impl Env) -> Injected {
        let concerned = (self.cluster.is_empty() || *self.cluster == *cluster)
            && self.headers.iter().all(|h| h.matches(head));
        if !concerned {
            return Injected::default();
        }
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
        let drawn: Vec<_> = (0..1000).map(|_| rule.draw(&request, "ratings", &env)).collect();
        assert!(drawn.iter().all(|i| i.delay == Some(Duration::from_secs(7))));
        let aborted = drawn.iter().filter(|i| i.abort.is_some()).count();
        assert!((250..350).contains(&aborted), "{aborted}");
        assert_eq!(rule.draw(&request, "other", &env), Injected::default());
    }
}
