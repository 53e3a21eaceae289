//! Random clusters.

use super::Gen;
use ir::*;

impl Gen {
    pub(super) fn cluster(&self) -> Cluster {
        let (auto_sni, auto_san) = (self.yes(), self.yes());
        let tls = || UpstreamTls {
            common: self.tls_common(),
            sni: self.text(),
            auto_sni,
            auto_san_validation: auto_san,
            allow_renegotiation: self.yes(),
        };
        let protocol = self.one_of(&[
            UpstreamProtocol::Http1,
            UpstreamProtocol::Http2,
            UpstreamProtocol::Downstream,
            UpstreamProtocol::Auto,
        ]);
        let mut c = Cluster::new(self.word(), self.discovery());
        c.alt_stat_name = self.text();
        c.connect_timeout = self.opt(|| self.duration());
        c.lb = self.balancer();
        c.lb_common = LbCommon {
            panic_threshold: self.opt(|| self.float()),
            locality: self.one_of(&[
                LocalityMode::None,
                LocalityMode::Weighted,
                LocalityMode::ZoneAware,
            ]),
        };
        c.breakers = self.breakers();
        c.outliers = self.opt(|| self.outliers());
        c.protocol = protocol;
        if protocol != UpstreamProtocol::Http2 && self.yes() {
            c.http1 = self.http1();
        }
        if protocol != UpstreamProtocol::Http1 && self.yes() {
            c.http2 = self.http2();
        }
        if self.yes() {
            c.common = self.common_options();
        }
        c.tls = self.opt(tls);
        c.tls_matches = self.some_of(|| TlsMatch {
            name: self.word(),
            criteria: self.some_of(|| (self.word(), self.value(1))).into_iter().collect(),
            tls: self.opt(tls),
        });
        c.proxy_protocol =
            self.opt(|| self.one_of(&[ProxyProtocolVersion::V1, ProxyProtocolVersion::V2]));
        c.tcp_keepalive = self.opt(|| TcpKeepalive {
            probes: self.opt(|| self.u32()),
            time: self.opt(|| self.u32()),
            interval: self.opt(|| self.u32()),
        });
        let sources = self.opt(|| ["127.0.0.6", "::6"].map(|ip| ip.parse().unwrap()).to_vec());
        c.bind_sources = sources.unwrap_or_default();
        c.per_connection_buffer_limit = self.opt(|| self.u32());
        c.close_connections_on_host_health_failure = self.yes();
        c.metadata = self.metadata();
        c
    }

    fn discovery(&self) -> Discovery {
        let groups = self.some_of(|| self.endpoint_group());
        let refresh = self.opt(|| self.duration());
        let respect_ttl = self.yes();
        let family = self.one_of(&[
            DnsFamily::Auto,
            DnsFamily::V4Only,
            DnsFamily::V6Only,
            DnsFamily::V4Preferred,
            DnsFamily::All,
        ]);
        match self.below(6) {
            5 => Discovery::ByHost(DnsCache { name: self.word(), refresh, family }),
            0 => Discovery::Static(groups),
            1 => Discovery::StrictDns { groups, refresh, respect_ttl, family },
            2 => Discovery::LogicalDns { groups, refresh, respect_ttl, family },
            3 => Discovery::Eds(self.text()),
            _ => Discovery::OriginalDst,
        }
    }

    fn balancer(&self) -> LoadBalancer {
        let slow_start = self.opt(|| SlowStart {
            window: self.duration(),
            aggression: self.opt(|| self.float()),
            min_weight_percent: self.opt(|| self.float()),
        });
        let size = || self.opt(|| u64::from(self.u32()) << 3);
        match self.below(6) {
            0 => LoadBalancer::RoundRobin { slow_start },
            1 => LoadBalancer::LeastRequest {
                choices: self.opt(|| self.u32()),
                bias: self.opt(|| self.float()),
                slow_start,
            },
            2 => LoadBalancer::Random,
            3 => LoadBalancer::RingHash { min_size: size(), max_size: size() },
            4 => LoadBalancer::Maglev { table_size: size() },
            _ => LoadBalancer::ClusterProvided,
        }
    }

    fn breakers(&self) -> CircuitBreakers {
        CircuitBreakers {
            max_connections: self.opt(|| self.u32()),
            max_pending_requests: self.opt(|| self.u32()),
            max_requests: self.opt(|| self.u32()),
            max_retries: self.opt(|| self.u32()),
            track_remaining: self.yes(),
            retry_budget: self.opt(|| RetryBudget {
                percent_milli: self.opt(|| self.below(100_001) as u32),
                min_concurrency: self.opt(|| self.u32()),
            }),
        }
    }

    fn outliers(&self) -> OutlierDetection {
        let number = || self.opt(|| self.u32());
        let time = || self.opt(|| self.duration());
        OutlierDetection {
            consecutive_5xx: number(),
            interval: time(),
            base_ejection_time: time(),
            max_ejection_time: time(),
            max_ejection_percent: number(),
            enforcing_consecutive_5xx: number(),
            consecutive_gateway_failure: number(),
            enforcing_consecutive_gateway_failure: number(),
            split_external_local_origin_errors: self.yes(),
            consecutive_local_origin_failure: number(),
            enforcing_consecutive_local_origin_failure: number(),
            enforcing_success_rate: number(),
            success_rate_minimum_hosts: number(),
            success_rate_request_volume: number(),
            success_rate_stdev_factor: number(),
            enforcing_local_origin_success_rate: number(),
        }
    }
}
