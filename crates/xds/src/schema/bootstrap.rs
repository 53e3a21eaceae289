//! The bootstrap file (`envoy.config.bootstrap.v3`). One row a field: `yes` is honoured, `fine` is
//! harmless and says why, `no` is refused.

use super::Message;
use super::cluster::CLUSTER;
use super::core::{ADDRESS, API_CONFIG_SOURCE, CONFIG_SOURCE, NODE};
use super::listener::LISTENER;
use super::row::*;
use super::tls::SECRET;

pub static BOOTSTRAP: Message = Message::plain(
    "envoy.config.bootstrap.v3.Bootstrap",
    &[
        yes(1, "node", msg(&NODE)),
        yes(2, "static_resources", msg(&STATIC_RESOURCES)),
        yes(3, "dynamic_resources", msg(&DYNAMIC_RESOURCES)),
        no(4, "cluster_manager"),
        fine(5, "flags_path", "nothing here reads flag files"),
        no(6, "stats_sinks").many(),
        fine(7, "stats_flush_interval", "counters are merged when they are read"),
        no(8, "watchdog"),
        no(9, "tracing"),
        yes(12, "admin", msg(&ADMIN)),
        fine(13, "stats_config", "only names statistics"),
        no(14, "hds_config"),
        no(15, "overload_manager"),
        fine(16, "enable_dispatcher_stats", "only names statistics"),
        yes(17, "layered_runtime", msg(&LAYERED_RUNTIME)),
        no(18, "header_prefix"),
        no(19, "stats_server_version_override"),
        no(20, "use_tcp_for_dns_lookups"),
        no(21, "bootstrap_extensions").many(),
        no(22, "config_sources").many(),
        no(23, "default_config_source"),
        no(24, "default_socket_interface"),
        no(25, "certificate_provider_instances").map(),
        fine(
            26,
            "node_context_params",
            "part of names of a newer naming scheme that nobody serves",
        )
        .many(),
        fine(27, "watchdogs", "workers do not share threads with anything that blocks"),
        no(28, "fatal_actions").many(),
        fine(29, "stats_flush_on_admin", "counters are merged when they are read").choice(1),
        no(30, "dns_resolution_config"),
        no(31, "typed_dns_resolver_config"),
        fine(32, "inline_headers", "a matter of efficiency, not of behaviour").many(),
        fine(33, "perf_tracing_file_path", "for debugging Envoy itself"),
        no(34, "default_regex_engine"),
        no(35, "xds_delegate_extension"),
        no(36, "xds_config_tracker_extension"),
        no(37, "listener_manager"),
        fine(38, "application_log_config", "logging is set by flags"),
        fine(39, "deferred_stat_options", "a matter of efficiency, not of behaviour"),
        fine(40, "grpc_async_client_manager_config", "a matter of efficiency, not of behaviour"),
        fine(41, "memory_allocator_manager", "a matter of efficiency, not of behaviour"),
        no(42, "stats_eviction_interval").choice(2),
    ],
);

pub static STATIC_RESOURCES: Message = Message::plain(
    "envoy.config.bootstrap.v3.Bootstrap.StaticResources",
    &[
        yes(1, "listeners", msg(&LISTENER)).many(),
        yes(2, "clusters", msg(&CLUSTER)).many(),
        yes(3, "secrets", msg(&SECRET)).many(),
    ],
);

pub static DYNAMIC_RESOURCES: Message = Message::plain(
    "envoy.config.bootstrap.v3.Bootstrap.DynamicResources",
    &[
        yes(1, "lds_config", msg(&CONFIG_SOURCE)),
        yes(2, "cds_config", msg(&CONFIG_SOURCE)),
        yes(3, "ads_config", msg(&API_CONFIG_SOURCE)),
        no(5, "lds_resources_locator"),
        no(6, "cds_resources_locator"),
    ],
);

pub static ADMIN: Message = Message::plain(
    "envoy.config.bootstrap.v3.Admin",
    &[
        fine(1, "access_log_path", "the admin port is not logged"),
        fine(2, "profile_path", "for debugging Envoy itself"),
        yes(3, "address", msg(&ADDRESS)),
        no(4, "socket_options").many(),
        fine(5, "access_log", "the admin port is not logged").many(),
        fine(6, "ignore_global_conn_limit", "the admin port is outside the connection limit"),
        no(7, "allow_paths").many(),
    ],
);

pub static LAYERED_RUNTIME: Message = Message::plain(
    "envoy.config.bootstrap.v3.LayeredRuntime",
    &[yes(1, "layers", msg(&RUNTIME_LAYER)).many()],
);

pub static RUNTIME_LAYER: Message = Message::plain(
    "envoy.config.bootstrap.v3.RuntimeLayer",
    &[
        fine(1, "name", "names a layer"),
        yes(2, "static_layer", STRUCT).choice(1),
        no(3, "disk_layer").choice(1),
        fine(4, "admin_layer", "the admin port changes no runtime keys").choice(1),
        no(5, "rtds_layer").choice(1),
    ],
);

/// Everything above, for look-up by name.
pub(super) static ALL: &[&Message] =
    &[&BOOTSTRAP, &STATIC_RESOURCES, &DYNAMIC_RESOURCES, &ADMIN, &LAYERED_RUNTIME, &RUNTIME_LAYER];
