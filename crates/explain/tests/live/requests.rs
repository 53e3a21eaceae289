//! Requests at random, which meet the words that the rules are made of more often than not.

use crate::world::{
    HEADERS, PATHS, Ports, Random, SERVICES, VALUES, clusters_address, gateway_host,
};
use base::{Env, FixedEnv};
use explain::Asked;
use std::net::SocketAddr;

/// Fields that end at the proxy in some requests.
pub const OF_CONNECTION: [&str; 7] =
    ["connection", "upgrade", "http2-settings", "keep-alive", HEADERS[0], HEADERS[1], HEADERS[2]];

#[derive(Clone, Debug)]
pub struct Request {
    pub asked: Asked,
    pub at_gateway: bool,
    /// Where the client connects to.
    pub to: SocketAddr,
}

pub fn request(env: &FixedEnv, ports: &Ports) -> Request {
    let random = Random(env);
    let at_gateway = random.percent(40);
    let service = env.below(SERVICES);
    let (host, port, ip) = match at_gateway {
        true => (gateway_host(service), ports.gateway, "127.0.0.1".to_owned()),
        false => (format!("s{service}"), ports.http, clusters_address(service)),
    };
    let mut path = match env.below(12) {
        0 => "/x/../a".to_owned(),
        1 => "/nowhere".to_owned(),
        2 => "/%61".to_owned(),
        _ => (*random.of(&PATHS)).to_owned(),
    };
    if random.percent(20) {
        path += *random.of(&["?q=1", "?q=2&r", "?other"]);
    }
    let method = random.of(&["GET", "GET", "GET", "POST", "OPTIONS", "HEAD"]);
    let url = format!("http://{host}:{port}{path}");
    let mut asked = Asked::parse(method, &url).unwrap();
    let mut add = |name: &str, value: &str| asked.headers.push((name.to_owned(), value.to_owned()));
    for name in HEADERS {
        if random.percent(40) {
            let value: &&str = random.of(&VALUES);
            add(name, value);
        }
    }
    if random.percent(10) {
        add("origin", "http://friend");
        add("access-control-request-method", "GET");
    }
    if random.percent(5) {
        add("content-type", "application/grpc");
    }
    match env.below(25) {
        0 => {
            add("connection", "upgrade");
            add("upgrade", "telnet");
        }
        1 => {
            add("connection", "Upgrade, HTTP2-Settings");
            add("upgrade", "h2c");
            add("http2-settings", "AAMAAABkAAQAAP__");
        }
        2 => add("connection", "x-forwarded-for"),
        // What it names is for the next proxy only, whatever it is.
        3 | 4 => add("connection", &format!("keep-alive, {}", random.of(&HEADERS))),
        5 => {
            add("te", "trailers, deflate");
            add("keep-alive", "timeout=5");
        }
        _ => {}
    }
    match env.below(40) {
        0 => add("host", "unknown.example.org"),
        1 => add("host", &format!("S{service}.EXAMPLE.com:{port}")),
        2 => add("x-request-id", "given"),
        _ => {}
    }
    Request { asked, at_gateway, to: SocketAddr::new(ip.parse().unwrap(), port) }
}
