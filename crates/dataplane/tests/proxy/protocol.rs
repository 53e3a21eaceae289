//! The corners of HTTP/1: what is understood, what is refused, and how it is answered.

use crate::support::*;
use ir::{HttpManager, Upgrade};
use std::time::{Duration, Instant};

fn with(change: impl FnOnce(&mut HttpManager), upstream: std::net::SocketAddr) -> ir::Config {
    let mut m = manager(routes(vec![route("/", forward("up"))]));
    change(&mut m);
    http(m, vec![cluster("up", &[upstream])])
}

#[test]
fn malformed_requests_are_refused_and_others_unharmed() {
    let (upstream, _) = echo();
    let (_proxy, at) = run(&simple(upstream));
    let mut bystander = Peer::connect(at);
    let post = "POST / HTTP/1.1\r\nHost: h\r\n";
    let table = [
        (format!("{post}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"), 400),
        (format!("{post}Content-Length: 1\r\nContent-Length: 2\r\n\r\n"), 400),
        (format!("{post}Transfer-Encoding: gzip, chunked\r\n\r\n"), 501),
        (format!("{post}Host: other\r\n\r\n"), 400),
        (format!("{post}X: a\r\n folded\r\n\r\n"), 400),
        (format!("{post}X: a\0b\r\n\r\n"), 400),
        (format!("{post}X : a\r\n\r\n"), 400),
        ("GET / HTTP/1.1\nHost: h\n\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.0\r\nHost: h\r\n\r\n".to_owned(), 426),
        (format!("{post}X: {}\r\n\r\n", "a".repeat(62 << 10)), 431),
        (format!("{post}{}\r\n", "a: b\r\n".repeat(100)), 431),
        (format!("{post}Transfer-Encoding: chunked\r\n\r\nzz\r\n"), 400),
        (format!("{post}Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n"), 400),
    ];
    for (request, status) in table {
        let mut client = Peer::connect(at);
        // What follows must never be taken for a request.
        client.send(&format!("{request}GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"));
        let answer = client.message().unwrap();
        assert_eq!(answer.status(), status, "{request:.80}");
        assert_eq!(answer.header("connection"), Some("close"), "{request:.80}");
        assert_eq!(client.rest(), b"", "{request:.80}");
        assert_eq!(bystander.get("/").status(), 200);
    }
}

#[test]
fn answers_without_a_body_leave_the_connection_usable() {
    let (upstream, _) = upstream(|peer, _| {
        while let Some(request) = peer.message() {
            let path = request.head.split(' ').nth(1).unwrap().to_owned();
            peer.send(match path.as_str() {
                "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
                "/304" => "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n",
                "/head" => "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n",
                _ => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            });
        }
    });
    let (_proxy, at) = run(&simple(upstream));
    let mut client = Peer::connect(at);
    for (method, path, length) in
        [("GET", "/204", None), ("GET", "/304", Some("7")), ("HEAD", "/head", Some("7"))]
    {
        client.send(&format!("{method} {path} HTTP/1.1\r\nHost: h\r\n\r\n"));
        let head = client.head().unwrap();
        let message = Message { head, body: Vec::new() };
        assert_eq!(message.header("content-length"), length, "{path}");
        assert_eq!(client.get("/").text(), "ok");
    }
}

#[test]
fn an_answer_until_the_end_of_the_connection_becomes_chunks() {
    let (upstream, _) = upstream(|peer, _| {
        peer.message();
        peer.send("HTTP/1.0 200 OK\r\n\r\nto the end");
    });
    let (_proxy, at) = run(&simple(upstream));
    let mut client = Peer::connect(at);
    for _ in 0..2 {
        let answer = client.get("/");
        assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
        assert_eq!(answer.text(), "to the end");
    }
}

#[test]
fn http_1_0_is_served_where_it_is_accepted() {
    let (upstream, _) = upstream(|peer, _| {
        while peer.message().is_some() {
            peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
        }
    });
    let (_proxy, at) = run(&with(|m| m.http1.accept_http_10 = true, upstream));
    let mut client = Peer::connect(at);
    client.send("GET / HTTP/1.0\r\n\r\n");
    let all = String::from_utf8(client.rest()).unwrap();
    assert!(all.starts_with("HTTP/1.1 200 OK\r\n") && all.ends_with("\r\n\r\nok"), "{all}");
    assert!(!all.contains("chunked"), "{all}");
}

#[test]
fn a_client_that_waits_is_told_to_continue() {
    let (upstream, _) = echo();
    let (_proxy, at) = run(&simple(upstream));
    let mut client = Peer::connect(at);
    client.send("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    assert_eq!(client.head().unwrap(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("body");
    let answer = client.message().unwrap();
    assert!(answer.text().ends_with("\r\n\r\nbody"));
    assert!(!answer.text().contains("\r\nexpect:"));
}

#[test]
fn where_it_is_proxied_the_upstream_tells_to_continue() {
    let (upstream, _) = upstream(|peer, _| {
        let head = peer.head().unwrap();
        assert!(head.contains("expect: 100-continue"));
        peer.send("HTTP/1.1 100 Continue\r\n\r\n");
        assert_eq!(peer.exactly(4), b"body");
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    });
    let (_proxy, at) = run(&with(|m| m.proxy_100_continue = true, upstream));
    let mut client = Peer::connect(at);
    client.send("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    assert_eq!(client.head().unwrap(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("body");
    assert_eq!(client.message().unwrap().status(), 200);
}

#[test]
fn upgrades_become_tunnels_where_they_are_allowed() {
    let (upstream, _) = upstream(|peer, _| {
        let head = peer.head().unwrap();
        assert!(head.contains("\r\nconnection: upgrade\r\n"), "{head}");
        assert!(head.contains("\r\nupgrade: websocket\r\n"), "{head}");
        peer.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nfirst");
        assert_eq!(peer.exactly(4), b"ping");
        peer.send("pong");
        assert_eq!(peer.rest(), b"");
    });
    let ask = "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let websocket = Upgrade { kind: "websocket".into(), enabled: true };
    let (_proxy, at) = run(&with(|m| m.upgrades.push(websocket), upstream));
    let mut client = Peer::connect(at);
    client.send(ask);
    let head = client.head().unwrap();
    assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
    assert!(
        head.contains("\r\nupgrade: websocket\r\n") && head.contains("\r\nconnection: upgrade\r\n")
    );
    assert_eq!(client.exactly(5), b"first");
    client.send("ping");
    assert_eq!(client.exactly(4), b"pong");
    client.stream().shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(client.rest(), b"");

    let (_proxy, at) = run(&simple(upstream));
    assert_eq!(Peer::connect(at).ask(ask).status(), 403);
}

#[test]
fn a_tunnel_on_which_nothing_moves_is_ended() {
    let (upstream, _) = upstream(|peer, _| {
        peer.head();
        peer.send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        );
        assert_eq!(peer.rest(), b"ping");
    });
    let websocket = Upgrade { kind: "websocket".into(), enabled: true };
    let idle = Duration::from_millis(200);
    let (_proxy, at) = run(&with(
        |m| (m.upgrades, m.stream_idle_timeout) = (vec![websocket], Some(idle)),
        upstream,
    ));
    let mut client = Peer::connect(at);
    client.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert!(client.head().unwrap().starts_with("HTTP/1.1 101 "));
    let began = Instant::now();
    client.send("ping");
    assert_eq!(client.rest(), b"");
    assert!(began.elapsed() >= idle, "{:?}", began.elapsed());
}

#[test]
fn an_answer_may_come_before_the_request_is_over() {
    let (upstream, _) = upstream(|peer, _| {
        peer.head();
        peer.send("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
        peer.rest();
    });
    let (_proxy, at) = run(&simple(upstream));
    let mut client = Peer::connect(at);
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\npart");
    let answer = client.message().unwrap();
    assert_eq!((answer.status(), answer.text()), (413, "no"));
}
