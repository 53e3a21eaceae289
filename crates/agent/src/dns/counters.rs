//! What the DNS proxy did, under Istio's names.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Seconds.
const BOUNDS: [f64; 9] = [0.0005, 0.001, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 5.0];

#[derive(Debug, Default)]
pub struct Counters {
    pub requests: AtomicU64,
    pub forwarded: AtomicU64,
    pub failures: AtomicU64,
    buckets: [AtomicU64; BOUNDS.len()],
    microseconds: AtomicU64,
}

impl Counters {
    pub fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub fn took(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.microseconds.fetch_add(micros, Ordering::Relaxed);
        for (bound, bucket) in BOUNDS.iter().zip(&self.buckets) {
            if time.as_secs_f64() <= *bound {
                Self::add(bucket);
            }
        }
    }

    /// For Prometheus.
    pub fn page(&self) -> String {
        let get = |c: &AtomicU64| c.load(Ordering::Relaxed);
        let mut page = String::new();
        for (name, counter) in [
            ("dns_requests_total", &self.requests),
            ("dns_upstream_requests_total", &self.forwarded),
            ("dns_upstream_failures_total", &self.failures),
        ] {
            let _ = writeln!(page, "# TYPE {name} counter\n{name} {}", get(counter));
        }
        let name = "dns_upstream_request_duration_seconds";
        let _ = writeln!(page, "# TYPE {name} histogram");
        for (bound, bucket) in BOUNDS.iter().zip(&self.buckets) {
            let _ = writeln!(page, "{name}_bucket{{le=\"{bound}\"}} {}", get(bucket));
        }
        let all = get(&self.forwarded).saturating_sub(get(&self.failures));
        let sum = get(&self.microseconds) as f64 / 1e6;
        let _ = writeln!(
            page,
            "{name}_bucket{{le=\"+Inf\"}} {all}\n{name}_sum {sum}\n{name}_count {all}"
        );
        page
    }
}
