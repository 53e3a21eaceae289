//! The traffic policy that holds for one port and subset, and the choice of an endpoint by it.

use api::{
    ClientTlsSettings, ConnectionPoolSettings, LoadBalancerSettings, MeshConfig, OutlierDetection,
    ProxyProtocol, RetryBudget, SimpleLb, Subset, TrafficPolicy, TunnelSettings,
};
use ir::{Cluster, Discovery, HashPolicy, HashSource, LoadBalancer, SlowStart};
use registry::Rule;

/// Which settings hold: the rule's, replaced as a whole by those of the port, overlaid by those of
/// the subset in the same way.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Policy<'a> {
    pub lb: Option<&'a LoadBalancerSettings>,
    pub pool: Option<&'a ConnectionPoolSettings>,
    pub outliers: Option<&'a OutlierDetection>,
    pub tls: Option<&'a ClientTlsSettings>,
    pub proxy_protocol: Option<&'a ProxyProtocol>,
    pub retry_budget: Option<&'a RetryBudget>,
    pub tunnel: Option<&'a TunnelSettings>,
}

impl<'a> Policy<'a> {
    pub fn of(rule: Option<&'a Rule>, subset: Option<&'a Subset>, port: u16) -> Policy<'a> {
        let whole = rule.and_then(|r| r.policy.as_ref());
        let of_subset = subset.and_then(|s| s.traffic_policy.as_ref());
        Policy::default().overlaid(whole, port).overlaid(of_subset, port)
    }

    fn overlaid(self, over: Option<&'a TrafficPolicy>, port: u16) -> Policy<'a> {
        let Some(over) = over else { return self };
        let merged = Policy {
            lb: over.load_balancer.as_ref().or(self.lb),
            pool: over.connection_pool.as_ref().or(self.pool),
            outliers: over.outlier_detection.as_ref().or(self.outliers),
            tls: over.tls.as_ref().or(self.tls),
            proxy_protocol: over.proxy_protocol.as_ref().or(self.proxy_protocol),
            retry_budget: over.retry_budget.as_ref().or(self.retry_budget),
            tunnel: over.tunnel.as_ref().or(self.tunnel),
        };
        let of_port = |p: &&api::PortTrafficPolicy| {
            p.port.as_ref().is_some_and(|s| s.number == u32::from(port))
        };
        match over.port_level_settings.iter().find(of_port) {
            None => merged,
            // What a port's settings leave out is the default, not the destination's.
            Some(p) => Policy {
                lb: p.load_balancer.as_ref(),
                pool: p.connection_pool.as_ref(),
                outliers: p.outlier_detection.as_ref(),
                tls: p.tls.as_ref(),
                ..merged
            },
        }
    }

    /// With the mesh's defaults where nothing is written.
    pub fn or_mesh(self, mesh: &'a MeshConfig) -> Policy<'a> {
        let default = &mesh.default_traffic_policy;
        Policy {
            pool: self.pool.or(default.connection_pool.as_ref()),
            outliers: self.outliers.or(default.outlier_detection.as_ref()),
            ..self
        }
    }

    pub fn simple(&self) -> Option<SimpleLb> {
        self.lb.and_then(|lb| lb.simple)
    }
}

pub(super) fn apply_load_balancer(policy: &Policy<'_>, cluster: &mut Cluster) {
    if matches!(cluster.discovery, Discovery::OriginalDst | Discovery::ByHost(_)) {
        cluster.lb = LoadBalancer::ClusterProvided;
        return;
    }
    let slow_start = slow_start(policy);
    if let Some(hash) = policy.lb.and_then(|lb| lb.consistent_hash.as_ref()) {
        cluster.lb = match &hash.maglev {
            Some(maglev) => LoadBalancer::Maglev { table_size: maglev.table_size },
            None => {
                let ring = hash.ring_hash.as_ref().and_then(|r| r.minimum_ring_size);
                let size = ring.or(hash.minimum_ring_size).unwrap_or(1024);
                LoadBalancer::RingHash { min_size: Some(size), max_size: None }
            }
        };
        return;
    }
    cluster.lb = match policy.simple() {
        Some(SimpleLb::RoundRobin) => LoadBalancer::RoundRobin { slow_start },
        Some(SimpleLb::Random) => LoadBalancer::Random,
        _ => LoadBalancer::LeastRequest { choices: None, bias: None, slow_start },
    };
}

fn slow_start(policy: &Policy<'_>) -> Option<SlowStart> {
    let lb = policy.lb?;
    if let Some(warmup) = &lb.warmup {
        return Some(SlowStart {
            window: warmup.duration?.0,
            aggression: Some(warmup.aggression.unwrap_or(1.0)),
            min_weight_percent: Some(warmup.minimum_percent.unwrap_or(10.0)),
        });
    }
    let window = lb.warmup_duration_secs?.0;
    Some(SlowStart { window, aggression: None, min_weight_percent: None })
}

/// What requests are hashed by, for consistent hashing. It belongs to the route.
pub(crate) fn hash_policies(policy: &Policy<'_>) -> Vec<HashPolicy> {
    let Some(hash) = policy.lb.and_then(|lb| lb.consistent_hash.as_ref()) else {
        return Vec::new();
    };
    let source = if let Some(header) = &hash.http_header_name {
        HashSource::Header(header.to_ascii_lowercase().into())
    } else if let Some(cookie) = &hash.http_cookie {
        let attributes = &cookie.attributes;
        HashSource::Cookie {
            name: cookie.name.as_str().into(),
            path: cookie.path.as_str().into(),
            ttl: cookie.ttl.map(|t| t.0),
            attributes: attributes
                .iter()
                .map(|a| (a.name.as_str().into(), a.value.as_str().into()))
                .collect(),
        }
    } else if let Some(parameter) = &hash.http_query_parameter_name {
        HashSource::Query(parameter.as_str().into())
    } else if hash.use_source_ip == Some(true) {
        HashSource::SourceIp
    } else {
        return Vec::new();
    };
    vec![HashPolicy { source, terminal: false }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rule(spec: serde_json::Value) -> api::DestinationRule {
        api::decode("", &spec).unwrap().object
    }

    /// A port's settings hide the destination's, a subset's lie over both.
    #[test]
    fn which_level_holds() {
        let spec = rule(json!({"host": "a", "trafficPolicy": {
                "loadBalancer": {"simple": "RANDOM"},
                "outlierDetection": {"interval": "1s"},
                "portLevelSettings": [{"port": {"number": 81}, "loadBalancer": {"simple": "ROUND_ROBIN"}}]},
            "subsets": [
                {"name": "v1", "trafficPolicy": {"loadBalancer": {"simple": "LEAST_REQUEST"}}},
                {"name": "v2", "trafficPolicy": {"portLevelSettings": [
                    {"port": {"number": 81}, "outlierDetection": {"interval": "2s"}}]}}]}));
        let at = |subset: Option<usize>, port| {
            let whole = Policy::default().overlaid(spec.traffic_policy.as_ref(), port);
            let over = subset.and_then(|i| spec.subsets[i].traffic_policy.as_ref());
            let p = whole.overlaid(over, port);
            (p.simple(), p.outliers.and_then(|o| o.interval).map(|i| i.0.as_secs()))
        };
        assert_eq!(at(None, 80), (Some(SimpleLb::Random), Some(1)));
        assert_eq!(at(None, 81), (Some(SimpleLb::RoundRobin), None));
        assert_eq!(at(Some(0), 80), (Some(SimpleLb::LeastRequest), Some(1)));
        assert_eq!(at(Some(0), 81), (Some(SimpleLb::LeastRequest), None));
        assert_eq!(at(Some(1), 80), (Some(SimpleLb::Random), Some(1)));
        assert_eq!(at(Some(1), 81), (None, Some(2)));
    }
}
