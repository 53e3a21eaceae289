//! HTTP/1 to HTTP/1.

use crate::support::*;
use std::sync::atomic::Ordering;

#[test]
fn requests_are_forwarded_over_kept_connections() {
    let (upstream, connections) = echo();
    let (_proxy, at) = run(&simple(upstream));
    let mut client = Peer::connect(at);
    for i in 0..5 {
        let answer = client.get(&format!("/{i}"));
        assert_eq!(answer.status(), 200);
        let sent = answer.text();
        assert!(sent.starts_with(&format!("GET /{i} HTTP/1.1\r\nhost: example\r\n")), "{sent}");
        assert!(sent.contains("\r\nx-forwarded-proto: http\r\n"), "{sent}");
        assert!(sent.contains("\r\nx-request-id: "), "{sent}");
        assert_eq!(answer.header("server"), Some("envoy"));
        assert!(answer.header("date").is_some());
        assert!(answer.header("x-envoy-upstream-service-time").is_some());
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[test]
fn bodies_go_both_ways_by_length_and_in_chunks() {
    let (upstream, _) = upstream(|peer, _| {
        while let Some(request) = peer.message() {
            peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            for part in request.body.chunks(10_000) {
                peer.send(&format!("{:x}\r\n", part.len()));
                peer.send_bytes(part);
                peer.send("\r\n");
            }
            peer.send("0\r\n\r\n");
        }
    });
    let (_proxy, at) = run(&simple(upstream));
    let mut client = Peer::connect(at);
    for size in [0, 1, 5_000, 300_000] {
        let body: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
        client.send(&format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {size}\r\n\r\n"));
        client.send_bytes(&body);
        let answer = client.message().unwrap();
        assert!(answer.body == body, "{size}");
        client.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
        for part in body.chunks(7_000) {
            client.send(&format!("{:X};ext=1\r\n", part.len()));
            client.send_bytes(part);
            client.send("\r\n");
        }
        client.send("0\r\n\r\n");
        let answer = client.message().unwrap();
        assert!(answer.body == body, "{size} in chunks");
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let (upstream, _) = echo();
    let (_proxy, at) = run(&simple(upstream));
    let mut client = Peer::connect(at);
    let all: String = (0..20).map(|i| format!("GET /{i} HTTP/1.1\r\nHost: h\r\n\r\n")).collect();
    client.send(&all);
    for i in 0..20 {
        let answer = client.message().unwrap();
        assert!(answer.text().starts_with(&format!("GET /{i} ")));
    }
}
