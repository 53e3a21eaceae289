//! One bootstrap with a listener per case, for either proxy.

use crate::cases::Case;
use serde_json::{Value, json};
use std::net::SocketAddr;

/// Where the upstreams listen. `dead` is a port on which nobody does.
#[derive(Clone, Copy, Debug)]
pub struct Upstreams {
    pub a: SocketAddr,
    pub b: SocketAddr,
    pub c: SocketAddr,
    /// Speaks HTTP/2.
    pub second: SocketAddr,
    /// Says over HTTP, and over gRPC, which requests may pass.
    pub authz: SocketAddr,
    pub authorizer: SocketAddr,
    pub dead: SocketAddr,
}

impl Upstreams {
    /// One of each protocol; nobody listens where questions are answered.
    pub fn two(first: SocketAddr, second: SocketAddr, dead: SocketAddr) -> Self {
        let (authz, authorizer) = (dead, dead);
        Self { a: first, b: first, c: first, second, authz, authorizer, dead }
    }
}

pub fn bootstrap(cases: &[Case], up: &Upstreams, admin: SocketAddr, ports: &[u16]) -> Value {
    let listeners: Vec<Value> =
        cases.iter().zip(ports).map(|(case, port)| listener(case, *port)).collect();
    let mut clusters = common_clusters(up);
    clusters.extend(cases.iter().flat_map(|case| &case.clusters).map(|c| fill_in(c, up)));
    json!({
        "admin": { "address": socket(admin) },
        "static_resources": { "listeners": listeners, "clusters": clusters },
    })
}

/// Where to listen, or whom to connect to.
pub fn socket(address: SocketAddr) -> Value {
    json!({ "socket_address": {
        "address": address.ip().to_string(), "port_value": address.port()
    } })
}

fn common_clusters(up: &Upstreams) -> Vec<Value> {
    let one =
        |name: &str, endpoints: &[SocketAddr]| cluster(name, &addresses(endpoints), json!({}));
    vec![
        one("a", &[up.a]),
        one("b", &[up.b]),
        one("c", &[up.c]),
        one("all", &[up.a, up.b, up.c]),
        cluster("second", &addresses(&[up.second]), by_http2()),
        cluster("fresh", &addresses(&[up.a]), one_request_each()),
        one("authz", &[up.authz]),
        cluster("authorizer", &addresses(&[up.authorizer]), by_http2()),
        one("dead", &[up.dead]),
        one("empty", &[]),
    ]
}

fn by_http2() -> Value {
    json!({ "typed_extension_protocol_options": { OPTIONS: {
        "@type": format!("type.googleapis.com/{OPTIONS}"),
        "explicit_http_config": { "http2_protocol_options": {} },
    } } })
}

const OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// A new connection for every request, so that none can have been closed before it is used.
fn one_request_each() -> Value {
    json!({ "typed_extension_protocol_options": { OPTIONS: {
        "@type": format!("type.googleapis.com/{OPTIONS}"),
        "common_http_protocol_options": { "max_requests_per_connection": 1 },
        "explicit_http_config": { "http_protocol_options": {} },
    } } })
}

fn addresses(list: &[SocketAddr]) -> Vec<Value> {
    list.iter().map(|a| json!({ "endpoint": { "address": socket(*a) } })).collect()
}

/// A static cluster; `extra` replaces or adds fields.
pub fn cluster(name: &str, endpoints: &[Value], extra: Value) -> Value {
    let mut cluster = json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{ "lb_endpoints": endpoints }],
        },
    });
    merge(&mut cluster, extra);
    cluster
}

/// Puts the fields of `extra` into `into`, object by object.
pub fn merge(into: &mut Value, extra: Value) {
    match (into, extra) {
        (Value::Object(into), Value::Object(extra)) => {
            for (name, value) in extra {
                match into.get_mut(&name) {
                    Some(old) if old.is_object() && value.is_object() => merge(old, value),
                    _ => {
                        into.insert(name, value);
                    }
                }
            }
        }
        (into, extra) => *into = extra,
    }
}

/// An endpoint by the name of its upstream; [`fill_in`] puts the address in.
pub fn endpoint(upstream: &str) -> Value {
    json!({ "endpoint": { "address": upstream } })
}

fn fill_in(value: &Value, up: &Upstreams) -> Value {
    match value {
        Value::Object(map) => {
            let fill = |(name, value): (&String, &Value)| {
                let address = (name == "address").then(|| upstream(value, up)).flatten();
                (name.clone(), address.unwrap_or_else(|| fill_in(value, up)))
            };
            map.iter().map(fill).collect()
        }
        Value::Array(list) => list.iter().map(|v| fill_in(v, up)).collect(),
        other => other.clone(),
    }
}

fn upstream(name: &Value, up: &Upstreams) -> Option<Value> {
    let address = match name.as_str()? {
        "a" => up.a,
        "b" => up.b,
        "c" => up.c,
        "dead" => up.dead,
        _ => return None,
    };
    Some(socket(address))
}

pub const DOWNSTREAM_TLS: &str =
    "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext";
pub const TLS_INSPECTOR: &str =
    "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector";
pub const RBAC: &str = "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC";
pub const HCM: &str = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
pub const ROUTER: &str = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";

fn listener(case: &Case, port: u16) -> Value {
    let mut filters = case.filters.clone();
    filters.push(json!({
        "name": "envoy.filters.http.router", "typed_config": { "@type": ROUTER }
    }));
    let mut routes = case.routes.clone();
    merge(&mut routes, json!({ "name": case.name }));
    let mut manager = json!({
        "@type": HCM,
        "stat_prefix": case.name,
        "route_config": routes,
        "http_filters": filters,
    });
    merge(&mut manager, case.manager.clone());
    json!({
        "name": case.name,
        "address": socket(SocketAddr::from(([127, 0, 0, 1], port))),
        "filter_chains": [{ "filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": manager,
        }] }],
    })
}
