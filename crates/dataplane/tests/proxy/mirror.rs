//! Copies of requests for other clusters.

use crate::support::*;
use ir::Mirror;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The upstream answers once the copy is there, so that a copy that waits for the answer never comes.
#[test]
fn copies_do_not_wait_for_the_answer() {
    let copies = Arc::new(AtomicUsize::new(0));
    let (came, seen) = (copies.clone(), copies.clone());
    let (copied, _) = upstream(move |peer, _| {
        while peer.message().is_some() {
            came.fetch_add(1, Ordering::SeqCst);
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let (first, _) = upstream(move |peer, _| {
        for n in 1.. {
            if peer.message().is_none() {
                return;
            }
            until("the copy arrives", || seen.load(Ordering::SeqCst) == n);
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let mut to = forward("up");
    to.mirrors = vec![Mirror {
        cluster: "copies".into(),
        fraction: None,
        trace_sampled: None,
        disable_shadow_host_suffix: false,
    }];
    let clusters = vec![cluster("up", &[first]), cluster("copies", &[copied])];
    let (_proxy, at) = run(&http(manager(routes(vec![route("/", to)])), clusters));
    let mut client = Peer::connect(at);
    assert_eq!(client.get("/").status(), 200);
    let with_body = "POST / HTTP/1.1\r\nHost: example\r\nContent-Length: 4\r\n\r\nbody";
    assert_eq!(client.ask(with_body).status(), 200);
    assert_eq!(copies.load(Ordering::SeqCst), 2);
}
