//! Random listeners.

use super::Gen;
use ir::*;
use std::sync::Arc;

impl Gen {
    pub(super) fn listener(&self) -> Listener {
        Listener {
            name: self.word(),
            address: self.address(),
            additional_addresses: self.some_of(|| self.address()),
            bind_to_port: self.yes(),
            use_original_dst: self.yes(),
            filters: ListenerFilters {
                original_dst: self.yes(),
                tls_inspector: self.opt(|| self.inspector()),
                http_inspector: self.opt(|| self.inspector()),
                proxy_protocol: self.opt(|| Preamble { optional: self.yes() }),
                timeout: self.opt(|| self.duration()),
                continue_on_timeout: self.yes(),
            },
            chains: self.some_of(|| self.chain()),
            default_chain: self.opt(|| self.chain()),
            access_log: self.some_of(|| self.access_log()),
            direction: self.one_of(&[
                Direction::Unspecified,
                Direction::Inbound,
                Direction::Outbound,
            ]),
            per_connection_buffer_limit: self.opt(|| self.u32()),
            transparent: self.yes(),
            reuse_port: self.opt(|| self.yes()),
            metadata: self.metadata(),
            origin: OriginId::NONE,
        }
    }

    fn inspector(&self) -> Inspector {
        Inspector { disabled_ports: self.some_of(|| (self.u16(), self.u16())) }
    }

    fn chain(&self) -> FilterChain {
        FilterChain {
            name: self.text(),
            matches: ChainMatch {
                destination_port: self.opt(|| self.u16()),
                destination_ranges: self.some_of(|| self.cidr()),
                server_names: self.some_of(|| self.word()),
                transport_protocol: self.text(),
                application_protocols: self.some_of(|| self.word()),
                direct_source_ranges: self.some_of(|| self.cidr()),
                source_type: self.one_of(&[
                    SourceType::Any,
                    SourceType::SameIpOrLoopback,
                    SourceType::External,
                ]),
                source_ranges: self.some_of(|| self.cidr()),
                source_ports: self.some_of(|| self.u16()),
            },
            tls: self.opt(|| DownstreamTls {
                common: self.tls_common(),
                require_client_certificate: self.yes(),
                require_sni: self.yes(),
            }),
            network: self.some_of(|| self.network_filter()),
            terminal: match self.below(3) {
                0 => Terminal::Close,
                1 => Terminal::Tcp(Box::new(self.tcp_proxy())),
                _ => Terminal::Http(Box::new(self.manager())),
            },
            handshake_timeout: self.opt(|| self.duration()),
            metadata: self.metadata(),
            origin: OriginId::NONE,
        }
    }

    fn network_filter(&self) -> NetworkFilter {
        match self.below(6) {
            4 => NetworkFilter::ExtAuthz(Box::new(self.network_authz())),
            3 => NetworkFilter::Rbac(Box::new(self.network_rbac())),
            0 => NetworkFilter::IstioStats(self.istio_stats()),
            1 => NetworkFilter::MetadataExchange { protocol: self.word() },
            2 => NetworkFilter::ConnectionLimit {
                max: u64::from(self.u32()) << 4,
                delay: self.opt(|| self.duration()),
            },
            _ => NetworkFilter::Inert {
                type_url:
                    "type.googleapis.com/envoy.extensions.filters.network.mongo_proxy.v3.MongoProxy"
                        .into(),
                value: bytes::Bytes::new(),
            },
        }
    }

    fn tcp_proxy(&self) -> TcpProxy {
        let weighted = || WeightedCluster {
            name: self.word(),
            weight: self.u32(),
            headers: HeaderOps::default(),
            host_rewrite: "".into(),
            metadata_match: self.metadata(),
            per_filter: Vec::new(),
            origin: OriginId::NONE,
        };
        TcpProxy {
            tunnel: self.opt(|| "far.example:443".into()),
            stat_prefix: self.text(),
            to: match self.yes() {
                true => TcpDestination::Cluster(self.word()),
                false => TcpDestination::Weighted(self.some_of(weighted)),
            },
            access_log: self.some_of(|| self.access_log()),
            idle_timeout: self.opt(|| self.duration()),
            max_connection_duration: self.opt(|| self.duration()),
            max_connect_attempts: self.opt(|| self.u32()),
            hash_source_ip: self.yes(),
        }
    }

    fn manager(&self) -> HttpManager {
        let routes = match self.yes() {
            true => RouteSource::Inline(Arc::new(self.route_config())),
            false => RouteSource::Rds(self.word()),
        };
        let mut m = HttpManager::new(self.word(), routes);
        m.codec = self.one_of(&[Codec::Auto, Codec::Http1, Codec::Http2]);
        m.filters = self.some_of(|| HttpFilter {
            name: self.word(),
            config: if self.yes() { self.filter_config() } else { HttpFilterConfig::Cors(None) },
            disabled: self.yes(),
            origin: OriginId::NONE,
        });
        m.access_log = self.some_of(|| self.access_log());
        m.local_reply = self.opt(|| self.local_reply());
        m.use_remote_address = self.yes();
        m.xff_num_trusted_hops = self.u32();
        m.skip_xff_append = self.yes();
        m.via = self.text();
        m.server_name = self.text();
        m.server_header = self.one_of(&[
            ServerHeader::Overwrite,
            ServerHeader::AppendIfAbsent,
            ServerHeader::PassThrough,
        ]);
        m.forward_client_cert = self.one_of(&[
            ForwardClientCert::Sanitize,
            ForwardClientCert::ForwardOnly,
            ForwardClientCert::AppendForward,
            ForwardClientCert::SanitizeSet,
            ForwardClientCert::AlwaysForwardOnly,
        ]);
        m.set_client_cert = ClientCertDetails {
            subject: self.yes(),
            cert: self.yes(),
            chain: self.yes(),
            dns: self.yes(),
            uri: self.yes(),
        };
        m.generate_request_id = self.opt(|| self.yes());
        m.preserve_external_request_id = self.yes();
        m.always_set_request_id_in_response = self.yes();
        m.proxy_100_continue = self.yes();
        m.suppress_envoy_headers = self.yes();
        m.normalize_path = self.yes();
        m.merge_slashes = self.yes();
        m.escaped_slashes = self.one_of(&[
            EscapedSlashes::KeepUnchanged,
            EscapedSlashes::RejectRequest,
            EscapedSlashes::UnescapeAndRedirect,
            EscapedSlashes::UnescapeAndForward,
        ]);
        m.strip_host_port = self.one_of(&[StripPort::No, StripPort::Matching, StripPort::Any]);
        m.strip_trailing_host_dot = self.yes();
        m.http1 = self.http1();
        m.http2 = self.http2();
        m.common = self.common_options();
        m.stream_idle_timeout = self.opt(|| self.duration());
        m.request_timeout = self.opt(|| self.duration());
        m.request_headers_timeout = self.opt(|| self.duration());
        m.drain_timeout = self.opt(|| self.duration());
        m.max_request_headers_kb = self.opt(|| self.u32());
        m.upgrades = self.some_of(|| self.upgrade());
        m.tracing = self.opt(|| self.tracing());
        m.stream_error_on_invalid_http_messages = self.opt(|| self.yes());
        m
    }

    fn tracing(&self) -> Tracing {
        let (name, default) = (self.word(), self.text());
        Tracing {
            client_sampling: self.opt(|| self.float()),
            random_sampling: self.opt(|| self.float()),
            overall_sampling: self.opt(|| self.float()),
            max_path_tag_length: self.opt(|| self.u32()),
            provider: self.opt(|| match self.yes() {
                true => TracingProvider::Zipkin { cluster: self.word(), endpoint: self.text() },
                false => TracingProvider::OpenTelemetry {
                    cluster: self.word(),
                    service_name: self.text(),
                },
            }),
            custom_tags: self.some_of(|| TracingTag {
                tag: self.word(),
                source: match self.below(3) {
                    0 => TagSource::Literal(self.text()),
                    1 => TagSource::Environment { name: name.clone(), default: default.clone() },
                    _ => TagSource::RequestHeader { name: name.clone(), default: default.clone() },
                },
            }),
        }
    }
}
