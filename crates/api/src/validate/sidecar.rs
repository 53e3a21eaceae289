//! Sidecar.

use super::{Report, destination_rule, is_label};
use crate::{EgressListener, IngressListener, Object, OutboundMode, Sidecar};
use base::Host;

pub(super) fn check(object: &Object<Sidecar>, report: &mut Report) {
    let spec = &object.spec;
    for (index, ingress) in spec.ingress.iter().enumerate() {
        let path = format!("spec.ingress[{index}]");
        check_ingress(ingress, &path, report);
        let taken = |i: &IngressListener| i.port.number == ingress.port.number;
        if spec.ingress[..index].iter().any(taken) {
            report.error(&path, "sidecar: ports on IP bound listeners must be unique");
        }
    }
    let last = spec.egress.len().saturating_sub(1);
    for (index, egress) in spec.egress.iter().enumerate() {
        let path = format!("spec.egress[{index}]");
        check_egress(egress, &path, report);
        if egress.port.is_none() && index != last {
            let say = "sidecar: the egress listener with empty port should be the last listener in the list";
            report.error(&path, say);
        }
    }
    if let Some(policy) = &spec.outbound_traffic_policy {
        let path = "spec.outboundTrafficPolicy";
        if policy.mode == OutboundMode::AllowAnyDynamicDns {
            let say = "sidecar: ALLOW_ANY_DYNAMIC_DNS mode is only supported in MeshConfig, not in \
                       Sidecar resource";
            report.error(path, say);
        }
        if policy.egress_proxy.is_some() {
            let say = "an egress gateway is named by a VirtualService, which can route by host";
            report.deprecated(&format!("{path}.egressProxy"), say);
        }
        if policy.egress_proxy.is_some() && policy.mode != OutboundMode::AllowAny {
            let say = "sidecar: egress_proxy must be set only with ALLOW_ANY outbound_traffic_policy mode";
            report.error(path, say);
        }
    }
    if let Some(pool) = &spec.inbound_connection_pool {
        destination_rule::connection_pool(pool, "spec.inboundConnectionPool", report);
    }
}

fn check_ingress(ingress: &IngressListener, path: &str, report: &mut Report) {
    report.port(ingress.port.number, &format!("{path}.port.number"));
    let endpoint = &ingress.default_endpoint;
    let at = format!("{path}.defaultEndpoint");
    let local = ["127.0.0.1:", "0.0.0.0:", "[::1]:", "[::]:"];
    if let Some(path) = endpoint.strip_prefix("unix://") {
        report.require(!path.is_empty(), &at, "sidecar: defaultEndpoint names no socket");
    } else if let Some(port) = local.iter().find_map(|l| endpoint.strip_prefix(l)) {
        match port.parse::<u32>() {
            Ok(port) => report.port(port, &at),
            Err(e) => {
                report.error(
                    &at,
                    format!("sidecar: defaultEndpoint port ({port}) is not a number: {e}"),
                );
            }
        }
    } else if !endpoint.is_empty() {
        let say = "sidecar: defaultEndpoint must be of form 127.0.0.1:<port>, 0.0.0.0:<port>, \
                   [::1]:port, [::]:port, unix://filepath or unset";
        report.error(&at, say);
    }
    if ingress.tls.as_ref().is_some_and(|t| t.https_redirect) {
        report.error(&format!("{path}.tls"), "sidecar: httpsRedirect is not supported");
    }
}

fn check_egress(egress: &EgressListener, path: &str, report: &mut Report) {
    let some = !egress.hosts.is_empty();
    report.require(some, path, "sidecar: egress listener must contain at least one host");
    for (index, written) in egress.hosts.iter().enumerate() {
        let at = format!("{path}.hosts[{index}]");
        let Some((namespace, host)) = written.split_once('/') else {
            report.error(&at, format!("host {written:?} must be of form namespace/dnsName"));
            continue;
        };
        if !matches!(namespace, "*" | "." | "~") && !is_label(namespace) {
            report.error(&at, format!("invalid namespace value {namespace:?}"));
        }
        let host = host.strip_prefix('~').unwrap_or(host);
        if let Err(e) = Host::parse(host) {
            report.error(&at, e.to_string());
        } else if !host.contains(['.', '*']) {
            report.error(&at, "short names (non FQDN) are not allowed");
        }
        if egress.hosts[..index].contains(written) {
            report.error(&at, format!("duplicate egress host {written}"));
        }
    }
    if let Some(port) = &egress.port {
        report.port(port.number, &format!("{path}.port.number"));
    }
}
