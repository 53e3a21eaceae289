//! HTTP/2 through a real proxy on real sockets: both sides, mixed with HTTP/1, and against peers that
//! mean harm.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harm;
mod peers;

use bytes::Bytes;
use http::{HeaderMap, Request};
use peers::{Answer, Peer, TestProxy, client, collect, get, post, read_http1, upstream};
use std::time::Duration;

#[tokio::test]
async fn grpc_with_trailers_goes_through() {
    let up = upstream(Answer::Grpc).await;
    let proxy = TestProxy::new(&up, true, "");
    let mut send = client(proxy.address).await;
    let mut request = post("/pkg.Service/Method");
    request.headers_mut().insert("te", "trailers".parse().unwrap());
    request.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    let (response, mut body) = send.send_request(request, false).unwrap();
    body.send_data(Bytes::from_static(b"\0\0\0\0\x03abc"), true).unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["server"], "envoy");
    let (body, trailers) = collect(response.into_body()).await;
    assert_eq!(&body[..], b"\0\0\0\0\x03abc");
    let trailers = trailers.unwrap();
    assert_eq!(
        (&trailers["grpc-status"], &trailers["x-te"]),
        (&"0".parse().unwrap(), &"trailers".parse().unwrap())
    );
}

#[tokio::test]
async fn an_answer_of_trailers_only_stays_one() {
    let up = upstream(Answer::TrailersOnly).await;
    let proxy = TestProxy::new(&up, true, "");
    let mut send = client(proxy.address).await;
    let (response, _) = send.send_request(get("/"), true).unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.headers()["grpc-status"], "12");
    assert!(response.body().is_end_stream());
}

#[tokio::test]
async fn messages_go_back_and_forth_while_the_stream_is_open() {
    let up = upstream(Answer::Echo).await;
    let proxy = TestProxy::new(&up, true, "");
    let mut send = client(proxy.address).await;
    let (response, mut out) = send.send_request(post("/"), false).unwrap();
    let mut body = response.await.unwrap().into_body();
    for n in 0..20u8 {
        out.send_data(Bytes::from(vec![n; 100]), false).unwrap();
        let mut got = Vec::new();
        while got.len() < 100 {
            let data = body.data().await.unwrap().unwrap();
            body.flow_control().release_capacity(data.len()).unwrap();
            got.extend_from_slice(&data);
        }
        assert_eq!(got, vec![n; 100]);
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("x-end", "1".parse().unwrap());
    out.send_trailers(trailers).unwrap();
    let (rest, trailers) = collect(body).await;
    assert!(rest.is_empty());
    assert_eq!(trailers.unwrap()["x-end"], "1");
}

#[tokio::test]
async fn http1_client_and_http2_upstream() {
    let up = upstream(Answer::Echo).await;
    let proxy = TestProxy::new(&up, true, "");
    let request =
        "POST /x HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let (head, body) = read_http1(proxy.address, request).await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("transfer-encoding: chunked") && head.contains("x-path: /x"), "{head}");
    assert_eq!(body, "5\r\nhello\r\n0\r\n\r\n");
}

#[tokio::test]
async fn http2_client_and_http1_upstream() {
    let up = peers::http1_upstream().await;
    let proxy = TestProxy::new(&up, false, "");
    let mut send = client(proxy.address).await;
    let mut request = post("/p?q=1");
    for crumb in ["a=1", "b=2"] {
        request.headers_mut().append("cookie", crumb.parse().unwrap());
    }
    let (response, mut body) = send.send_request(request, false).unwrap();
    body.send_data(Bytes::from_static(b"abc"), true).unwrap();
    let response = response.await.unwrap();
    assert!(response.headers().get("connection").is_none());
    assert!(response.headers().get("transfer-encoding").is_none());
    let (body, _) = collect(response.into_body()).await;
    let body = String::from_utf8(body).unwrap();
    assert!(body.starts_with("POST /p?q=1 HTTP/1.1\r\nhost: example.com\r\n"), "{body}");
    assert!(body.contains("\r\ncookie: a=1; b=2\r\n"), "{body}");
    assert!(body.contains("\r\ntransfer-encoding: chunked\r\n"), "{body}");
    assert!(body.ends_with("3\r\nabc\r\n0\r\n\r\n"), "{body}");
}

#[tokio::test]
async fn requests_share_one_upstream_connection() {
    let up = upstream(Answer::Echo).await;
    let proxy = TestProxy::new(&up, true, "");
    let send = client(proxy.address).await;
    let requests = (0..50).map(|_| {
        let mut send = send.clone();
        tokio::spawn(async move {
            let (response, _) = send.send_request(get("/"), true).unwrap();
            assert_eq!(response.await.unwrap().status(), 200);
        })
    });
    for request in requests.collect::<Vec<_>>() {
        request.await.unwrap();
    }
    assert_eq!(up.connections(), 1);
    assert_eq!(proxy.stat("cluster.up.upstream_rq_total"), 50);
    assert_eq!(proxy.stat("http.in.downstream_rq_http2_total"), 50);
}

#[tokio::test]
async fn large_bodies_arrive_whole_both_ways() {
    let up = upstream(Answer::Echo).await;
    let proxy = TestProxy::new(&up, true, "");
    let mut send = client(proxy.address).await;
    let (response, mut out) = send.send_request(post("/"), false).unwrap();
    const SIZE: usize = 8 << 20;
    let sender = tokio::spawn(async move {
        let mut sent = 0;
        while sent < SIZE {
            out.reserve_capacity(SIZE - sent);
            let n = std::future::poll_fn(|cx| out.poll_capacity(cx)).await.unwrap().unwrap();
            let piece: Vec<u8> =
                (sent..sent + n.min(SIZE - sent)).map(|i| (i % 251) as u8).collect();
            sent += piece.len();
            out.send_data(piece.into(), sent == SIZE).unwrap();
        }
    });
    let (body, _) = collect(response.await.unwrap().into_body()).await;
    sender.await.unwrap();
    assert_eq!(body.len(), SIZE);
    assert!(body.iter().enumerate().all(|(i, b)| *b == (i % 251) as u8));
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_the_upstream() {
    let up = upstream(Answer::Endless).await;
    let proxy = TestProxy::new(&up, true, "");
    let mut send = client(proxy.address).await;
    let (response, _) = send.send_request(get("/"), true).unwrap();
    let body = response.await.unwrap().into_body();
    let mut last = (0, 0);
    peers::until(Duration::from_secs(10), || {
        // Stopped: nothing more was taken from the upstream for a while.
        let sent = up.sent();
        last = if sent == last.0 { (sent, last.1 + 1) } else { (sent, 0) };
        last.1 >= 20
    })
    .await;
    assert!(up.sent() > 0 && up.sent() < 4 << 20, "{} bytes are held for nobody", up.sent());
    drop(body);
    peers::until(Duration::from_secs(5), || up.resets() == 1).await;
}

#[tokio::test]
async fn a_refused_stream_is_tried_again() {
    let up = upstream(Answer::RefuseFirst).await;
    let policy = r#"retry_policy: { retry_on: "refused-stream", num_retries: 2 }"#;
    let proxy = TestProxy::new(&up, true, policy);
    let mut send = client(proxy.address).await;
    let (response, mut out) = send.send_request(post("/"), false).unwrap();
    out.send_data(Bytes::from_static(b"again"), true).unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(collect(response.into_body()).await.0, b"again");
    assert_eq!(proxy.stat("cluster.up.upstream_rq_retry"), 1);
}

#[tokio::test]
async fn an_upstream_that_goes_away_gracefully_costs_nothing() {
    let up = upstream(Answer::GoAwayAfterEach).await;
    let proxy = TestProxy::new(&up, true, "");
    let mut send = client(proxy.address).await;
    for n in 0..20 {
        let (response, _) = send.send_request(get("/"), true).unwrap();
        assert_eq!(response.await.unwrap().status(), 200, "request {n}");
    }
    assert!(up.connections() > 1);
}

#[tokio::test]
async fn an_upstream_that_resets_becomes_a_503() {
    let up = upstream(Answer::Reset).await;
    let proxy = TestProxy::new(&up, true, "");
    let mut send = client(proxy.address).await;
    let (response, _) = send.send_request(get("/"), true).unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.status(), 503);
    let (body, _) = collect(response.into_body()).await;
    assert_eq!(
        String::from_utf8(body).unwrap(),
        "upstream connect error or disconnect/reset before headers. reset reason: remote reset"
    );
}

#[tokio::test]
async fn local_answers_have_their_body() {
    let up = upstream(Answer::Echo).await;
    let proxy = TestProxy::new(&up, true, "");
    let mut send = client(proxy.address).await;
    let request = Request::get("http://unknown.example/direct").body(()).unwrap();
    let (response, _) = send.send_request(request, true).unwrap();
    let response = response.await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["content-length"]),
        (418, &"5".parse().unwrap())
    );
    assert_eq!(collect(response.into_body()).await.0, b"short");
}

#[tokio::test]
async fn a_chain_that_takes_others_now_says_goaway_and_finishes_what_is_open() {
    let up = upstream(Answer::Echo).await;
    let mut proxy = TestProxy::new(&up, true, "");
    let mut peer = Peer::connect(proxy.address).await;
    let (response, mut out) = peer.send.send_request(post("/"), false).unwrap();
    let mut body = response.await.unwrap().into_body();
    proxy.take_others();
    // A stream that crosses the news on its way is refused, by which its client knows that it may be repeated.
    peers::until(Duration::from_secs(5), || {
        peer.send.clone().send_request(get("/"), true).is_err()
    })
    .await;
    out.send_data(Bytes::from_static(b"last"), true).unwrap();
    assert_eq!(body.data().await.unwrap().unwrap(), "last");
}

#[tokio::test]
async fn draining_says_goaway_and_finishes_what_is_open() {
    let up = upstream(Answer::Echo).await;
    let proxy = TestProxy::new(&up, true, "");
    let mut peer = Peer::connect(proxy.address).await;
    let (response, mut out) = peer.send.send_request(post("/"), false).unwrap();
    let mut body = response.await.unwrap().into_body();
    proxy.drain();
    // New requests are refused as soon as GOAWAY has come.
    peers::until(Duration::from_secs(5), || {
        peer.send.clone().send_request(get("/"), true).is_err()
    })
    .await;
    out.send_data(Bytes::from_static(b"late"), true).unwrap();
    let data = body.data().await.unwrap().unwrap();
    assert_eq!(&data[..], b"late");
    drop(body);
    tokio::time::timeout(Duration::from_secs(8), peer.closed).await.unwrap().unwrap();
}
