//! Random routes.

use super::Gen;
use ir::*;

impl Gen {
    pub(super) fn route_config(&self) -> RouteConfig {
        RouteConfig {
            name: self.word(),
            virtual_hosts: self.some_of(|| self.virtual_host().into()),
            headers: self.header_ops(),
            ignore_port_in_host_matching: self.yes(),
            most_specific_header_mutations_wins: self.yes(),
            max_direct_response_body: self.opt(|| self.u32()),
            validate_clusters: self.opt(|| self.yes()),
            origin: OriginId(self.u32()),
        }
    }

    fn virtual_host(&self) -> VirtualHost {
        let mut domains = self.some_of(|| self.word());
        domains.push("*".into());
        VirtualHost {
            name: self.word(),
            domains,
            routes: self.some_of(|| self.route()),
            require_tls: self.one_of(&[RequireTls::No, RequireTls::ExternalOnly, RequireTls::All]),
            headers: self.header_ops(),
            retry: self.opt(|| self.retry()),
            include_attempt_count: self.yes(),
            include_attempt_count_in_response: self.yes(),
            per_filter: self.per_filter(),
            rate_limits: self.some_of(|| self.rate_limit()),
            metadata: self.metadata(),
            origin: OriginId::NONE,
        }
    }

    fn route(&self) -> Route {
        let action = match self.below(5) {
            0 => Action::Redirect(self.redirect()),
            1 => Action::Direct(DirectResponse {
                status: 200 + self.below(400) as u16,
                body: if self.yes() { self.blob() } else { bytes::Bytes::new() },
            }),
            2 => Action::NonForwarding,
            _ => Action::Forward(Box::new(self.forward())),
        };
        Route {
            name: self.text(),
            matches: self.route_match(),
            action,
            headers: self.header_ops(),
            decorator: self.text(),
            per_filter: self.per_filter(),
            metadata: self.metadata(),
            stat_prefix: self.text(),
            origin: OriginId::NONE,
        }
    }

    fn route_match(&self) -> RouteMatch {
        RouteMatch {
            path: match self.below(5) {
                0 => PathMatch::Prefix(self.text()),
                1 => PathMatch::Exact(self.text()),
                2 => PathMatch::Regex(self.word()),
                3 => PathMatch::PathSeparatedPrefix(self.word()),
                _ => PathMatch::Connect,
            },
            ignore_case: self.yes(),
            headers: self.some_of(|| self.header_match()),
            query: self.some_of(|| QueryMatch {
                name: self.word(),
                value: self.opt(|| self.string_match()),
            }),
            grpc: self.yes(),
            runtime_fraction: self.opt(|| self.runtime_fraction()),
            metadata: self.some_of(|| self.metadata_match()),
        }
    }

    fn forward(&self) -> Forward {
        let to = match self.below(3) {
            0 => Destination::Cluster(self.text()),
            1 => Destination::ClusterHeader(self.word()),
            _ => Destination::Weighted(self.some_of(|| WeightedCluster {
                name: self.word(),
                weight: self.u32(),
                headers: self.header_ops(),
                host_rewrite: self.text(),
                metadata_match: self.metadata(),
                per_filter: self.per_filter(),
                origin: OriginId::NONE,
            })),
        };
        Forward {
            to,
            cluster_not_found: self.one_of(&[None, Some(404), Some(500)]),
            prefix_rewrite: self.text(),
            regex_rewrite: self.opt(|| self.regex_rewrite()),
            host_rewrite: match self.below(5) {
                0 => HostRewrite::None,
                1 => HostRewrite::Literal(self.text()),
                2 => HostRewrite::Auto,
                3 => HostRewrite::Header(self.word()),
                _ => HostRewrite::PathRegex(self.regex_rewrite()),
            },
            append_x_forwarded_host: self.yes(),
            timeout: self.opt(|| self.duration()),
            idle_timeout: self.opt(|| self.duration()),
            max_stream: self.opt(|| MaxStream {
                max_stream_duration: self.opt(|| self.duration()),
                grpc_timeout_header_max: self.opt(|| self.duration()),
                grpc_timeout_header_offset: self.opt(|| self.duration()),
            }),
            grpc_timeout: self.opt(|| GrpcTimeout {
                max: Some(self.duration()),
                offset: self.opt(|| self.duration()),
            }),
            retry: self.opt(|| self.retry()),
            mirrors: self.some_of(|| Mirror {
                cluster: self.word(),
                fraction: self.opt(|| self.runtime_fraction()),
                trace_sampled: self.opt(|| self.yes()),
                disable_shadow_host_suffix: self.yes(),
            }),
            hash: self.some_of(|| self.hash_policy()),
            upgrades: self.some_of(|| self.upgrade()),
            metadata_match: self.metadata(),
            cors: self.opt(|| self.cors()),
            rate_limits: self.some_of(|| self.rate_limit()),
            include_vh_rate_limits: self.yes(),
        }
    }

    fn hash_policy(&self) -> HashPolicy {
        let source = match self.below(5) {
            0 => HashSource::Header(self.word()),
            1 => HashSource::Cookie {
                name: self.word(),
                path: self.text(),
                ttl: self.opt(|| self.duration()),
                attributes: self.some_of(|| (self.word(), self.text())),
            },
            2 => HashSource::SourceIp,
            3 => HashSource::Query(self.word()),
            _ => HashSource::FilterState(self.word()),
        };
        HashPolicy { source, terminal: self.yes() }
    }

    fn retry(&self) -> RetryPolicy {
        RetryPolicy {
            on: self.some_of(|| self.word()),
            num_retries: self.opt(|| self.u32()),
            per_try_timeout: self.opt(|| self.duration()),
            per_try_idle_timeout: self.opt(|| self.duration()),
            retriable_status_codes: self.some_of(|| self.u32()),
            retriable_headers: self.some_of(|| self.header_match()),
            backoff: self
                .opt(|| Backoff { base: self.duration(), max: self.opt(|| self.duration()) }),
            avoid_previous_hosts: self.yes(),
            host_selection_max_attempts: self.one_of(&[0, 5]),
            previous_priorities: self.opt(|| self.one_of(&[0, 2])),
        }
    }

    fn redirect(&self) -> Redirect {
        let https = self.yes();
        let codes = [
            RedirectCode::MovedPermanently,
            RedirectCode::Found,
            RedirectCode::SeeOther,
            RedirectCode::TemporaryRedirect,
            RedirectCode::PermanentRedirect,
        ];
        Redirect {
            https,
            scheme: if https { "".into() } else { self.text() },
            host: self.text(),
            port: self.u32(),
            path: match self.below(4) {
                0 => RedirectPath::Keep,
                1 => RedirectPath::Replace(self.text()),
                2 => RedirectPath::Prefix(self.text()),
                _ => RedirectPath::Regex(self.regex_rewrite()),
            },
            code: self.one_of(&codes),
            strip_query: self.yes(),
        }
    }

    fn cors(&self) -> Cors {
        Cors {
            allow_origins: self.some_of(|| self.string_match()),
            allow_methods: self.text(),
            allow_headers: self.text(),
            expose_headers: self.text(),
            // Set, so that the policy differs from none.
            max_age: self.word(),
            allow_credentials: self.opt(|| self.yes()),
            enabled: self.opt(|| self.runtime_fraction()),
            forward_not_matching_preflights: self.opt(|| self.yes()),
        }
    }

    fn per_filter(&self) -> Vec<(Str, HttpFilterConfig)> {
        let mut list = self.some_of(|| {
            let config = match self.below(5) {
                3 => HttpFilterConfig::JwtPerRoute(ir::JwtPerRoute { requirement: self.word() }),
                2 => HttpFilterConfig::AuthzSettings(Box::new(self.authz_settings())),
                0 => HttpFilterConfig::Disabled,
                1 => HttpFilterConfig::Cors(self.opt(|| Box::new(self.cors()))),
                _ => match self.filter_config() {
                    HttpFilterConfig::JwtAuthn(_) => HttpFilterConfig::Disabled,
                    config => config,
                },
            };
            (self.word(), config)
        });
        list.sort_by(|a, b| a.0.cmp(&b.0));
        list.dedup_by(|a, b| a.0 == b.0);
        list
    }

    pub(super) fn filter_config(&self) -> HttpFilterConfig {
        match self.below(23) {
            19 | 20 => HttpFilterConfig::JwtAuthn(Box::new(self.jwt_authn())),
            21 | 22 => HttpFilterConfig::Compressor(Box::new(self.compressor())),
            11 => HttpFilterConfig::Buffer(1 + self.below(1000) as u32),
            12 => HttpFilterConfig::HeaderToMetadata(Box::new(self.header_to_metadata())),
            10 | 14..=18 => HttpFilterConfig::ExtAuthz(Box::new(self.ext_authz())),
            13 => HttpFilterConfig::Rbac(Box::new(self.http_rbac())),
            7 => HttpFilterConfig::RateLimit(Box::new(self.global_rate_limit())),
            8 => HttpFilterConfig::ByHost(DnsCache {
                name: self.word(),
                refresh: self.opt(|| self.duration()),
                family: DnsFamily::V4Only,
            }),
            6 => HttpFilterConfig::LocalRateLimit(Box::new(self.local_rate_limit())),
            0 => HttpFilterConfig::Fault(Box::new(self.fault())),
            1 => HttpFilterConfig::GrpcStats { emit_filter_state: self.yes() },
            2 => HttpFilterConfig::GrpcWeb,
            3 => HttpFilterConfig::IstioAlpn,
            4 => HttpFilterConfig::IstioStats(self.istio_stats()),
            5 => HttpFilterConfig::PeerMetadata(PeerMetadata {
                downstream_discovery: self.yes(),
                upstream_discovery: self.yes(),
                downstream_propagation: self.yes(),
                upstream_propagation: self.yes(),
            }),
            _ => HttpFilterConfig::Inert {
                type_url: "type.googleapis.com/envoy.extensions.filters.http.alternate_protocols_cache.v3.FilterConfig".into(),
                value: bytes::Bytes::new(),
            },
        }
    }

    pub(super) fn istio_stats(&self) -> IstioStats {
        IstioStats {
            destination: self.yes(),
            disable_host_header_fallback: self.yes(),
            tcp_reporting: self.opt(|| self.duration()),
        }
    }

    fn fault(&self) -> Fault {
        Fault {
            delay: self.opt(|| FaultDelay { duration: self.duration(), fraction: self.fraction() }),
            abort: self.opt(|| FaultAbort {
                status: match self.yes() {
                    true => AbortStatus::Http(503),
                    false => AbortStatus::Grpc(self.one_of(&[0, 14])),
                },
                fraction: self.fraction(),
            }),
            upstream_cluster: self.text(),
            headers: self.some_of(|| self.header_match()),
            max_active_faults: self.opt(|| self.u32()),
        }
    }
}
