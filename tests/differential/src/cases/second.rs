//! HTTP/2 on either side, and on both.

use super::{Case, Dice, all_to, any_host, host, says};
use crate::client::{Body, Request};
use serde_json::json;

pub(super) fn cases(dice: &Dice) -> Vec<Case> {
    let names = ["a", "second", "second"];
    let versions = ["HTTP/2", "HTTP/2", "HTTP/1.1"];
    let mut cases: Vec<Case> = (0..3)
        .map(|n| {
            let requests = requests(dice, versions[n]);
            let routes =
                vec![says(json!({ "prefix": "/direct" }), "direct"), all_to(names[n], json!({}))];
            Case::new(&format!("second_{n}"), any_host(routes), requests)
        })
        .collect();
    cases.push(grpc());
    cases.push(failures());
    cases
}

fn requests(dice: &Dice, version: &'static str) -> Vec<Request> {
    let paths = ["/", "/a?b=c", "/x/y", "/a/../b", "/%41"];
    let wishes = [
        "",
        "status=404",
        "empty",
        "body=100000",
        "add=x-up:1;add=x-up:2",
        "status=204",
        "status=500",
    ];
    let sizes = [0, 1, 1000, 20_000];
    let mut requests: Vec<Request> = (0..12)
        .map(|_| {
            let request = Request::get(dice.one(&paths)).version(version).echo(dice.one(&wishes));
            let body = vec![b'x'; dice.one(&sizes)];
            match dice.one(&[0, 1, 2, 3]) {
                0 => request,
                1 => request.method("HEAD"),
                2 => request.method("POST").body(Body::Length(body)),
                _ => request.method("PUT").body(Body::Chunked(body)),
            }
        })
        .collect();
    let get = || Request::get("/").version(version);
    requests.push(get().with("cookie", "a=1").with("cookie", "b=2"));
    requests.push(get().with("te", "trailers").echo("trailer"));
    requests.push(get().with("x-forwarded-for", "1.2.3.4").with("x-forwarded-proto", "https"));
    requests.push(get().with("x_underscore", "1").with("expect", "100-continue"));
    requests.push(get().host("EXAMPLE.com:8080"));
    requests.push(Request::get("/direct").version(version));
    requests.push(get().with("user-agent", "x").with("accept", "*/*").with("x-empty", ""));
    requests
}

/// What a gRPC client sees, of its upstream and of the proxy.
fn grpc() -> Case {
    let call = |path: &str| {
        let body = Body::Chunked(b"\0\0\0\0\x01x".to_vec());
        let post = Request::get(path).version("HTTP/2").method("POST").body(body);
        post.with("content-type", "application/grpc").with("te", "trailers")
    };
    let mut requests: Vec<Request> = [
        "trailer",
        "status=503",
        "add=grpc-status:14;empty",
        "add=grpc-status:0;body=10",
        "status=200",
        "garble",
        "reset",
    ]
    .iter()
    .map(|wish| call("/s/m").echo(wish))
    .collect();
    for to in ["dead.example", "empty.example", "none.example", "direct.example"] {
        requests.push(call("/s/m").host(to));
    }
    requests.push(call("/s/m").with("grpc-timeout", "1S"));
    let hosts = vec![
        host("dead", &["dead.example"], vec![all_to("dead", json!({}))]),
        host("empty", &["empty.example"], vec![all_to("empty", json!({}))]),
        host("none", &["none.example"], vec![]),
        host("direct", &["direct.example"], vec![says(json!({ "prefix": "/" }), "no")]),
        host("any", &["*"], vec![all_to("second", json!({}))]),
    ];
    Case::new("second_grpc", hosts, requests)
}

fn failures() -> Case {
    let retry = json!({ "timeout": "1s", "retry_policy": {
        "retry_on": "refused-stream,unavailable,5xx", "num_retries": 2,
        "retry_back_off": { "base_interval": "0.001s" } } });
    let requests = [
        "reset",
        "reset;fail=1",
        "reset;fail=2",
        "garble",
        "garble;fail=1",
        "status=503;fail=1",
        "status=503",
        "delay=1500",
        "add=grpc-status:14;fail=1",
        "status=200",
    ]
    .iter()
    .enumerate()
    .map(|(n, wish)| {
        let version = if n % 2 == 0 { "HTTP/2" } else { "HTTP/1.1" };
        Request::get("/").version(version).echo(wish)
    })
    .collect();
    let mut hosts = any_host(vec![all_to("second", retry)]);
    hosts[0]["include_request_attempt_count"] = json!(true);
    Case::new("second_failures", hosts, requests)
}
