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

#[test]
fn a_connection_whose_chain_takes_others_now_ends_after_its_next_request() {
    let (up, _) = echo();
    let with = |l| config(l, vec![cluster("up", &[up])]);
    for denies in [true, false] {
        let (proxy, at) = run(&with(serving(false)));
        let mut open = Peer::connect(at);
        assert_eq!(open.get("/").status(), 200);
        let mut l = serving(denies);
        l.chains[0].matches.transport_protocol = "tls".into();
        assert_eq!(proxy.publish(&with(l)), []);
        let answer = open.get("/");
        assert_eq!(answer.status(), if denies { 403 } else { 200 });
        assert_eq!(answer.header("connection"), Some("close"));
        assert_eq!(open.rest(), b"");
    }
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
    open.send("three\r\n");
    assert_eq!(open.rest(), b"");
}
