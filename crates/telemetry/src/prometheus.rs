//! The Prometheus text format, with the names and labels that Envoy and Istio use.

use crate::cells::BOUNDS;
use crate::registry::{Kind, Registry, Sample, Value};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Everything, or the families whose name passes `keep`.
pub fn prometheus(registry: &Registry, keep: impl Fn(&str) -> bool) -> String {
    let mut families: BTreeMap<String, Vec<Sample>> = BTreeMap::new();
    for sample in registry.samples() {
        let name = family(&sample);
        if keep(&name) {
            families.entry(name).or_default().push(sample);
        }
    }
    let mut out = String::new();
    for (name, samples) in families {
        let kind = match samples[0].def.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(out, "# TYPE {name} {kind}");
        for sample in &samples {
            write_sample(&mut out, &name, sample);
        }
    }
    out
}

fn family(sample: &Sample) -> String {
    let legal = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' };
    sample.scope.family.chars().chain(sample.def.name.chars()).map(legal).collect()
}

fn write_sample(out: &mut String, name: &str, sample: &Sample) {
    let labels = &sample.scope.labels;
    let _ = match &sample.value {
        Value::Counter(n) => writeln!(out, "{name}{{{labels}}} {n}"),
        Value::Gauge(n) => writeln!(out, "{name}{{{labels}}} {n}"),
        Value::Histogram(buckets, sum) => {
            write_histogram(out, name, labels, buckets, *sum);
            Ok(())
        }
    };
}

fn write_histogram(out: &mut String, name: &str, labels: &str, buckets: &[u64], sum: u64) {
    let comma = if labels.is_empty() { "" } else { "," };
    let mut count = 0;
    for (n, bound) in buckets.iter().zip(BOUNDS) {
        count += n;
        let _ = writeln!(out, "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {count}");
    }
    count += buckets.last().copied().unwrap_or(0);
    let _ = writeln!(out, "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {count}");
    let _ = writeln!(out, "{name}_sum{{{labels}}} {sum}");
    let _ = writeln!(out, "{name}_count{{{labels}}} {count}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ClusterStats, CodeStats, RbacStats, Server, text};

    #[test]
    fn names_and_labels_are_envoys() {
        let registry = Registry::default();
        let shard = registry.shard();
        let stats = ClusterStats::new(&registry, "outbound|80||a\"b");
        shard.add(stats.rq_total, 3);
        let mut codes = CodeStats::cluster("c");
        codes.count(204, &registry, &shard);
        codes.count(204, &registry, &shard);
        shard.set(Server::new(&registry).live, 1);
        let out = prometheus(&registry, |name| !name.ends_with("time"));
        for line in [
            "# TYPE envoy_cluster_upstream_rq_total counter",
            r#"envoy_cluster_upstream_rq_total{envoy_cluster_name="outbound|80||a\"b"} 3"#,
            r#"envoy_cluster_upstream_rq_xx{envoy_cluster_name="c",envoy_response_code_class="2"} 2"#,
            r#"envoy_cluster_upstream_rq{envoy_cluster_name="c",envoy_response_code="204"} 2"#,
            "envoy_server_live{} 1",
        ] {
            assert!(out.lines().any(|l| l == line), "missing {line} in\n{out}");
        }
        assert!(!out.contains("rq_time_bucket"));
    }

    #[test]
    fn observed_rules_are_counted_under_their_prefix() {
        let registry = Registry::default();
        let shard = registry.shard();
        let (of, rules) = (["inbound", "tcp."], "istio_dry_run_deny_");
        shard.inc(RbacStats::http(&registry, of[0], rules).shadow_denied);
        shard.inc(RbacStats::http(&registry, of[0], "").denied);
        shard.inc(RbacStats::network(&registry, of[1], rules).shadow_denied);
        let lines = text(&registry, |_| true) + &prometheus(&registry, |_| true);
        for line in [
            "http.inbound.rbac.istio_dry_run_deny_.shadow_denied: 1",
            "http.inbound.rbac.denied: 1",
            "tcp.rbac.istio_dry_run_deny_.shadow_denied: 1",
            r#"envoy_http_rbac_shadow_denied{envoy_rbac_http_prefix="istio_dry_run_deny_",envoy_http_conn_manager_prefix="inbound"} 1"#,
        ] {
            assert!(lines.lines().any(|l| l == line), "missing {line} in\n{lines}");
        }
    }

    #[test]
    fn buckets_are_cumulated() {
        let registry = Registry::default();
        let shard = registry.shard();
        let stats = ClusterStats::new(&registry, "c");
        for ms in [0, 1, 7, 10_000_000] {
            shard.observe(stats.rq_time, ms);
        }
        let out = prometheus(&registry, |name| name == "envoy_cluster_upstream_rq_time");
        let bucket = |le: &str| {
            let tag = format!("le=\"{le}\"}} ");
            out.lines().find_map(|l| Some(l.split_once(&tag)?.1.to_owned()))
        };
        let expected =
            [("0.5", "1"), ("1", "2"), ("5", "2"), ("10", "3"), ("3600000", "3"), ("+Inf", "4")];
        for (le, n) in expected {
            assert_eq!(bucket(le).as_deref(), Some(n), "le {le}");
        }
        assert!(out.contains("_sum{envoy_cluster_name=\"c\"} 10000008"));
        assert!(out.contains("_count{envoy_cluster_name=\"c\"} 4"));
    }
}
