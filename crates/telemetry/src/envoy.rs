//! Envoy's counters, by Envoy's names, as far as people and dashboards look at them.

use crate::registry::{Registry, Scope, metrics};

metrics! {
    /// `cluster.NAME.*`
    ClusterStats {
        counter cx_total = "upstream_cx_total",
        gauge cx_active = "upstream_cx_active",
        counter cx_http1_total = "upstream_cx_http1_total",
        counter cx_http2_total = "upstream_cx_http2_total",
        counter cx_connect_fail = "upstream_cx_connect_fail",
        counter cx_connect_timeout = "upstream_cx_connect_timeout",
        counter cx_idle_timeout = "upstream_cx_idle_timeout",
        counter cx_overflow = "upstream_cx_overflow",
        counter cx_destroy = "upstream_cx_destroy",
        counter cx_destroy_with_active_rq = "upstream_cx_destroy_with_active_rq",
        counter cx_max_requests = "upstream_cx_max_requests",
        counter cx_none_healthy = "upstream_cx_none_healthy",
        counter cx_rx_bytes = "upstream_cx_rx_bytes_total",
        counter cx_tx_bytes = "upstream_cx_tx_bytes_total",
        counter rq_total = "upstream_rq_total",
        gauge rq_active = "upstream_rq_active",
        counter rq_pending_total = "upstream_rq_pending_total",
        gauge rq_pending_active = "upstream_rq_pending_active",
        counter rq_pending_overflow = "upstream_rq_pending_overflow",
        counter rq_pending_failure_eject = "upstream_rq_pending_failure_eject",
        counter rq_cancelled = "upstream_rq_cancelled",
        counter rq_timeout = "upstream_rq_timeout",
        counter rq_per_try_timeout = "upstream_rq_per_try_timeout",
        counter rq_max_duration = "upstream_rq_max_duration_reached",
        counter rq_rx_reset = "upstream_rq_rx_reset",
        counter rq_tx_reset = "upstream_rq_tx_reset",
        counter rq_retry = "upstream_rq_retry",
        counter rq_retry_success = "upstream_rq_retry_success",
        counter rq_retry_overflow = "upstream_rq_retry_overflow",
        counter rq_retry_limit_exceeded = "upstream_rq_retry_limit_exceeded",
        counter rq_completed = "upstream_rq_completed",
        histogram rq_time = "upstream_rq_time",
        gauge membership_total = "membership_total",
        gauge membership_healthy = "membership_healthy",
        counter ssl_handshake = "ssl.handshake",
        counter ssl_connection_error = "ssl.connection_error",
        counter ejections = "outlier_detection.ejections_enforced_total",
        gauge ejections_active = "outlier_detection.ejections_active",
    }
}

metrics! {
    /// `http.PREFIX.*`
    HttpStats {
        counter cx_total = "downstream_cx_total",
        gauge cx_active = "downstream_cx_active",
        counter cx_http1_total = "downstream_cx_http1_total",
        counter cx_http2_total = "downstream_cx_http2_total",
        counter cx_ssl_total = "downstream_cx_ssl_total",
        counter cx_destroy = "downstream_cx_destroy",
        counter cx_destroy_remote = "downstream_cx_destroy_remote",
        counter cx_protocol_error = "downstream_cx_protocol_error",
        counter cx_idle_timeout = "downstream_cx_idle_timeout",
        counter cx_drain_close = "downstream_cx_drain_close",
        counter cx_upgrades_total = "downstream_cx_upgrades_total",
        counter rq_total = "downstream_rq_total",
        gauge rq_active = "downstream_rq_active",
        counter rq_http1_total = "downstream_rq_http1_total",
        counter rq_http2_total = "downstream_rq_http2_total",
        counter rq_completed = "downstream_rq_completed",
        counter rq_too_large = "downstream_rq_too_large",
        counter rq_timeout = "downstream_rq_timeout",
        counter rq_rx_reset = "downstream_rq_rx_reset",
        counter rq_tx_reset = "downstream_rq_tx_reset",
        counter rq_idle_timeout = "downstream_rq_idle_timeout",
        counter rq_direct_response = "rq_direct_response",
        counter rq_redirect = "rq_redirect",
        counter no_route = "no_route",
        counter no_cluster = "no_cluster",
        histogram rq_time = "downstream_rq_time",
    }
}

metrics! {
    /// `listener.ADDRESS.*`
    ListenerStats {
        counter cx_total = "downstream_cx_total",
        gauge cx_active = "downstream_cx_active",
        counter cx_destroy = "downstream_cx_destroy",
        counter cx_overflow = "downstream_cx_overflow",
        counter no_filter_chain_match = "no_filter_chain_match",
        counter ssl_handshake = "ssl.handshake",
        counter ssl_connection_error = "ssl.connection_error",
    }
}

metrics! {
    /// `tcp.PREFIX.*`
    TcpStats {
        counter cx_total = "downstream_cx_total",
        counter cx_no_route = "downstream_cx_no_route",
        counter cx_rx_bytes = "downstream_cx_rx_bytes_total",
        counter cx_tx_bytes = "downstream_cx_tx_bytes_total",
        counter idle_timeout = "idle_timeout",
    }
}

metrics! {
    /// `PREFIX.http_local_rate_limit.*`
    LimitStats {
        counter enabled = "enabled",
        counter enforced = "enforced",
        counter ok = "ok",
        counter rate_limited = "rate_limited",
    }
}

metrics! {
    /// `http.*.ext_authz.*`
    AuthzStats {
        counter ok = "ok",
        counter denied = "denied",
        counter error = "error",
        counter disabled = "disabled",
        counter invalid = "invalid",
        counter failure_mode_allowed = "failure_mode_allowed",
    }
}

metrics! {
    /// `ext_authz.PREFIX.*`, of connections.
    NetworkAuthzStats {
        counter total = "total",
        counter ok = "ok",
        counter denied = "denied",
        counter error = "error",
        counter disabled = "disabled",
        counter failure_mode_allowed = "failure_mode_allowed",
        counter cx_closed = "cx_closed",
    }
}

metrics! {
    /// `http.PREFIX.rbac.*` and `PREFIX.rbac.*` of connections.
    RbacStats {
        counter allowed = "allowed",
        counter denied = "denied",
        counter shadow_allowed = "shadow_allowed",
        counter shadow_denied = "shadow_denied",
    }
}

metrics! {
    /// `server.*`, set when somebody looks.
    Server {
        gauge live = "live",
        gauge state = "state",
        gauge concurrency = "concurrency",
        gauge uptime = "uptime",
        gauge memory_allocated = "memory_allocated",
        gauge memory_heap_size = "memory_heap_size",
        gauge days_until_first_cert_expiring = "days_until_first_cert_expiring",
    }
}

metrics! { Code { counter total = "_rq", } }
metrics! { Class { counter total = "_rq_xx", } }

/// Responses by class and by code, `upstream_rq_2xx` and `upstream_rq_200`. Belongs to one worker:
/// codes become cells when first seen.
#[derive(Debug)]
pub struct CodeStats {
    place: Place,
    name: String,
    classes: [Option<crate::Counter>; 5],
    codes: Vec<(u16, crate::Counter)>,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Cluster,
    Http,
}

impl ClusterStats {
    pub fn new(registry: &Registry, cluster: &str) -> Self {
        registry.set(cluster_scope(cluster))
    }
}

impl HttpStats {
    pub fn new(registry: &Registry, prefix: &str) -> Self {
        registry.set(http_scope(prefix))
    }
}

impl ListenerStats {
    /// `address` as Envoy writes it: `0.0.0.0_15006`.
    pub fn new(registry: &Registry, address: &str) -> Self {
        let scope = Scope {
            prefix: format!("listener.{address}."),
            family: "envoy_listener_",
            ..Scope::default()
        };
        registry.set(scope.label("envoy_listener_address", address))
    }
}

impl TcpStats {
    pub fn new(registry: &Registry, prefix: &str) -> Self {
        let scope =
            Scope { prefix: format!("tcp.{prefix}."), family: "envoy_tcp_", ..Scope::default() };
        registry.set(scope.label("envoy_tcp_prefix", prefix))
    }
}

impl AuthzStats {
    /// `http.MANAGER.ext_authz.*`, and under the filter's own prefix where it has one.
    pub fn new(registry: &Registry, manager: &str, own: &str) -> Self {
        let own = if own.is_empty() { String::new() } else { format!("{own}.") };
        let scope = Scope {
            prefix: format!("http.{manager}.ext_authz.{own}"),
            family: "envoy_http_ext_authz_",
            ..Scope::default()
        };
        registry.set(scope.label("envoy_http_conn_manager_prefix", manager))
    }
}

impl NetworkAuthzStats {
    pub fn new(registry: &Registry, prefix: &str) -> Self {
        let prefix = format!("ext_authz.{prefix}.");
        registry.set(Scope { prefix, family: "envoy_ext_authz_", ..Scope::default() })
    }
}

impl LimitStats {
    pub fn new(registry: &Registry, prefix: &str) -> Self {
        let scope = Scope {
            prefix: format!("{prefix}.http_local_rate_limit."),
            family: "envoy_http_local_rate_limit_",
            ..Scope::default()
        };
        registry.set(scope.label("envoy_local_http_ratelimit_prefix", prefix))
    }
}

impl RbacStats {
    /// Of requests; `manager` is the prefix of the connection manager, `rules` that of the rules.
    pub fn http(registry: &Registry, manager: &str, rules: &str) -> Self {
        let prefix = format!("http.{manager}.rbac.{}", dotted(rules));
        let mut scope = Scope { prefix, family: "envoy_http_rbac_", ..Scope::default() };
        if !rules.is_empty() {
            scope = scope.label("envoy_rbac_http_prefix", rules);
        }
        registry.set(scope.label("envoy_http_conn_manager_prefix", manager))
    }

    /// Of connections.
    pub fn network(registry: &Registry, prefix: &str, rules: &str) -> Self {
        let prefix = format!("{prefix}rbac.{}", dotted(rules));
        registry.set(Scope { prefix, family: "envoy_rbac_", ..Scope::default() })
    }
}

/// Of names made of parts the prefix of rules is one.
fn dotted(rules: &str) -> String {
    if rules.is_empty() || rules.ends_with('.') { rules.to_owned() } else { format!("{rules}.") }
}

impl Server {
    pub fn new(registry: &Registry) -> Self {
        registry.set(Scope {
            prefix: "server.".into(),
            family: "envoy_server_",
            ..Scope::default()
        })
    }
}

impl CodeStats {
    /// `cluster.NAME.upstream_rq_*`
    pub fn cluster(name: &str) -> Self {
        Self { place: Place::Cluster, name: name.into(), classes: [None; 5], codes: Vec::new() }
    }

    /// `http.PREFIX.downstream_rq_*`: by class only, as Envoy does.
    pub fn http(prefix: &str) -> Self {
        Self { place: Place::Http, name: prefix.into(), classes: [None; 5], codes: Vec::new() }
    }

    pub fn count(&mut self, code: u16, registry: &Registry, shard: &crate::Shard) {
        // A status of no known class counts by its code only.
        let class = usize::from(code / 100);
        if (1..=5).contains(&class) {
            let counter = match self.classes[class - 1] {
                Some(counter) => counter,
                None => *self.classes[class - 1].insert(self.class_counter(class, registry)),
            };
            shard.inc(counter);
        }
        if matches!(self.place, Place::Cluster) {
            shard.inc(self.code_counter(code, registry));
        }
    }

    fn code_counter(&mut self, code: u16, registry: &Registry) -> crate::Counter {
        if let Some((_, counter)) = self.codes.iter().find(|c| c.0 == code) {
            return *counter;
        }
        let mut scope = self.scope();
        scope.suffix = format!("_{code}");
        let set: Code = registry.set(scope.label("envoy_response_code", &code.to_string()));
        self.codes.push((code, set.total));
        set.total
    }

    fn class_counter(&self, class: usize, registry: &Registry) -> crate::Counter {
        let mut scope = self.scope();
        scope.suffix = format!("_{class}xx");
        let set: Class = registry.set(scope.label("envoy_response_code_class", &class.to_string()));
        set.total
    }

    /// The names of the sets begin with `_rq`, since what stands before is part of the scope.
    fn scope(&self) -> Scope {
        match self.place {
            Place::Cluster => {
                let mut scope = cluster_scope(&self.name);
                scope.prefix += "upstream";
                Scope { family: "envoy_cluster_upstream", ..scope }
            }
            Place::Http => {
                let mut scope = http_scope(&self.name);
                scope.prefix += "downstream";
                Scope { family: "envoy_http_downstream", ..scope }
            }
        }
    }
}

fn cluster_scope(name: &str) -> Scope {
    let scope =
        Scope { prefix: format!("cluster.{name}."), family: "envoy_cluster_", ..Scope::default() };
    scope.label("envoy_cluster_name", name)
}

fn http_scope(prefix: &str) -> Scope {
    let scope =
        Scope { prefix: format!("http.{prefix}."), family: "envoy_http_", ..Scope::default() };
    scope.label("envoy_http_conn_manager_prefix", prefix)
}
