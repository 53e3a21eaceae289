//! VirtualService.

use super::{Report, http_route, is_cidr, is_label, order};
use crate::{
    Destination, L4MatchAttributes, Object, RouteDestination, TlsMatchAttributes, VirtualService,
};
use base::Host;

pub(super) fn check(object: &Object<VirtualService>, report: &mut Report) {
    let spec = &object.spec;
    let in_mesh = spec.gateways().any(|g| g == VirtualService::MESH);
    for (index, gateway) in spec.gateways.iter().enumerate() {
        gateway_name(gateway, &format!("spec.gateways[{index}]"), report);
    }
    if spec.is_delegate() {
        check_delegate(spec, report);
    }
    check_hosts(object, in_mesh, report);
    let routed = !(spec.http.is_empty() && spec.tls.is_empty() && spec.tcp.is_empty());
    report.require(routed, "spec", "http, tcp or tls must be provided in virtual service");
    for (index, http) in spec.http.iter().enumerate() {
        http_route::check(http, spec, &format!("spec.http[{index}]"), report);
    }
    for (index, tls) in spec.tls.iter().enumerate() {
        let path = format!("spec.tls[{index}]");
        report.require(
            !tls.r#match.is_empty(),
            &path,
            "TLS route must have at least one match condition",
        );
        for (at, m) in tls.r#match.iter().enumerate() {
            tls_match(m, spec, object, &format!("{path}.match[{at}]"), report);
        }
        report.require(!tls.route.is_empty(), &path, "TLS route is required");
        l4_destinations(&tls.route, &path, report);
    }
    for (index, tcp) in spec.tcp.iter().enumerate() {
        let path = format!("spec.tcp[{index}]");
        for (at, m) in tcp.r#match.iter().enumerate() {
            l4_match(m, &format!("{path}.match[{at}]"), report);
        }
        report.require(!tcp.route.is_empty(), &path, "TCP route is required");
        l4_destinations(&tcp.route, &path, report);
    }
    order::check(spec, report);
    report.export_to(&spec.export_to, "spec.exportTo");
}

fn check_delegate(spec: &VirtualService, report: &mut Report) {
    let none = "delegate virtual service must have no";
    let parts = [
        (spec.gateways.is_empty(), "spec.gateways", "gateways specified"),
        (spec.tls.is_empty(), "spec.tls", "tls route specified"),
        (spec.tcp.is_empty(), "spec.tcp", "tcp route specified"),
    ];
    for (empty, path, what) in parts {
        report.require(empty, path, &format!("{none} {what}"));
    }
}

fn check_hosts(object: &Object<VirtualService>, in_mesh: bool, report: &mut Report) {
    let mut seen: Vec<(Host, &str)> = Vec::new();
    for (index, written) in object.spec.hosts.iter().enumerate() {
        let path = format!("spec.hosts[{index}]");
        if written == "*" && in_mesh {
            let say =
                "wildcard host * is not allowed for virtual services bound to the mesh gateway";
            report.error(&path, say);
        }
        match Host::resolve(written, &object.metadata.namespace, "cluster.local") {
            Err(e) => report.error(&path, e.to_string()),
            Ok(host) => {
                if let Some((_, earlier)) = seen.iter().find(|(h, _)| *h == host) {
                    let say = format!("duplicate hosts in virtual service: {earlier} & {written}");
                    report.error(&path, say);
                }
                seen.push((host, written));
            }
        }
    }
}

/// `mesh`, `namespace/name` or `name`.
pub(super) fn gateway_name(name: &str, path: &str, report: &mut Report) {
    if name == VirtualService::MESH {
        return;
    }
    let (namespace, gateway) = name.split_once('/').unwrap_or((".", name));
    if namespace.is_empty() || gateway.is_empty() {
        report.error(path, "config namespace and gateway name cannot be empty");
    } else if namespace != "." && !is_label(namespace) {
        report.error(path, format!("invalid value for namespace: {namespace:?}"));
    } else if !gateway.split('.').all(is_label) {
        report.error(path, format!("invalid value for gateway name: {gateway:?}"));
    }
}

fn tls_match(
    m: &TlsMatchAttributes,
    spec: &VirtualService,
    object: &Object<VirtualService>,
    path: &str,
    report: &mut Report,
) {
    let at = format!("{path}.sniHosts");
    report.require(!m.sni_hosts.is_empty(), &at, "TLS match must have at least one SNI host");
    for sni in &m.sni_hosts {
        let parsed = Host::parse(sni);
        if sni.parse::<std::net::IpAddr>().is_ok() || parsed.is_err() {
            report.error(&at, format!("invalid SNI host {sni:?}"));
            continue;
        }
        let covers = |host: &String| {
            let host = Host::resolve(host, &object.metadata.namespace, "cluster.local");
            matches!((&host, &parsed), (Ok(h), Ok(p)) if h.covers(p))
        };
        if !spec.hosts.iter().any(covers) {
            report.error(
                &at,
                format!(
                    "SNI host {sni:?} is not a compatible subset of any of the virtual service \
                     hosts: [{}]",
                    spec.hosts.join(", ")
                ),
            );
        }
    }
    subnets(&m.destination_subnets, path, report);
    if let Some(port) = m.port {
        report.port(port, &format!("{path}.port"));
    }
}

fn l4_match(m: &L4MatchAttributes, path: &str, report: &mut Report) {
    subnets(&m.destination_subnets, path, report);
    if let Some(port) = m.port {
        report.port(port, &format!("{path}.port"));
    }
    if !m.source_subnet.is_empty() {
        report.warning(&format!("{path}.sourceSubnet"), "has no effect");
    }
}

fn subnets(written: &[String], path: &str, report: &mut Report) {
    for subnet in written.iter().filter(|s| !is_cidr(s)) {
        let say = format!("{subnet:?} is neither an address nor a range");
        report.error(&format!("{path}.destinationSubnets"), say);
    }
}

fn l4_destinations(routes: &[RouteDestination], path: &str, report: &mut Report) {
    for (index, route) in routes.iter().enumerate() {
        let path = format!("{path}.route[{index}]");
        destination(route.destination.as_ref(), &path, report);
        report.require(route.weight >= 0, &format!("{path}.weight"), "weight must be >= 0");
    }
    if routes.len() > 1 && routes.iter().all(|r| r.weight <= 0) {
        report.error(&format!("{path}.route"), "total destination weight = 0");
    }
}

pub(super) fn destination(destination: Option<&Destination>, path: &str, report: &mut Report) {
    let Some(destination) = destination else {
        return report.error(&format!("{path}.destination"), "destination is required");
    };
    let host = &destination.host;
    if host == "*" || Host::resolve(host, "default", "cluster.local").is_err() {
        let at = format!("{path}.destination.host");
        report.error(&at, format!("invalid destination host {host}"));
    }
    if !destination.subset.is_empty() && !is_label(&destination.subset.to_ascii_lowercase()) {
        let at = format!("{path}.destination.subset");
        report.error(&at, format!("subset name is invalid: {}", destination.subset));
    }
    if let Some(port) = &destination.port {
        report.port(port.number, &format!("{path}.destination.port.number"));
    }
}
