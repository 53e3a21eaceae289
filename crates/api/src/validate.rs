//! What Istio's webhook refuses or warns of: one file for each kind, the checks they share here.

mod destination_rule;
mod gateway;
mod http_route;
mod order;
mod security;
mod service_entry;
mod shape;
mod sidecar;
mod tls;
mod virtual_service;
mod workload;

use crate::decode::{decode, prune_nulls, settle};
use crate::{
    DestinationRule, Gateway, Object, ServiceEntry, Sidecar, VirtualService, WorkloadEntry,
    WorkloadGroup,
};
use base::{Finding, Level};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// All that there is to say about an object of an Istio kind; it is refused when one is an error.
pub fn validate(kind: &str, object: &Value) -> Vec<Finding> {
    match kind {
        "VirtualService" => check::<VirtualService>(kind, object, virtual_service::check),
        "DestinationRule" => check::<DestinationRule>(kind, object, destination_rule::check),
        "Gateway" => check::<Gateway>(kind, object, gateway::check),
        "ServiceEntry" => check::<ServiceEntry>(kind, object, service_entry::check),
        "Sidecar" => check::<Sidecar>(kind, object, sidecar::check),
        "WorkloadEntry" => check::<WorkloadEntry>(kind, object, workload::check_entry),
        "WorkloadGroup" => check::<WorkloadGroup>(kind, object, workload::check_group),
        _ => {
            let mut object = object.clone();
            prune_nulls(&mut object);
            let mut report = Report { findings: settle(kind, &mut object) };
            shape::check(kind, &object, &mut report);
            security::check(kind, &object, &mut report);
            report.findings.extend(without_effect(kind));
            report.findings.extend(without_target(kind, &object));
            report.findings
        }
    }
}

/// Kinds that are stored and not acted on yet: whoever writes one must not rely on it.
fn without_effect(kind: &str) -> Option<Finding> {
    match kind {
        "Telemetry" | "TrafficExtension" | "WasmPlugin" => Some(Finding::warning(
            "",
            format!("{kind} is stored, and has no effect in this version"),
        )),
        _ => None,
    }
}

/// A policy for what no proxy of ours stands for protects nothing.
fn without_target(kind: &str, object: &Value) -> Vec<Finding> {
    if !matches!(kind, "AuthorizationPolicy" | "RequestAuthentication") {
        return Vec::new();
    }
    let spec = &object["spec"];
    let many = spec["targetRefs"].as_array().into_iter().flatten();
    let of = |target: &Value| {
        let kind = target["kind"].as_str().filter(|kind| *kind != "Gateway")?;
        let say = format!("kind {kind} is NOT ENFORCED in this version; use a selector");
        Some(Finding::warning("spec.targetRefs", say))
    };
    many.chain([&spec["targetRef"]]).filter_map(of).collect()
}

fn check<T>(kind: &str, object: &Value, of: fn(&Object<T>, &mut Report)) -> Vec<Finding>
where
    T: Default + DeserializeOwned,
{
    let mut settled = object.clone();
    prune_nulls(&mut settled);
    let mut report = Report { findings: settle(kind, &mut settled) };
    shape::check(kind, &settled, &mut report);
    match decode::<Object<T>>(kind, object) {
        // A wrong type has been named already, and better.
        Err(_) if report.findings.iter().any(|f| f.level == Level::Error) => {}
        Err(finding) => report.findings.push(*finding),
        Ok(mut decoded) => {
            if decoded.object.metadata.namespace.is_empty() {
                decoded.object.metadata.namespace = "default".to_owned();
            }
            of(&decoded.object, &mut report);
        }
    }
    report.findings
}

/// Collects findings by field path.
struct Report {
    findings: Vec<Finding>,
}

impl Report {
    fn error(&mut self, path: &str, message: impl Into<String>) {
        self.findings.push(Finding::error(path, message));
    }

    fn warning(&mut self, path: &str, message: impl Into<String>) {
        self.findings.push(Finding::warning(path, message));
    }

    /// Of a field that still works and has a successor.
    fn deprecated(&mut self, path: &str, message: impl Into<String>) {
        self.findings.push(Finding::warning(path, message).code("IST0002"));
    }

    /// An error unless the condition holds.
    fn require(&mut self, holds: bool, path: &str, message: &str) {
        if !holds {
            self.error(path, message);
        }
    }

    fn export_to(&mut self, written: &[String], path: &str) {
        for (index, name) in written.iter().enumerate() {
            let path = format!("{path}[{index}]");
            if written[..index].contains(name) {
                self.error(&path, format!("duplicate entries in exportTo: {name}"));
            } else if !matches!(name.as_str(), "*" | "." | "~") && !is_label(name) {
                self.error(&path, format!("invalid value for namespace: {name:?}"));
            }
        }
        let wide = written.iter().any(|n| n == "*" || n == "~");
        self.require(
            !wide || written.len() == 1,
            path,
            "* and ~ stand for everybody and nobody, and cannot be combined with other namespaces",
        );
    }

    fn port(&mut self, number: u32, path: &str) {
        let ok = (1..=65535).contains(&number);
        self.require(ok, path, "port must be between 1-65535");
    }
}

/// A DNS label (RFC 1123).
fn is_label(name: &str) -> bool {
    let ok = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&name.len())
        && name.bytes().all(ok)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// An address, or an address and a number of bits.
fn is_cidr(text: &str) -> bool {
    match text.split_once('/') {
        None => text.parse::<std::net::IpAddr>().is_ok(),
        Some((ip, bits)) => match (ip.parse::<std::net::IpAddr>(), bits.parse::<u8>()) {
            (Ok(ip), Ok(bits)) => bits <= if ip.is_ipv4() { 32 } else { 128 },
            _ => false,
        },
    }
}

/// A regular expression that the proxy would refuse. Its language is RE2's, which is that of `regex`
/// for all that is used here.
fn check_regex(pattern: &str) -> Result<(), String> {
    if pattern.len() > 1024 {
        return Err("a regex may have 1024 bytes at most".to_owned());
    }
    regex::Regex::new(pattern).map(drop).map_err(|e| format!("not a regex: {e}"))
}

/// Field names of HTTP (RFC 9110, section 5.1).
fn is_header_name(name: &str) -> bool {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !name.is_empty() && name.bytes().all(token)
}

#[cfg(test)]
mod released;
#[cfg(test)]
mod tests;
