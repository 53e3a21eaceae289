//! `/clusters`: every cluster with its limits and endpoints.

use super::dump::address;
use super::{Process, Query, Reply};
use balance::Limit;
use ir::{Address, Cluster, Config, Discovery, Endpoint, EndpointGroup, Health};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write;

pub(super) fn answer(process: &dyn Process, query: &Query<'_>) -> Reply {
    let config = process.config();
    let pattern = query.get("filter").map(|f| regex::Regex::new(&f));
    let Ok(pattern) = pattern.transpose() else {
        return Reply::text("Invalid regex\n").status(400);
    };
    let clusters =
        config.clusters.iter().filter(|c| pattern.as_ref().is_none_or(|p| p.is_match(&c.name)));
    if query.get("format").as_deref() == Some("json") {
        let list: Vec<Value> = clusters.map(|c| as_json(process, &config, c)).collect();
        return Reply::json(&json!({ "cluster_statuses": list }));
    }
    let mut out = String::new();
    for cluster in clusters {
        write_text(&mut out, process, &config, cluster);
    }
    Reply::text(out)
}

/// The endpoints of a cluster, inline or by discovery.
fn groups<'a>(config: &'a Config, cluster: &'a Cluster) -> &'a [EndpointGroup] {
    match &cluster.discovery {
        Discovery::Static(groups)
        | Discovery::StrictDns { groups, .. }
        | Discovery::LogicalDns { groups, .. } => groups,
        Discovery::Eds(service) => {
            let name = if service.is_empty() { &cluster.name } else { service };
            let found = config.endpoints.iter().find(|e| e.cluster == *name);
            found.map_or(&[], |e| &e.groups)
        }
        Discovery::OriginalDst | Discovery::ByHost(_) => &[],
    }
}

/// Sets the gauges that say how many endpoints there are.
pub(super) fn show_members(process: &dyn Process) {
    let (registry, config) = (process.registry(), process.config());
    for cluster in &config.clusters {
        let endpoints = groups(&config, cluster).iter().flat_map(|g| &g.endpoints);
        let usage = process.usage(&cluster.name).unwrap_or_default();
        let ejected = usage.ejected();
        let well = |e: &&Endpoint| health_flags(e, &ejected) == "healthy";
        let healthy = endpoints.clone().filter(well);
        let alternative = Some(&cluster.alt_stat_name).filter(|name| !name.is_empty());
        let name = alternative.unwrap_or(&cluster.name);
        let stats = telemetry::ClusterStats::new(registry, name);
        registry.overwrite(stats.membership_total, endpoints.count() as u64);
        registry.overwrite(stats.membership_healthy, healthy.count() as u64);
        registry.overwrite(stats.ejections_active, ejected.len() as u64);
        for (gauge, limit) in [
            (stats.cx_active, Limit::Connections),
            (stats.rq_active, Limit::Requests),
            (stats.rq_pending_active, Limit::Pending),
        ] {
            registry.overwrite(gauge, usage.get(limit).into());
        }
    }
}

fn write_text(out: &mut String, process: &dyn Process, config: &Config, cluster: &Cluster) {
    let name = &cluster.name;
    let limits = &cluster.breakers;
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(out, "{name}::observability_name::{name}");
    for (what, limit) in [
        ("max_connections", limits.max_connections.unwrap_or(1024)),
        ("max_pending_requests", limits.max_pending_requests.unwrap_or(1024)),
        ("max_requests", limits.max_requests.unwrap_or(1024)),
        ("max_retries", limits.max_retries.unwrap_or(3)),
    ] {
        let _ = writeln!(out, "{name}::default_priority::{what}::{limit}");
    }
    let fixed = process.is_static(ir::Kind::Cluster, name);
    let _ = writeln!(out, "{name}::added_via_api::{}", !fixed);
    let ejected = process.usage(name).unwrap_or_default().ejected();
    for group in groups(config, cluster) {
        for endpoint in &group.endpoints {
            write_endpoint(out, name, group, endpoint, &ejected);
        }
    }
}

fn write_endpoint(
    out: &mut String,
    name: &str,
    group: &EndpointGroup,
    endpoint: &Endpoint,
    ejected: &BTreeSet<Address>,
) {
    let at = &endpoint.address;
    let locality = &group.locality;
    for (what, value) in [
        ("hostname", endpoint.hostname.to_string()),
        ("health_flags", health_flags(endpoint, ejected)),
        ("weight", endpoint.weight.unwrap_or(1).to_string()),
        ("region", locality.region.to_string()),
        ("zone", locality.zone.to_string()),
        ("sub_zone", locality.sub_zone.to_string()),
        ("canary", "false".to_owned()),
        ("priority", group.priority.to_string()),
    ] {
        let _ = writeln!(out, "{name}::{at}::{what}::{value}");
    }
}

fn health_flags(endpoint: &Endpoint, ejected: &BTreeSet<Address>) -> String {
    let outlier = if ejected.contains(&endpoint.address) { "/failed_outlier_check" } else { "" };
    let said = match endpoint.health {
        Health::Unknown | Health::Healthy if outlier.is_empty() => "healthy",
        Health::Unknown | Health::Healthy => "",
        Health::Degraded => "/degraded_eds_health",
        Health::Draining => "/eds_status_draining",
        Health::Unhealthy | Health::Timeout => "/failed_eds_health",
    };
    format!("{outlier}{said}")
}

fn as_json(process: &dyn Process, config: &Config, cluster: &Cluster) -> Value {
    let ejected = process.usage(&cluster.name).unwrap_or_default().ejected();
    let mut hosts = Vec::new();
    for group in groups(config, cluster) {
        hosts.extend(group.endpoints.iter().map(|e| host(group, e, &ejected)));
    }
    json!({
        "name": &*cluster.name,
        "observability_name": &*cluster.name,
        "added_via_api": !process.is_static(ir::Kind::Cluster, &cluster.name),
        "host_statuses": hosts,
    })
}

fn host(group: &EndpointGroup, endpoint: &Endpoint, ejected: &BTreeSet<Address>) -> Value {
    let eds = match endpoint.health {
        Health::Unknown | Health::Healthy => "HEALTHY",
        Health::Degraded => "DEGRADED",
        Health::Draining => "DRAINING",
        Health::Unhealthy => "UNHEALTHY",
        Health::Timeout => "TIMEOUT",
    };
    let mut health = json!({ "eds_health_status": eds });
    if ejected.contains(&endpoint.address) {
        health["failed_outlier_check"] = json!(true);
    }
    json!({
        "address": address(&endpoint.address),
        "hostname": &*endpoint.hostname,
        "weight": endpoint.weight.unwrap_or(1),
        "priority": group.priority,
        "health_status": health,
        "locality": {
            "region": &*group.locality.region,
            "zone": &*group.locality.zone,
            "sub_zone": &*group.locality.sub_zone,
        },
    })
}
