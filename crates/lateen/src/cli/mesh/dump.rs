//! A proxy's `config_dump` (Envoy's format, so real Envoy's too) as istioctl's short tables.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::fmt::Write;

use crate::cli::print;

/// What a part of the dump says, raw and as a table.
pub struct Part {
    pub raw: Value,
    pub rows: Vec<Vec<String>>,
}

impl Part {
    pub fn new(head: &[&str], raw: Vec<Value>, mut rows: Vec<Vec<String>>) -> Part {
        rows.sort();
        rows.dedup();
        rows.insert(0, head.iter().map(|h| (*h).to_owned()).collect());
        Part { raw: Value::Array(raw), rows }
    }

    pub fn text(&self) -> String {
        print::table(&self.rows)
    }
}

#[derive(Default)]
pub struct Filter {
    pub fqdn: Option<String>,
    pub port: Option<u16>,
    pub subset: Option<String>,
    pub direction: Option<String>,
    pub cluster: Option<String>,
    pub address: Option<String>,
    pub name: Option<String>,
}

pub struct Dump(Vec<Value>);

/// `outbound|9080|v1|reviews.default.svc.cluster.local`
struct ClusterName<'a> {
    direction: &'a str,
    port: &'a str,
    subset: &'a str,
    fqdn: &'a str,
}

impl<'a> ClusterName<'a> {
    fn parse(name: &'a str) -> Self {
        let parts: Vec<&str> = name.split('|').collect();
        match parts[..] {
            [direction, port, subset, fqdn] => Self { direction, port, subset, fqdn },
            _ => Self { direction: "-", port: "-", subset: "-", fqdn: name },
        }
    }
}

fn dash(s: &str) -> String {
    if s.is_empty() { "-".into() } else { s.into() }
}

impl Dump {
    pub fn parse(text: &str) -> Result<Dump> {
        let value: Value =
            serde_json::from_str(text).context("the configuration dump is not JSON")?;
        Ok(Dump(value["configs"].as_array().cloned().unwrap_or_default()))
    }

    /// Every `inner` under any of the lists of the section of this type.
    pub fn resources(&self, section: &str, inner: &str) -> Vec<&Value> {
        let wanted = |c: &&Value| c["@type"].as_str().is_some_and(|t| t.ends_with(section));
        let lists =
            self.0.iter().filter(wanted).filter_map(Value::as_object).flat_map(|o| o.values());
        let entries = lists.filter_map(Value::as_array).flatten();
        entries
            .filter_map(|e| {
                e.get(inner).or_else(|| e.get("active_state").and_then(|a| a.get(inner)))
            })
            .collect()
    }

    pub fn clusters(&self, filter: &Filter) -> Part {
        let keep = |c: &&Value| {
            let name = ClusterName::parse(c["name"].as_str().unwrap_or_default());
            filter.fqdn.as_deref().is_none_or(|f| name.fqdn == f)
                && filter.port.is_none_or(|p| name.port == p.to_string())
                && filter.subset.as_deref().is_none_or(|s| name.subset == s)
                && filter.direction.as_deref().is_none_or(|d| name.direction == d)
        };
        let raw: Vec<Value> = self
            .resources("ClustersConfigDump", "cluster")
            .into_iter()
            .filter(keep)
            .cloned()
            .collect();
        let row = |c: &Value| {
            let name = ClusterName::parse(c["name"].as_str().unwrap_or_default());
            let kind =
                c["type"].as_str().or(c["cluster_type"]["name"].as_str()).unwrap_or("STATIC");
            vec![
                dash(name.fqdn),
                dash(name.port),
                dash(name.subset),
                dash(name.direction),
                kind.to_owned(),
                config_name(&c["metadata"]["filter_metadata"]["istio"]["config"]),
            ]
        };
        let rows = raw.iter().map(row).collect();
        Part::new(
            &["SERVICE FQDN", "PORT", "SUBSET", "DIRECTION", "TYPE", "DESTINATION RULE"],
            raw,
            rows,
        )
    }

    pub fn listeners(&self, filter: &Filter) -> Part {
        let keep = |l: &&Value| {
            let (address, port) = socket(&l["address"]);
            filter.address.as_deref().is_none_or(|a| address == a)
                && filter.port.is_none_or(|p| port == p.to_string())
        };
        let raw: Vec<Value> = self
            .resources("ListenersConfigDump", "listener")
            .into_iter()
            .filter(keep)
            .cloned()
            .collect();
        let mut rows = Vec::new();
        for listener in &raw {
            let (address, port) = socket(&listener["address"]);
            let chains = listener["filter_chains"].as_array().into_iter().flatten();
            for chain in chains.chain(listener.get("default_filter_chain")) {
                rows.push(vec![
                    address.clone(),
                    port.clone(),
                    chain_match(chain),
                    chain_destination(chain),
                ]);
            }
        }
        Part::new(&["ADDRESSES", "PORT", "MATCH", "DESTINATION"], raw, rows)
    }

    pub fn routes(&self, filter: &Filter) -> Part {
        let keep = |r: &&Value| filter.name.as_deref().is_none_or(|n| r["name"] == n);
        let raw: Vec<Value> = self
            .resources("RoutesConfigDump", "route_config")
            .into_iter()
            .filter(keep)
            .cloned()
            .collect();
        let mut rows = Vec::new();
        for config in &raw {
            let name = config["name"].as_str().unwrap_or_default();
            for host in config["virtual_hosts"].as_array().into_iter().flatten() {
                let domains: Vec<&str> = host["domains"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .collect();
                for route in host["routes"].as_array().into_iter().flatten() {
                    rows.push(vec![
                        dash(name),
                        host["name"].as_str().unwrap_or_default().to_owned(),
                        domain_summary(&domains),
                        route_match(&route["match"]),
                        config_name(&route["metadata"]["filter_metadata"]["istio"]["config"]),
                    ]);
                }
            }
        }
        Part::new(&["NAME", "VHOST NAME", "DOMAINS", "MATCH", "VIRTUAL SERVICE"], raw, rows)
    }

    pub fn endpoints(&self, filter: &Filter) -> Part {
        let mut assignments = self.resources("EndpointsConfigDump", "endpoint_config");
        let clusters = self.resources("ClustersConfigDump", "cluster");
        assignments.extend(clusters.into_iter().filter_map(|c| c.get("load_assignment")));
        let keep = |a: &&Value| filter.cluster.as_deref().is_none_or(|c| a["cluster_name"] == c);
        let raw: Vec<Value> = assignments.into_iter().filter(keep).cloned().collect();
        let mut rows = Vec::new();
        for assignment in &raw {
            let groups = assignment["endpoints"].as_array().into_iter().flatten();
            for endpoint in groups.flat_map(|g| g["lb_endpoints"].as_array().into_iter().flatten())
            {
                let (address, port) = socket(&endpoint["endpoint"]["address"]);
                let matches = filter.address.as_deref().is_none_or(|a| address == a)
                    && filter.port.is_none_or(|p| port == p.to_string());
                if matches {
                    let health = endpoint["health_status"].as_str().unwrap_or("HEALTHY");
                    let name = assignment["cluster_name"].as_str().unwrap_or_default();
                    rows.push(vec![
                        format!("{address}:{port}"),
                        health.to_owned(),
                        "OK".into(),
                        name.to_owned(),
                    ]);
                }
            }
        }
        Part::new(&["ENDPOINT", "STATUS", "OUTLIER CHECK", "CLUSTER"], raw, rows)
    }

    pub fn bootstrap(&self) -> Part {
        let found = self
            .0
            .iter()
            .find(|c| c["@type"].as_str().is_some_and(|t| t.ends_with("BootstrapConfigDump")));
        let raw = found.map_or(Value::Null, |c| c["bootstrap"].clone());
        let metadata = &raw["node"]["metadata"];
        let text = |v: &Value| v.as_str().unwrap_or("-").to_owned();
        let rows = vec![
            vec!["Istio Version:".to_owned(), text(&metadata["ISTIO_VERSION"])],
            vec!["Node:".to_owned(), text(&raw["node"]["id"])],
            vec!["Namespace:".to_owned(), text(&metadata["NAMESPACE"])],
        ];
        Part { raw, rows }
    }

    pub fn all(&self, filter: &Filter) -> Part {
        let parts = [
            self.clusters(filter),
            self.listeners(filter),
            self.routes(filter),
            self.endpoints(filter),
        ];
        let rows = parts.iter().flat_map(|p| p.rows.iter().cloned().chain([Vec::new()])).collect();
        Part { raw: json!({ "configs": self.0 }), rows }
    }
}

fn socket(address: &Value) -> (String, String) {
    let socket = &address["socket_address"];
    match socket["address"].as_str() {
        Some(ip) => (ip.to_owned(), socket["port_value"].as_u64().unwrap_or(0).to_string()),
        None => (address["pipe"]["path"].as_str().unwrap_or("-").to_owned(), "-".into()),
    }
}

/// `/apis/networking.istio.io/v1/namespaces/default/destination-rule/reviews` is `reviews.default`.
fn config_name(config: &Value) -> String {
    let parts: Vec<&str> = config.as_str().unwrap_or_default().split('/').collect();
    match parts[..] {
        [.., "namespaces", namespace, _, name] => format!("{name}.{namespace}"),
        _ => String::new(),
    }
}

fn domain_summary(domains: &[&str]) -> String {
    match domains {
        [] => "-".into(),
        [one] => (*one).to_owned(),
        [first, rest @ ..] => match rest.iter().find(|d| !d.contains(':')) {
            Some(second) if domains.len() > 2 => {
                format!("{first}, {second} + {} more...", domains.len() - 2)
            }
            _ => domains.join(", "),
        },
    }
}

fn route_match(m: &Value) -> String {
    let mut text = String::new();
    for (field, suffix) in [("path", ""), ("prefix", "*"), ("path_separated_prefix", "/*")] {
        if let Some(value) = m[field].as_str() {
            text = format!("{value}{suffix}");
        }
    }
    if let Some(regex) = m["safe_regex"]["regex"].as_str() {
        text = format!("regex {regex}");
    }
    for header in m["headers"].as_array().into_iter().flatten() {
        let _ = write!(text, " {}", header["name"].as_str().unwrap_or_default());
    }
    dash(&text)
}

fn chain_match(chain: &Value) -> String {
    let m = &chain["filter_chain_match"];
    let list = |v: &Value| -> Vec<String> {
        v.as_array().into_iter().flatten().filter_map(|s| s.as_str().map(str::to_owned)).collect()
    };
    let mut words = Vec::new();
    if let Some(port) = m["destination_port"].as_u64() {
        words.push(format!("Port: {port}"));
    }
    for (label, value) in [("SNI", &m["server_names"]), ("App", &m["application_protocols"])] {
        let found = list(value);
        if !found.is_empty() {
            words.push(format!("{label}: {}", found.join(",")));
        }
    }
    if let Some(transport) = m["transport_protocol"].as_str().filter(|t| !t.is_empty()) {
        words.push(format!("Trans: {transport}"));
    }
    for range in m["prefix_ranges"].as_array().into_iter().flatten() {
        let bits = range["prefix_len"].as_u64().unwrap_or(0);
        words
            .push(format!("Addr: {}/{bits}", range["address_prefix"].as_str().unwrap_or_default()));
    }
    if words.is_empty() { "ALL".into() } else { words.join("; ") }
}

fn chain_destination(chain: &Value) -> String {
    for filter in chain["filters"].as_array().into_iter().flatten() {
        let config = &filter["typed_config"];
        if let Some(name) = config["rds"]["route_config_name"].as_str() {
            return format!("Route: {name}");
        }
        if let Some(routes) = config.get("route_config") {
            return format!("Inline Route: {}", routes["name"].as_str().unwrap_or_default());
        }
        if let Some(cluster) = config["cluster"].as_str() {
            return format!("Cluster: {cluster}");
        }
        let weighted: Vec<&str> = config["weighted_clusters"]["clusters"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|c| c["name"].as_str())
            .collect();
        if !weighted.is_empty() {
            return format!("Cluster: {}", weighted.join(", "));
        }
    }
    "Non-HTTP/Non-TCP".into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dump() -> Dump {
        let text = json!({ "configs": [
            { "@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump", "dynamic_active_clusters": [
                { "cluster": { "name": "outbound|9080|v1|reviews.default.svc.cluster.local", "type": "EDS",
                  "metadata": { "filter_metadata": { "istio": { "config":
                    "/apis/networking.istio.io/v1/namespaces/default/destination-rule/reviews" } } } } },
                { "cluster": { "name": "BlackHoleCluster", "type": "STATIC" } },
            ]},
            { "@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump", "dynamic_listeners": [
                { "active_state": { "listener": {
                    "address": { "socket_address": { "address": "0.0.0.0", "port_value": 9080 } },
                    "filter_chains": [{ "filters": [{ "typed_config": { "rds": { "route_config_name": "9080" } } }] }] } } },
            ]},
            { "@type": "type.googleapis.com/envoy.admin.v3.RoutesConfigDump", "dynamic_route_configs": [
                { "route_config": { "name": "9080", "virtual_hosts": [{
                    "name": "reviews.default.svc.cluster.local:9080",
                    "domains": ["reviews.default.svc.cluster.local", "reviews", "reviews:9080"],
                    "routes": [{ "match": { "prefix": "/" } }] }] } },
            ]},
        ]})
        .to_string();
        Dump::parse(&text).unwrap()
    }

    #[test]
    fn clusters_are_taken_apart_by_name() {
        let part = dump().clusters(&Filter::default());
        assert_eq!(part.rows[1][..], ["BlackHoleCluster", "-", "-", "-", "STATIC", ""]);
        assert_eq!(
            part.rows[2][..],
            [
                "reviews.default.svc.cluster.local",
                "9080",
                "v1",
                "outbound",
                "EDS",
                "reviews.default"
            ]
        );
        let only = Filter { subset: Some("v2".into()), ..Filter::default() };
        assert_eq!(dump().clusters(&only).rows.len(), 1);
    }

    #[test]
    fn listeners_and_routes() {
        let part = dump().listeners(&Filter::default());
        assert_eq!(part.rows[1][..], ["0.0.0.0", "9080", "ALL", "Route: 9080"]);
        let part = dump().routes(&Filter { name: Some("9080".into()), ..Filter::default() });
        assert_eq!(part.rows[1][2], "reviews.default.svc.cluster.local, reviews + 1 more...");
        assert_eq!(part.rows[1][3], "/*");
    }
}
