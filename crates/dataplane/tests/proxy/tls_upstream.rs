//! Upstreams that are reached by TLS: another listener of the same proxy ends it.

use crate::certificates::*;
use crate::support::*;
use dataplane::{Options, Proxy};
use ir::{Config, DownstreamTls, UpstreamTls, Validation, Value};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// A proxy that speaks TLS to its clients, before an upstream that echoes.
fn server(tls: DownstreamTls) -> (Proxy, SocketAddr) {
    let mut config = simple(echo().0);
    Arc::make_mut(&mut config.listeners[0]).chains[0].tls = Some(tls);
    run(&config)
}

fn client(to: SocketAddr, tls: UpstreamTls) -> Config {
    let mut config = simple(to);
    Arc::make_mut(&mut config.clusters[0]).tls = Some(tls);
    config
}

/// The log in which a proxy says why it could not reach an upstream.
struct Log(PathBuf);

impl Log {
    fn of(config: &mut Config, name: &str) -> Self {
        let file = format!("lateen-tls-{name}-{}.log", std::process::id());
        let path = std::env::temp_dir().join(file);
        let _ = std::fs::remove_file(&path);
        let listener = Arc::make_mut(&mut config.listeners[0]);
        let ir::Terminal::Http(manager) = &mut listener.chains[0].terminal else { panic!() };
        let format = "%RESPONSE_FLAGS% %UPSTREAM_TRANSPORT_FAILURE_REASON%\n";
        manager.access_log.push(ir::AccessLog {
            sink: ir::LogSink::File {
                path: path.to_str().unwrap().into(),
                format: ir::LogFormat::Text(format.into()),
            },
            filter: None,
        });
        Self(path)
    }

    fn says(&self, what: &str) {
        let read = || std::fs::read_to_string(&self.0).unwrap_or_default();
        until(&format!("{what:?} in {:?}", read()), || {
            let log = read();
            log.starts_with("UF ") && log.contains(what)
        });
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn trusting(ca: &Authority) -> UpstreamTls {
    let mut tls = UpstreamTls { sni: "a.example".into(), ..UpstreamTls::default() };
    tls.common.validation = Some(ca.roots());
    tls
}

fn named(kind: ir::SanKind, name: &str) -> Vec<ir::SanMatch> {
    vec![ir::SanMatch { kind, value: ir::StringMatch::exact(name) }]
}

#[test]
fn requests_go_out_encrypted_and_connections_are_kept() {
    let ca = Authority::new("ca");
    let (second, at) = server(serving(&ca.leaf(&["a.example"])));
    let (_proxy, front) = run(&client(at, trusting(&ca)));
    let mut peer = Peer::connect(front);
    for i in 0..20 {
        let answer = peer.get(&format!("/{i}"));
        assert_eq!(answer.status(), 200);
        assert!(answer.text().contains("x-forwarded-proto: http"), "{}", answer.text());
    }
    let body = "x".repeat(1_000_000);
    let answer = peer.ask(&format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    assert!(answer.text().ends_with(&body));
    let page = telemetry::prometheus(second.registry(), |_| true);
    let handshakes = page.lines().find(|l| l.starts_with("envoy_listener_ssl_handshake")).unwrap();
    assert!(handshakes.ends_with(" 1"), "{handshakes}");
}

#[test]
fn a_server_must_be_who_the_configuration_says() {
    let (ca, other) = (Authority::new("ca"), Authority::new("other"));
    let (_second, at) = server(serving(&ca.leaf(&["a.example", "spiffe://td/ns/n/sa/s"])));
    let with = |validation: Validation| {
        let mut tls = trusting(&ca);
        tls.common.validation = Some(validation);
        tls
    };
    let sans = |kind, name| with(Validation { sans: named(kind, name), ..ca.roots() });
    let failed = "TLS_error:|268435581:SSL_routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED";
    let table = [
        ("uri", sans(ir::SanKind::Uri, "spiffe://td/ns/n/sa/s"), None),
        ("dns", sans(ir::SanKind::Dns, "a.example"), None),
        ("not that uri", sans(ir::SanKind::Uri, "spiffe://td/ns/n/sa/t"), Some(failed)),
        ("a uri as dns", sans(ir::SanKind::Dns, "spiffe://td/ns/n/sa/s"), Some(failed)),
        ("stranger", with(other.roots()), Some(failed)),
        ("nothing is checked", with(Validation::default()), None),
        ("untrusted", with(Validation { accept_untrusted: true, ..other.roots() }), None),
    ];
    for (what, tls, expected) in table {
        let mut config = client(at, tls);
        let log = Log::of(&mut config, "who");
        let (_proxy, front) = run(&config);
        let status = Peer::connect(front).get("/").status();
        assert_eq!(status, if expected.is_some() { 503 } else { 200 }, "{what}");
        if let Some(text) = expected {
            log.says(text);
        }
    }
}

/// What keeps a server from being taken for one of the mesh, and what the log says of each.
#[test]
fn impostors_among_servers_are_refused_and_the_log_says_why() {
    const FRIEND: &str = "spiffe://td/ns/n/sa/friend";
    let (ca, other) = (Authority::new("ca"), Authority::new("other"));
    let yesterday = SystemTime::now() - Duration::from_secs(24 * 3600);
    let unknown = "depth_0:_unable_to_get_local_issuer_certificate";
    let table = [
        ("stranger", other.leaf(&[FRIEND]), unknown),
        ("self-signed", Authority::self_signed(&[FRIEND]), unknown),
        ("expired", ca.leaf_until(&[FRIEND], yesterday), "depth_0:_certificate_has_expired"),
        (
            "elsewhere",
            ca.leaf(&["spiffe://elsewhere/ns/n/sa/friend"]),
            "SAN_matcher,_certificate_SANs_are_[spiffe://elsewhere/ns/n/sa/friend]",
        ),
    ];
    for (who, leaf, why) in table {
        let (_second, at) = server(serving(&leaf));
        let mut tls = trusting(&ca);
        let sans = named(ir::SanKind::Uri, FRIEND);
        tls.common.validation = Some(Validation { sans, ..ca.roots() });
        let mut config = client(at, tls);
        let log = Log::of(&mut config, who);
        let (_proxy, front) = run(&config);
        assert_eq!(Peer::connect(front).get("/").status(), 503, "{who}");
        log.says(why);
    }
}

#[test]
fn the_host_of_the_request_may_be_the_name_and_is_not_shared() {
    let ca = Authority::new("ca");
    let (_second, at) = server(serving(&ca.leaf(&["a.example", "*.b.example"])));
    let mut tls = trusting(&ca);
    tls.sni = "".into();
    (tls.auto_sni, tls.auto_san_validation) = (true, true);
    let (_proxy, front) = run(&client(at, tls));
    let mut peer = Peer::connect(front);
    let mut status =
        |host: &str| peer.ask(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).status();
    assert_eq!(status("a.example"), 200);
    assert_eq!(status("c.example"), 503, "a connection for another name does not do");
    assert_eq!(status("x.b.example:443"), 200);
    assert_eq!(status("10.1.1.1"), 503);
    assert_eq!(status("a.example"), 200);
}

#[test]
fn clients_show_their_certificate_and_refusals_are_failures_to_connect() {
    let ca = Authority::new("ca");
    let mut asking = serving(&ca.leaf(&["a.example"]));
    asking.require_client_certificate = true;
    asking.common.validation = Some(ca.roots());
    let (_second, at) = server(asking);
    let mut tls = trusting(&ca);
    tls.common.certificates = vec![ca.leaf(&["me"]).source()];
    let (_proxy, front) = run(&client(at, tls));
    assert_eq!(Peer::connect(front).get("/").status(), 200);
    let mut config = client(at, trusting(&ca));
    let log = Log::of(&mut config, "required");
    let (_proxy, front) = run(&config);
    assert_eq!(Peer::connect(front).get("/").status(), 503);
    log.says("TLSV1_ALERT_CERTIFICATE_REQUIRED");
}

#[test]
fn the_server_chooses_between_http_1_and_2() {
    let ca = Authority::new("ca");
    for (offered, expected) in [(vec!["h2", "http/1.1"], "HTTP/2"), (vec!["http/1.1"], "HTTP/1.1")]
    {
        let mut tls = serving(&ca.leaf(&["a.example"]));
        tls.common.alpn = offered.iter().map(|p| (*p).into()).collect();
        let (second, at) = server(tls);
        let mut config = client(at, trusting(&ca));
        Arc::make_mut(&mut config.clusters[0]).protocol = ir::UpstreamProtocol::Auto;
        let (_proxy, front) = run(&config);
        let threads: Vec<_> = (0..4)
            .map(|_| {
                std::thread::spawn(move || {
                    let mut peer = Peer::connect(front);
                    (0..5).for_each(|_| assert_eq!(peer.get("/").status(), 200));
                })
            })
            .collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
        let name = if expected == "HTTP/2" { "http2" } else { "http1" };
        let line = format!("envoy_http_downstream_rq_{name}_total");
        // A request is counted when it is over, which its client may see before.
        until(&format!("20 requests by {expected}"), || {
            let page = telemetry::prometheus(second.registry(), |_| true);
            page.lines().any(|l| l.starts_with(&line) && l.ends_with(" 20"))
        });
    }
}

#[test]
fn endpoints_say_which_of_them_speak_tls_and_nothing_goes_out_plain() {
    let ca = Authority::new("ca");
    let (_second, encrypted) = server(serving(&ca.leaf(&["a.example"])));
    let plain = echo().0;
    let run_with = |to: SocketAddr, mode: Option<&str>| {
        let mut config = simple(to);
        let cluster = Arc::make_mut(&mut config.clusters[0]);
        let criterion = |v: &str| [("tlsMode".into(), Value::String(v.into()))].into();
        let tls_matches =
            |name: &str, criteria, tls| ir::TlsMatch { name: name.into(), criteria, tls };
        cluster.tls_matches = vec![
            tls_matches("tlsMode-istio", criterion("istio"), Some(trusting(&ca))),
            tls_matches("tlsMode-disabled", Default::default(), None),
        ];
        let ir::Discovery::Static(groups) = &mut cluster.discovery else { panic!() };
        if let Some(mode) = mode {
            let metadata = &mut groups[0].endpoints[0].metadata;
            let said = Value::Struct(criterion(mode));
            metadata.insert("envoy.transport_socket_match".into(), said);
        }
        let (_proxy, front) = run(&config);
        Peer::connect(front).get("/").status()
    };
    assert_eq!(run_with(encrypted, Some("istio")), 200);
    assert_eq!(run_with(plain, None), 200);
    assert_eq!(run_with(plain, Some("istio")), 503, "not in the clear");
    assert_ne!(run_with(encrypted, Some("other")), 200);
}

#[test]
fn without_its_secret_a_cluster_refuses_and_with_the_next_it_goes_on() {
    let ca = Authority::new("ca");
    let (_second, at) = server(serving(&ca.leaf(&["a.example"])));
    let mut tls = trusting(&ca);
    tls.common.validation = Some(Validation {
        roots_sds: Some(ir::SecretRef::of_control_plane("roots")),
        ..Validation::default()
    });
    let mut config = client(at, tls);
    let log = Log::of(&mut config, "secret");
    let proxy = Proxy::start(Options::default()).unwrap();
    assert_eq!(proxy.publish(&config).len(), 1);
    let mut peer = Peer::connect(proxy.bound(ANY.parse().unwrap()).unwrap());
    assert_eq!(peer.get("/").status(), 503);
    log.says("Secret_is_not_supplied_by_SDS");
    config.secrets = vec![secret("roots", ir::SecretValue::Validation(ca.roots()))];
    assert_eq!(proxy.publish(&config), []);
    assert_eq!(peer.get("/").status(), 200);
}

#[test]
fn bytes_of_tcp_survive_two_encryptions_and_each_end_ends_alone() {
    let ca = Authority::new("ca");
    let (reverser, _) = upstream(|peer, _| {
        let mut all = peer.rest();
        all.reverse();
        peer.send_bytes(&all);
    });
    let tcp = |to: SocketAddr| {
        let proxy = ir::TcpProxy {
            stat_prefix: "t".into(),
            to: ir::TcpDestination::Cluster("up".into()),
            access_log: Vec::new(),
            idle_timeout: None,
            max_connection_duration: None,
            max_connect_attempts: None,
            hash_source_ip: false,
            tunnel: None,
        };
        config(listener(ir::Terminal::Tcp(Box::new(proxy))), vec![cluster("up", &[to])])
    };
    let mut inner = tcp(reverser);
    Arc::make_mut(&mut inner.listeners[0]).chains[0].tls = Some(serving(&ca.leaf(&["a.example"])));
    let (_inner, at) = run(&inner);
    let mut outer = tcp(at);
    Arc::make_mut(&mut outer.clusters[0]).tls = Some(trusting(&ca));
    let (_outer, front) = run(&outer);
    for size in [0, 1, 16 * 1024, 100_000, 5_000_000] {
        let mut sent: Vec<u8> = (0..size).map(|i| (i % 253) as u8).collect();
        let mut client = Peer::connect(front);
        client.send_bytes(&sent);
        client.stream().shutdown(std::net::Shutdown::Write).unwrap();
        sent.reverse();
        assert!(client.rest() == sent, "{size}");
    }
}

/// A server that takes HTTP only from who says so: what the request speaks is said by ALPN, unless the
/// cluster wants its own words kept.
#[test]
fn servers_of_the_mesh_are_told_what_the_request_speaks() {
    let ca = Authority::new("ca");
    let mut behind = simple(echo().0);
    let listener = Arc::make_mut(&mut behind.listeners[0]);
    listener.filters.tls_inspector = Some(ir::Inspector::default());
    let chain = &mut listener.chains[0];
    chain.tls = Some(serving(&ca.leaf(&["a.example"])));
    chain.matches.application_protocols = vec!["istio-http/1.1".into(), "istio-h2".into()];
    let (_second, at) = run(&behind);
    let status = |filter: bool, said: Option<&str>, protocol| {
        let mut tls = trusting(&ca);
        tls.common.alpn = ["istio-peer-exchange", "istio"].map(ir::Str::from).to_vec();
        let mut config = client(at, tls);
        let cluster = Arc::make_mut(&mut config.clusters[0]);
        cluster.protocol = protocol;
        if let Some(said) = said {
            let fields = [("alpn_override".into(), Value::String(said.into()))].into();
            cluster.metadata.insert("istio".into(), Value::Struct(fields));
        }
        let listener = Arc::make_mut(&mut config.listeners[0]);
        let ir::Terminal::Http(manager) = &mut listener.chains[0].terminal else { panic!() };
        manager.filters.push(ir::HttpFilter {
            name: "istio.alpn".into(),
            config: ir::HttpFilterConfig::IstioAlpn,
            disabled: !filter,
            origin: ir::OriginId::NONE,
        });
        let (_proxy, front) = run(&config);
        Peer::connect(front).get("/").status()
    };
    for protocol in [ir::UpstreamProtocol::Http1, ir::UpstreamProtocol::Http2] {
        assert_eq!(status(true, None, protocol), 200, "{protocol:?}");
        assert_eq!(status(true, Some("false"), protocol), 503, "{protocol:?}");
        assert_eq!(status(false, None, protocol), 503, "{protocol:?}");
    }
}

/// A certificate that is replaced is not shown by old connections for ever.
#[test]
fn connections_with_the_old_secrets_take_no_further_requests() {
    let ca = Authority::new("ca");
    let (_second, at) = server(serving(&ca.leaf(&["a.example"])));
    let mut tls = trusting(&ca);
    let own = ir::SecretRef::of_control_plane("own");
    tls.common.certificates = vec![ir::CertificateSource::Sds(own)];
    let mut config = client(at, tls);
    let with = |config: &mut Config, leaf: &Leaf| {
        config.secrets = vec![secret("own", ir::SecretValue::Certificate(leaf.certificate()))];
    };
    with(&mut config, &ca.leaf(&["one"]));
    let (proxy, front) = run(&config);
    let handshakes = || {
        let page = telemetry::prometheus(proxy.registry(), |_| true);
        let lines = page.lines().filter(|l| l.starts_with("envoy_cluster_ssl_handshake{"));
        lines.filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>()
    };
    let mut peer = Peer::connect(front);
    let mut ask = || assert_eq!(peer.get("/").status(), 200);
    ask();
    ask();
    assert_eq!(handshakes(), 1.0);
    with(&mut config, &ca.leaf(&["two"]));
    assert_eq!(proxy.publish(&config), []);
    until("a new connection", || {
        ask();
        handshakes() == 2.0
    });
}
