//! The PROXY protocol before requests, at a listener that demands it and at one that does not: who is let in,
//! and who the upstream is told the client is, must be as with Envoy.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/peers.rs"]
mod peers;

use differential::bootstrap::{Upstreams, bootstrap};
use differential::cases::{Case, single};
use differential::http::{header, read_body, read_head};
use differential::proxy::{Proxy, free_ports};
use differential::second;
use differential::upstream::{self, Seen};
use serde_json::{Value, json};
use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

const FILTER: &str =
    "type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol";

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn cases() -> [Case; 2] {
    ["demanded", "optional"].map(|name| {
        let mut case = single(name, "a", json!({}), vec![]);
        case.manager = json!({ "use_remote_address": true });
        case
    })
}

fn launch(name: &str, binary: &Path, dir: &Path, up: &Upstreams) -> Proxy {
    let mut ports = free_ports(3).unwrap();
    let admin = loopback(ports.pop().unwrap());
    let mut config = bootstrap(&cases(), up, admin, &ports);
    for (n, optional) in [false, true].into_iter().enumerate() {
        let options = json!({ "@type": FILTER, "allow_requests_without_proxy_protocol": optional });
        let filter =
            json!([{ "name": "envoy.filters.listener.proxy_protocol", "typed_config": options }]);
        config["static_resources"]["listeners"][n]["listener_filters"] = filter;
        config["static_resources"]["listeners"][n]["listener_filters_timeout"] = json!("1s");
    }
    Proxy::start(binary, name, dir, &config, admin, ports).unwrap()
}

/// A preamble of version 2: command, family, block.
fn second_version(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let mut out = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    out.extend([0x20 | command, family]);
    out.extend((block.len() as u16).to_be_bytes());
    out.extend(block);
    out
}

fn preambles() -> Vec<(&'static str, Vec<u8>)> {
    let first = |line: &str| line.as_bytes().to_vec();
    let four: &[u8] = &[192, 0, 2, 7, 192, 0, 2, 1, 0x0f, 0xa0, 0, 80];
    let mut six = [0; 36];
    (six[0], six[15], six[16], six[31], six[33], six[35]) = (0x20, 7, 0x20, 1, 9, 80);
    // PP2_TYPE_AUTHORITY, and a type that nobody knows.
    let tlvs: &[u8] = &[2, 0, 3, b'a', b'.', b'b', 0xee, 0, 1, 9];
    vec![
        ("none", Vec::new()),
        ("version 1", first("PROXY TCP4 192.0.2.7 192.0.2.1 4000 80\r\n")),
        ("version 1 by IPv6", first("PROXY TCP6 2001:db8::7 2001:db8::1 4000 80\r\n")),
        ("version 1, unknown", first("PROXY UNKNOWN\r\n")),
        ("version 1, unknown with more", first("PROXY UNKNOWN ffff:f::1 ffff::2 1 2\r\n")),
        ("version 1, another family", first("PROXY UDP4 192.0.2.7 192.0.2.1 4000 80\r\n")),
        ("version 1, families mixed", first("PROXY TCP4 2001:db8::7 192.0.2.1 4000 80\r\n")),
        ("version 1, no port", first("PROXY TCP4 192.0.2.7 192.0.2.1 4000\r\n")),
        ("version 1, a large port", first("PROXY TCP4 192.0.2.7 192.0.2.1 70000 80\r\n")),
        ("version 1, too long", [b"PROXY TCP4 ", &[b'1'; 120][..], b"\r\n"].concat()),
        ("version 1, in lower case", first("proxy TCP4 192.0.2.7 192.0.2.1 4000 80\r\n")),
        ("version 2", second_version(1, 0x11, four)),
        ("version 2 by IPv6", second_version(1, 0x21, &six)),
        ("version 2 with extensions", second_version(1, 0x11, &[four, tlvs].concat())),
        (
            "version 2, a long extension",
            second_version(1, 0x11, &[four, &[4, 0x03, 0xe8], &[0; 1000][..]].concat()),
        ),
        ("version 2, local", second_version(0, 0, &[])),
        ("version 2, local with addresses", second_version(0, 0x11, four)),
        ("version 2, UDP", second_version(1, 0x12, four)),
        ("version 2, unspecified", second_version(1, 0, &[])),
        ("version 2, a Unix socket", second_version(1, 0x31, &[b'x'; 216])),
        ("version 2, too short", second_version(1, 0x11, &four[..8])),
        ("version 2, another command", second_version(2, 0x11, four)),
        ("version 3", {
            let mut bytes = second_version(1, 0x11, four);
            bytes[12] = 0x31;
            bytes
        }),
    ]
}

/// The status, and the client that the upstream was told of.
fn ask(to: SocketAddr, preamble: &[u8]) -> Option<(String, String)> {
    let mut stream = TcpStream::connect(to).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let request = b"GET / HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n";
    stream.write_all(&[preamble, request].concat()).ok()?;
    let mut from = BufReader::new(stream);
    let (line, headers) = read_head(&mut from).ok()??;
    let (body, _) = read_body(&mut from, &headers, true).ok()?;
    let echo: Value = serde_json::from_slice(&body).unwrap_or_default();
    let sent: Vec<(String, String)> =
        serde_json::from_value(echo["headers"].clone()).unwrap_or_default();
    let told = header(&sent, "x-forwarded-for").unwrap_or("nobody");
    Some((line, told.to_owned()))
}

#[test]
fn preambles_are_read_as_by_envoy() {
    let Some((envoy, ours)) = peers::peers() else { return };
    let dir = peers::directory("preambles");
    let seen = Seen::default();
    let a = upstream::start("a", seen.clone()).unwrap();
    let second = second::start("second", seen).unwrap();
    let up = Upstreams::two(a, second, loopback(free_ports(1).unwrap()[0]));
    let envoy = launch("envoy", &envoy, &dir, &up);
    let ours = launch("ours", &ours, &dir, &up);
    let mut different = Vec::new();
    for (place, listener) in ["demanded", "optional"].into_iter().enumerate() {
        for (name, preamble) in preambles() {
            let went = [&envoy, &ours].map(|proxy| ask(proxy.address(place), &preamble));
            if went[0] != went[1] {
                different.push((listener, name, went));
            }
        }
    }
    assert!(different.is_empty(), "listener, preamble, Envoy and ours: {different:#?}");
    let (status, told) = ask(ours.address(0), &preambles()[1].1).unwrap();
    assert_eq!((status.as_str(), told.as_str()), ("HTTP/1.1 200 OK", "192.0.2.7"));
    std::fs::remove_dir_all(&dir).unwrap();
}
