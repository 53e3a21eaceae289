//! Which virtual host and which route.

use super::{Case, Dice, all_to, any_host, gets, host, route, says, to};
use crate::client::Request;
use serde_json::{Value, json};

pub(super) fn cases(dice: &Dice) -> Vec<Case> {
    let mut cases: Vec<Case> = (0..6).map(|n| paths(dice, n)).collect();
    cases.extend((0..5).map(|n| headers(dice, n)));
    cases.extend((0..3).map(|n| query(dice, n)));
    cases.push(domains("domains", json!({})));
    cases.push(domains("domains_ports", json!({ "ignore_port_in_host_matching": true })));
    cases.push(tls_required());
    cases.push(grpc());
    cases
}

const PATHS: [&str; 16] = [
    "/", "/a", "/a/", "/a/b", "/ab", "/A", "/a?x=1", "/b/c/d", "/b", "/a%2Fb", "/a//b", "/a/../b",
    "/a;v=1", "/c.html", "/%61", "/a#f",
];

fn paths(dice: &Dice, n: usize) -> Case {
    let matches = [
        json!({ "prefix": "/a" }),
        json!({ "path": "/a" }),
        json!({ "path": "/A", "case_sensitive": false }),
        json!({ "prefix": "/A", "case_sensitive": false }),
        json!({ "path_separated_prefix": "/a" }),
        json!({ "safe_regex": { "regex": "/[a-c]" } }),
        json!({ "safe_regex": { "regex": "/.*/b.*" } }),
        json!({ "safe_regex": { "regex": "/a(/b)?" } }),
        json!({ "prefix": "/b/" }),
        json!({ "path": "/c.html" }),
    ];
    let mut routes: Vec<Value> =
        (0..5).map(|i| says(dice.one(&matches), &format!("route {i}"))).collect();
    if n.is_multiple_of(2) {
        routes.push(all_to("a", json!({})));
    }
    Case::new(&format!("paths_{n}"), any_host(routes), gets(&PATHS))
}

fn header_match(dice: &Dice) -> Value {
    let name = dice.one(&["x-a", "x-b", "user-agent", ":method", ":authority"]);
    let text = dice.one(&["one", "two", "GET", "example.com"]);
    let mut matches = match dice.one(&[0, 1, 2, 3, 4, 5, 6]) {
        0 => json!({ "string_match": { "exact": text } }),
        1 => json!({ "string_match": { "prefix": &text[..1] } }),
        2 => json!({ "string_match": { "suffix": &text[1..] } }),
        3 => json!({ "string_match": { "contains": &text[1..2], "ignore_case": true } }),
        4 => json!({ "string_match": { "safe_regex": { "regex": "[a-z]+" } } }),
        5 => json!({ "present_match": dice.one(&[true, false]) }),
        _ => json!({ "range_match": { "start": -5, "end": 10 } }),
    };
    let extra = dice.one(&[
        json!({}),
        json!({ "invert_match": true }),
        json!({ "treat_missing_header_as_empty": true }),
    ]);
    crate::bootstrap::merge(&mut matches, extra);
    crate::bootstrap::merge(&mut matches, json!({ "name": name }));
    matches
}

fn headers(dice: &Dice, n: usize) -> Case {
    let mut routes: Vec<Value> = (0..6)
        .map(|i| {
            let list: Vec<Value> = (0..1 + i % 2).map(|_| header_match(dice)).collect();
            says(json!({ "prefix": "/", "headers": list }), &format!("route {i}"))
        })
        .collect();
    routes.push(all_to("a", json!({})));
    let values = ["one", "two", "ONE", "7", "-5", "10", "", "one,two", "x y"];
    let requests = (0..12)
        .map(|i| {
            let request = Request::get("/").with("x-a", dice.one(&values));
            let request = if i % 3 == 0 { request.with("x-a", dice.one(&values)) } else { request };
            let request = if i % 2 == 0 { request.with("X-B", dice.one(&values)) } else { request };
            request.method(dice.one(&["GET", "POST", "PUT"]))
        })
        .chain([Request::get("/")])
        .collect();
    Case::new(&format!("headers_{n}"), any_host(routes), requests)
}

fn query(dice: &Dice, n: usize) -> Case {
    let matches = [
        json!({ "name": "x", "present_match": true }),
        json!({ "name": "x", "string_match": { "exact": "1" } }),
        json!({ "name": "y", "string_match": { "prefix": "a" } }),
        json!({ "name": "y", "string_match": { "safe_regex": { "regex": "[0-9]+" } } }),
        json!({ "name": "x", "string_match": { "exact": "" } }),
        json!({ "name": "z", "string_match": { "contains": "A", "ignore_case": true } }),
    ];
    let mut routes: Vec<Value> = (0..4)
        .map(|i| {
            let list = dice.some(1 + i % 2, &matches);
            says(json!({ "prefix": "/", "query_parameters": list }), &format!("route {i}"))
        })
        .collect();
    routes.push(all_to("b", json!({})));
    let paths = [
        "/",
        "/?",
        "/?x",
        "/?x=",
        "/?x=1",
        "/?x=1&x=2",
        "/?x=2&x=1",
        "/?y=abc",
        "/?y=12&x=1",
        "/?z=bab",
        "/?Z=a",
        "/?x=1;y=2",
        "/?x=%31",
        "/?&&x=1",
        "/?y=1#x=1",
    ];
    Case::new(&format!("query_{n}"), any_host(routes), gets(&paths))
}

fn domains(name: &str, extra: Value) -> Case {
    let hosts = [
        "example.com",
        "*.example.com",
        "*.a.example.com",
        "example.*",
        "exact.example.com",
        "example.com:8080",
        "*-x.example.com",
        "10.0.0.1",
        "*",
    ];
    let virtual_hosts: Vec<Value> = hosts
        .iter()
        .enumerate()
        .map(|(i, domain)| {
            host(&format!("h{i}"), &[domain], vec![says(json!({ "prefix": "/" }), domain)])
        })
        .collect();
    let requests = [
        "example.com",
        "EXAMPLE.com",
        "www.example.com",
        "b.a.example.com",
        "a.example.com",
        "exact.example.com",
        "example.org",
        "example.com:8080",
        "example.com:80",
        "www.example.com:99",
        "q-x.example.com",
        "10.0.0.1",
        "10.0.0.1:80",
        "other",
        "",
        "example.com.",
        "[::1]:80",
        "-x.example.com",
    ];
    let requests = requests.iter().map(|h| Request::get("/").host(h)).collect();
    let mut case = Case::new(name, virtual_hosts, requests);
    crate::bootstrap::merge(&mut case.routes, extra);
    case
}

fn tls_required() -> Case {
    let mut virtual_hosts = vec![
        host("all", &["all.example.com"], vec![all_to("a", json!({}))]),
        host("external", &["external.example.com"], vec![all_to("a", json!({}))]),
        host("none", &["*"], vec![all_to("a", json!({}))]),
    ];
    virtual_hosts[0]["require_tls"] = json!("ALL");
    virtual_hosts[1]["require_tls"] = json!("EXTERNAL_ONLY");
    let mut requests = Vec::new();
    for name in ["all.example.com", "external.example.com", "all.example.com:8080", "x"] {
        for path in ["/", "/a?b=c", "/a#b"] {
            requests.push(Request::get(path).host(name));
        }
        requests.push(Request::get("/").host(name).with("x-forwarded-proto", "https"));
    }
    Case::new("tls_required", virtual_hosts, requests)
}

fn grpc() -> Case {
    let routes = vec![
        says(json!({ "prefix": "/", "grpc": {} }), "grpc"),
        route(json!({ "prefix": "/" }), to("a")),
    ];
    let types = [
        "application/grpc",
        "application/grpc+proto",
        "application/grpc-web",
        "application/json",
        "application/GRPC",
        "application/grpc;x=1",
        "application/grpcx",
        "",
    ];
    let requests = types
        .iter()
        .map(|t| Request::get("/s/m").method("POST").with("content-type", t))
        .chain(gets(&["/", "/s/m"]))
        .collect();
    Case::new("grpc_match", any_host(routes), requests)
}
