//! Medians and ratios as a table in Markdown.

use super::config::{Body, Protocol, Proxy};
use super::measure::Sample;
use anyhow::Result;
use std::fmt::Write;

/// All repetitions of one cell.
pub struct Row {
    pub proxy: &'static str,
    pub protocol: Protocol,
    pub body: Body,
    pub connections: u32,
    pub samples: Vec<Sample>,
}

impl Row {
    fn median(&self, of: impl Fn(&Sample) -> f64) -> f64 {
        let mut values: Vec<f64> = self.samples.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(0.0)
    }
}

pub fn add(rows: &mut Vec<Row>, proxy: &Proxy, body: Body, connections: u32, sample: Sample) {
    let same =
        |r: &&mut Row| r.proxy == proxy.name && r.body == body && r.connections == connections;
    match rows.iter_mut().find(same) {
        Some(row) => row.samples.push(sample),
        None => rows.push(Row {
            proxy: proxy.name,
            protocol: proxy.protocol,
            body,
            connections,
            samples: vec![sample],
        }),
    }
}

pub fn markdown(rows: &[Row], protocols: &[Protocol], proxies: &[Proxy]) -> Result<String> {
    let mut text = String::new();
    for &protocol in protocols {
        writeln!(text, "\n### {}\n", protocol.title())?;
        writeln!(
            text,
            "| proxy | body | connections | CPU us/request | x Envoy | requests/s | errors | RSS MiB |"
        )?;
        writeln!(text, "|---|---|---|---|---|---|---|---|")?;
        for row in rows.iter().filter(|r| r.protocol == protocol) {
            let envoy = rows.iter().find(|r| {
                r.protocol == protocol
                    && r.body == row.body
                    && r.connections == row.connections
                    && proxies.iter().any(|p| p.name == r.proxy && p.is_envoy)
            });
            let cpu = row.median(|s| s.cpu_us);
            let ratio = envoy.map_or(f64::NAN, |e| cpu / e.median(|s| s.cpu_us));
            writeln!(
                text,
                "| {} | {} | {} | {cpu:.1} | {ratio:.2} | {:.0} | {} | {:.1} |",
                row.proxy,
                row.body.name(),
                row.connections,
                row.median(|s| s.requests_per_second),
                row.samples.iter().map(|s| s.errors).sum::<u64>(),
                row.median(|s| s.rss_kib as f64) / 1024.0,
            )?;
        }
    }
    Ok(text)
}
