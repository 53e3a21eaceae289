//! ServiceEntry.

use super::{Report, is_cidr};
use crate::{Object, Resolution, ServiceEntry};
use base::Host;

/// Addresses without a mask are themselves; with one they are ranges.
pub(super) fn check(object: &Object<ServiceEntry>, report: &mut Report) {
    let spec = &object.spec;
    report.require(
        !spec.hosts.is_empty(),
        "spec.hosts",
        "service entry must have at least one host",
    );
    for (index, host) in spec.hosts.iter().enumerate() {
        let path = format!("spec.hosts[{index}]");
        if host == "*" {
            report.error(&path, "hostname cannot be wildcard");
        } else if let Err(e) = Host::parse(host) {
            // Istio stores partial wildcards such as `*x`, though no request can match them.
            report.warning(&path, format!("{e}; it has no effect"));
        }
    }
    check_addresses(spec, report);
    check_ports(spec, report);
    check_endpoints(spec, report);
    if let Some(selector) = &spec.workload_selector {
        report.require(
            spec.endpoints.is_empty(),
            "spec",
            "only one of WorkloadSelector or Endpoints can be set",
        );
        let wildcard = |(k, v): (&String, &String)| k.contains('*') || v.contains('*');
        if selector.labels.iter().any(wildcard) {
            report.error("spec.workloadSelector", "wildcard is not supported in selector");
        }
    }
    report.export_to(&spec.export_to, "spec.exportTo");
}

fn check_addresses(spec: &ServiceEntry, report: &mut Report) {
    for (index, address) in spec.addresses.iter().enumerate() {
        let path = format!("spec.addresses[{index}]");
        if !is_cidr(address) {
            // Leading zeros and their like are stored by Istio too.
            report.warning(
                &path,
                format!("{address:?} is neither an address nor a range, and has no effect"),
            );
        }
        let may = matches!(spec.resolution, Resolution::None | Resolution::Static);
        if address.contains('/') && !may {
            let say = "CIDR addresses are allowed only for NONE/STATIC resolution types";
            report.error(&path, say);
        }
    }
}

fn check_ports(spec: &ServiceEntry, report: &mut Report) {
    for (index, port) in spec.ports.iter().enumerate() {
        let path = format!("spec.ports[{index}]");
        report.port(port.number, &format!("{path}.number"));
        if let Some(target) = port.target_port {
            report.port(target, &format!("{path}.targetPort"));
        }
        let before = &spec.ports[..index];
        if before.iter().any(|p| p.number == port.number) {
            report.error(&path, "port number cannot be duplicated");
        }
        if before.iter().any(|p| p.name == port.name) {
            report.error(&format!("{path}.name"), format!("Duplicate value: {:?}", port.name));
        }
        report.require(!port.name.is_empty(), &format!("{path}.name"), "port name must be set");
    }
}

fn check_endpoints(spec: &ServiceEntry, report: &mut Report) {
    let some = !spec.endpoints.is_empty();
    match spec.resolution {
        Resolution::None => {
            report.require(!some, "spec.endpoints", "NONE mode cannot set endpoints");
        }
        Resolution::DnsRoundRobin if spec.endpoints.len() > 1 => {
            report.error("spec.endpoints", "DNS_ROUND_ROBIN mode cannot have multiple endpoints");
        }
        Resolution::Dns | Resolution::DnsRoundRobin if !some => {
            for host in spec.hosts.iter().filter(|h| h.contains('*')) {
                let say = format!(
                    "hosts must be FQDN if no endpoints are provided for resolution mode DNS: {host}"
                );
                report.error("spec.hosts", say);
            }
        }
        _ => {}
    }
    for (index, endpoint) in spec.endpoints.iter().enumerate() {
        let path = format!("spec.endpoints[{index}]");
        let is_ip = endpoint.address.parse::<std::net::IpAddr>().is_ok();
        let is_unix = endpoint.address.starts_with("unix://");
        if spec.resolution == Resolution::Static && !is_ip && !is_unix {
            let say = format!("endpoint address {:?} is not a valid IP address", endpoint.address);
            report.error(&format!("{path}.address"), say);
        }
        if is_unix && (spec.ports.len() != 1 || spec.resolution != Resolution::Static) {
            report.error(&path, "unix endpoints need STATIC resolution and exactly one port");
        }
        for name in endpoint.ports.keys() {
            let known = spec.ports.iter().any(|p| p.name == *name);
            let say = format!("endpoint port {name} is not among the ports of the service entry");
            report.require(known, &format!("{path}.ports"), &say);
        }
    }
}
