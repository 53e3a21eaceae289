//! Scenes: a listener with a route configuration and clusters of its own, and a log with one line for
//! each request.

use super::backend::Ground;
use crate::bootstrap::{merge, socket};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;

#[derive(Clone, Debug)]
pub struct Scene {
    pub name: &'static str,
    routes: Vec<Value>,
    filters: Vec<Value>,
    clusters: Vec<Value>,
    /// TLS of a port that is not of HTTP.
    tls: Option<Value>,
}

/// What a line of a log says, word by word.
const LINE: &str =
    "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %UPSTREAM_REQUEST_ATTEMPT_COUNT%\n";

impl Scene {
    /// Everything goes to a cluster of the scene's name with these endpoints.
    pub fn new(name: &'static str, endpoints: Vec<Value>) -> Self {
        let all = json!({ "match": { "prefix": "/" }, "route": { "cluster": name } });
        Self { name, routes: vec![all], filters: vec![], clusters: vec![], tls: None }
            .cluster(name, json!([{ "lb_endpoints": endpoints }]))
    }

    /// Puts this over the cluster of the scene's name.
    pub fn with(mut self, extra: Value) -> Self {
        merge(&mut self.clusters[0], extra);
        self
    }

    /// Puts this over the route.
    pub fn route(mut self, extra: Value) -> Self {
        merge(&mut self.routes[0], extra);
        self
    }

    /// The endpoints by locality and priority, in place of those given before.
    pub fn localities(self, localities: Value) -> Self {
        let name = self.name;
        self.with(json!({ "load_assignment": { "cluster_name": name, "endpoints": localities } }))
    }

    /// A further cluster.
    pub fn cluster(mut self, name: &str, localities: Value) -> Self {
        self.clusters.push(json!({
            "name": name, "type": "STATIC", "connect_timeout": "1s",
            "load_assignment": { "cluster_name": name, "endpoints": localities },
        }));
        self
    }

    pub fn filter(mut self, filter: Value) -> Self {
        self.filters.push(filter);
        self
    }

    /// A port of TCP that ends TLS of clients with a certificate of this authority's.
    pub fn ending_tls(mut self, ca: &authority::Authority) -> Self {
        let inline = |text: &str| json!({ "inline_string": text });
        let leaf = ca.leaf(&["server.example"]);
        self.tls = Some(json!({
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "require_client_certificate": true,
            "common_tls_context": {
                "tls_certificates": [{ "certificate_chain": inline(&leaf.chain), "private_key": inline(&leaf.key) }],
                "validation_context": { "trusted_ca": inline(&ca.root) },
            },
        }));
        self
    }

    fn tcp_listener(&self, port: u16, tls: &Value) -> Value {
        const PROXY: &str =
            "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";
        let proxy = json!({ "@type": PROXY, "stat_prefix": self.name, "cluster": self.name });
        json!({ "name": self.name, "address": socket(SocketAddr::from(([127, 0, 0, 1], port))),
            "filter_chains": [{
                "filters": [{ "name": "envoy.filters.network.tcp_proxy", "typed_config": proxy }],
                "transport_socket": { "name": "envoy.transport_sockets.tls", "typed_config": tls },
            }] })
    }

    fn listener(&self, port: u16, log: &Path) -> Value {
        if let Some(tls) = &self.tls {
            return self.tcp_listener(port, tls);
        }
        const HCM: &str = "envoy.filters.network.http_connection_manager";
        let of = |name: &str| format!("type.googleapis.com/{name}");
        let mut filters = self.filters.clone();
        filters.push(json!({ "name": "envoy.filters.http.router", "typed_config": {
            "@type": of("envoy.extensions.filters.http.router.v3.Router") } }));
        let manager = json!({
            "@type": of("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"),
            "stat_prefix": self.name,
            "route_config": { "name": self.name, "virtual_hosts": [
                { "name": "all", "domains": ["*"], "routes": self.routes } ] },
            "http_filters": filters,
            "access_log": [{ "name": "envoy.access_loggers.file", "typed_config": {
                "@type": of("envoy.extensions.access_loggers.file.v3.FileAccessLog"),
                "path": log, "log_format": { "text_format_source": { "inline_string": LINE } } } }],
        });
        json!({ "name": self.name, "address": socket(SocketAddr::from(([127, 0, 0, 1], port))),
            "filter_chains": [{ "filters": [{ "name": HCM, "typed_config": manager }] }] })
    }
}

/// One bootstrap of them all; the log of each lies at the path of the same place.
pub fn bootstrap(scenes: &[Scene], admin: SocketAddr, ports: &[u16], logs: &[String]) -> Value {
    let places = ports.iter().zip(logs);
    let listeners: Vec<Value> = scenes
        .iter()
        .zip(places)
        .map(|(s, (port, log))| s.listener(*port, Path::new(log)))
        .collect();
    let clusters: Vec<&Value> = scenes.iter().flat_map(|s| &s.clusters).collect();
    json!({ "admin": { "address": socket(admin) },
        "static_resources": { "listeners": listeners, "clusters": clusters } })
}

/// The endpoints of these backends, all alike.
pub fn even(ground: &Ground, names: &[&str]) -> Vec<Value> {
    names.iter().map(|name| ground.endpoint(name, json!({}))).collect()
}
