//! Rules of access for connections: who is denied is told nothing, reaches nobody, and stands in the log.

use crate::support::*;
use crate::tcp;
use ir::{
    Cidr, NetworkFilter, Permission, Principal, Rbac, RbacAction, RbacPolicy, RbacRules,
    TcpDestination, Terminal,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

fn rules(action: RbacAction, from: &str) -> NetworkFilter {
    let base = from.parse().unwrap();
    let policy = RbacPolicy {
        permissions: vec![Permission::Any],
        principals: vec![Principal::DirectRemoteIp(Cidr { base, bits: 32 })],
    };
    let policies = BTreeMap::from([("ns[a]-policy[b]-rule[0]".into(), policy)]);
    let rules = Some(RbacRules { action, policies });
    NetworkFilter::Rbac(Box::new(Rbac { rules, stat_prefix: "tcp.".into(), ..Rbac::default() }))
}

/// A server that speaks first, behind rules; the port's protocol is declared, or looked for.
fn guarded(rules: Vec<NetworkFilter>, sniffs: bool, log: &Path) -> (ir::Config, Arc<AtomicUsize>) {
    let (upstream, reached) = upstream(|peer, _| {
        peer.send("hello\r\n");
        peer.rest();
    });
    let mut to = tcp::proxy(TcpDestination::Cluster("up".into()));
    to.access_log.push(ir::AccessLog {
        sink: ir::LogSink::File {
            path: log.to_str().unwrap().into(),
            format: ir::LogFormat::Text("%CONNECTION_TERMINATION_DETAILS%\n".into()),
        },
        filter: None,
    });
    let mut l = listener(Terminal::Tcp(Box::new(to)));
    l.chains[0].network = rules;
    if sniffs {
        let manager = manager(routes(vec![route("/", forward("up"))]));
        let mut http = listener(Terminal::Http(Box::new(manager))).chains.remove(0);
        http.matches.application_protocols = vec!["http/1.1".into(), "h2c".into()];
        l.default_chain = Some(std::mem::replace(&mut l.chains[0], http));
        l.filters.http_inspector = Some(ir::Inspector::default());
    }
    (config(l, vec![cluster("up", &[upstream])]), reached)
}

#[test]
fn connections_are_judged_before_anybody_is_reached() {
    let denied = "rbac_access_denied_matched_policy[ns[a]-policy[b]-rule[0]]";
    let nobody = "rbac_access_denied_matched_policy[none]";
    let cases = [
        (RbacAction::Allow, "127.0.0.1", None),
        (RbacAction::Allow, "127.0.0.2", Some(nobody)),
        (RbacAction::Deny, "127.0.0.1", Some(denied)),
        (RbacAction::Deny, "127.0.0.2", None),
        (RbacAction::Log, "127.0.0.1", None),
    ];
    for (i, (action, from, expected)) in cases.into_iter().enumerate() {
        for sniffs in [false, true] {
            let name = format!("lateen-access-{}-{i}-{sniffs}.log", std::process::id());
            let log = std::env::temp_dir().join(name);
            let (config, reached) = guarded(vec![rules(action, from)], sniffs, &log);
            let (_proxy, at) = run(&config);
            let shown = format!("{action:?} {from}, sniffing: {sniffs}");
            match expected {
                None => assert_eq!(Peer::connect(at).line(), "hello", "{shown}"),
                Some(why) => {
                    let mut peer = Peer::connect(at);
                    // Where the protocol is looked for, the first byte says that it is none that we know.
                    peer.send("\0hi");
                    assert_eq!(peer.rest(), b"", "{shown}");
                    assert_eq!(reached.load(Ordering::SeqCst), 0, "{shown}");
                    let line = format!("{why}\n");
                    until(&shown, || std::fs::read_to_string(&log).is_ok_and(|l| l == line));
                }
            }
            let _ = std::fs::remove_file(log);
        }
    }
}

/// Rules for connections hold before a connection manager, too.
#[test]
fn who_may_not_connect_can_ask_for_nothing() {
    let (up, reached) = echo();
    let with = |from: &str| {
        let manager = manager(routes(vec![route("/", forward("up"))]));
        let mut l = listener(Terminal::Http(Box::new(manager)));
        l.chains[0].network = vec![rules(RbacAction::Deny, from)];
        run(&config(l, vec![cluster("up", &[up])]))
    };
    let (_proxy, at) = with("127.0.0.2");
    assert_eq!(Peer::connect(at).get("/").status(), 200);
    let (_proxy, at) = with("127.0.0.1");
    let mut denied = Peer::connect(at);
    denied.send("GET / HTTP/1.1\r\nHost: example\r\n\r\n");
    assert_eq!(denied.rest(), b"");
    assert_eq!(reached.load(Ordering::SeqCst), 1);
}

/// A service that cannot be asked lets nobody in, unless that is said; who is not meant is not asked about.
#[test]
fn connections_wait_for_the_service_that_is_asked_about_them() {
    let asked = |open: bool, rules: &str| {
        let chosen = ir::MetadataMatch {
            filter: "envoy.filters.network.rbac".into(),
            path: vec!["shadow_effective_policy_id".into()],
            value: ir::ValueMatch::Text(ir::StringMatch {
                pattern: ir::Pattern::Prefix(rules.into()),
                ignore_case: false,
            }),
            invert: false,
        };
        NetworkFilter::ExtAuthz(Box::new(ir::NetworkAuthz {
            service: ir::GrpcAuthz { cluster: "nobody".into(), timeout: None },
            failure_mode_allow: open,
            enabled_metadata: Some(chosen),
            include_peer_certificate: false,
            include_tls_session: false,
            stat_prefix: "tcp.".into(),
        }))
    };
    let NetworkFilter::Rbac(mut chosen) = rules(RbacAction::Deny, "127.0.0.1") else {
        unreachable!()
    };
    chosen.shadow = chosen.rules.take();
    let log = std::env::temp_dir().join(format!("lateen-asked-{}.log", std::process::id()));
    let cases = [(false, "ns[a]", false), (true, "ns[a]", true), (false, "ns[b]", true)];
    for (open, meant, passes) in cases {
        for sniffs in [false, true] {
            let _ = std::fs::remove_file(&log);
            let filters = vec![NetworkFilter::Rbac(chosen.clone()), asked(open, meant)];
            let (config, reached) = guarded(filters, sniffs, &log);
            let (_proxy, at) = run(&config);
            let shown = format!("{open} {meant} {sniffs}");
            let mut peer = Peer::connect(at);
            // Who has to be asked about is asked about once the client has said something.
            if meant == "ns[a]" {
                peer.send("\0hi");
            }
            match passes {
                true => assert_eq!(peer.line(), "hello", "{shown}"),
                false => {
                    assert_eq!(peer.rest(), b"", "{shown}");
                    assert_eq!(reached.load(Ordering::SeqCst), 0, "{shown}");
                    let said = || std::fs::read_to_string(&log).unwrap_or_default();
                    until(&shown, || said() == "ext_authz_error\n");
                }
            }
        }
    }
    let _ = std::fs::remove_file(log);
}
