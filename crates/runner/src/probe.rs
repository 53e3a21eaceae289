//! What a row of probe results means. The asking itself is the kubelet's.

use std::time::Duration;

use crate::pod::Probe;

/// The numbers of a probe, with Kubernetes' defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    pub delay: Duration,
    pub period: Duration,
    pub timeout: Duration,
    pub successes: u32,
    pub failures: u32,
}

impl Schedule {
    pub fn of(probe: &Probe) -> Self {
        let seconds =
            |n: Option<u32>, default| Duration::from_secs(u64::from(n.unwrap_or(default)));
        Schedule {
            delay: seconds(probe.initial_delay_seconds, 0),
            period: seconds(probe.period_seconds, 10).max(Duration::from_secs(1)),
            timeout: seconds(probe.timeout_seconds, 1).max(Duration::from_secs(1)),
            successes: probe.success_threshold.unwrap_or(1).max(1),
            failures: probe.failure_threshold.unwrap_or(3).max(1),
        }
    }
}

/// Counts results until they mean something.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    last: Option<bool>,
    row: u32,
}

impl Tally {
    /// Takes a result; `Some` when enough of its kind came in a row.
    pub fn take(&mut self, success: bool, schedule: &Schedule) -> Option<bool> {
        self.row = if self.last == Some(success) { self.row.saturating_add(1) } else { 1 };
        self.last = Some(success);
        let enough = if success { schedule.successes } else { schedule.failures };
        (self.row >= enough).then_some(success)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_row_of_equal_results_counts() {
        let schedule = Schedule { successes: 2, failures: 3, ..Schedule::of(&Probe::default()) };
        let mut tally = Tally::default();
        let results = [false, false, true, false, false, false, true, true, true];
        let meant: Vec<_> = results.iter().map(|r| tally.take(*r, &schedule)).collect();
        let expected = [None, None, None, None, None, Some(false), None, Some(true), Some(true)];
        assert_eq!(meant, expected);
    }

    #[test]
    fn defaults_are_kubernetes() {
        let s = Schedule::of(&Probe::default());
        assert_eq!(
            (s.period.as_secs(), s.timeout.as_secs(), s.successes, s.failures),
            (10, 1, 1, 3)
        );
    }
}
