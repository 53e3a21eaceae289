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

#[test]
fn every_request_leaves_one_line_in_the_log() {
    let path = std::env::temp_dir().join(format!("lateen-access-{}.log", std::process::id()));
    let (upstream, _) = upstream(|peer, _| {
        while peer.message().is_some() {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes");
        }
    });
    let table = routes(vec![
        route("/ok", forward("up")),
        route("/empty", forward("empty")),
        route("/none", forward("none")),
    ]);
    let mut m = manager(table);
    let format = "%REQ(:METHOD)% %REQ(:PATH)% %PROTOCOL% %RESPONSE_CODE% %RESPONSE_FLAGS% \
                  %RESPONSE_CODE_DETAILS% %BYTES_RECEIVED% %BYTES_SENT% %UPSTREAM_CLUSTER%\n";
    m.access_log.push(ir::AccessLog {
        sink: ir::LogSink::File {
            path: path.to_str().unwrap().into(),
            format: ir::LogFormat::Text(format.into()),
        },
        filter: None,
    });
    let clusters = vec![cluster("up", &[upstream]), cluster("empty", &[])];
    let (_proxy, at) = run(&crate::support::http(m, clusters));
    let mut client = Peer::connect(at);
    client.ask("POST /ok HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello");
    client.get("/empty");
    client.get("/none");
    client.get("/other");
    client.ask("GET / HTTP/1.1\r\n\r\n");
    let expected = "\
POST /ok HTTP/1.1 200 - via_upstream 5 3 up
GET /empty HTTP/1.1 503 UH no_healthy_upstream 0 19 empty
GET /none HTTP/1.1 503 NC cluster_not_found 0 0 none
GET /other HTTP/1.1 404 NR route_not_found 0 0 -
- - HTTP/1.1 400 DPE missing_host_header 0 0 -
";
    until("the lines", || std::fs::read_to_string(&path).is_ok_and(|log| log.lines().count() == 5));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
    std::fs::remove_file(path).unwrap();
}
