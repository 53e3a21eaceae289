//! Behind a balancer that speaks the PROXY protocol, the client is whom its preamble names: upstreams are
//! told of it, and not of the balancer.

use crate::support::*;
use crate::tcp;
use ir::{ProxyProtocolVersion, TcpDestination, Terminal};
use std::net::SocketAddr;

/// An upstream that tells what came first on its connection.
fn first_line() -> SocketAddr {
    let (address, _) = upstream(|peer, _| {
        let line = peer.line();
        let head = peer.head().unwrap_or_default();
        let told = format!("{line}|{}", forwarded_for(&head));
        peer.send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{told}", told.len()));
    });
    address
}

fn forwarded_for(head: &str) -> &str {
    let mut lines = head.lines();
    lines.find_map(|line| line.strip_prefix("x-forwarded-for: ")).unwrap_or_default()
}

const PREAMBLE: &str = "PROXY TCP4 192.0.2.7 192.0.2.1 4000 80\r\n";
const GET: &str = "GET / HTTP/1.1\r\nHost: example\r\n\r\n";

fn told_behind(terminal: Terminal) -> String {
    let mut up = cluster("up", &[first_line()]);
    up.proxy_protocol = Some(ProxyProtocolVersion::V1);
    let mut listener = listener(terminal);
    listener.filters.proxy_protocol = Some(ir::Preamble::default());
    let (_proxy, at) = run(&config(listener, vec![up]));
    Peer::connect(at).ask(&format!("{PREAMBLE}{GET}")).text().to_owned()
}

#[test]
fn upstreams_of_http_are_told_of_the_client() {
    let mut manager = manager(routes(vec![route("/", forward("up"))]));
    manager.use_remote_address = true;
    let told = told_behind(Terminal::Http(Box::new(manager)));
    assert_eq!(told, "PROXY TCP4 192.0.2.7 192.0.2.1 4000 80|192.0.2.7");
}

#[test]
fn upstreams_of_tcp_are_told_of_the_client() {
    let to = TcpDestination::Cluster("up".into());
    let told = told_behind(Terminal::Tcp(Box::new(tcp::proxy(to))));
    assert_eq!(told, "PROXY TCP4 192.0.2.7 192.0.2.1 4000 80|");
}
