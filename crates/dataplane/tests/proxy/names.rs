//! Clusters whose endpoints are names.

use crate::support::{ANY, Peer, cluster, forward, http, manager, route, routes, until, upstream};
use dataplane::{Options, Proxy, Resolver};
use ir::{Address, Cluster, Discovery, DnsFamily, Endpoint, EndpointGroup};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A zone with one name.
#[derive(Clone, Default)]
struct Zone {
    answer: Arc<Mutex<Vec<SocketAddr>>>,
    asked: Arc<AtomicUsize>,
}

impl Zone {
    fn set(&self, answer: &[SocketAddr]) {
        *self.answer.lock().unwrap() = answer.to_vec();
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// An empty answer is an error, as it is of the system.
    fn resolver(&self) -> Resolver {
        let zone = self.clone();
        Resolver::new(move |name, port| {
            assert_eq!((name, port), ("up.test", 80));
            zone.asked.fetch_add(1, Ordering::SeqCst);
            let answer = zone.answer.lock().unwrap().clone();
            if answer.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(answer) }
        })
    }
}

fn named(refresh: Duration) -> Cluster {
    let endpoint = Endpoint::at(Address::Name("up.test".into(), 80));
    let groups = vec![EndpointGroup { endpoints: vec![endpoint], ..Default::default() }];
    let refresh = Some(refresh);
    let discovery =
        Discovery::StrictDns { groups, refresh, respect_ttl: false, family: DnsFamily::All };
    Cluster { discovery, ..cluster("up", &[]) }
}

fn run(zone: &Zone, cluster: Cluster) -> (Proxy, SocketAddr) {
    let options = Options { resolver: zone.resolver(), ..Options::default() };
    let proxy = Proxy::start(options).unwrap();
    let table = routes(vec![route("/", forward("up"))]);
    assert_eq!(proxy.publish(&http(manager(table), vec![cluster])), []);
    let at = proxy.bound(ANY.parse().unwrap()).unwrap();
    (proxy, at)
}

/// An upstream that says its name and ends the connection.
fn says(name: &'static str) -> SocketAddr {
    let serve = move |peer: &mut Peer, _| {
        peer.message();
        peer.send(&format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\n{name}"
        ));
    };
    upstream(serve).0
}

fn get(at: SocketAddr) -> String {
    let answer = Peer::connect(at).get("/");
    format!("{} {}", answer.status(), answer.text())
}

fn get_of(at: SocketAddr, host: &str) -> String {
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let answer = Peer::connect(at).ask(&request);
    format!("{} {}", answer.status(), answer.text())
}

#[test]
fn requests_follow_the_newest_answer() {
    let (a, b, zone) = (says("a"), says("b"), Zone::default());
    zone.set(&[a]);
    let (_proxy, at) = run(&zone, named(Duration::from_millis(20)));
    assert_eq!(get(at), "200 a");
    zone.set(&[a, b]);
    until("both are asked", || get(at) == "200 b" && get(at) == "200 a");
    zone.set(&[b]);
    until("the first is asked no more", || (0..4).all(|_| get(at) == "200 b"));
    zone.set(&[]);
    let before = zone.asked();
    until("a failure", || zone.asked() > before + 2);
    assert_eq!(get(at), "200 b", "what was known stays");
}

#[test]
fn a_name_is_not_looked_up_for_each_connection() {
    let zone = Zone::default();
    zone.set(&[says("a")]);
    let (_proxy, at) = run(&zone, named(Duration::from_secs(3600)));
    for _ in 0..20 {
        assert_eq!(get(at), "200 a");
    }
    // By the first request, and for the cluster.
    assert!(zone.asked() <= 2, "{}", zone.asked());
}

#[test]
fn a_name_that_never_had_an_answer_has_no_endpoints() {
    let (a, zone) = (says("a"), Zone::default());
    let (_proxy, at) = run(&zone, named(Duration::from_millis(20)));
    until("no endpoint", || get(at) == "503 no healthy upstream");
    zone.set(&[a]);
    until("an endpoint", || get(at) == "200 a");
}

/// Each request goes to the host that it names, at the port that it names.
#[test]
fn requests_go_to_the_host_that_they_name() {
    let known = [("a.test", says("a")), ("b.test", says("b"))];
    let resolver = Resolver::new(move |name, port| {
        let found = known.iter().find(|(known, _)| *known == name && port == 80);
        found.map(|(_, at)| vec![*at]).ok_or_else(|| io::ErrorKind::NotFound.into())
    });
    let options = Options { resolver, ..Options::default() };
    let proxy = Proxy::start(options).unwrap();
    let table = routes(vec![route("/", forward("up"))]);
    let by_host =
        Cluster { discovery: Discovery::ByHost(Default::default()), ..cluster("up", &[]) };
    assert_eq!(proxy.publish(&http(manager(table), vec![by_host])), []);
    let at = proxy.bound(ANY.parse().unwrap()).unwrap();
    assert_eq!(get_of(at, "a.test"), "200 a");
    assert_eq!(get_of(at, "B.test"), "200 b");
    // An address needs no look-up.
    let c = says("c");
    assert_eq!(get_of(at, &c.to_string()), "200 c");
    assert!(get_of(at, "nobody.test").starts_with("503"));
}

/// What requests name is looked up once for a while, and only addresses of the wanted family count.
#[test]
fn hosts_that_requests_name_are_remembered_and_of_the_wanted_family() {
    let (a, asked) = (says("a"), Arc::new(AtomicUsize::new(0)));
    let count = asked.clone();
    let resolver = Resolver::new(move |name, _| {
        count.fetch_add(1, Ordering::SeqCst);
        if name == "a.test" { Ok(vec![a]) } else { Err(io::ErrorKind::NotFound.into()) }
    });
    let with = |family| {
        let manager = manager(routes(vec![route("/", forward("up"))]));
        let cache = ir::DnsCache { family, ..Default::default() };
        let mut up = Cluster { discovery: Discovery::ByHost(cache), ..cluster("up", &[]) };
        up.common.max_requests_per_connection = 1;
        http(manager, vec![up])
    };
    let proxy = Proxy::start(Options { resolver, ..Options::default() }).unwrap();
    assert_eq!(proxy.publish(&with(ir::DnsFamily::V4Preferred)), []);
    let at = proxy.bound(ANY.parse().unwrap()).unwrap();
    for _ in 0..5 {
        assert_eq!(get_of(at, "a.test"), "200 a");
        assert!(get_of(at, "nobody.test").starts_with("503"));
    }
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    assert_eq!(proxy.publish(&with(ir::DnsFamily::V6Only)), []);
    assert!(get_of(at, "a.test").starts_with("503"));
}
