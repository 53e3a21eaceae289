//! Filters that change bodies: gRPC-Web, compression.

use super::{Case, all_to, any_host, says};
use crate::client::{Body, Request};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

const WEB: &str = "type.googleapis.com/envoy.extensions.filters.http.grpc_web.v3.GrpcWeb";
const BUFFER: &str = "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer";

pub(super) fn cases() -> Vec<Case> {
    vec![
        web("grpc_web", vec![]),
        web("grpc_web_buffered", vec![buffer(), grpc_web(), buffer()]),
        web_by_http1(),
        gzip("compressor", json!({})),
        gzip(
            "compressor_careful",
            json!({ "response_direction_config": {
                "common_config": { "min_content_length": 100, "content_type": ["text/x", "application/json"] },
                "disable_on_etag_header": true,
                "remove_accept_encoding_header": true,
                "uncompressible_response_codes": [404],
            } }),
        ),
        gzip(
            "compressor_weak",
            json!({ "response_direction_config": { "weaken_etag_on_compress": true } }),
        ),
        gzip(
            "compressor_older",
            json!({ "content_length": 50, "content_type": ["text/html"], "remove_accept_encoding_header": true }),
        ),
        gzip(
            "compressor_off",
            json!({ "response_direction_config": {
            "common_config": { "enabled": { "default_value": false, "runtime_key": "x" } },
            "remove_accept_encoding_header": true,
        } }),
        ),
    ]
}

fn filter(name: &str, config: Value) -> Value {
    json!({ "name": name, "typed_config": config })
}

fn grpc_web() -> Value {
    filter("grpc_web", json!({ "@type": WEB }))
}

fn buffer() -> Value {
    filter("buffer", json!({ "@type": BUFFER, "max_request_bytes": 4000 }))
}

fn frame(length: usize) -> Vec<u8> {
    [&[0], &(length as u32).to_be_bytes()[..], &vec![b'm'; length]].concat()
}

const COMPRESSOR: &str =
    "type.googleapis.com/envoy.extensions.filters.http.compressor.v3.Compressor";
const GZIP: &str = "type.googleapis.com/envoy.extensions.compression.gzip.compressor.v3.Gzip";

/// What clients accept, and what answers say of themselves.
fn gzip(name: &str, extra: Value) -> Case {
    let mut config = json!({
        "@type": COMPRESSOR,
        "compressor_library": { "name": "gzip", "typed_config": { "@type": GZIP, "compression_level": "BEST_SPEED" } },
    });
    crate::bootstrap::merge(&mut config, extra);
    let accepted = [
        "gzip",
        "gzip, br",
        "br",
        "identity",
        "*",
        "*;q=0",
        "gzip;q=0, *",
        "gzip;q=0.5, identity",
        "gzip ; q = 0.5, identity;q=0.4",
        "gzip;q=x, identity;q=0.1",
        "gzip;level=9",
        "GZIP",
        "",
    ];
    let get = |wish: &str| Request::get("/").with("accept-encoding", "gzip").echo(wish);
    let mut requests: Vec<Request> =
        accepted.iter().map(|a| Request::get("/").with("accept-encoding", a)).collect();
    requests.push(Request::get("/"));
    let wishes = [
        "body=29",
        "body=30",
        "body=99",
        "body=70000",
        "chunked",
        "chunked;body=5",
        "trailer",
        "empty",
        "status=204",
        "status=304",
        "status=404",
        "status=500;close",
        "add=content-type:text/html; charset=utf-8",
        "add=content-type:TEXT/X",
        "add=content-type:image/png",
        "add=content-encoding:br",
        "add=cache-control:private, no-transform",
        "add=transfer-encoding:x",
        "add=etag:\"a\"",
        "add=etag:W/\"a\"",
        "add=etag:x",
        "add=vary:Origin",
        "add=vary:accept-encoding",
        "add=vary:*",
    ];
    let wishes = wishes.iter().filter(|w| !w.contains("transfer-encoding"));
    requests.extend(wishes.map(|w| get(w)));
    requests.push(get("body=1000").method("HEAD"));
    requests.push(get("body=1000").version("HTTP/1.0"));
    requests.push(get("body=1000").version("HTTP/2"));
    requests.push(get("body=1000").with("accept-encoding", "identity;q=0"));
    for path in ["/off", "/direct", "/short", "/red", "/second", "/dead"] {
        requests.push(Request::get(path).with("accept-encoding", "gzip"));
    }
    let off = json!({ "typed_per_filter_config": { "compressor": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.compressor.v3.CompressorPerRoute",
        "disabled": true,
    } } });
    let to = |path: &str, cluster: &str| json!({ "match": { "prefix": path }, "route": { "cluster": cluster } });
    let mut without = to("/off", "a");
    crate::bootstrap::merge(&mut without, off);
    let routes = vec![
        without,
        says(json!({ "prefix": "/direct" }), &"here ".repeat(100)),
        says(json!({ "prefix": "/short" }), "here"),
        json!({ "match": { "prefix": "/red" }, "redirect": { "host_redirect": "b" } }),
        to("/second", "second"),
        to("/dead", "dead"),
        all_to("a", json!({})),
    ];
    Case::new(name, any_host(routes), requests).filter(filter("compressor", config))
}

/// To an upstream that speaks HTTP/1.1, twice on the same connection.
fn web_by_http1() -> Case {
    let post = |kind: &str, body: Body| {
        let kind = format!("application/grpc-web{kind}");
        let request = Request::get("/s/m").method("POST").with("content-type", &kind);
        request.with("accept", "application/grpc-web").body(body)
    };
    let text = || BASE64_STANDARD.encode(frame(20)).into_bytes();
    let requests = [
        post("", Body::Length(frame(10))),
        post("", Body::Length(frame(10))),
        post("", Body::Chunked(frame(3000))),
        post("", Body::Length(Vec::new())),
        post("-text", Body::Length(text())),
        post("-text", Body::Length(text())),
        post("-text", Body::Chunked(text())),
        post("-text", Body::Length(Vec::new())),
        post("", Body::None),
    ];
    let echo = "add=content-type:application/grpc;add=grpc-status:0";
    let requests = requests.into_iter().map(|r| r.echo(echo)).collect();
    let hosts = any_host(vec![all_to("a", json!({}))]);
    Case::new("grpc_web_by_http1", hosts, requests).filter(grpc_web())
}

/// `second` is an HTTP/2 upstream; its trailer is `grpc-status: 0`.
fn web(name: &str, filters: Vec<Value>) -> Case {
    let types = ["", "+proto", "-text", "-text+proto"];
    let post = |kind: &str, accept: &str, body: &[u8]| {
        let kind = format!("application/grpc-web{kind}");
        let text = kind.contains("text");
        let body = if text { BASE64_STANDARD.encode(body).into_bytes() } else { body.to_vec() };
        let accept = format!("application/grpc-web{accept}");
        let request = Request::get("/s/m").method("POST").with("content-type", &kind);
        request.with("accept", &accept).body(Body::Length(body))
    };
    // Filters that wait for bodies bound those of answers, too.
    let long = if filters.is_empty() { 30_000 } else { 3000 };
    let said = "add=content-type:application/grpc";
    let wishes = [
        "body=40".into(),
        format!("{said};frames=3,0,70000;trailer"),
        format!("{said};frames=5"),
        format!("{said};frames=2;trailer;add=content-length:7"),
        format!("{said}+proto;frames=1,1;trailer"),
        "add=content-type:application/grpc-web+proto;frames=4;trailer".into(),
        format!("{said};empty;trailer"),
        format!("{said};empty;add=grpc-status:5;add=grpc-message:no"),
        format!("{said};status=503;body=10"),
        "status=503;body=20;add=content-type:text/plain".into(),
        "status=404;empty".into(),
        format!("body={long};add=content-type:text/html"),
        "reset".into(),
    ];
    let mut requests = Vec::new();
    for (i, wish) in wishes.iter().enumerate() {
        for n in [i, i + 2] {
            let sent = post(types[n % 4], types[(n + i / 2) % 4], &frame(10));
            requests.push(sent.echo(wish));
        }
    }
    let echo = |request: Request| request.echo(&format!("{said};add=grpc-status:0"));
    requests.extend(types.map(|kind| echo(post(kind, "", &frame(1000)))));
    requests.push(echo(post("-text", "", &frame(1)).version("HTTP/2")));
    requests
        .push(echo(post("", "", &frame(3)).with("te", "gzip").with("grpc-accept-encoding", "x")));
    requests.push(echo(post("-other", "", &frame(3))));
    requests.push(echo(post("+proto; charset=x", "", &frame(3))));
    let raw = |body: &[u8]| {
        let kind = "application/grpc-web-text";
        let request = Request::get("/s/m").method("POST").with("content-type", kind);
        request.with("accept", kind).body(Body::Length(body.to_vec()))
    };
    if !filters.is_empty() {
        // Else it depends on the moment what of it reaches the upstream.
        requests.extend([&b"AAAA*AAA"[..], b"AAAAA", b"A"].map(|body| echo(raw(body))));
    }
    requests.push(raw(b"").echo(&format!("{said};frames=1;trailer")));
    requests.push(echo(Request::get("/s/m").with("content-type", "application/grpc-web-text")));
    requests.push(Request::get("/direct").with("content-type", "application/grpc-web"));
    requests.push(post("-text", "-text", &frame(5)).body(Body::None).echo("body=7"));
    let nowhere = |kind: &str| post(kind, kind, &frame(3)).with("x-nowhere", "1");
    requests.extend([nowhere(""), nowhere("-text")]);
    let mut second = all_to("second", json!({}));
    second["response_headers_to_add"] = json!([{ "header": { "key": "x-route", "value": "r" } }]);
    let nowhere = json!({
        "match": { "prefix": "/", "headers": [{ "name": "x-nowhere", "present_match": true }] },
        "route": { "cluster": "dead" },
    });
    let routes = vec![says(json!({ "prefix": "/direct" }), "here"), nowhere, second];
    let mut case = Case::new(name, any_host(routes), requests);
    case.filters = if filters.is_empty() { vec![grpc_web()] } else { filters };
    case
}
