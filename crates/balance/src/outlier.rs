//! Passive health: an endpoint that fails too often in a row, or much more often than the others, is
//! left out for a while. One state machine per endpoint, swept at Envoy's interval.

use base::{Env, Instant};
use ir::OutlierDetection;
use std::time::Duration;

/// What became of one request, as far as the endpoint is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There is a connection for a request, whose own outcome follows.
    Connected,
    /// There is a TCP connection, of which nothing more is learnt.
    Established,
    /// The endpoint answered with this status (a gRPC status already mapped to HTTP).
    Status(u16),
    /// No answer: seen from here, not said by the endpoint.
    Local(LocalFailure),
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
    answers: Tally,
    connections: Tally,
    ejected_at: Option<Instant>,
    /// The look that ended its last ejection.
    back_at: Option<Instant>,
    /// What the time of its next ejection is multiplied by, less one.
    backoff: u32,
}

/// Of the interval under way.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    all: u32,
    good: u32,
}

/// By which rate endpoints are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// What they answer; what is seen from here too, unless it is told apart.
    Answers,
    /// What is seen from here.
    Connections,
}

/// The rules of one cluster, with Envoy's defaults filled in.
#[derive(Debug)]
pub(crate) struct Rules {
    config: OutlierDetection,
    interval: Duration,
    base_time: Duration,
    max_time: Duration,
    max_percent: u32,
}

impl Record {
    pub(crate) fn is_ejected(&self) -> bool {
        self.ejected_at.is_some()
    }

    fn count(&mut self, status: u16) {
        self.answers.count(status < 500);
        if status < 500 {
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

    fn tally(&self, origin: Origin) -> Tally {
        match origin {
            Origin::Answers => self.answers,
            Origin::Connections => self.connections,
        }
    }
}

impl Tally {
    fn count(&mut self, good: bool) {
        self.all += 1;
        self.good += u32::from(good);
    }

    /// Percent, when there were at least `volume`.
    fn rate(self, volume: u32) -> Option<f64> {
        let enough = self.all > 0 && self.all >= volume;
        enough.then(|| 100.0 * f64::from(self.good) / f64::from(self.all))
    }
}

impl Rules {
    pub(crate) fn new(config: &OutlierDetection) -> Self {
        let base_time = config.base_ejection_time.unwrap_or(Duration::from_secs(30));
        let max_time = config.max_ejection_time.unwrap_or(Duration::from_secs(300));
        let interval = config.interval.unwrap_or(Duration::from_secs(10));
        Self {
            interval: interval.max(Duration::from_millis(1)),
            base_time,
            max_time: max_time.max(base_time),
            max_percent: config.max_ejection_percent.unwrap_or(10).min(100),
            config: config.clone(),
        }
    }

    /// Counts `outcome`; true when the endpoint should be ejected (if there is room).
    pub(crate) fn judge(&self, record: &mut Record, outcome: Outcome, env: &impl Env) -> bool {
        let apart = self.config.split_external_local_origin_errors;
        match outcome {
            Outcome::Status(status) => record.count(status),
            Outcome::Connected | Outcome::Established if apart => {
                record.consecutive_local = 0;
                record.connections.count(true);
                return false;
            }
            Outcome::Connected => return false,
            Outcome::Established => record.count(200),
            Outcome::Local(_) if apart => {
                record.consecutive_local += 1;
                record.connections.count(false);
                return self.tripped_locally(record, env);
            }
            Outcome::Local(LocalFailure::Timeout) => record.count(504),
            Outcome::Local(LocalFailure::Connect | LocalFailure::Reset) => record.count(503),
        }
        self.tripped_by_answers(record, env)
    }

    fn tripped_locally(&self, record: &mut Record, env: &impl Env) -> bool {
        let c = &self.config;
        let at = c.consecutive_local_origin_failure.unwrap_or(5);
        let enforce = c.enforcing_consecutive_local_origin_failure.unwrap_or(100);
        tripped(&mut record.consecutive_local, at, enforce, env)
    }

    fn tripped_by_answers(&self, record: &mut Record, env: &impl Env) -> bool {
        let c = &self.config;
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
        record.ejected_at = Some(now);
        // Further would only take longer to come down from.
        if self.base_time.saturating_mul(record.backoff) < self.max_time + self.base_time {
            record.backoff += 1;
        }
        Change::Ejected
    }

    /// When the last look before `now` was due, if one was since `last`: they come at regular intervals.
    pub(crate) fn look(&self, last: Instant, now: Instant) -> Option<Instant> {
        let intervals = now.since(last).as_nanos() / self.interval.as_nanos();
        let intervals = u32::try_from(intervals).unwrap_or(u32::MAX);
        (intervals > 0).then(|| last.after(self.interval.saturating_mul(intervals)))
    }

    /// Brings back who has served its time at one of the looks after `last` and up to `due`. True when
    /// it does.
    pub(crate) fn pardon(&self, record: &mut Record, last: Instant, due: Instant) -> bool {
        let Some(at) = record.ejected_at else { return false };
        let over = at.after(self.base_time.saturating_mul(record.backoff).min(self.max_time));
        if due < over {
            return false;
        }
        let wait = over.since(last).as_nanos().div_ceil(self.interval.as_nanos()).max(1);
        let wait = self.interval.saturating_mul(u32::try_from(wait).unwrap_or(u32::MAX));
        record.ejected_at = None;
        record.back_at = Some(last.after(wait));
        record.consecutive_5xx = 0;
        record.consecutive_gateway = 0;
        record.consecutive_local = 0;
        true
    }

    /// Begins the next interval. The next ejection is the shorter, the more looks found an endpoint well
    /// since it came back.
    pub(crate) fn begin(&self, record: &mut Record, last: Instant, due: Instant) {
        record.answers = Tally::default();
        record.connections = Tally::default();
        let Some(back) = record.back_at.filter(|_| !record.is_ejected()) else { return };
        let well = due.since(back.max(last)).as_nanos() / self.interval.as_nanos();
        record.backoff = record.backoff.saturating_sub(u32::try_from(well).unwrap_or(u32::MAX));
    }

    /// The success rate below which endpoints are ejected, from the interval that ends. `None`: too few
    /// requests, or not asked for.
    pub(crate) fn floor<'a>(
        &self,
        origin: Origin,
        records: impl Iterator<Item = &'a Record>,
    ) -> Option<f64> {
        let c = &self.config;
        if self.enforcing(origin) == 0 {
            return None;
        }
        let volume = c.success_rate_request_volume.unwrap_or(100);
        let there = records.filter(|r| !r.is_ejected());
        let rates: Vec<f64> = there.filter_map(|r| r.tally(origin).rate(volume)).collect();
        if rates.len() < c.success_rate_minimum_hosts.unwrap_or(5) as usize || rates.is_empty() {
            return None;
        }
        let n = rates.len() as f64;
        let mean = rates.iter().sum::<f64>() / n;
        let variance = rates.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / n;
        let factor = f64::from(c.success_rate_stdev_factor.unwrap_or(1900)) / 1000.0;
        Some(mean - factor * variance.sqrt())
    }

    /// Whether the interval that ends puts this endpoint below `floor`.
    pub(crate) fn below(
        &self,
        origin: Origin,
        record: &Record,
        floor: f64,
        env: &impl Env,
    ) -> bool {
        let volume = self.config.success_rate_request_volume.unwrap_or(100);
        let rate = record.tally(origin).rate(volume);
        let below = !record.is_ejected() && rate.is_some_and(|rate| rate < floor);
        below && env.below(100) < u64::from(self.enforcing(origin))
    }

    fn enforcing(&self, origin: Origin) -> u32 {
        let percent = match origin {
            Origin::Answers => self.config.enforcing_success_rate,
            Origin::Connections => self.config.enforcing_local_origin_success_rate,
        };
        percent.unwrap_or(100)
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
mod tests;
