//! Fields that are read and not honoured yet. Whoever writes one is told, by object and field.

use crate::route::claims;
use api::{
    Gateway, LoadBalancerSettings, OutlierDetection, Sidecar, TrafficPolicy, VirtualService,
};
use base::Finding;
use registry::Rule;

const SAY: &str = "has no effect in this version";

fn warn(present: bool, path: impl Into<String>, out: &mut Vec<Finding>) {
    if present {
        out.push(Finding::warning(path, SAY));
    }
}

/// With the object that each stands in, since a rule may be merged from several.
pub(crate) fn in_rule(rule: &Rule) -> Vec<Finding> {
    let whole = rule.policy.iter().map(|p| (&rule.policy_object, "spec".to_owned(), p));
    let subsets = rule.subsets.iter().filter_map(|(subset, object, index)| {
        Some((object, format!("spec.subsets[{index}]"), subset.traffic_policy.as_ref()?))
    });
    let mut all = Vec::new();
    for (object, path, policy) in whole.chain(subsets) {
        let mut out = Vec::new();
        in_policy(policy, &format!("{path}.trafficPolicy"), &mut out);
        all.extend(out.into_iter().map(|f| f.about(object.clone())));
    }
    all
}

fn in_policy(policy: &TrafficPolicy, path: &str, out: &mut Vec<Finding>) {
    load_balancer(policy.load_balancer.as_ref(), path, out);
    outliers(policy.outlier_detection.as_ref(), path, out);
    let interval = policy.retry_budget.as_ref().and_then(|b| b.budget_interval);
    warn(interval.is_some(), format!("{path}.retryBudget.budgetInterval"), out);
    for (index, port) in policy.port_level_settings.iter().enumerate() {
        let path = format!("{path}.portLevelSettings[{index}]");
        load_balancer(port.load_balancer.as_ref(), &path, out);
        outliers(port.outlier_detection.as_ref(), &path, out);
    }
}

fn load_balancer(lb: Option<&LoadBalancerSettings>, path: &str, out: &mut Vec<Finding>) {
    let Some(lb) = lb else { return };
    let path = format!("{path}.loadBalancer");
    warn(lb.zone_aware_lb_setting.is_some(), format!("{path}.zoneAwareLbSetting"), out);
    warn(lb.backend_utilization.is_some(), format!("{path}.backendUtilization"), out);
}

fn outliers(outliers: Option<&OutlierDetection>, path: &str, out: &mut Vec<Finding>) {
    let codes = outliers.is_some_and(|o| !o.outlier_detection_http_error_codes.is_empty());
    warn(codes, format!("{path}.outlierDetection.outlierDetectionHttpErrorCodes"), out);
}

/// `uncaptured`: the workload's connections are never captured.
pub(crate) fn in_sidecar(spec: &Sidecar, uncaptured: bool) -> Vec<Finding> {
    let mut out = Vec::new();
    for (index, egress) in spec.egress.iter().enumerate() {
        let socket = egress.bind.starts_with("unix:");
        warn(socket, format!("spec.egress[{index}].bind"), &mut out);
    }
    for (index, ingress) in spec.ingress.iter().enumerate() {
        let (bind, path) = (&ingress.bind, format!("spec.ingress[{index}].bind"));
        let bound = uncaptured || ingress.capture_mode == api::CaptureMode::None;
        if bind.is_empty() {
            continue;
        }
        if !bound {
            out.push(Finding::warning(path, "has an effect only with captureMode NONE"));
        } else if bind.parse::<std::net::IpAddr>().is_err() {
            let say = format!("{bind:?} is no IP address: the port is open on loopback only");
            out.push(Finding::error(path, say));
        }
    }
    out
}

pub(crate) fn in_gateway(spec: &Gateway) -> Vec<Finding> {
    let mut out = Vec::new();
    for (index, server) in spec.servers.iter().enumerate() {
        let path = format!("spec.servers[{index}]");
        if !server.default_endpoint.is_empty() {
            let say = "has no effect, as in Istio; bind a VirtualService to the Gateway instead";
            out.push(Finding::warning(format!("{path}.defaultEndpoint"), say));
        }
        let certificates = server.tls.iter().flat_map(|t| &t.tls_certificates).enumerate();
        for (at, certificate) in certificates {
            let path = format!("{path}.tls.tlsCertificates[{at}].caCertificates");
            warn(!certificate.ca_certificates.is_empty(), path, &mut out);
        }
    }
    out
}

pub(crate) fn in_virtual_service(spec: &VirtualService) -> Vec<Finding> {
    let mut out = Vec::new();
    let in_mesh = spec.gateways.is_empty() || spec.gateways.iter().any(|g| g == "mesh");
    for (index, http) in spec.http.iter().enumerate() {
        for (at, m) in http.r#match.iter().enumerate() {
            let in_mesh =
                in_mesh && (m.gateways.is_empty() || m.gateways.iter().any(|g| g == "mesh"));
            let lists = [("headers", &m.headers), ("withoutHeaders", &m.without_headers)];
            for (field, name) in lists.into_iter().flat_map(|(f, l)| l.keys().map(move |n| (f, n)))
            {
                let path = format!("spec.http[{index}].match[{at}].{field}[{name}]");
                let complaint = claims::complaint(name, in_mesh);
                out.extend(complaint.map(|say| Finding::warning(path, say)));
            }
        }
    }
    out
}
