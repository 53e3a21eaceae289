//! Names of services for pods without a sidecar: a table made of the objects, and answers to
//! queries from it, as the cluster's DNS would give them.

mod server;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use server::{Answered, answer};

use crate::services::{cluster_ips, name, namespace, port_number, ports, text};

/// What names in the cluster's domain stand for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    pub domain: String,
    /// Without the final dot, in lower case.
    pub names: BTreeMap<String, Record>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub ips: Vec<IpAddr>,
    /// The name that this one is another name of.
    pub alias: Option<String>,
    /// (port, host).
    pub services: Vec<(u16, String)>,
}

/// The table that services and endpoints mean.
pub fn table(domain: &str, services: &[Arc<Value>], slices: &[Arc<Value>]) -> Table {
    let mut table = Table { domain: domain.to_owned(), names: BTreeMap::new() };
    for service in services {
        let host = format!("{}.{}.svc.{domain}", name(service), namespace(service)).to_lowercase();
        let record = table.names.entry(host.clone()).or_default();
        if text(service, "/spec/type") == "ExternalName" {
            record.alias =
                Some(text(service, "/spec/externalName").trim_end_matches('.').to_lowercase());
            continue;
        }
        record.ips = cluster_ips(service);
        for port in ports(service) {
            let (port_name, Some(number)) = (text(port, "/name"), port_number(port, "port")) else {
                continue;
            };
            if !port_name.is_empty() {
                let protocol = match text(port, "/protocol") {
                    "UDP" => "udp",
                    _ => "tcp",
                };
                let key = format!("_{port_name}._{protocol}.{host}");
                table.names.entry(key).or_default().services.push((number, host.clone()));
            }
        }
    }
    for slice in slices {
        endpoints(&mut table, domain, services, slice);
    }
    table
}

/// A headless service is its endpoints; those with a host name have names of their own.
fn endpoints(table: &mut Table, domain: &str, services: &[Arc<Value>], slice: &Value) {
    let label = slice.pointer("/metadata/labels/kubernetes.io~1service-name");
    let Some(of) = label.and_then(Value::as_str) else { return };
    let same = |s: &&Arc<Value>| name(s) == of && namespace(s) == namespace(slice);
    let Some(service) = services.iter().find(same) else { return };
    let headless = cluster_ips(service).is_empty() && text(service, "/spec/type") != "ExternalName";
    let host = format!("{of}.{}.svc.{domain}", namespace(slice)).to_lowercase();
    let early = service.pointer("/spec/publishNotReadyAddresses").and_then(Value::as_bool);
    for endpoint in slice.pointer("/endpoints").and_then(Value::as_array).into_iter().flatten() {
        let ready = endpoint.pointer("/conditions/ready").and_then(Value::as_bool).unwrap_or(true);
        if !ready && early != Some(true) {
            continue;
        }
        let addresses = endpoint.pointer("/addresses").and_then(Value::as_array);
        let ips: Vec<IpAddr> =
            addresses.into_iter().flatten().filter_map(|a| a.as_str()?.parse().ok()).collect();
        let own = text(endpoint, "/hostname");
        if !own.is_empty() {
            let key = format!("{own}.{host}").to_lowercase();
            table.names.entry(key).or_default().ips.extend(&ips);
        }
        if headless {
            table.names.entry(host.clone()).or_default().ips.extend(&ips);
        }
    }
}

#[cfg(test)]
mod tests;
