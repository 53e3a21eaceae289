//! Clients that come by TLS.

use crate::certificates::*;
use crate::support::*;
use dataplane::Proxy;
use ir::{CertificateSource, Config, DownstreamTls, SecretValue, Validation};
use rustls::HandshakeKind;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// An HTTP listener with one chain for TLS, before an upstream that echoes.
fn config_with(tls: DownstreamTls, upstream: SocketAddr) -> Config {
    let mut config = simple(upstream);
    let listener = Arc::make_mut(&mut config.listeners[0]);
    listener.chains[0].tls = Some(tls);
    config
}

fn with_listener(config: &mut Config, change: impl FnOnce(&mut ir::Listener)) {
    change(Arc::make_mut(&mut config.listeners[0]));
}

fn counter(proxy: &Proxy, name: &str) -> u64 {
    let page = telemetry::prometheus(proxy.registry(), |_| true);
    let lines = page.lines().filter(|l| l.starts_with(name));
    lines.filter_map(|l| l.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

#[test]
fn requests_come_through_encryption() {
    let ca = Authority::new("ca");
    let server = serving(&ca.leaf(&["a.example"]));
    let (_proxy, at) = run(&config_with(server, echo().0));
    let client = Client::new(&ca, None, &[]);
    let mut stream = client.connect(at, "a.example").unwrap();
    for path in ["/one", "/two"] {
        let answer = ask(&mut stream, "a.example", path, false).unwrap();
        assert!(answer.contains(&format!("GET {path} HTTP/1.1")), "{answer}");
        assert!(answer.contains("x-forwarded-proto: https"), "{answer}");
    }
    // A body of many records, both ways.
    let body: String = (0..300_000).map(|i| char::from(b'a' + (i % 26) as u8)).collect();
    write!(stream, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len()).unwrap();
    write!(stream, "{body}GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut all = String::new();
    std::io::Read::read_to_string(&mut stream, &mut all).unwrap();
    assert!(all.contains(&body) && all.contains("GET /last"), "{}", all.len());
}

#[test]
fn the_protocol_is_agreed_on_and_no_common_one_is_no_obstacle() {
    let ca = Authority::new("ca");
    let (_proxy, at) = run(&config_with(serving(&ca.leaf(&["a.example"])), echo().0));
    let agreed = |alpn: &[&str]| {
        let stream = Client::new(&ca, None, alpn).connect(at, "a.example").unwrap();
        stream.conn.alpn_protocol().map(|p| String::from_utf8(p.to_vec()).unwrap())
    };
    assert_eq!(agreed(&["http/1.1", "h2"]).as_deref(), Some("h2"));
    assert_eq!(agreed(&["http/1.1"]).as_deref(), Some("http/1.1"));
    let answer = Client::new(&ca, None, &["else"]).get(at, "a.example", "/").unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn clients_show_their_certificates_where_that_is_asked_for() {
    let (ca, other) = (Authority::new("ca"), Authority::new("other"));
    let subject = [(DnType::CommonName, "leaf"), (DnType::OrganizationName, "a, b")];
    let good = ca.leaf_of(&subject, &["spiffe://td/ns/n/sa/good"]);
    let bad = ca.leaf(&["spiffe://td/ns/n/sa/bad"]);
    let mut server = serving(&ca.leaf(&["a.example", "spiffe://td/ns/n/sa/me"]));
    server.require_client_certificate = true;
    let sans = vec![ir::SanMatch {
        kind: ir::SanKind::Uri,
        value: ir::StringMatch::exact("spiffe://td/ns/n/sa/good"),
    }];
    server.common.validation = Some(Validation { sans, ..ca.roots() });
    let mut config = config_with(server, echo().0);
    with_listener(&mut config, |listener| {
        let ir::Terminal::Http(manager) = &mut listener.chains[0].terminal else { panic!() };
        manager.forward_client_cert = ir::ForwardClientCert::SanitizeSet;
        manager.set_client_cert.uri = true;
        manager.set_client_cert.subject = true;
    });
    let (proxy, at) = run(&config);
    let ask = |own: Option<&Leaf>| Client::new(&ca, own, &[]).get(at, "a.example", "/");
    let answer = ask(Some(&good)).unwrap();
    assert!(answer.contains("By=spiffe://td/ns/n/sa/me;Hash="), "{answer}");
    assert!(
        answer.contains("Subject=\"O=a\\, b,CN=leaf\";URI=spiffe://td/ns/n/sa/good"),
        "{answer}"
    );
    let stranger = other.leaf(&["spiffe://td/ns/n/sa/good"]);
    for (who, own) in [("nobody", None), ("stranger", Some(&stranger)), ("bad", Some(&bad))] {
        assert!(ask(own).is_err(), "{who}");
    }
    until("the refusals to be counted", || {
        counter(&proxy, "envoy_listener_ssl_connection_error") == 3
    });
    assert_eq!(counter(&proxy, "envoy_listener_ssl_handshake"), 1);
}

/// What keeps a client of the mesh out, and what the log says of each.
#[test]
fn impostors_are_refused_and_the_log_says_why() {
    const FRIEND: &str = "spiffe://td/ns/n/sa/friend";
    let (ca, other) = (Authority::new("ca"), Authority::new("other"));
    let mut server = serving(&ca.leaf(&["a.example", "spiffe://td/ns/n/sa/me"]));
    server.require_client_certificate = true;
    let pattern = ir::Pattern::Prefix("spiffe://td/".into());
    let value = ir::StringMatch { pattern, ignore_case: false };
    let sans = vec![ir::SanMatch { kind: ir::SanKind::Uri, value }];
    server.common.validation = Some(Validation { sans, ..ca.roots() });
    let path = std::env::temp_dir().join(format!("lateen-impostors-{}", std::process::id()));
    let mut config = config_with(server, echo().0);
    with_listener(&mut config, |listener| {
        let format = ir::LogFormat::Text("%DOWNSTREAM_TRANSPORT_FAILURE_REASON%\n".into());
        let sink = ir::LogSink::File { path: path.to_str().unwrap().into(), format };
        listener.access_log.push(ir::AccessLog { sink, filter: None });
    });
    let (_proxy, at) = run(&config);
    let yesterday = SystemTime::now() - Duration::from_secs(24 * 3600);
    let friend = ca.leaf(&[FRIEND]);
    assert!(Client::new(&ca, Some(&friend), &[]).get(at, "a.example", "/").is_ok());
    let unknown = "depth_0:_unable_to_get_local_issuer_certificate";
    let table = [
        (Some(other.leaf(&[FRIEND])), unknown),
        (Some(Authority::self_signed(&[FRIEND])), unknown),
        (Some(ca.leaf_until(&[FRIEND], yesterday)), "depth_0:_certificate_has_expired"),
        (
            Some(ca.leaf(&["spiffe://elsewhere/ns/n/sa/friend"])),
            "SAN_matcher,_certificate_SANs_are_[spiffe://elsewhere/ns/n/sa/friend]",
        ),
        (Some(ca.leaf(&["friend.example"])), "SAN_matcher,_certificate_SANs_are_[friend.example]"),
        (None, "PEER_DID_NOT_RETURN_A_CERTIFICATE"),
    ];
    for (i, (own, why)) in table.iter().enumerate() {
        assert!(Client::new(&ca, own.as_ref(), &[]).get(at, "a.example", "/").is_err(), "{why}");
        let read = || std::fs::read_to_string(&path).unwrap_or_default();
        until(&format!("{why} in {}", read()), || {
            read().lines().nth(i).is_some_and(|line| line.contains(why))
        });
    }
    let _ = std::fs::remove_file(&path);
}

#[test]
fn an_optional_certificate_is_checked_when_it_comes() {
    let (ca, other) = (Authority::new("ca"), Authority::new("other"));
    let mut server = serving(&ca.leaf(&["a.example"]));
    server.common.validation = Some(ca.roots());
    let (_proxy, at) = run(&config_with(server, echo().0));
    let ask = |own: Option<&Leaf>| Client::new(&ca, own, &[]).get(at, "a.example", "/");
    assert!(ask(None).unwrap().starts_with("HTTP/1.1 200"));
    assert!(ask(Some(&ca.leaf(&["x"]))).unwrap().starts_with("HTTP/1.1 200"));
    assert!(ask(Some(&other.leaf(&["x"]))).is_err());
}

#[test]
fn revoked_certificates_are_refused() {
    let ca = Authority::new("ca");
    let (kept, revoked) = (ca.leaf(&["kept"]), ca.leaf(&["revoked"]));
    let mut server = serving(&ca.leaf(&["a.example"]));
    server.require_client_certificate = true;
    let crl = Some(bytes(&ca.revocation_of(&[&revoked])));
    server.common.validation = Some(Validation { crl, ..ca.roots() });
    let (_proxy, at) = run(&config_with(server, echo().0));
    let ask = |own: &Leaf| Client::new(&ca, Some(own), &[]).get(at, "a.example", "/");
    assert!(ask(&kept).unwrap().starts_with("HTTP/1.1 200"));
    assert!(ask(&revoked).is_err());
}

#[test]
fn chains_are_chosen_by_the_name_that_is_asked_for() {
    let ca = Authority::new("ca");
    let mut config = config_with(serving(&ca.leaf(&["a.example"])), echo().0);
    with_listener(&mut config, |listener| {
        listener.filters.tls_inspector = Some(ir::Inspector::default());
        let mut second = listener.chains[0].clone();
        listener.chains[0].matches.server_names = vec!["a.example".into()];
        second.name = "b".into();
        second.matches.server_names = vec!["*.b.example".into()];
        second.tls = Some(serving(&ca.leaf(&["x.b.example"])));
        listener.chains.push(second);
    });
    let (_proxy, at) = run(&config);
    let client = Client::new(&ca, None, &["http/1.1"]);
    // The client itself checks that the certificate is for the name.
    assert!(client.get(at, "a.example", "/").unwrap().starts_with("HTTP/1.1 200"));
    assert!(client.get(at, "x.b.example", "/").unwrap().starts_with("HTTP/1.1 200"));
    assert!(client.get(at, "c.example", "/").is_err());
    let mut plain = Peer::connect(at);
    plain.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(plain.rest(), b"", "no plaintext on a port of TLS");
}

#[test]
fn a_chain_waits_for_its_secret_and_takes_the_next_without_a_break() {
    let (first, second) = (Authority::new("first"), Authority::new("second"));
    let mut server = DownstreamTls::default();
    server.common.certificates =
        vec![CertificateSource::Sds(ir::SecretRef::of_control_plane("mine"))];
    let mut config = config_with(server, echo().0);
    let proxy = Proxy::start(dataplane::Options::default()).unwrap();
    let said = proxy.publish(&config);
    assert_eq!(said.len(), 1, "{said:?}");
    let at = proxy.bound(ANY.parse().unwrap()).unwrap();
    let one = Client::new(&first, None, &[]);
    assert!(one.get(at, "a.example", "/").is_err(), "without a secret");
    let with = |config: &mut Config, ca: &Authority| {
        let leaf = ca.leaf(&["a.example"]);
        config.secrets = vec![secret("mine", SecretValue::Certificate(leaf.certificate()))];
    };
    with(&mut config, &first);
    assert_eq!(proxy.publish(&config), []);
    let mut open = one.connect(at, "a.example").unwrap();
    assert!(ask(&mut open, "a.example", "/", false).unwrap().starts_with("HTTP/1.1 200"));
    with(&mut config, &second);
    assert_eq!(proxy.publish(&config), []);
    assert!(ask(&mut open, "a.example", "/", false).unwrap().starts_with("HTTP/1.1 200"));
    assert!(one.get(at, "a.example", "/").is_err(), "the old certificate is gone");
    let two = Client::new(&second, None, &[]);
    assert!(two.get(at, "a.example", "/").unwrap().starts_with("HTTP/1.1 200"));
}

#[test]
fn sessions_are_resumed_while_nothing_changes() {
    let ca = Authority::new("ca");
    let leaf = ca.leaf(&["a.example"]);
    let mut config = config_with(serving(&leaf), echo().0);
    let (proxy, at) = run(&config);
    let client = Client::new(&ca, None, &[]);
    let kind = || {
        let mut stream = client.connect(at, "a.example").unwrap();
        ask(&mut stream, "a.example", "/", true).unwrap();
        stream.conn.handshake_kind().unwrap()
    };
    assert_eq!(kind(), HandshakeKind::Full);
    assert_eq!(kind(), HandshakeKind::Resumed);
    // A new route is no reason to forget.
    config.listeners[0] = Arc::new(ir::Listener {
        access_log: Vec::new(),
        transparent: false,
        per_connection_buffer_limit: Some(1),
        ..(*config.listeners[0]).clone()
    });
    proxy.publish(&config);
    assert_eq!(kind(), HandshakeKind::Resumed);
    // Other roots for clients are.
    with_listener(&mut config, |listener| {
        let tls = listener.chains[0].tls.as_mut().unwrap();
        tls.common.validation = Some(ca.roots());
    });
    proxy.publish(&config);
    assert_eq!(kind(), HandshakeKind::Full);
}

/// A session may be resumed for hours; a client's certificate ends when it says.
#[test]
fn a_resumed_session_does_not_outlive_the_clients_certificate() {
    let ca = Authority::new("ca");
    let mut server = serving(&ca.leaf(&["a.example"]));
    server.require_client_certificate = true;
    server.common.validation = Some(ca.roots());
    let (_proxy, at) = run(&config_with(server, echo().0));
    let own = ca.leaf_until(&["x"], std::time::SystemTime::now() + Duration::from_secs(3));
    let client = Client::new(&ca, Some(&own), &[]);
    let resumed = || {
        let mut stream = client.connect(at, "a.example").ok()?;
        ask(&mut stream, "a.example", "/", true).ok()?;
        Some(stream.conn.handshake_kind() == Some(HandshakeKind::Resumed))
    };
    assert_eq!((resumed(), resumed()), (Some(false), Some(true)));
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while let Some(resumed) = resumed() {
        assert!(resumed, "nothing but a resumed session is tried");
        assert!(std::time::Instant::now() < deadline, "it is served for ever");
    }
}
