//! The rows of the benchmark and the configuration files that they run from. Envoy and our proxy read
//! the very same bootstrap file.

use super::mutual;
use anyhow::Result;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    Http2,
    Tcp,
    /// Two proxies, the first of which speaks mutual TLS to the second, which asks ten policies.
    Mutual,
}

impl Protocol {
    pub const ALL: [Protocol; 4] =
        [Protocol::Http1, Protocol::Http2, Protocol::Tcp, Protocol::Mutual];

    pub fn name(self) -> &'static str {
        match self {
            Protocol::Http1 => "http1",
            Protocol::Http2 => "http2",
            Protocol::Tcp => "tcp",
            Protocol::Mutual => "mtls",
        }
    }

    pub fn title(self) -> &'static str {
        match self {
            Protocol::Http1 => "HTTP/1.1",
            Protocol::Http2 => "HTTP/2 (32 streams a connection)",
            Protocol::Tcp => "TCP",
            Protocol::Mutual => "HTTP/1.1 through two proxies, mutual TLS between them",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    Small,
    Medium,
    Large,
}

impl Body {
    pub const ALL: [Body; 3] = [Body::Small, Body::Medium, Body::Large];

    pub fn name(self) -> &'static str {
        match self {
            Body::Small => "128",
            Body::Medium => "16k",
            Body::Large => "1m",
        }
    }

    fn bytes(self) -> usize {
        match self {
            Body::Small => 128,
            Body::Medium => 16 << 10,
            Body::Large => 1 << 20,
        }
    }
}

pub struct Proxy {
    pub name: &'static str,
    pub protocol: Protocol,
    pub port: u16,
    /// The last is the first to be started; none: straight to the backend.
    pub programs: Vec<Vec<String>>,
    pub is_envoy: bool,
}

pub const BACKEND_HTTP1: u16 = 19000;
const BACKEND_HTTP2: u16 = 19001;
const HOST: &str = "backend.default.svc.cluster.local";
pub const HOST_HEADER: &str = "Host: backend.default.svc.cluster.local";
/// As many virtual hosts as a mesh of this many services has on one port.
const VIRTUAL_HOSTS: usize = 1000;

/// Port of the first listener; the protocols follow.
const ENVOY: u16 = 19100;
const OURS: u16 = 19200;

pub fn proxies(ours: &Path, envoy: &Path, dir: &Path) -> Vec<Proxy> {
    let mut rows = vec![
        direct("direct", Protocol::Http1, BACKEND_HTTP1),
        other("nginx", Protocol::Http1, 19300, &["nginx", "-c"], &dir.join("nginx.conf")),
        other(
            "haproxy",
            Protocol::Http1,
            19400,
            &["haproxy", "-db", "-f"],
            &dir.join("haproxy.cfg"),
        ),
        direct("direct, HTTP/2", Protocol::Http2, BACKEND_HTTP2),
        other(
            "haproxy, HTTP/2",
            Protocol::Http2,
            19401,
            &["haproxy", "-db", "-f"],
            &dir.join("haproxy.cfg"),
        ),
        other(
            "haproxy, TCP",
            Protocol::Tcp,
            19402,
            &["haproxy", "-db", "-f"],
            &dir.join("haproxy.cfg"),
        ),
    ];
    let names = ["envoy", "envoy, HTTP/2", "envoy, TCP", "envoy, pair"];
    rows.extend(from_bootstrap(names, ENVOY, "envoy", envoy, dir, true));
    rows.extend(self::ours(ours, dir));
    rows
}

pub fn ours(program: &Path, dir: &Path) -> Vec<Proxy> {
    let names = ["lateen", "lateen, HTTP/2", "lateen, TCP", "lateen, pair"];
    from_bootstrap(names, OURS, "lateen", program, dir, false)
}

/// Where the second of a pair takes mutual TLS.
pub fn encrypted(first_port: u16) -> u16 {
    first_port + Protocol::ALL.len() as u16
}

fn from_bootstrap(
    names: [&'static str; Protocol::ALL.len()],
    first_port: u16,
    file: &str,
    program: &Path,
    dir: &Path,
    is_envoy: bool,
) -> Vec<Proxy> {
    let run = |file: String| {
        let config = dir.join(file);
        let argv = [program.display().to_string(), "-c".into(), config.display().to_string()];
        let flags =
            ["--concurrency", "1", "--use-dynamic-base-id", "--disable-hot-restart", "-l", "error"];
        argv.into_iter().chain(flags.map(String::from)).collect()
    };
    let row = |(i, name)| {
        let i: usize = i;
        let protocol = Protocol::ALL[i];
        let mut programs = vec![run(format!("{file}-{i}.json"))];
        if protocol == Protocol::Mutual {
            programs.push(run(format!("{file}-{}.json", i + 1)));
        }
        Proxy { name, protocol, port: first_port + i as u16, programs, is_envoy }
    };
    names.into_iter().enumerate().map(row).collect()
}

fn direct(name: &'static str, protocol: Protocol, port: u16) -> Proxy {
    Proxy { name, protocol, port, programs: Vec::new(), is_envoy: false }
}

fn other(name: &'static str, protocol: Protocol, port: u16, argv: &[&str], file: &Path) -> Proxy {
    let argv = argv.iter().map(|s| s.to_string()).chain([file.display().to_string()]).collect();
    Proxy { name, protocol, port, programs: vec![argv], is_envoy: false }
}

/// Writes all files that the rows run from.
pub fn write(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir.join("www"))?;
    for body in Body::ALL {
        fs::write(dir.join("www").join(body.name()), "x".repeat(body.bytes()))?;
    }
    mutual::certificates(dir)?;
    for (file, first_port) in [("envoy", ENVOY), ("lateen", OURS)] {
        let log = |i: usize| dir.join(format!("{file}-{i}.access.log"));
        let mut all: Vec<Value> = Vec::new();
        for (i, protocol) in Protocol::ALL.into_iter().enumerate() {
            let port = first_port + i as u16;
            match protocol {
                Protocol::Mutual => all.extend(mutual::pair(
                    dir,
                    port,
                    encrypted(first_port),
                    [&log(i), &log(i + 1)],
                )),
                Protocol::Http1 | Protocol::Http2 | Protocol::Tcp => {
                    all.push(bootstrap(protocol, port, &log(i)))
                }
            }
        }
        for (i, bootstrap) in all.iter().enumerate() {
            fs::write(dir.join(format!("{file}-{i}.json")), serde_json::to_string(bootstrap)?)?;
        }
    }
    let dir_name = dir.display().to_string();
    fs::write(dir.join("backend.conf"), BACKEND.replace("DIR", &dir_name))?;
    fs::write(dir.join("nginx.conf"), NGINX.replace("DIR", &dir_name))?;
    fs::write(dir.join("haproxy.cfg"), HAPROXY)?;
    Ok(())
}

const BACKEND: &str = "daemon off; master_process off; error_log DIR/backend.err; pid DIR/backend.pid;
events { worker_connections 8000; }
http { access_log off; keepalive_requests 1000000000; sendfile on; tcp_nodelay on;
  client_body_temp_path DIR/b1; proxy_temp_path DIR/b2; fastcgi_temp_path DIR/b3; uwsgi_temp_path DIR/b4; scgi_temp_path DIR/b5;
  open_file_cache max=10; root DIR/www; default_type text/plain;
  server { listen 127.0.0.1:19000 backlog=4096; }
  server { listen 127.0.0.1:19001 http2 backlog=4096; http2_max_concurrent_streams 1024; } }
";

const NGINX: &str = "daemon off; master_process off; worker_processes 1; error_log DIR/nginx.err; pid DIR/nginx.pid;
events { worker_connections 8000; }
http { access_log DIR/nginx.access.log combined buffer=64k; keepalive_requests 1000000000; tcp_nodelay on;
  client_body_temp_path DIR/n1; proxy_temp_path DIR/n2; fastcgi_temp_path DIR/n3; uwsgi_temp_path DIR/n4; scgi_temp_path DIR/n5;
  upstream backend { server 127.0.0.1:19000; keepalive 512; keepalive_requests 1000000000; }
  server { listen 127.0.0.1:19300 backlog=4096;
    location / { proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_buffers 16 16k; } } }
";

const HAPROXY: &str = "global
  nbthread 1
  maxconn 4000
defaults
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend http1
  mode http
  bind 127.0.0.1:19400
  default_backend http1
backend http1
  mode http
  http-reuse always
  server s 127.0.0.1:19000
frontend http2
  mode http
  bind 127.0.0.1:19401 proto h2
  default_backend http2
backend http2
  mode http
  server s 127.0.0.1:19001 proto h2
frontend tcp
  mode tcp
  bind 127.0.0.1:19402
  default_backend tcp
backend tcp
  mode tcp
  server s 127.0.0.1:19000
";

pub fn bootstrap(protocol: Protocol, port: u16, log: &Path) -> Value {
    let (backend, http2) = match protocol {
        Protocol::Http2 => (BACKEND_HTTP2, true),
        Protocol::Http1 | Protocol::Tcp | Protocol::Mutual => (BACKEND_HTTP1, false),
    };
    let filter = if protocol == Protocol::Tcp { tcp_proxy() } else { manager(log) };
    json!({ "static_resources": {
        "listeners": [{
            "name": "in",
            "address": address(port),
            "filter_chains": [{ "filters": [filter] }],
        }],
        "clusters": [cluster(backend, http2)],
    }})
}

pub fn address(port: u16) -> Value {
    json!({ "socket_address": { "address": "127.0.0.1", "port_value": port } })
}

fn cluster(port: u16, http2: bool) -> Value {
    let limits = json!({ "max_connections": 100_000, "max_pending_requests": 100_000, "max_requests": 100_000 });
    let mut cluster = json!({
        "name": "backend",
        "type": "STATIC",
        "connect_timeout": "5s",
        "circuit_breakers": { "thresholds": [limits] },
        "load_assignment": { "cluster_name": "backend", "endpoints": [
            { "lb_endpoints": [{ "endpoint": { "address": address(port) } }] }
        ]},
    });
    let protocol = if http2 { "http2_protocol_options" } else { "http_protocol_options" };
    cluster["typed_extension_protocol_options"] = json!({
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            // So that a soak sees in its pauses what is really kept.
            "common_http_protocol_options": { "idle_timeout": "3s" },
            "explicit_http_config": { protocol: {} },
        }
    });
    cluster
}

fn tcp_proxy() -> Value {
    json!({ "name": "envoy.filters.network.tcp_proxy", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": "tcp",
        "cluster": "backend",
    }})
}

/// Istio's shape: many virtual hosts, its retry policy, request ids and its access log.
fn manager(log: &Path) -> Value {
    let format = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER% %DOWNSTREAM_REMOTE_ADDRESS% %ROUTE_NAME%\n";
    let hosts: Vec<Value> = (0..VIRTUAL_HOSTS)
        .map(|i| {
            virtual_host(&format!("service-{i}"), &format!("service-{i}.default.svc.cluster.local"))
        })
        .chain([virtual_host("backend", HOST), virtual_host("any", "*")])
        .collect();
    json!({ "name": "envoy.filters.network.http_connection_manager", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "generate_request_id": true,
        "access_log": [{ "name": "envoy.access_loggers.file", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": log.display().to_string(),
            "log_format": { "text_format_source": { "inline_string": format } },
        }}],
        "http_filters": [{ "name": "envoy.filters.http.router", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
        }}],
        "route_config": { "name": "routes", "virtual_hosts": hosts },
    }})
}

fn virtual_host(name: &str, domain: &str) -> Value {
    json!({ "name": name, "domains": domains(domain), "routes": [{
        "name": "default",
        "match": { "prefix": "/" },
        "route": { "cluster": "backend", "timeout": "0s", "retry_policy": {
            "retry_on": "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes",
            "num_retries": 2,
        }},
    }]})
}

fn domains(domain: &str) -> Vec<String> {
    match domain {
        "*" => vec!["*".into()],
        _ => vec![domain.into(), format!("{domain}:80")],
    }
}
