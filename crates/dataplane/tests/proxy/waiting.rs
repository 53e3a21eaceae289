//! Requests that find all the connections of a cluster busy: they wait, as many as may, and the others are
//! told at once.

use crate::support::*;
use dataplane::Proxy;
use ir::CircuitBreakers;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

/// An upstream that answers only once it is let, and says how many requests it had at a time at most.
struct Slow {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    open: Arc<AtomicBool>,
    arrived: Arc<AtomicUsize>,
}

fn slow() -> Slow {
    let (open, arrived) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (may, came) = (open.clone(), arrived.clone());
    let (address, connections) = upstream(move |peer, _| {
        while peer.message().is_some() {
            came.fetch_add(1, Ordering::SeqCst);
            until("it is let", || may.load(Ordering::SeqCst));
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    });
    Slow { address, connections, open, arrived }
}

/// The value of the first series of a metric.
fn series(proxy: &Proxy, name: &str) -> Option<u32> {
    let text = telemetry::prometheus(proxy.registry(), |_| true);
    let mut lines = text.lines().filter(|line| line.starts_with(&format!("{name}{{")));
    lines.find_map(|line| line.rsplit(' ').next()?.parse().ok())
}

/// What becomes of so many requests at a time, when one connection is allowed. `by_host`: the cluster leads
/// to whom requests name.
fn statuses(by_host: bool, pending: u32, requests: usize) -> (Vec<u16>, usize) {
    let slow = slow();
    let mut one = cluster("up", &[slow.address]);
    if by_host {
        one.discovery = ir::Discovery::ByHost(Default::default());
    }
    let request = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", slow.address);
    one.breakers = CircuitBreakers {
        max_connections: Some(1),
        max_pending_requests: Some(pending),
        ..CircuitBreakers::default()
    };
    let (proxy, at) = run(&http(manager(routes(vec![route("/", forward("up"))])), vec![one]));
    // The first has the connection before the others come.
    let ask = request.clone();
    let first = std::thread::spawn(move || Peer::connect(at).ask(&ask).status());
    until("the first arrives", || slow.arrived.load(Ordering::SeqCst) == 1);
    let start = Arc::new(Barrier::new(requests));
    let (told, tell) = (Arc::new(AtomicUsize::new(0)), requests - pending as usize);
    let others: Vec<_> = (0..requests)
        .map(|_| {
            let (start, told, request) = (start.clone(), told.clone(), request.clone());
            std::thread::spawn(move || {
                let mut peer = Peer::connect(at);
                start.wait();
                let status = peer.ask(&request).status();
                told.fetch_add(1, Ordering::SeqCst);
                status
            })
        })
        .collect();
    // All who may wait do, and who may not is told, while nothing has been answered yet.
    until("as many wait as may", || {
        series(&proxy, "envoy_cluster_upstream_rq_pending_total") == Some(1 + pending)
    });
    until("the others are told", || told.load(Ordering::SeqCst) == tell);
    slow.open.store(true, Ordering::SeqCst);
    let mut all: Vec<u16> = others.into_iter().map(|t| t.join().unwrap()).collect();
    all.push(first.join().unwrap());
    all.sort_unstable();
    (all, slow.connections.load(Ordering::SeqCst))
}

#[test]
fn as_many_wait_as_may_and_one_connection_serves_them_all() {
    for by_host in [false, true] {
        let (statuses, connections) = statuses(by_host, 5, 5);
        assert_eq!((statuses, connections), (vec![200; 6], 1), "by host: {by_host}");
    }
}

#[test]
fn who_may_not_wait_is_told_at_once() {
    for by_host in [false, true] {
        let (statuses, connections) = statuses(by_host, 2, 6);
        assert_eq!(statuses, [200, 200, 200, 503, 503, 503, 503], "by host: {by_host}");
        assert_eq!(connections, 1);
    }
}

#[test]
fn who_leaves_while_it_waits_is_not_sent_on() {
    let slow = slow();
    let mut one = cluster("up", &[slow.address]);
    one.breakers = CircuitBreakers { max_connections: Some(1), ..CircuitBreakers::default() };
    let (proxy, at) = run(&http(manager(routes(vec![route("/", forward("up"))])), vec![one]));
    let first = std::thread::spawn(move || Peer::connect(at).get("/").status());
    until("the first arrives", || slow.arrived.load(Ordering::SeqCst) == 1);
    let mut leaver = Peer::connect(at);
    leaver.send("GET / HTTP/1.1\r\nHost: example\r\n\r\n");
    until("the second waits", || {
        series(&proxy, "envoy_cluster_upstream_rq_pending_total") == Some(2)
    });
    drop(leaver);
    until("the second is gone", || series(&proxy, "envoy_http_downstream_rq_active") == Some(1));
    slow.open.store(true, Ordering::SeqCst);
    assert_eq!(first.join().unwrap(), 200);
    assert_eq!(Peer::connect(at).get("/").status(), 200);
    assert_eq!(slow.arrived.load(Ordering::SeqCst), 2);
}
