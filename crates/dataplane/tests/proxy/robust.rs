//! What a client sees when an upstream misbehaves: a clear answer, a retry, or nothing at all.

use crate::support::*;
use dataplane::Drain;
use ir::{Config, Forward, RetryPolicy, RouteSource};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

fn with(forward: Forward, upstream: SocketAddr) -> Config {
    http(manager(routes(vec![route("/", forward)])), vec![cluster("up", &[upstream])])
}

fn retrying(on: &str, retries: u32) -> Forward {
    let retry = RetryPolicy {
        on: on.split(',').map(Into::into).collect(),
        num_retries: Some(retries),
        ..Default::default()
    };
    Forward { retry: Some(retry), ..forward("up") }
}

/// An address where nothing listens.
fn nowhere() -> SocketAddr {
    TcpListener::bind(ANY).unwrap().local_addr().unwrap()
}

/// The client learns that connecting failed; why, and where to, is for the log.
#[test]
fn an_endpoint_that_refuses_connections() {
    let path = std::env::temp_dir().join(format!("lateen-refused-{}.log", std::process::id()));
    let mut m = manager(routes(vec![route("/", forward("up"))]));
    let format = "%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %UPSTREAM_TRANSPORT_FAILURE_REASON% \
                  %UPSTREAM_HOST% %UPSTREAM_LOCAL_ADDRESS%\n";
    m.access_log.push(ir::AccessLog {
        sink: ir::LogSink::File {
            path: path.to_str().unwrap().into(),
            format: ir::LogFormat::Text(format.into()),
        },
        filter: None,
    });
    let nowhere = nowhere();
    let (_proxy, at) = run(&http(m, vec![cluster("up", &[nowhere])]));
    let answer = Peer::connect(at).get("/");
    assert_eq!(answer.status(), 503);
    assert_eq!(
        answer.text(),
        "upstream connect error or disconnect/reset before headers. reset reason: remote \
         connection failure"
    );
    assert_eq!(answer.header("content-type"), Some("text/plain"));
    let line = format!(
        "UF upstream_reset_before_response_started{{remote_connection_failure|delayed_connect_error:\
         _Connection_refused}} delayed_connect_error:_Connection_refused {nowhere} -\n"
    );
    until("the log line", || std::fs::read_to_string(&path).is_ok_and(|log| log == line));
    std::fs::remove_file(path).unwrap();
}

#[test]
fn no_endpoint_no_cluster_no_route() {
    let table = routes(vec![route("/empty", forward("empty")), route("/none", forward("none"))]);
    let (_proxy, at) = run(&http(manager(table), vec![cluster("empty", &[])]));
    let mut client = Peer::connect(at);
    let table = [("/empty", 503, "no healthy upstream"), ("/none", 503, ""), ("/other", 404, "")];
    for (path, status, body) in table {
        let answer = client.get(path);
        assert_eq!((answer.status(), answer.text()), (status, body), "{path}");
    }
}

#[test]
fn connections_that_were_closed_while_idle_cost_no_request() {
    // Closes without notice after every other answer, just when the next request may be coming.
    let (upstream, connections) = upstream(|peer, _| {
        for _ in 0..2 {
            if peer.message().is_none() {
                return;
            }
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let (_proxy, at) = run(&simple(upstream));
    let mut client = Peer::connect(at);
    for i in 0..200 {
        assert_eq!(client.get("/").status(), 200, "request {i}");
    }
    assert!(connections.load(Ordering::SeqCst) >= 100);
}

#[test]
fn an_upstream_that_closes_or_talks_nonsense_before_it_answers() {
    let table = [
        ("", 503, "reset reason: connection termination"),
        ("HTTP/1.1 200 OK\r\nContent-", 502, "reset reason: protocol error"),
        ("no HTTP\r\n\r\n", 502, "reset reason: protocol error"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 502, "protocol"),
        ("HTTP/1.1 200 OK\nContent-Length: 0\n\n", 502, "protocol"),
    ];
    for (said, status, reason) in table {
        let (upstream, _) = upstream(move |peer, _| {
            peer.message();
            peer.send(said);
        });
        let (_proxy, at) = run(&simple(upstream));
        let answer = Peer::connect(at).get("/");
        assert_eq!(answer.status(), status, "{said:?}");
        assert!(answer.text().contains(reason), "{said:?}: {}", answer.text());
    }
}

#[test]
fn an_answer_that_is_cut_is_cut_for_the_client_too() {
    let heads = [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ];
    for said in heads {
        let (upstream, _) = upstream(move |peer, _| {
            peer.message();
            peer.send(said);
        });
        let (_proxy, at) = run(&simple(upstream));
        let mut client = Peer::connect(at);
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        let rest = String::from_utf8(client.rest()).unwrap();
        assert!(!rest.ends_with("0\r\n\r\n") && !rest.ends_with("half123456"), "{rest}");
    }
}

#[test]
fn failures_are_retried_as_configured() {
    let (flaky, connections) = upstream(|peer, n| {
        while peer.message().is_some() {
            let status = if n < 2 { "503 No" } else { "200 OK" };
            peer.send(&format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"));
        }
    });
    let (_proxy, at) = run(&with(retrying("5xx", 2), flaky));
    assert_eq!(Peer::connect(at).get("/").status(), 200);
    assert_eq!(connections.load(Ordering::SeqCst), 3);

    let (failing, connections) = upstream(|peer, _| {
        while peer.message().is_some() {
            peer.send("HTTP/1.1 500 No\r\nContent-Length: 4\r\n\r\nsaid");
        }
    });
    let (_proxy, at) = run(&with(retrying("gateway-error,connect-failure", 3), failing));
    let answer = Peer::connect(at).get("/");
    assert_eq!((answer.status(), answer.text()), (500, "said"));
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[test]
fn a_request_body_is_sent_again_on_retry() {
    let (flaky, _) = upstream(|peer, n| {
        while let Some(request) = peer.message() {
            if n == 0 {
                return;
            }
            peer.send(&format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
                request.body.len()
            ));
            peer.send_bytes(&request.body);
        }
    });
    let (_proxy, at) = run(&with(retrying("reset", 1), flaky));
    let body = "x".repeat(20_000);
    let request = format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 20000\r\n\r\n{body}");
    let answer = Peer::connect(at).ask(&request);
    assert_eq!(answer.status(), 200);
    assert!(answer.text() == body);
}

#[test]
fn a_post_that_a_closed_connection_never_took_is_sent_again() {
    let (upstream, connections) = upstream(|peer, _| {
        if peer.message().is_some() {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let (_proxy, at) = run(&simple(upstream));
    let mut client = Peer::connect(at);
    for i in 0..100 {
        let answer = client.ask("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody");
        assert_eq!(answer.status(), 200, "request {i}");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 100);
}

#[test]
fn a_post_that_may_have_been_seen_is_not_sent_twice() {
    let (upstream, connections) = upstream(|peer, _| {
        peer.message();
    });
    let (_proxy, at) = run(&simple(upstream));
    let answer = Peer::connect(at).ask("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx");
    assert_eq!(answer.status(), 503);
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[test]
fn a_slow_upstream_runs_into_the_timeout() {
    let (slow, _) = upstream(|peer, _| {
        peer.message();
        peer.message();
    });
    let forward = Forward { timeout: Some(Duration::from_millis(60)), ..forward("up") };
    let (_proxy, at) = run(&with(forward, slow));
    let mut client = Peer::connect(at);
    for _ in 0..2 {
        let answer = client.get("/");
        assert_eq!((answer.status(), answer.text()), (504, "upstream request timeout"));
    }
}

#[test]
fn a_stream_on_which_nothing_moves_is_ended() {
    let (silent, _) = upstream(|peer, _| {
        peer.message();
        peer.message();
    });
    let forward = Forward {
        timeout: Some(Duration::ZERO),
        idle_timeout: Some(Duration::from_millis(60)),
        ..forward("up")
    };
    let (_proxy, at) = run(&with(forward, silent));
    let answer = Peer::connect(at).get("/");
    assert_eq!((answer.status(), answer.text()), (504, "stream timeout"));
    let mut stalled = Peer::connect(at);
    let answer = stalled.ask("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\npart");
    assert_eq!((answer.status(), answer.text()), (408, "stream timeout"));
}

#[test]
fn an_attempt_has_its_own_timeout() {
    let (slow, connections) = upstream(|peer, n| {
        peer.message();
        if n > 0 {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
        peer.message();
    });
    // More retries than are needed: a busy machine may be slow a second time.
    let mut forward = retrying("5xx", 9);
    if let Some(retry) = &mut forward.retry {
        retry.per_try_timeout = Some(Duration::from_millis(100));
    }
    let (_proxy, at) = run(&with(forward, slow));
    assert_eq!(Peer::connect(at).get("/").status(), 200);
    assert!(connections.load(Ordering::SeqCst) >= 2);
}

#[test]
fn a_client_that_leaves_ends_the_upstream_request() {
    let gone = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let seen = gone.clone();
    let (upstream, _) = upstream(move |peer, _| {
        peer.message();
        peer.rest();
        seen.store(true, Ordering::SeqCst);
    });
    let (_proxy, at) = run(&simple(upstream));
    let mut client = Peer::connect(at);
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    drop(client);
    until("the end of the upstream request", || gone.load(Ordering::SeqCst));
}

#[test]
fn what_must_be_encrypted_is_never_sent_in_the_clear() {
    let (heard, first) = std::sync::mpsc::channel();
    let (upstream, _) = upstream(move |peer, _| heard.send(peer.exactly(1)).unwrap());
    let mut config = simple(upstream);
    Arc::make_mut(&mut config.clusters[0]).tls = Some(Default::default());
    let (_proxy, at) = run(&config);
    assert_eq!(Peer::connect(at).get("/").status(), 503);
    assert_eq!(first.recv_timeout(PATIENCE).unwrap(), [22], "a handshake and nothing else");
}

#[test]
fn a_new_configuration_takes_effect_on_open_connections() {
    let (one, _) = fixed("one");
    let (two, _) = fixed("two");
    let config = |to: &str, rds: bool| {
        let mut table = routes(vec![route("/", forward(to))]);
        table.name = "table".into();
        let mut m = manager(table.clone());
        if rds {
            m.routes = RouteSource::Rds("table".into());
        }
        let mut config = http(m, vec![cluster("one", &[one]), cluster("two", &[two])]);
        if rds {
            config.routes.push(Arc::new(table));
        }
        config
    };
    for rds in [false, true] {
        let (proxy, at) = run(&config("one", rds));
        let mut client = Peer::connect(at);
        assert_eq!(client.get("/").text(), "one");
        proxy.publish(&config("two", rds));
        assert_eq!(client.get("/").text(), "two");
    }
}

fn fixed(text: &'static str) -> (SocketAddr, Arc<std::sync::atomic::AtomicUsize>) {
    upstream(move |peer, _| {
        while peer.message().is_some() {
            peer.send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len()));
        }
    })
}

/// An application that finishes its work when it is told to end still calls others.
#[test]
fn draining_what_comes_in_leaves_what_goes_out() {
    let (upstream, _) = echo();
    let mut config = simple(upstream);
    Arc::make_mut(&mut config.listeners[0]).direction = ir::Direction::Outbound;
    let (proxy, at) = run(&config);
    let mut open = Peer::connect(at);
    open.get("/");
    proxy.drain(Drain::Inbound);
    open.get("/");
    Peer::connect(at).get("/");
    proxy.drain(Drain::All);
    assert_eq!(open.rest(), b"");
}

#[test]
fn draining_lets_requests_finish_and_closes_the_rest() {
    let (upstream, _) = echo();
    let (proxy, at) = run(&simple(upstream));
    let mut idle = Peer::connect(at);
    idle.get("/");
    let mut busy = Peer::connect(at);
    busy.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nha");
    until("both connections", || proxy.open_connections() == 2);
    proxy.drain(Drain::All);
    assert_eq!(idle.rest(), b"");
    busy.send("lf");
    assert_eq!(busy.message().unwrap().status(), 200);
    until("the end of all connections", || proxy.open_connections() == 0);
}
