//! Envoy's own formats of `/stats`: `name: value` lines in order, and JSON.

use crate::cells::BOUNDS;
use crate::registry::{Registry, Sample, Value};
use std::fmt::Write;

/// The metrics whose name passes `keep`; histograms come last.
pub fn text(registry: &Registry, keep: impl Fn(&str) -> bool) -> String {
    let mut out = String::new();
    let (plain, histograms) = named(registry, keep);
    for (name, value) in plain.iter().chain(&histograms) {
        // Writing to a String cannot fail.
        let _ = match value {
            Value::Counter(n) => writeln!(out, "{name}: {n}"),
            Value::Gauge(n) => writeln!(out, "{name}: {n}"),
            Value::Histogram(buckets, _) => writeln!(out, "{name}: {}", quantiles(buckets)),
        };
    }
    out
}

/// As `/stats?format=json`, without histograms.
pub fn json(registry: &Registry, keep: impl Fn(&str) -> bool) -> String {
    let mut out = String::from("{\"stats\":[");
    for (i, (name, value)) in named(registry, keep).0.iter().enumerate() {
        let n = match value {
            Value::Counter(n) => i128::from(*n),
            Value::Gauge(n) => i128::from(*n),
            Value::Histogram(..) => continue,
        };
        let comma = if i == 0 { "" } else { "," };
        let name = name.replace('\\', "\\\\").replace('"', "\\\"");
        let _ = write!(out, "{comma}{{\"name\":\"{name}\",\"value\":{n}}}");
    }
    out + "]}"
}

type Named = Vec<(String, Value)>;

fn named(registry: &Registry, keep: impl Fn(&str) -> bool) -> (Named, Named) {
    let name = |s: &Sample| format!("{}{}", s.scope.prefix, flat_name(s));
    let mut all: Named = registry
        .samples()
        .into_iter()
        .filter(|s| !s.scope.prefix.is_empty())
        .map(|s| (name(&s), s.value))
        .filter(|(name, _)| keep(name))
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all.into_iter().partition(|(_, value)| !matches!(value, Value::Histogram(..)))
}

/// `_rq` and `_rq_xx` get their code as the suffix; the `xx` is part of it.
fn flat_name(sample: &Sample) -> String {
    let name = sample.def.name;
    let stem = if sample.scope.suffix.is_empty() { name } else { name.trim_end_matches("_xx") };
    format!("{stem}{}", sample.scope.suffix)
}

/// The upper bounds of the buckets in which the quantiles lie.
fn quantiles(buckets: &[u64]) -> String {
    let count: u64 = buckets.iter().sum();
    if count == 0 {
        return "No recorded values".into();
    }
    let mut out = String::new();
    for percent in [0, 25, 50, 75, 90, 95, 99, 100] {
        let rank = (count * percent).div_ceil(100).max(1);
        let mut seen = 0;
        let at = buckets.iter().position(|n| {
            seen += n;
            seen >= rank
        });
        let bound = at.and_then(|at| BOUNDS.get(at)).unwrap_or(&f64::INFINITY);
        let _ = write!(out, "P{percent}(nan,{bound}) ");
    }
    out.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ClusterStats, CodeStats, HttpStats};

    #[test]
    fn lines_are_sorted_and_filtered() {
        let registry = Registry::default();
        let shard = registry.shard();
        shard.inc(HttpStats::new(&registry, "in").rq_total);
        shard.add(ClusterStats::new(&registry, "b").rq_total, 2);
        CodeStats::cluster("b").count(503, &registry, &shard);
        CodeStats::http("in").count(503, &registry, &shard);
        let keep = |n: &str| n.contains("_rq_5") || n.contains("m_rq_total");
        assert_eq!(
            text(&registry, keep),
            "cluster.b.upstream_rq_503: 1\ncluster.b.upstream_rq_5xx: 1\n\
             cluster.b.upstream_rq_total: 2\nhttp.in.downstream_rq_5xx: 1\n\
             http.in.downstream_rq_total: 1\n"
        );
        assert_eq!(
            json(&registry, |n| n == "cluster.b.upstream_rq_total"),
            r#"{"stats":[{"name":"cluster.b.upstream_rq_total","value":2}]}"#
        );
    }

    #[test]
    fn histograms_say_where_the_quantiles_lie() {
        let registry = Registry::default();
        let shard = registry.shard();
        let stats = ClusterStats::new(&registry, "b");
        let keep = |n: &str| n.ends_with("rq_time");
        assert_eq!(text(&registry, keep), "cluster.b.upstream_rq_time: No recorded values\n");
        (0..100).for_each(|ms| shard.observe(stats.rq_time, ms));
        assert!(text(&registry, keep).contains("P50(nan,50)"));
    }
}
