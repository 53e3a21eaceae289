//! DestinationRule.

use super::{Report, is_label, tls};
use crate::{
    ConnectionPoolSettings, DestinationRule, Duration, H2UpgradePolicy, LoadBalancerSettings,
    LocalityLbSetting, Object, OutlierDetection, PortTrafficPolicy, TrafficPolicy,
};
use base::Host;

pub(super) fn check(object: &Object<DestinationRule>, report: &mut Report) {
    let spec = &object.spec;
    if let Err(e) = Host::resolve(&spec.host, &object.metadata.namespace, "cluster.local") {
        report.error("spec.host", e.to_string());
    }
    if let Some(policy) = &spec.traffic_policy {
        traffic_policy(policy, "spec.trafficPolicy", report);
    }
    for (index, subset) in spec.subsets.iter().enumerate() {
        let path = format!("spec.subsets[{index}]");
        if subset.name.is_empty() {
            report.error(&path, "subset name cannot be empty");
        } else if !is_label(&subset.name.to_ascii_lowercase()) {
            report.error(&path, format!("subset name is invalid: {}", subset.name));
        }
        if spec.subsets[..index].iter().any(|s| s.name == subset.name) {
            report.error(&path, format!("duplicate subset names: {}", subset.name));
        }
        if let Some(policy) = &subset.traffic_policy {
            traffic_policy(policy, &format!("{path}.trafficPolicy"), report);
        }
    }
    report.export_to(&spec.export_to, "spec.exportTo");
    let elsewhere = |n: &String| n != "." && *n != object.metadata.namespace;
    if spec.workload_selector.is_some() && spec.export_to.iter().any(elsewhere) {
        let say = "a rule with workloadSelector is for its own namespace and cannot be exported";
        report.error("spec.exportTo", say);
    }
}

pub(super) fn traffic_policy(policy: &TrafficPolicy, path: &str, report: &mut Report) {
    report.require(
        *policy != TrafficPolicy::default(),
        path,
        "traffic policy must have at least one field",
    );
    if policy.tunnel.is_some() && policy.proxy_protocol.is_some() {
        report.error(path, "tunnel and proxyProtocol must not be set together");
    }
    parts(
        policy.load_balancer.as_ref(),
        policy.connection_pool.as_ref(),
        policy.outlier_detection.as_ref(),
        path,
        report,
    );
    if let Some(settings) = &policy.tls {
        tls::check_client(settings, &format!("{path}.tls"), report);
    }
    for (index, settings) in policy.port_level_settings.iter().enumerate() {
        port_policy(settings, &format!("{path}.portLevelSettings[{index}]"), report);
    }
}

fn port_policy(settings: &PortTrafficPolicy, path: &str, report: &mut Report) {
    match &settings.port {
        None => report.error(path, "portTrafficPolicy must have valid port"),
        Some(port) => report.port(port.number, &format!("{path}.port.number")),
    }
    parts(
        settings.load_balancer.as_ref(),
        settings.connection_pool.as_ref(),
        settings.outlier_detection.as_ref(),
        path,
        report,
    );
    if let Some(settings) = &settings.tls {
        tls::check_client(settings, &format!("{path}.tls"), report);
    }
}

fn parts(
    balancer: Option<&LoadBalancerSettings>,
    pool: Option<&ConnectionPoolSettings>,
    outliers: Option<&OutlierDetection>,
    path: &str,
    report: &mut Report,
) {
    if let Some(balancer) = balancer {
        load_balancer(balancer, outliers.is_some(), &format!("{path}.loadBalancer"), report);
    }
    if let Some(pool) = pool {
        connection_pool(pool, &format!("{path}.connectionPool"), report);
    }
    if let Some(outliers) = outliers {
        outlier_detection(outliers, &format!("{path}.outlierDetection"), report);
    }
}

fn at_least_1ms(duration: Option<Duration>, path: &str, report: &mut Report) {
    let ok = duration.is_none_or(|d| d.0.as_millis() >= 1);
    report.require(ok, path, "must be a valid duration greater than 1ms");
}

pub(super) fn connection_pool(pool: &ConnectionPoolSettings, path: &str, report: &mut Report) {
    let some = pool.tcp.is_some() || pool.http.is_some();
    report.require(some, path, "connection pool must have at least one field");
    let not_negative = |n: Option<i32>, name: &str, report: &mut Report| {
        let say = format!("{name} must be non-negative");
        report.require(n.is_none_or(|n| n >= 0), path, &say);
    };
    if let Some(http) = &pool.http {
        not_negative(http.http1_max_pending_requests, "http1 max pending requests", report);
        not_negative(http.http2_max_requests, "http2 max requests", report);
        not_negative(http.max_requests_per_connection, "max requests per connection", report);
        not_negative(http.max_retries, "max retries", report);
        not_negative(http.max_concurrent_streams, "max concurrent streams", report);
        at_least_1ms(http.idle_timeout, &format!("{path}.http.idleTimeout"), report);
        if http.use_client_protocol && http.h2_upgrade_policy == Some(H2UpgradePolicy::Upgrade) {
            let say = "use client protocol must not be true when H2UpgradePolicy is UPGRADE";
            report.error(path, say);
        }
        if let Some(keepalive) = &http.http2_keep_alive {
            let at = format!("{path}.http.http2KeepAlive");
            report.require(
                keepalive.interval.is_some(),
                &at,
                "http2 keepalive interval is required",
            );
            report.require(keepalive.timeout.is_some(), &at, "http2 keepalive timeout is required");
        }
    }
    if let Some(tcp) = &pool.tcp {
        not_negative(tcp.max_connections, "max connections", report);
        at_least_1ms(tcp.connect_timeout, &format!("{path}.tcp.connectTimeout"), report);
        at_least_1ms(tcp.idle_timeout, &format!("{path}.tcp.idleTimeout"), report);
        let longest = tcp.max_connection_duration;
        at_least_1ms(longest, &format!("{path}.tcp.maxConnectionDuration"), report);
    }
}

fn outlier_detection(outliers: &OutlierDetection, path: &str, report: &mut Report) {
    at_least_1ms(outliers.interval, &format!("{path}.interval"), report);
    at_least_1ms(outliers.base_ejection_time, &format!("{path}.baseEjectionTime"), report);
    if outliers.consecutive_errors.is_some() {
        let say = "outlier detection consecutive errors is deprecated, use consecutiveGatewayErrors \
                   or consecutive5xxErrors instead";
        report.deprecated(&format!("{path}.consecutiveErrors"), say);
    }
    let local = outliers.consecutive_local_origin_failures.unwrap_or(0) > 0;
    if local && !outliers.split_external_local_origin_errors {
        let say = "outlier detection consecutive local origin failures is specified, but split \
                   external local origin errors is set to false";
        report.error(path, say);
    }
    for (name, percent) in [
        ("maxEjectionPercent", outliers.max_ejection_percent),
        ("minHealthPercent", outliers.min_health_percent),
    ] {
        let at = format!("{path}.{name}");
        report.require((0..=100).contains(&percent), &at, "percentage must be in range 0..100");
    }
}

fn load_balancer(
    balancer: &LoadBalancerSettings,
    has_outliers: bool,
    path: &str,
    report: &mut Report,
) {
    if balancer.simple.is_some() && balancer.consistent_hash.is_some() {
        report.error(path, "only one of simple and consistentHash can be set");
    }
    if balancer.locality_lb_setting.is_some() && balancer.zone_aware_lb_setting.is_some() {
        report.error(path, "only one of localityLbSetting and zoneAwareLbSetting can be set");
    }
    if let Some(locality) = &balancer.locality_lb_setting {
        check_locality(locality, has_outliers, &format!("{path}.localityLbSetting"), report);
    }
    if let Some(warmup) = &balancer.warmup {
        let at = format!("{path}.warmup");
        if warmup.duration.is_none() {
            report.error(&format!("{at}.duration"), "duration is required");
        }
        if warmup.minimum_percent.is_some_and(|p| !(0.0..=100.0).contains(&p)) {
            let say = "minimumPercent value should be less than or equal to 100";
            report.error(&format!("{at}.minimumPercent"), say);
        }
        if warmup.aggression.is_some_and(|a| a < 1.0) {
            report.error(
                &format!("{at}.aggression"),
                "aggression should be greater than or equal to 1",
            );
        }
    }
    check_hash(balancer, path, report);
}

fn check_hash(balancer: &LoadBalancerSettings, path: &str, report: &mut Report) {
    let Some(hash) = &balancer.consistent_hash else { return };
    let path = format!("{path}.consistentHash");
    if let Some(cookie) = &hash.http_cookie {
        report.require(!cookie.name.is_empty(), &path, "name required for HttpCookie");
        for (index, attribute) in cookie.attributes.iter().enumerate() {
            if attribute.name.is_empty() {
                report.error(&path, "cookie attribute name cannot be empty");
            } else if cookie.attributes[..index].iter().any(|a| a.name == attribute.name) {
                report.error(&path, format!("duplicate cookie attribute name: {}", attribute.name));
            }
        }
    }
    let tables = usize::from(hash.minimum_ring_size.is_some_and(|n| n > 0))
        + usize::from(hash.ring_hash.is_some() || hash.maglev.is_some());
    let one = "only one of MinimumRingSize or Maglev/Ringhash can be specified";
    report.require(tables <= 1, &path, one);
    if let Some(maglev) = &hash.maglev {
        match maglev.table_size {
            None | Some(0) => report.error(&path, "tableSize must be set for maglev"),
            Some(size) if size >= 5_000_011 => {
                report.error(&path, "tableSize must be less than 5000011 for maglev");
            }
            Some(size) if !is_prime(size) => {
                report.error(&path, "tableSize must be a prime number for maglev");
            }
            Some(_) => {}
        }
    }
}

fn is_prime(n: u64) -> bool {
    n >= 2 && (2..).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d))
}

fn check_locality(
    locality: &LocalityLbSetting,
    has_outliers: bool,
    path: &str,
    report: &mut Report,
) {
    if !locality.distribute.is_empty() && !locality.failover.is_empty() {
        report.error(path, "can not simultaneously specify 'distribute' and 'failover'");
    }
    for rule in &locality.distribute {
        let total: u64 = rule.to.values().map(|w| u64::from(*w)).sum();
        if rule.to.values().any(|w| !(1..=100).contains(w)) {
            report.error(
                path,
                format!("locality weight must be in range [1, 100] for {}", rule.from),
            );
        }
        if total != 100 {
            report.error(path, format!("total locality weight {total} != 100"));
        }
    }
    for rule in &locality.failover {
        if rule.from == rule.to {
            let say = format!(
                "locality lb failover settings must specify different regions: {}",
                rule.from
            );
            report.error(path, say);
        }
        if rule.to.contains('*') || rule.to.contains('/') {
            report.error(path, "locality lb failover region must be a region, without '*' and '/'");
        }
    }
    let fails_over = !locality.failover.is_empty() || !locality.failover_priority.is_empty();
    if fails_over && !has_outliers {
        report.warning(path, "outlier detection policy must be provided for failover");
    }
}
