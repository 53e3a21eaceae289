//! HTTP/1 itself: methods, bodies, versions, and what must be refused.

use super::{Case, Dice, all_to, any_host};
use crate::client::{Body, Request};
use serde_json::{Value, json};

pub(super) fn cases(dice: &Dice) -> Vec<Case> {
    let cases = vec![
        ("methods", json!({}), methods()),
        ("bodies", json!({}), bodies(dice)),
        ("answers", json!({}), answers()),
        ("malformed", json!({}), malformed()),
        ("versions", json!({}), versions()),
        (
            "versions_accepted",
            json!({ "http_protocol_options": {
                "accept_http_10": true, "default_host_for_http_10": "default.example.com" } }),
            versions(),
        ),
        ("trailers", json!({ "http_protocol_options": { "enable_trailers": true } }), answers()),
        ("continue_proxied", json!({ "proxy_100_continue": true }), expectations()),
        ("continue_answered", json!({}), expectations()),
        ("hop_by_hop", json!({}), hop_by_hop()),
        ("upgrades", json!({ "upgrade_configs": [{ "upgrade_type": "websocket" }] }), upgrades()),
    ];
    cases.into_iter().map(|(name, manager, requests)| case(name, manager, requests)).collect()
}

fn case(name: &str, manager: Value, requests: Vec<Request>) -> Case {
    Case::new(name, any_host(vec![all_to("a", json!({}))]), requests).manager(manager)
}

fn methods() -> Vec<Request> {
    [
        "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "FOO", "get",
        "CONNECT", "M-SEARCH",
    ]
    .iter()
    .map(|m| Request::get("/m").method(m))
    .collect()
}

fn bodies(dice: &Dice) -> Vec<Request> {
    let sizes = [0, 1, 100, 16 * 1024, 100_000, 1 << 20];
    let mut requests = Vec::new();
    for size in sizes {
        let bytes: Vec<u8> = (0..size).map(|i| (i * 7 % 251) as u8).collect();
        let method = dice.one(&["POST", "PUT", "GET", "PATCH"]);
        requests.push(Request::get("/b").method(method).body(Body::Length(bytes.clone())));
        requests.push(Request::get("/b").method(method).body(Body::Chunked(bytes)));
    }
    requests
}

fn answers() -> Vec<Request> {
    let wishes = [
        "status=200",
        "status=204",
        "status=304",
        "status=404",
        "status=500",
        "chunked",
        "trailer",
        "close",
        "empty",
        "body=100000",
        "status=999",
        "early-hints",
        "add=x-multi:1;add=x-multi:2",
        "add=set-cookie:a=b",
        "chunked;close",
        "chunked;empty",
        "add=X-Case:Kept",
    ];
    let mut requests: Vec<Request> = wishes.iter().map(|w| Request::get("/").echo(w)).collect();
    requests.push(Request::get("/").method("HEAD").echo("body=50"));
    requests.push(Request::get("/").method("HEAD").echo("chunked"));
    requests.push(Request::get("/").with("te", "trailers").echo("trailer"));
    requests
}

fn malformed() -> Vec<Request> {
    let get = || Request::get("/");
    vec![
        get().no_host(),
        get().with("content-length", "-1"),
        get().with("content-length", "x"),
        get().with("content-length", "0").with("content-length", "0"),
        get().method("POST").with("content-length", "3").with("content-length", "4"),
        get().method("POST").with("content-length", "5").body(Body::Chunked(b"hello".to_vec())),
        get().method("POST").with("transfer-encoding", "gzip, chunked"),
        get().method("POST").with("transfer-encoding", "identity"),
        get().with("bad name", "v"),
        get().with("x-a ", "v"),
        get().with("x-a", "a\u{1}b"),
        get().with("", "v"),
        Request::get("no-slash"),
        Request::get("*"),
        Request::get("*").method("OPTIONS"),
        Request::get("http://absolute.example.com/path?q"),
        Request::get("https://absolute.example.com/"),
        Request::get("/a\tb"),
        Request::get("/\u{e9}"),
        get().version("HTTP/1.2"),
        get().version("HTTP/2.0"),
        get().version("http/1.1"),
    ]
}

fn versions() -> Vec<Request> {
    let ten = |target: &str| Request::get(target).version("HTTP/1.0");
    vec![
        ten("/"),
        ten("/").no_host(),
        ten("/").with("connection", "keep-alive"),
        ten("/").with("connection", "close"),
        ten("/").echo("chunked"),
        ten("/").echo("body=1000;close"),
        ten("/").method("POST").body(Body::Length(b"abc".to_vec())),
        ten("/").method("HEAD"),
        Request::get("/").with("connection", "close"),
        Request::get("/").with("connection", "Keep-Alive"),
        Request::get("/").with("connection", "keep-alive, close"),
        Request::get("/").with("proxy-connection", "close"),
    ]
}

fn expectations() -> Vec<Request> {
    let expect = |value: &str| Request::get("/").method("POST").with("expect", value);
    let body = || Body::Length(b"expected".to_vec());
    vec![
        expect("100-continue").body(body()),
        expect("100-Continue").body(body()),
        expect("100-continue").body(Body::Chunked(b"expected".to_vec())),
        expect("100-continue"),
        expect("100-continue").body(body()).echo("status=404"),
        expect("200-ok").body(body()),
        Request::get("/").with("expect", "100-continue"),
        expect("100-continue").body(body()).echo("early-hints"),
        expect("100-continue").body(body()).echo("chunked"),
        Request::get("/").method("POST").body(body()),
    ]
}

fn hop_by_hop() -> Vec<Request> {
    let get = || Request::get("/");
    vec![
        get().with("te", "trailers"),
        get().with("te", "gzip"),
        get().with("te", "trailers, deflate;q=0.5"),
        get().with("keep-alive", "timeout=5"),
        get().with("proxy-connection", "keep-alive"),
        get().with("proxy-authorization", "x"),
        get().with("connection", "x-a").with("x-a", "1"),
        get().with("connection", "keep-alive, x-a").with("x-a", "1"),
        get().with("trailer", "x-t"),
        get()
            .with("upgrade", "h2c")
            .with("connection", "upgrade, http2-settings")
            .with("http2-settings", "AAMAAABk"),
        get().echo("add=connection:x-b;add=x-b:1"),
        get().echo("add=proxy-connection:x;add=trailer:x"),
        get().echo("add=upgrade:foo"),
    ]
}

fn upgrades() -> Vec<Request> {
    let upgrade = |to: &str| Request::get("/").with("connection", "Upgrade").with("upgrade", to);
    vec![
        upgrade("websocket"),
        upgrade("WebSocket"),
        upgrade("websocket").echo("status=403"),
        upgrade("websocket").echo("status=426"),
        upgrade("foo"),
        upgrade("foo, websocket"),
        upgrade("h2c"),
        upgrade("H2C"),
        upgrade("h2c, websocket"),
        upgrade("websocket, H2C"),
        upgrade("websocket").with("upgrade", "h2c"),
        upgrade("h2c").with("upgrade", "websocket"),
        Request::get("/").with("upgrade", "websocket"),
        Request::get("/").with("connection", "upgrade"),
        upgrade("websocket").method("POST"),
        upgrade("websocket").echo("body=10"),
    ]
}
