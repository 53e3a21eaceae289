//! Connections that are bytes.

use crate::support::*;
use ir::{TcpDestination, TcpProxy, Terminal, WeightedCluster};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

pub fn proxy(to: TcpDestination) -> TcpProxy {
    TcpProxy {
        stat_prefix: "t".into(),
        to,
        access_log: Vec::new(),
        idle_timeout: None,
        max_connection_duration: None,
        max_connect_attempts: None,
        hash_source_ip: false,
        tunnel: None,
    }
}

fn simple(upstream: SocketAddr) -> ir::Config {
    let to = proxy(TcpDestination::Cluster("up".into()));
    config(listener(Terminal::Tcp(Box::new(to))), vec![cluster("up", &[upstream])])
}

/// Sends back what it gets, after the client has finished.
fn reverser() -> SocketAddr {
    upstream(|peer, _| {
        let mut all = peer.rest();
        all.reverse();
        peer.send_bytes(&all);
    })
    .0
}

#[test]
fn bytes_go_both_ways_and_each_end_ends_alone() {
    let (_proxy, at) = run(&simple(reverser()));
    for size in [0, 1, 100_000, 5_000_000] {
        let mut sent: Vec<u8> = (0..size).map(|i| (i % 253) as u8).collect();
        let mut client = Peer::connect(at);
        client.send_bytes(&sent);
        client.stream().shutdown(Shutdown::Write).unwrap();
        sent.reverse();
        assert!(client.rest() == sent, "{size}");
    }
}

#[test]
fn the_server_may_speak_first() {
    let (upstream, _) = upstream(|peer, _| {
        peer.send("220 hello\r\n");
        assert_eq!(peer.line(), "EHLO me");
        peer.send("250 ok\r\n");
    });
    let (_proxy, at) = run(&simple(upstream));
    let mut client = Peer::connect(at);
    assert_eq!(client.line(), "220 hello");
    client.send("EHLO me\r\n");
    assert_eq!(client.line(), "250 ok");
    assert_eq!(client.rest(), b"");
}

#[test]
fn connections_are_shared_out_by_weight() {
    let (one, first) = upstream(|peer, _| peer.send("1"));
    let (two, second) = upstream(|peer, _| peer.send("2"));
    let part = |name: &str, weight| WeightedCluster {
        name: name.into(),
        weight,
        headers: Default::default(),
        host_rewrite: "".into(),
        metadata_match: Default::default(),
        per_filter: Vec::new(),
        origin: ir::OriginId::NONE,
    };
    let to = proxy(TcpDestination::Weighted(vec![part("one", 75), part("two", 25)]));
    let clusters = vec![cluster("one", &[one]), cluster("two", &[two])];
    let (_proxy, at) = run(&config(listener(Terminal::Tcp(Box::new(to))), clusters));
    for _ in 0..200 {
        assert_eq!(Peer::connect(at).rest().len(), 1);
    }
    let load = |n: &std::sync::atomic::AtomicUsize| n.load(std::sync::atomic::Ordering::SeqCst);
    assert!((20..80).contains(&load(&second)), "{} {}", load(&first), load(&second));
}

#[test]
fn a_connection_that_leads_nowhere_is_reset() {
    let gone = std::net::TcpListener::bind(ANY).unwrap().local_addr().unwrap();
    let (_proxy, at) = run(&simple(gone));
    assert_eq!(Peer::connect(at).rest(), b"");
}

#[test]
fn an_idle_connection_is_closed() {
    let (upstream, _) = upstream(|peer, _| {
        peer.rest();
    });
    let mut to = proxy(TcpDestination::Cluster("up".into()));
    to.idle_timeout = Some(Duration::from_millis(50));
    let config = config(listener(Terminal::Tcp(Box::new(to))), vec![cluster("up", &[upstream])]);
    let (_proxy, at) = run(&config);
    assert_eq!(Peer::connect(at).rest(), b"");
}

/// A port on which nothing is declared: HTTP goes to routes, everything else is bytes.
fn sniffing(upstream: SocketAddr) -> ir::Config {
    let table = routes(vec![route("/", forward("up"))]);
    let mut l = listener(Terminal::Http(Box::new(manager(table))));
    l.chains[0].matches.application_protocols = vec!["http/1.1".into(), "h2c".into()];
    let to = proxy(TcpDestination::Cluster("up".into()));
    let opaque = listener(Terminal::Tcp(Box::new(to))).chains.remove(0);
    l.default_chain = Some(opaque);
    l.filters.http_inspector = Some(Default::default());
    config(l, vec![cluster("up", &[upstream])])
}

#[test]
fn on_an_undeclared_port_the_first_byte_from_either_side_decides() {
    let (smtp, _) = upstream(|peer, _| {
        peer.send("220 hello\r\n");
        assert_eq!(peer.line(), "QUIT");
        peer.send("221 bye\r\n");
    });
    let (_proxy, at) = run(&sniffing(smtp));
    let mut client = Peer::connect(at);
    assert_eq!(client.line(), "220 hello");
    client.send("QUIT\r\n");
    assert_eq!(client.line(), "221 bye");

    let (upstream, _) = echo();
    let (_proxy, at) = run(&sniffing(upstream));
    let mut quick = Peer::connect(at);
    assert!(quick.get("/").text().contains("x-request-id"));
    let mut slow = Peer::connect(at);
    std::thread::sleep(Duration::from_millis(250));
    assert!(slow.get("/").text().contains("x-request-id"));

    let (_proxy, at) = run(&sniffing(reverser()));
    let mut opaque = Peer::connect(at);
    opaque.send("\0\x01binary");
    opaque.stream().shutdown(Shutdown::Write).unwrap();
    assert_eq!(opaque.rest(), b"yranib\x01\0");
}

#[test]
fn connections_beyond_a_limit_are_closed() {
    let (upstream, _) = upstream(|peer, _| {
        peer.send("hello\r\n");
        peer.rest();
    });
    let mut config = simple(upstream);
    let mut l = (*config.listeners[0]).clone();
    l.chains[0].network = vec![ir::NetworkFilter::ConnectionLimit { max: 2, delay: None }];
    config.listeners = vec![std::sync::Arc::new(l)];
    let (proxy, at) = run(&config);
    let mut first = Peer::connect(at);
    let mut second = Peer::connect(at);
    assert_eq!((first.line(), second.line()), ("hello".into(), "hello".into()));
    assert_eq!(Peer::connect(at).rest(), b"");
    drop(first);
    until("the end of the first", || proxy.open_connections() == 1);
    assert_eq!(Peer::connect(at).line(), "hello");
}

#[test]
fn a_connection_that_no_chain_wants_is_reset_and_logged() {
    let path = std::env::temp_dir().join(format!("lateen-nochain-{}.log", std::process::id()));
    let mut config = simple(reverser());
    let mut l = (*config.listeners[0]).clone();
    l.chains[0].matches.transport_protocol = "tls".into();
    let format = "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%\n";
    l.access_log.push(ir::AccessLog {
        sink: ir::LogSink::File {
            path: path.to_str().unwrap().into(),
            format: ir::LogFormat::Text(format.into()),
        },
        filter: None,
    });
    config.listeners = vec![std::sync::Arc::new(l)];
    let (_proxy, at) = run(&config);
    assert_eq!(Peer::connect(at).rest(), b"");
    let line = "0 NR filter_chain_not_found\n";
    until("the log line", || std::fs::read_to_string(&path).is_ok_and(|log| log == line));
    std::fs::remove_file(path).unwrap();
}

/// A proxy that leads on to where it is asked to, and refuses everybody else.
fn tunnels(answer: &'static str) -> SocketAddr {
    upstream(move |peer, _| {
        let head = peer.head().unwrap_or_default();
        assert_eq!(head, "CONNECT far.example:443 HTTP/1.1\r\nHost: far.example:443\r\n\r\n");
        peer.send(answer);
        let said = peer.line();
        peer.send(&format!("far away: {said}\r\n"));
    })
    .0
}

#[test]
fn bytes_go_through_a_tunnel_that_the_upstream_agrees_to() {
    let within = |upstream: SocketAddr| {
        let to = proxy(TcpDestination::Cluster("up".into()));
        let to = TcpProxy { tunnel: Some("far.example:443".into()), ..to };
        config(listener(Terminal::Tcp(Box::new(to))), vec![cluster("up", &[upstream])])
    };
    // The far end speaks first, in the same packet.
    let (_proxy, at) = run(&within(tunnels("HTTP/1.1 200 OK\r\n\r\nhello\r\n")));
    let mut client = Peer::connect(at);
    assert_eq!(client.line(), "hello");
    client.send("one\r\n");
    assert_eq!(client.line(), "far away: one");
    // Nothing that the client says may reach whoever did not agree.
    for refusal in ["HTTP/1.1 403 Forbidden\r\n\r\n", "220 mail\r\n\r\n"] {
        let (_proxy, at) = run(&within(tunnels(refusal)));
        let mut client = Peer::connect(at);
        let _ = std::io::Write::write_all(&mut client.stream(), b"secret\r\n");
        assert_eq!(client.rest(), b"", "{refusal}");
    }
}
