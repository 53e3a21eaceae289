//! Passive health: an endpoint that fails too often in a row, or much more often than the others, is
//! left out for a while. One state machine per endpoint, swept at Envoy's interval.

use base::{Env, Instant};
use ir::OutlierDetection;
use std::time::Duration;

/// What became of one request, as far as the endpoint is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The endpoint answered with this status (a gRPC status already mapped to HTTP).
    Status(u16),
    /// No answer: seen from here, not said by the endpoint.
    Local(LocalFailure),
    /// A TCP connection was made.
    Connected,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalFailure {
    Connect,
    Timeout,
    Reset,
}

/// What a report led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Nothing,
    Ejected,
}

/// What is remembered of one endpoint.
#[derive(Debug, Default)]
pub(crate) struct Record {
    consecutive_5xx: u32,
    consecutive_gateway: u32,
    consecutive_local: u32,
    requests: u32,
    successes: u32,
    ejected_at: Option<Instant>,
    /// How many ejections the next ejection time is multiplied by.
    ejections: u32,
}

/// The rules of one cluster, with Envoy's defaults filled in.
#[derive(Debug)]
pub(crate) struct Rules {
    config: OutlierDetection,
    pub interval: Duration,
    base_time: Duration,
    max_time: Duration,
    max_percent: u32,
}

impl Record {
    pub(crate) fn is_ejected(&self) -> bool {
        self.ejected_at.is_some()
    }

    fn count(&mut self, status: u16) {
        self.requests += 1;
        if status < 500 {
            self.successes += 1;
            self.consecutive_5xx = 0;
            self.consecutive_gateway = 0;
            return;
        }
        self.consecutive_5xx += 1;
        if matches!(status, 502..=504) {
            self.consecutive_gateway += 1;
        } else {
            self.consecutive_gateway = 0;
        }
    }

    fn eject(&mut self, now: Instant) {
        self.ejected_at = Some(now);
        self.ejections += 1;
    }
}

impl Rules {
    pub(crate) fn new(config: &OutlierDetection) -> Self {
        let base_time = config.base_ejection_time.unwrap_or(Duration::from_secs(30));
        let max_time = config.max_ejection_time.unwrap_or(Duration::from_secs(300));
        Self {
            interval: config.interval.unwrap_or(Duration::from_secs(10)),
            base_time,
            max_time: max_time.max(base_time),
            max_percent: config.max_ejection_percent.unwrap_or(10).min(100),
            config: config.clone(),
        }
    }

    /// Counts `outcome`; true when the endpoint should be ejected (if there is room).
    pub(crate) fn judge(&self, record: &mut Record, outcome: Outcome, env: &impl Env) -> bool {
        let c = &self.config;
        match outcome {
            Outcome::Local(_) if c.split_external_local_origin_errors => {
                record.consecutive_local += 1;
                let at = c.consecutive_local_origin_failure.unwrap_or(5);
                let enforce = c.enforcing_consecutive_local_origin_failure.unwrap_or(100);
                return tripped(&mut record.consecutive_local, at, enforce, env);
            }
            Outcome::Connected => {
                record.consecutive_local = 0;
                return false;
            }
            Outcome::Status(status) => {
                record.consecutive_local = 0;
                record.count(status);
            }
            Outcome::Local(LocalFailure::Timeout) => record.count(504),
            Outcome::Local(LocalFailure::Connect) => record.count(503),
            Outcome::Local(LocalFailure::Reset) => record.count(503),
        }
        let gateway = tripped(
            &mut record.consecutive_gateway,
            c.consecutive_gateway_failure.unwrap_or(5),
            c.enforcing_consecutive_gateway_failure.unwrap_or(0),
            env,
        );
        let any = tripped(
            &mut record.consecutive_5xx,
            c.consecutive_5xx.unwrap_or(5),
            c.enforcing_consecutive_5xx.unwrap_or(100),
            env,
        );
        gateway || any
    }

    /// Ejects unless too many would be out then.
    pub(crate) fn eject(&self, record: &mut Record, out: usize, of: usize, now: Instant) -> Change {
        let room = 100 * (out + 1) <= self.max_percent as usize * of.max(1);
        if record.is_ejected() || !room {
            return Change::Nothing;
        }
        record.eject(now);
        Change::Ejected
    }

    /// The regular look: brings back who has served its time. True when that changed something.
    pub(crate) fn sweep(&self, record: &mut Record, now: Instant) -> bool {
        let Some(at) = record.ejected_at else {
            record.ejections = record.ejections.saturating_sub(1);
            return false;
        };
        let time = self.base_time.saturating_mul(record.ejections).min(self.max_time);
        if now.since(at) < time {
            return false;
        }
        let ejections = record.ejections;
        *record = Record { ejections, ..Record::default() };
        true
    }

    /// The success rate below which endpoints are ejected, from the interval that ends; starts the
    /// next interval. `None`: too few requests, or not asked for.
    pub(crate) fn success_rate_floor<'a>(
        &self,
        records: impl Iterator<Item = &'a Record>,
    ) -> Option<f64> {
        let c = &self.config;
        if c.enforcing_success_rate == Some(0) {
            return None;
        }
        let volume = c.success_rate_request_volume.unwrap_or(100);
        let rates: Vec<f64> = records.filter_map(|r| r.success_rate(volume)).collect();
        if rates.len() < c.success_rate_minimum_hosts.unwrap_or(5) as usize || rates.is_empty() {
            return None;
        }
        let n = rates.len() as f64;
        let mean = rates.iter().sum::<f64>() / n;
        let variance = rates.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / n;
        let factor = f64::from(c.success_rate_stdev_factor.unwrap_or(1900)) / 1000.0;
        Some(mean - factor * variance.sqrt())
    }

    /// Whether the interval that ends puts this endpoint below `floor`; starts the next interval.
    pub(crate) fn below(&self, record: &mut Record, floor: Option<f64>, env: &impl Env) -> bool {
        let volume = self.config.success_rate_request_volume.unwrap_or(100);
        let rate = record.success_rate(volume);
        record.requests = 0;
        record.successes = 0;
        let below = rate.zip(floor).is_some_and(|(rate, floor)| rate < floor);
        below && env.below(100) < u64::from(self.config.enforcing_success_rate.unwrap_or(100))
    }
}

impl Record {
    /// Percent, when there were at least `volume` requests.
    fn success_rate(&self, volume: u32) -> Option<f64> {
        let enough = self.requests > 0 && self.requests >= volume;
        enough.then(|| 100.0 * f64::from(self.successes) / f64::from(self.requests))
    }
}

/// True, and the count begins anew, when it has reached `at` and the rule is enforced this time.
fn tripped(count: &mut u32, at: u32, enforce_percent: u32, env: &impl Env) -> bool {
    if at == 0 || *count < at {
        return false;
    }
    *count = 0;
    env.below(100) < u64::from(enforce_percent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::FixedEnv;

    fn judge(config: &OutlierDetection, outcomes: &[Outcome]) -> Vec<bool> {
        let (rules, env, mut record) = (Rules::new(config), FixedEnv::seeded(1), Record::default());
        outcomes.iter().map(|o| rules.judge(&mut record, *o, &env)).collect()
    }

    #[test]
    fn only_failures_in_a_row_count() {
        use Outcome::Status as S;
        let config = OutlierDetection { consecutive_5xx: Some(3), ..OutlierDetection::default() };
        assert_eq!(
            judge(&config, &[S(500), S(503), S(200), S(500), S(500), S(501)]),
            [false, false, false, false, false, true]
        );
        let gateway = OutlierDetection {
            consecutive_5xx: Some(0),
            consecutive_gateway_failure: Some(2),
            enforcing_consecutive_gateway_failure: Some(100),
            ..OutlierDetection::default()
        };
        assert_eq!(judge(&gateway, &[S(503), S(500), S(502), S(504)]), [false, false, false, true]);
    }

    #[test]
    fn local_failures_count_as_5xx_unless_split() {
        let fail = [Outcome::Local(LocalFailure::Connect); 2];
        let together = OutlierDetection { consecutive_5xx: Some(2), ..OutlierDetection::default() };
        assert_eq!(judge(&together, &fail), [false, true]);
        let split = OutlierDetection {
            consecutive_5xx: Some(1),
            split_external_local_origin_errors: true,
            consecutive_local_origin_failure: Some(2),
            ..OutlierDetection::default()
        };
        assert_eq!(judge(&split, &fail), [false, true]);
        let interrupted = [fail[0], Outcome::Connected, fail[1]];
        assert_eq!(judge(&split, &interrupted), [false, false, false]);
    }

    #[test]
    fn ejections_get_longer_and_end() {
        let rules = Rules::new(&OutlierDetection::default());
        let mut record = Record::default();
        let at = |secs: u64| Instant(secs * 1_000_000_000);
        assert_eq!(rules.eject(&mut record, 0, 10, at(0)), Change::Ejected);
        assert!(!rules.sweep(&mut record, at(29)));
        assert!(rules.sweep(&mut record, at(30)) && !record.is_ejected());
        rules.eject(&mut record, 0, 10, at(40));
        assert!(!rules.sweep(&mut record, at(99)), "the second ejection lasts twice as long");
        assert!(rules.sweep(&mut record, at(100)));
    }

    #[test]
    fn no_more_than_the_allowed_share_is_out() {
        let config =
            OutlierDetection { max_ejection_percent: Some(50), ..OutlierDetection::default() };
        let rules = Rules::new(&config);
        let eject = |out| rules.eject(&mut Record::default(), out, 4, Instant(0));
        assert_eq!(
            [eject(0), eject(1), eject(2)],
            [Change::Ejected, Change::Ejected, Change::Nothing]
        );
        let third = |percent, of| {
            let config = OutlierDetection {
                max_ejection_percent: Some(percent),
                ..OutlierDetection::default()
            };
            Rules::new(&config).eject(&mut Record::default(), 0, of, Instant(0))
        };
        assert_eq!((third(33, 3), third(34, 3)), (Change::Nothing, Change::Ejected));
        let never = Rules::new(&OutlierDetection {
            max_ejection_percent: Some(0),
            ..OutlierDetection::default()
        });
        assert_eq!(never.eject(&mut Record::default(), 0, 4, Instant(0)), Change::Nothing);
    }

    #[test]
    fn the_odd_one_out_is_found_by_its_success_rate() {
        let rules = Rules::new(&OutlierDetection::default());
        let record = |successes| Record { requests: 100, successes, ..Record::default() };
        let mut records: Vec<_> = [100, 99, 100, 98, 100, 10].map(record).into();
        let floor = rules.success_rate_floor(records.iter());
        let env = FixedEnv::seeded(1);
        let below: Vec<_> = records.iter_mut().map(|r| rules.below(r, floor, &env)).collect();
        assert_eq!(below, [false, false, false, false, false, true]);
        assert!(records.iter().all(|r| r.requests == 0), "a new interval began");
    }
}
