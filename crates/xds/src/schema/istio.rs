//! Messages of Istio's own filters, and the struct that carries typed configuration without a schema.

use super::row::*;
use super::{Enum, Message};

pub static UDPA_TYPED_STRUCT: Message = Message::plain(
    "udpa.type.v1.TypedStruct",
    &[yes(1, "type_url", STRING), yes(2, "value", STRUCT)],
);

pub static NAME_TABLE: Message =
    Message::plain("istio.networking.nds.v1.NameTable", &[yes(1, "table", msg(&NAME_INFO)).map()]);

pub static NAME_INFO: Message = Message::plain(
    "istio.networking.nds.v1.NameTable.NameInfo",
    &[
        yes(1, "ips", STRING).many(),
        yes(2, "registry", STRING),
        yes(3, "shortname", STRING),
        yes(4, "namespace", STRING),
        fine(5, "alt_hosts", "the short forms of a host are known without them").many(),
    ],
);

pub static STATS: Message = Message::plain(
    "stats.PluginConfig",
    &[
        yes(6, "disable_host_header_fallback", BOOL),
        yes(7, "tcp_reporting_duration", DURATION),
        no(8, "metrics").many(),
        no(9, "definitions").many(),
        yes(10, "reporter", enumeration(&REPORTER)),
        fine(11, "rescoping_duration", "counters are merged when they are read"),
        fine(12, "scope_grace_period_duration", "counters are merged when they are read"),
    ],
);

pub static REPORTER: Enum =
    Enum::new("stats.Reporter", &[(0, "UNSPECIFIED"), (1, "SERVER_GATEWAY")]);

pub static ALPN: Message = Message::plain(
    "istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig",
    &[yes(1, "alpn_override", msg(&ALPN_OVERRIDE)).many()],
);

pub static ALPN_OVERRIDE: Message = Message::plain(
    "istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig.AlpnOverride",
    &[
        yes(1, "upstream_protocol", enumeration(&ALPN_PROTOCOL)),
        yes(2, "alpn_override", STRING).many(),
    ],
);

pub static ALPN_PROTOCOL: Enum = Enum::new(
    "istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig.Protocol",
    &[(0, "HTTP10"), (1, "HTTP11"), (2, "HTTP2")],
);

pub static PEER_METADATA: Message = Message::plain(
    "io.istio.http.peer_metadata.Config",
    &[
        yes(1, "downstream_discovery", msg(&PEER_DISCOVERY)).many(),
        yes(2, "upstream_discovery", msg(&PEER_DISCOVERY)).many(),
        yes(3, "downstream_propagation", msg(&PEER_PROPAGATION)).many(),
        yes(4, "upstream_propagation", msg(&PEER_PROPAGATION)).many(),
        fine(5, "shared_with_upstream", "the filters of one connection share what they learn"),
        no(6, "additional_labels").many(),
    ],
);

pub static PEER_DISCOVERY: Message = Message::plain(
    "io.istio.http.peer_metadata.Config.DiscoveryMethod",
    &[
        no(1, "baggage").choice(1),
        fine(2, "workload_discovery", "peers say who they are in headers")
            .of(msg(&PEER_WORKLOAD))
            .choice(1),
        yes(3, "istio_headers", msg(&PEER_HEADERS)).choice(1),
    ],
);

pub static PEER_PROPAGATION: Message = Message::plain(
    "io.istio.http.peer_metadata.Config.PropagationMethod",
    &[yes(1, "istio_headers", msg(&PEER_HEADERS)).choice(1)],
);

pub static PEER_WORKLOAD: Message =
    Message::plain("io.istio.http.peer_metadata.Config.WorkloadDiscovery", &[]);

pub static PEER_HEADERS: Message = Message::plain(
    "io.istio.http.peer_metadata.Config.IstioHeaders",
    &[no(1, "skip_external_clusters")],
);

pub static METADATA_EXCHANGE: Message = Message::plain(
    "envoy.tcp.metadataexchange.config.MetadataExchange",
    &[
        yes(1, "protocol", STRING),
        fine(2, "enable_discovery", "peers say who they are over the connection"),
        no(3, "additional_labels").many(),
    ],
);

/// Everything above, for look-up by name.
pub(super) static ALL: &[&Message] = &[
    &UDPA_TYPED_STRUCT,
    &NAME_TABLE,
    &NAME_INFO,
    &STATS,
    &ALPN,
    &ALPN_OVERRIDE,
    &PEER_METADATA,
    &PEER_DISCOVERY,
    &PEER_PROPAGATION,
    &PEER_WORKLOAD,
    &PEER_HEADERS,
    &METADATA_EXCHANGE,
];
