//! From each protocol to each, with what is not a head and not a body: trailers of requests and of answers,
//! informational answers.

use super::{Case, all_to, any_host};
use crate::bootstrap::{cluster, endpoint};
use crate::client::{Body, Request};
use serde_json::{Value, json};

pub(super) fn cases() -> Vec<Case> {
    let ways =
        [("HTTP/1.1", "first"), ("HTTP/2", "first"), ("HTTP/1.1", "second"), ("HTTP/2", "second")];
    let make = |(n, (version, upstream)): (usize, (&'static str, &str))| {
        let own = format!("crossing_{n}");
        let to = if upstream == "first" { own.as_str() } else { "second" };
        let case = Case::new(&own, any_host(vec![all_to(to, json!({}))]), requests(version));
        let case = case.manager(json!({
            "http_protocol_options": { "enable_trailers": true }, "proxy_100_continue": true
        }));
        if upstream == "first" { case.cluster(with_trailers(&own)) } else { case }
    };
    ways.into_iter().enumerate().map(make).collect()
}

fn with_trailers(name: &str) -> Value {
    const OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    let options = json!({
        "@type": format!("type.googleapis.com/{OPTIONS}"),
        "explicit_http_config": { "http_protocol_options": { "enable_trailers": true } },
    });
    cluster(
        name,
        &[endpoint("a")],
        json!({ "typed_extension_protocol_options": { OPTIONS: options } }),
    )
}

fn requests(version: &'static str) -> Vec<Request> {
    let get = || Request::get("/").version(version);
    let post = |body| get().method("POST").body(body);
    vec![
        post(Body::Trailed(b"body".to_vec())),
        post(Body::Trailed(vec![b'x'; 50_000])).echo("trailer"),
        post(Body::Chunked(b"body".to_vec())).echo("trailer"),
        get().with("te", "trailers").echo("trailer"),
        get().echo("early-hints"),
        get().echo("early-hints;trailer"),
        get().echo("early-hints;status=404"),
        post(Body::Length(b"expected".to_vec())).with("expect", "100-continue"),
        post(Body::Length(b"expected".to_vec())).with("expect", "100-continue").echo("early-hints"),
        post(Body::Trailed(b"body".to_vec())).echo("status=503"),
    ]
}
