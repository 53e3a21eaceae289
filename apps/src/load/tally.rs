//! Results, in memory that does not grow with the number of requests.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

const MOST_CLASSES: usize = 100;
const MOST_SLOTS: usize = 100_000;
const MOST_SAMPLES: usize = 20;

/// How one request ended.
pub struct Outcome {
    pub took: Duration,
    pub class: Option<String>,
    pub failure: Option<String>,
}

impl Outcome {
    pub fn failed(reason: &str) -> Outcome {
        Outcome { took: Duration::ZERO, class: None, failure: Some(reason.to_owned()) }
    }
}

pub struct Tally {
    start: Instant,
    last: Instant,
    sent: u64,
    ok: u64,
    failed: BTreeMap<String, u64>,
    samples: Vec<Value>,
    classes: BTreeMap<String, u64>,
    latency: Histogram,
    /// Answers by class in each slot of time, by when they were due.
    timeline: Vec<BTreeMap<String, u64>>,
    slot: Duration,
}

impl Tally {
    /// Without a timeline if `slot` is zero.
    pub fn new(start: Instant, slot: Duration) -> Tally {
        Tally {
            start,
            last: start,
            sent: 0,
            ok: 0,
            failed: BTreeMap::new(),
            samples: Vec::new(),
            classes: BTreeMap::new(),
            latency: Histogram::default(),
            timeline: Vec::new(),
            slot,
        }
    }

    pub fn record(&mut self, due: Instant, outcome: Outcome) {
        self.sent += 1;
        self.last = Instant::now();
        let at = due.saturating_duration_since(self.start);
        let label = match &outcome.failure {
            Some(reason) => format!("failed: {reason}"),
            None => outcome.class.clone().unwrap_or_else(|| "ok".to_owned()),
        };
        self.mark(at, label);
        if let Some(class) = outcome.class {
            count(&mut self.classes, class);
        }
        match outcome.failure {
            None => {
                self.ok += 1;
                self.latency.add(outcome.took);
            }
            Some(reason) => {
                if self.samples.len() < MOST_SAMPLES {
                    let at = at.as_millis();
                    self.samples.push(json!({"at_ms": at, "reason": reason}));
                }
                count(&mut self.failed, reason);
            }
        }
    }

    fn mark(&mut self, at: Duration, label: String) {
        if self.slot.is_zero() {
            return;
        }
        let index = usize::try_from(at.as_nanos() / self.slot.as_nanos()).unwrap_or(MOST_SLOTS);
        if index >= MOST_SLOTS {
            return;
        }
        if self.timeline.len() <= index {
            self.timeline.resize_with(index + 1, BTreeMap::new);
        }
        count(&mut self.timeline[index], label);
    }

    pub fn sent(&self) -> u64 {
        self.sent
    }

    pub fn failures(&self) -> u64 {
        self.sent - self.ok
    }

    pub fn summary(&self) -> Value {
        let elapsed = self.last.duration_since(self.start).as_secs_f64();
        let mut summary = json!({
            "sent": self.sent,
            "ok": self.ok,
            "failed": self.failures(),
            "reasons": self.failed,
            "rate": (self.sent as f64 / elapsed.max(1e-9) * 10.0).round() / 10.0,
            "latency_ms": {
                "p50": self.latency.quantile(0.5),
                "p90": self.latency.quantile(0.9),
                "p99": self.latency.quantile(0.99),
                "p999": self.latency.quantile(0.999),
                "max": self.latency.max.as_micros() as f64 / 1000.0,
            },
        });
        if !self.classes.is_empty() {
            summary["classes"] = json!(self.classes);
        }
        if !self.samples.is_empty() {
            summary["first_failures"] = json!(self.samples);
        }
        if !self.slot.is_zero() {
            let slot_ms = self.slot.as_millis();
            summary["timeline"] = json!({"slot_ms": slot_ms, "slots": self.timeline});
        }
        summary
    }
}

fn count(counts: &mut BTreeMap<String, u64>, key: String) {
    let known = counts.contains_key(&key) || counts.len() < MOST_CLASSES;
    let key = if known { key } else { "(further)".to_owned() };
    *counts.entry(key).or_default() += 1;
}

/// Counts of durations, exact to 1/64: microseconds with six bits of mantissa.
struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: Duration,
}

const STEPS: u64 = 64;

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { counts: vec![0; 64 * 40], total: 0, max: Duration::ZERO }
    }
}

impl Histogram {
    fn add(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let index = bucket(micros).min(self.counts.len() - 1);
        self.counts[index] += 1;
        self.total += 1;
        self.max = self.max.max(took);
    }

    /// In milliseconds.
    fn quantile(&self, q: f64) -> f64 {
        let rank = ((self.total as f64 * q).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return lower_bound(index) as f64 / 1000.0;
            }
        }
        0.0
    }
}

fn bucket(micros: u64) -> usize {
    let exponent = (micros / STEPS).checked_ilog2().map_or(0, |log| log + 1);
    let index = match exponent {
        0 => micros,
        exponent => STEPS * u64::from(exponent) + ((micros >> (exponent - 1)) - STEPS),
    };
    usize::try_from(index).unwrap_or(usize::MAX)
}

fn lower_bound(index: usize) -> u64 {
    let index = index as u64;
    match index / STEPS {
        0 => index,
        exponent => (STEPS + index % STEPS) << (exponent - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_exact_to_a_64th() {
        for micros in (0..5000).chain([123_456, 9_999_999, 86_400_000_000]) {
            let low = lower_bound(bucket(micros));
            assert!(low <= micros && micros - low <= micros / 64, "{micros}: {low}");
        }
        let indices: Vec<usize> = (0..100_000).map(bucket).collect();
        assert!(indices.is_sorted());
    }

    #[tokio::test]
    async fn results_add_up() {
        let start = Instant::now();
        let mut tally = Tally::new(start, Duration::from_millis(100));
        for index in 0..1000_u64 {
            let outcome = Outcome {
                took: Duration::from_millis(index + 1),
                class: Some(if index % 2 == 0 { "a" } else { "b" }.to_owned()),
                failure: None,
            };
            tally.record(start + Duration::from_millis(index), outcome);
        }
        tally.record(start, Outcome::failed("reset"));
        let summary = tally.summary();
        assert_eq!((&summary["sent"], &summary["failed"]), (&json!(1001), &json!(1)));
        assert_eq!(summary["classes"], json!({"a": 500, "b": 500}));
        let p50 = summary["latency_ms"]["p50"].as_f64().unwrap();
        assert!((490.0..=500.0).contains(&p50), "{p50}");
        let slots = summary["timeline"]["slots"].as_array().unwrap();
        assert_eq!(slots.len(), 10);
        assert_eq!(slots[0], json!({"a": 50, "b": 50, "failed: reset": 1}));
    }
}
