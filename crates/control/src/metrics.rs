//! The control plane's own counters under Istio's names. Few and slow, so a lock is enough.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};

#[derive(Debug, Default)]
pub(crate) struct Metrics(Mutex<Series>);

#[derive(Debug, Default)]
struct Series {
    /// By name, then by labels as they are printed.
    counters: BTreeMap<&'static str, BTreeMap<String, u64>>,
    gauges: BTreeMap<&'static str, BTreeMap<String, f64>>,
    histograms: BTreeMap<&'static str, Histogram>,
}

#[derive(Debug, Default)]
struct Histogram {
    /// One more than there are bounds.
    buckets: [u64; BOUNDS.len() + 1],
    sum: f64,
}

/// Istio's bounds of `pilot_proxy_convergence_time`, with one below for our speed.
const BOUNDS: [f64; 9] = [0.01, 0.1, 0.5, 1.0, 3.0, 5.0, 10.0, 20.0, 30.0];
/// Label values come from us, not from peers; this bounds a mistake.
const MAX_SERIES: usize = 1000;

type Labels<'a> = &'a [(&'a str, &'a str)];

impl Metrics {
    fn with<T>(&self, f: impl FnOnce(&mut Series) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn count(&self, name: &'static str, labels: Labels) {
        self.with(|s| {
            let series = s.counters.entry(name).or_default();
            if let Some(slot) = slot(series, print(labels)) {
                *slot += 1;
            }
        });
    }

    pub fn gauge(&self, name: &'static str, labels: Labels, value: f64) {
        self.with(|s| {
            let series = s.gauges.entry(name).or_default();
            if let Some(slot) = slot(series, print(labels)) {
                *slot = value;
            }
        });
    }

    pub fn observe(&self, name: &'static str, seconds: f64) {
        self.with(|s| {
            let histogram = s.histograms.entry(name).or_default();
            let bucket = BOUNDS.iter().position(|b| seconds <= *b).unwrap_or(BOUNDS.len());
            histogram.buckets[bucket] += 1;
            histogram.sum += seconds;
        });
    }

    /// The Prometheus text format.
    pub fn print(&self) -> String {
        let mut out = String::new();
        self.with(|s| {
            for (name, series) in &s.counters {
                let _ = writeln!(out, "# TYPE {name} counter");
                for (labels, value) in series {
                    let _ = writeln!(out, "{name}{labels} {value}");
                }
            }
            for (name, series) in &s.gauges {
                let _ = writeln!(out, "# TYPE {name} gauge");
                for (labels, value) in series {
                    let _ = writeln!(out, "{name}{labels} {value}");
                }
            }
            for (name, histogram) in &s.histograms {
                print_histogram(&mut out, name, histogram);
            }
        });
        out
    }
}

fn slot<T: Default>(series: &mut BTreeMap<String, T>, labels: String) -> Option<&mut T> {
    if series.len() >= MAX_SERIES && !series.contains_key(&labels) {
        return None;
    }
    Some(series.entry(labels).or_default())
}

fn print(labels: Labels) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let escape = |v: &str| v.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let pairs: Vec<String> = labels.iter().map(|(k, v)| format!("{k}=\"{}\"", escape(v))).collect();
    format!("{{{}}}", pairs.join(","))
}

fn print_histogram(out: &mut String, name: &str, h: &Histogram) {
    let _ = writeln!(out, "# TYPE {name} histogram");
    let mut total = 0;
    for (i, count) in h.buckets.iter().enumerate() {
        total += count;
        let bound = BOUNDS.get(i).map_or_else(|| "+Inf".to_owned(), f64::to_string);
        let _ = writeln!(out, "{name}_bucket{{le=\"{bound}\"}} {total}");
    }
    let _ = writeln!(out, "{name}_sum {}\n{name}_count {total}", h.sum);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_printed() {
        let m = Metrics::default();
        m.count("pilot_xds_pushes", &[("type", "cds")]);
        m.count("pilot_xds_pushes", &[("type", "cds")]);
        m.gauge("pilot_services", &[], 4.0);
        m.observe("pilot_proxy_convergence_time", 0.2);
        let text = m.print();
        for line in [
            "pilot_xds_pushes{type=\"cds\"} 2",
            "pilot_services 4",
            "pilot_proxy_convergence_time_bucket{le=\"0.1\"} 0",
            "pilot_proxy_convergence_time_bucket{le=\"0.5\"} 1",
            "pilot_proxy_convergence_time_bucket{le=\"+Inf\"} 1",
            "pilot_proxy_convergence_time_count 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        }
    }
}
