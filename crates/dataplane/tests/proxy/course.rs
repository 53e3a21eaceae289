//! Connections that are open when the configuration changes: today's rules hold for them, too.

use crate::support::*;
use crate::tcp;
use ir::{
    HttpFilter, HttpFilterConfig, NetworkFilter, OriginId, Permission, Principal, Rbac, RbacAction,
    RbacPolicy, RbacRules, TcpDestination, Terminal,
};
use std::collections::BTreeMap;

/// Denies everything.
fn rules() -> Rbac {
    let policy =
        RbacPolicy { permissions: vec![Permission::Any], principals: vec![Principal::Any] };
    let policies = BTreeMap::from([("ns[a]-policy[nothing]-rule[0]".into(), policy)]);
    let rules = Some(RbacRules { action: RbacAction::Deny, policies });
    Rbac { rules, stat_prefix: "tcp.".into(), ..Rbac::default() }
}

/// A port that `denies` everything, or nothing.
fn serving(denies: bool) -> ir::Listener {
    let mut manager = manager(routes(vec![route("/", forward("up"))]));
    if denies {
        let config = HttpFilterConfig::Rbac(Box::new(rules()));
        let name = "envoy.filters.http.rbac".into();
        let rbac = HttpFilter { name, config, disabled: false, origin: OriginId::NONE };
        manager.filters.insert(0, rbac);
    }
    let mut l = listener(Terminal::Http(Box::new(manager)));
    l.chains[0].name = "0.0.0.0_80".into();
    l
}

#[test]
fn new_rules_hold_for_connections_that_are_open() {
    let (up, _) = echo();
    let with = |l| config(l, vec![cluster("up", &[up])]);
    let (proxy, at) = run(&with(serving(false)));
    let mut open = Peer::connect(at);
    assert_eq!(open.get("/").status(), 200);
    // The chain is elsewhere among the others by now.
    let mut l = serving(true);
    let mut other = l.chains[0].clone();
    other.name = "another".into();
    other.matches.destination_port = Some(1);
    l.chains.insert(0, other);
    assert_eq!(proxy.publish(&with(l)), []);
    let answer = open.get("/");
    assert_eq!((answer.status(), answer.header("connection")), (403, None));
    assert_eq!(proxy.publish(&with(serving(false))), []);
    assert_eq!(open.get("/").status(), 200);
}

/// As one that would come now.
#[test]
fn a_connection_that_no_chain_takes_any_more_ends() {
    let (up, reached) = echo();
    let with = |l| config(l, vec![cluster("up", &[up])]);
    let mut elsewhere = serving(false);
    elsewhere.chains[0].matches.transport_protocol = "tls".into();
    let mut tcp_now = serving(false);
    tcp_now.chains[0].terminal =
        Terminal::Tcp(Box::new(tcp::proxy(TcpDestination::Cluster("up".into()))));
    let mut gone = serving(false);
    gone.name = "another".into();
    for (what, l) in [("tls", elsewhere), ("tcp", tcp_now), ("gone", gone)] {
        let (proxy, at) = run(&with(serving(false)));
        let mut open = Peer::connect(at);
        assert_eq!(open.get("/").status(), 200, "{what}");
        let before = reached.load(std::sync::atomic::Ordering::SeqCst);
        proxy.publish(&with(l));
        assert_eq!(open.rest(), b"", "{what}");
        assert_eq!(reached.load(std::sync::atomic::Ordering::SeqCst), before, "{what}");
    }
}

/// Of two chains of one name each connection keeps to what it would get if it came now.
#[test]
fn a_more_specific_chain_takes_connections_over() {
    let (up, _) = echo();
    let with = |l| config(l, vec![cluster("up", &[up])]);
    let (proxy, at) = run(&with(serving(false)));
    let mut open = Peer::connect(at);
    assert_eq!(open.get("/").status(), 200);
    let mut l = serving(false);
    let mut specific = serving(true).chains.remove(0);
    let loopback = ir::Cidr { base: "127.0.0.0".parse().unwrap(), bits: 8 };
    specific.matches.source_ranges = vec![loopback];
    l.chains.push(specific);
    assert_eq!(proxy.publish(&with(l)), []);
    assert_eq!(open.get("/").status(), 403);
}

#[test]
fn a_tcp_connection_that_is_forbidden_by_now_passes_nothing_on() {
    let (up, _) = upstream(|peer, _| {
        loop {
            let line = peer.line();
            if line.is_empty() {
                break;
            }
            peer.send(&format!("{line}\r\n"));
        }
    });
    let with = |network: Vec<NetworkFilter>| {
        let to = tcp::proxy(TcpDestination::Cluster("up".into()));
        let mut l = listener(Terminal::Tcp(Box::new(to)));
        l.chains[0].network = network;
        config(l, vec![cluster("up", &[up])])
    };
    let (proxy, at) = run(&with(Vec::new()));
    let mut open = Peer::connect(at);
    open.send("one\r\n");
    assert_eq!(open.line(), "one");
    let mut observed = rules();
    observed.shadow = observed.rules.take();
    assert_eq!(proxy.publish(&with(vec![NetworkFilter::Rbac(Box::new(observed))])), []);
    open.send("two\r\n");
    assert_eq!(open.line(), "two");
    assert_eq!(proxy.publish(&with(vec![NetworkFilter::Rbac(Box::new(rules()))])), []);
    assert_eq!(open.rest(), b"");
}

#[test]
fn an_inbound_tcp_connection_that_no_chain_takes_any_more_passes_nothing_on() {
    let (up, _) = upstream(|peer, _| {
        while !peer.line().is_empty() {
            peer.send("said\r\n");
        }
    });
    let with = |transport: &str| {
        let to = tcp::proxy(TcpDestination::Cluster("up".into()));
        let mut l = listener(Terminal::Tcp(Box::new(to)));
        l.direction = ir::Direction::Inbound;
        l.chains[0].matches.transport_protocol = transport.into();
        config(l, vec![cluster("up", &[up])])
    };
    let (proxy, at) = run(&with("raw_buffer"));
    let mut open = Peer::connect(at);
    open.send("one\r\n");
    assert_eq!(open.line(), "said");
    assert_eq!(proxy.publish(&with("tls")), []);
    assert_eq!(open.rest(), b"");
}
