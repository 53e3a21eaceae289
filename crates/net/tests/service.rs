//! Service addresses in a real network namespace: connections spread over the endpoints, a
//! service without endpoints refuses, and an endpoint that calls itself gets through.

#![allow(clippy::unwrap_used)] // What a test cannot do without ends it.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};

use net::link::{Links, Route};
use net::ns::{self, Leave};
use net::service::{self, ServiceNet, ServiceRule, Transport};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn isolated() -> bool {
    if let Err(e) = ns::unshare(Leave { net: true, ..Default::default() }) {
        assert!(std::env::var_os("LATEEN_REQUIRE_PEERS").is_none(), "no network namespace: {e}");
        eprintln!("skipped: no network namespace for us: {e}");
        return false;
    }
    let mut links = Links::here().unwrap();
    let lo = links.index("lo").unwrap();
    links.set_up(lo).unwrap();
    for own in ["10.244.0.1", "10.244.0.5", "10.244.0.6", "10.96.0.10"] {
        links.add_address(lo, ip(own), 32).unwrap();
    }
    let source = Some(ip("10.244.0.1"));
    links
        .add_route(&Route { to: ip("10.96.0.0"), prefix: 16, link: lo, gateway: None, source })
        .unwrap();
    links.add_address(lo, ip("fd00::5"), 128).unwrap();
    links.add_address(lo, ip("fd00::6"), 128).unwrap();
    let to = ip("fd96::");
    links.add_route(&Route { to, prefix: 64, link: lo, gateway: None, source: None }).unwrap();
    true
}

/// Answers every connection with its own name.
fn endpoint(address: &str) -> SocketAddr {
    let listener = TcpListener::bind(address).unwrap();
    let here = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = stream.unwrap().write_all(here.to_string().as_bytes());
        }
    });
    here
}

fn ask(frontend: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(frontend)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn net_plan() -> ServiceNet {
    ServiceNet {
        service_blocks: vec![(ip("10.96.0.0"), 16), (ip("fd96::"), 64)],
        own: vec![ip("10.96.0.10")],
        node: vec![ip("10.244.0.1")],
        inside: vec![(ip("10.0.0.0"), 8)],
        outbound_relay: Some(15099),
    }
}

fn rule(name: &str, frontends: &[&str], endpoints: &[SocketAddr], sticky: bool) -> ServiceRule {
    ServiceRule {
        name: name.into(),
        transport: Transport::Tcp,
        frontends: frontends.iter().map(|f| f.parse().unwrap()).collect(),
        endpoints: endpoints.to_vec(),
        sticky,
    }
}

#[test]
fn connections_spread_stick_and_are_refused_as_the_services_say() {
    if !isolated() {
        return;
    }
    let v4 = [endpoint("10.244.0.5:9080"), endpoint("10.244.0.6:9080")];
    let v6 = [endpoint("[fd00::5]:9080"), endpoint("[fd00::6]:9080")];
    let all = [v4, v6].concat();
    let services = [
        rule(
            "default/web:http",
            &["10.96.1.1:80", "10.244.0.1:30080", "[fd96::1]:80"],
            &all,
            false,
        ),
        rule("default/sticky:http", &["10.96.1.2:80"], &v4, true),
        rule("default/one:http", &["10.96.1.3:80"], &v4[..1], false),
        rule("default/none:http", &["10.96.1.4:80"], &[], false),
    ];
    service::apply(&net_plan(), &services).unwrap();
    service::apply(&net_plan(), &services).unwrap();
    for frontend in ["10.96.1.1:80", "10.244.0.1:30080", "[fd96::1]:80"] {
        let mut seen = BTreeMap::new();
        for _ in 0..200 {
            *seen.entry(ask(frontend).unwrap()).or_insert(0) += 1;
        }
        assert_eq!(seen.len(), 2, "{frontend}: {seen:?}");
        assert!(seen.values().all(|n| *n > 50), "{frontend}: {seen:?}");
    }
    let first = ask("10.96.1.2:80").unwrap();
    assert!((0..20).all(|_| ask("10.96.1.2:80").unwrap() == first));
    assert_eq!(ask("10.96.1.3:80").unwrap(), "10.244.0.5:9080");
    for refused in ["10.96.1.4:80", "10.96.1.1:81", "[fd96::9]:80"] {
        assert_eq!(ask(refused).unwrap_err().kind(), ErrorKind::ConnectionRefused, "{refused}");
    }
    let listed = std::process::Command::new("nft").args(["list", "ruleset"]).output().unwrap();
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.contains("tcp . 10.96.1.1 . 80 : goto svc-0-default-web-http"), "{listed}");
}
