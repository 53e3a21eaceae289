//! Connection pool limits, timeouts and outlier detection.

use super::Policy;
use api::ConnectionPoolSettings;
use api::TcpKeepalive as Keepalive;
use ir::{CircuitBreakers, Cluster, OutlierDetection, TcpKeepalive, UpstreamProtocol};

/// Istio's thresholds: none.
pub(crate) fn unlimited() -> CircuitBreakers {
    CircuitBreakers {
        max_connections: Some(u32::MAX),
        max_pending_requests: Some(u32::MAX),
        max_requests: Some(u32::MAX),
        max_retries: Some(u32::MAX),
        track_remaining: true,
        retry_budget: None,
    }
}

/// `keepalive`: the mesh's.
pub(super) fn apply(policy: &Policy<'_>, keepalive: Option<&Keepalive>, cluster: &mut Cluster) {
    cluster.breakers = unlimited();
    cluster.breakers.retry_budget = policy.retry_budget.map(|b| ir::RetryBudget {
        percent_milli: Some((b.percent.unwrap_or(20.0) * 1000.0) as u32),
        min_concurrency: Some(b.min_retry_concurrency.unwrap_or(3)),
    });
    connections(policy.pool, keepalive, cluster);
    cluster.proxy_protocol = policy.proxy_protocol.map(|p| match p.version {
        api::ProxyProtocolVersion::V1 => ir::ProxyProtocolVersion::V1,
        api::ProxyProtocolVersion::V2 => ir::ProxyProtocolVersion::V2,
    });
    if let Some(written) = policy.outliers {
        cluster.outliers = Some(outliers(written));
        // Below this share of healthy endpoints all are used again; by default never.
        cluster.lb_common.panic_threshold = Some(f64::from(written.min_health_percent.max(0)));
    }
}

/// Of either side: limits, timeouts and keepalive, the mesh's where none is written.
pub(crate) fn connections(
    pool: Option<&ConnectionPoolSettings>,
    keepalive: Option<&Keepalive>,
    cluster: &mut Cluster,
) {
    let tcp = pool.and_then(|p| p.tcp.as_ref());
    let own = tcp.and_then(|t| t.tcp_keepalive.as_ref());
    cluster.tcp_keepalive = own.or(keepalive).map(tcp_keepalive);
    if let Some(pool) = pool {
        limits(pool, cluster);
    }
}

/// Limits and timeouts of connections; those of the protocol that the cluster speaks.
fn limits(pool: &ConnectionPoolSettings, cluster: &mut Cluster) {
    if let Some(tcp) = &pool.tcp {
        limit(&mut cluster.breakers.max_connections, tcp.max_connections);
        if let Some(timeout) = tcp.connect_timeout {
            cluster.connect_timeout = Some(timeout.0);
        }
        cluster.common.idle_timeout = tcp.idle_timeout.map(|d| d.0);
        cluster.common.max_connection_duration = tcp.max_connection_duration.map(|d| d.0);
    }
    if let Some(http) = &pool.http {
        limit(&mut cluster.breakers.max_pending_requests, http.http1_max_pending_requests);
        limit(&mut cluster.breakers.max_requests, http.http2_max_requests);
        limit(&mut cluster.breakers.max_retries, http.max_retries);
        if let Some(idle) = http.idle_timeout {
            cluster.common.idle_timeout = Some(idle.0);
        }
        let per_connection = http.max_requests_per_connection.unwrap_or(0);
        cluster.common.max_requests_per_connection = per_connection.try_into().unwrap_or(0);
        if cluster.protocol != UpstreamProtocol::Http1 {
            cluster.http2.max_concurrent_streams =
                http.max_concurrent_streams.and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0);
            let keepalive = http.http2_keep_alive.as_ref();
            cluster.http2.keepalive_interval = keepalive.and_then(|k| k.interval).map(|d| d.0);
            cluster.http2.keepalive_timeout = keepalive.and_then(|k| k.timeout).map(|d| d.0);
        }
    }
}

fn tcp_keepalive(written: &Keepalive) -> TcpKeepalive {
    let seconds = |d: api::Duration| u32::try_from(d.0.as_secs()).unwrap_or(u32::MAX);
    TcpKeepalive {
        probes: written.probes.filter(|p| *p != 0),
        time: written.time.map(seconds),
        interval: written.interval.map(seconds),
    }
}

/// Zero and negative numbers mean that nothing was written.
fn limit(threshold: &mut Option<u32>, written: Option<i32>) {
    if let Some(n) = written.and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0) {
        *threshold = Some(n);
    }
}

fn outliers(written: &api::OutlierDetection) -> OutlierDetection {
    let mut out = OutlierDetection {
        interval: written.interval.map(|d| d.0),
        base_ejection_time: written.base_ejection_time.map(|d| d.0),
        max_ejection_percent: u32::try_from(written.max_ejection_percent).ok().filter(|p| *p > 0),
        enforcing_success_rate: Some(0),
        split_external_local_origin_errors: written.split_external_local_origin_errors,
        ..OutlierDetection::default()
    };
    if let Some(n) = written.consecutive_5xx_errors {
        // Zero switches the check off.
        out.consecutive_5xx = Some(n);
        out.enforcing_consecutive_5xx = Some(if n > 0 { 100 } else { 0 });
    }
    let gateway = written
        .consecutive_gateway_errors
        .or(written.consecutive_errors.and_then(|n| u32::try_from(n).ok()));
    if let Some(n) = gateway {
        out.consecutive_gateway_failure = Some(n);
        out.enforcing_consecutive_gateway_failure = Some(if n > 0 { 100 } else { 0 });
    }
    if written.split_external_local_origin_errors {
        out.enforcing_local_origin_success_rate = Some(0);
        // Zero leaves Envoy's default in force.
        if let Some(n) = written.consecutive_local_origin_failures.filter(|n| *n > 0) {
            out.consecutive_local_origin_failure = Some(n);
            out.enforcing_consecutive_local_origin_failure = Some(100);
        }
    }
    out
}
