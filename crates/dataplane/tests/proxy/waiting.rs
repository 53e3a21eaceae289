//! Requests that find all the connections of a cluster busy: they wait, as many as may, and the others are
//! told at once.

use crate::support::*;
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

/// What becomes of so many requests at a time, when one connection is allowed.
fn statuses(pending: u32, requests: usize) -> (Vec<u16>, usize) {
    let slow = slow();
    let mut one = cluster("up", &[slow.address]);
    one.breakers = CircuitBreakers {
        max_connections: Some(1),
        max_pending_requests: Some(pending),
        ..CircuitBreakers::default()
    };
    let (_proxy, at) = run(&http(manager(routes(vec![route("/", forward("up"))])), vec![one]));
    // The first has the connection before the others come.
    let first = std::thread::spawn(move || Peer::connect(at).get("/").status());
    until("the first arrives", || slow.arrived.load(Ordering::SeqCst) == 1);
    let start = Arc::new(Barrier::new(requests));
    let (told, tell) = (Arc::new(AtomicUsize::new(0)), requests - pending as usize);
    let others: Vec<_> = (0..requests)
        .map(|_| {
            let (start, told) = (start.clone(), told.clone());
            std::thread::spawn(move || {
                let mut peer = Peer::connect(at);
                start.wait();
                let status = peer.get("/").status();
                told.fetch_add(1, Ordering::SeqCst);
                status
            })
        })
        .collect();
    // Who may not wait is told while nothing has been answered yet.
    until("the others are told", || told.load(Ordering::SeqCst) == tell);
    slow.open.store(true, Ordering::SeqCst);
    let mut all: Vec<u16> = others.into_iter().map(|t| t.join().unwrap()).collect();
    all.push(first.join().unwrap());
    all.sort_unstable();
    (all, slow.connections.load(Ordering::SeqCst))
}

#[test]
fn as_many_wait_as_may_and_one_connection_serves_them_all() {
    let (statuses, connections) = statuses(5, 5);
    assert_eq!((statuses, connections), (vec![200; 6], 1));
}

#[test]
fn who_may_not_wait_is_told_at_once() {
    let (statuses, connections) = statuses(2, 6);
    assert_eq!(statuses, [200, 200, 200, 503, 503, 503, 503]);
    assert_eq!(connections, 1);
}
