//! Filters stand before the verdict: requests that are redirected, answered directly or have no route
//! pass them, too.

use super::{Case, all_to, any_host, host, route, says, to};
use crate::client::{Body, Request};
use serde_json::{Value, json};

const LIMIT: &str =
    "type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit";
const CORS: &str = "type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors";
const FAULT: &str = "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault";

pub(super) fn cases() -> Vec<Case> {
    vec![
        limits(),
        limits_of_routes(),
        faults(),
        shared(),
        off_in_the_chain(),
        upgrades(),
        buffers(),
        metadata(),
    ]
}

fn filter(name: &str, config: Value) -> Value {
    json!({ "name": name, "typed_config": config })
}

fn limit(prefix: &str, tokens: u32, extra: Value) -> Value {
    let mut config = json!({
        "@type": LIMIT,
        "stat_prefix": prefix,
        "filter_enabled": { "default_value": { "numerator": 100 } },
        "filter_enforced": { "default_value": { "numerator": 100 } },
        "token_bucket": { "max_tokens": tokens, "tokens_per_fill": tokens, "fill_interval": "36000s" },
    });
    crate::bootstrap::merge(&mut config, extra);
    config
}

fn matching(prefix: &str, action: &str, what: Value) -> Value {
    json!({ "match": { "prefix": prefix }, action: what })
}

fn adds(name: &str) -> Value {
    json!([{ "header": { "key": name, "value": "%REQ(:path)%" } }])
}

fn with(mut route: Value, extra: Value) -> Value {
    crate::bootstrap::merge(&mut route, extra);
    route
}

/// A redirect, a direct answer, one that is a redirect, a cluster that is not there; no route for the rest.
fn verdicts() -> Vec<Value> {
    let added = json!({ "response_headers_to_add": adds("x-route") });
    vec![
        with(matching("/red", "redirect", json!({ "host_redirect": "b.example" })), added.clone()),
        with(says(json!({ "prefix": "/direct" }), "here"), added.clone()),
        matching("/there", "direct_response", json!({ "status": 302 })),
        with(route(json!({ "prefix": "/missing" }), to("nobody")), added.clone()),
        with(route(json!({ "prefix": "/a" }), to("a")), added),
    ]
}

const PATHS: [&str; 6] = ["/red?x", "/direct", "/there", "/missing", "/a", "/nowhere"];

fn secured(routes: Vec<Value>) -> Vec<Value> {
    let mut tls = host("tls", &["tls.example"], vec![all_to("a", json!({}))]);
    tls["require_tls"] = "ALL".into();
    let mut any = host("any", &["*"], routes);
    any["response_headers_to_add"] = adds("x-host");
    vec![tls, any]
}

/// Each verdict once with a token and once without.
fn limits() -> Case {
    let hosts = secured(verdicts());
    let one_each =
        |n: usize| PATHS.iter().cycle().skip(n).take(PATHS.len()).map(|p| Request::get(*p));
    let tls = || Request::get("/x").host("tls.example");
    let grpc = |path: &str| Request::get(path).with("content-type", "application/grpc");
    let requests =
        one_each(0).chain([tls()]).chain(one_each(0)).chain([tls(), grpc("/red"), grpc("/b")]);
    let extra = json!({ "enable_x_ratelimit_headers": "DRAFT_VERSION_03" });
    Case::new("filters_limits", hosts, requests.collect())
        .filter(filter("limit", limit("filters_limits", 7, extra)))
        .unvalidated()
}

/// Limits of the routes themselves; descriptors are made for those that forward.
fn limits_of_routes() -> Case {
    let own = |name: &str| {
        let config = limit(name, 1, json!({ "response_headers_to_add": adds("x-limited") }));
        json!({ "typed_per_filter_config": { "limit": config } })
    };
    let mut routes = verdicts();
    routes[0] = with(routes[0].take(), own("filters_red"));
    routes[1] = with(routes[1].take(), own("filters_direct"));
    let descriptors = json!({
        "filter_enabled": { "default_value": { "numerator": 100 } },
        "rate_limits": [{ "actions": [{ "generic_key": { "descriptor_value": "g" } }] }],
        "descriptors": [{
            "entries": [{ "key": "generic_key", "value": "g" }],
            "token_bucket": { "max_tokens": 2, "tokens_per_fill": 1, "fill_interval": "36000s" },
        }],
    });
    let paths = ["/red", "/direct", "/red", "/direct", "/there", "/x", "/missing", "/a"];
    let requests = paths.into_iter().map(Request::get).collect();
    Case::new("filters_limits_of_routes", any_host(routes), requests)
        .filter(filter("limit", limit("filters_routes", 100, descriptors)))
        .unvalidated()
}

fn faults() -> Case {
    let abort = |status: u16| {
        json!({
            "@type": FAULT,
            "abort": { "http_status": status, "percentage": { "numerator": 100 } },
        })
    };
    let own = json!({ "typed_per_filter_config": { "fault": abort(508) } });
    let mut routes = verdicts();
    routes[0] = with(routes[0].take(), own.clone());
    let mut chain = abort(507);
    chain["headers"] = json!([{ "name": "x-fault", "present_match": true }]);
    let requests =
        PATHS.iter().flat_map(|p| [Request::get(*p), Request::get(*p).with("x-fault", "y")]);
    Case::new("filters_faults", secured(routes), requests.collect())
        .filter(filter("fault", chain))
        .unvalidated()
}

/// Cross-origin rules before and behind a limit that refuses.
fn shared() -> Case {
    let cors = json!({ "cors": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy",
        "allow_origin_string_match": [{ "exact": "http://a" }],
        "allow_methods": "GET",
    } });
    let routes = verdicts()
        .into_iter()
        .map(|r| with(r, json!({ "typed_per_filter_config": cors.clone() })))
        .collect();
    let asked = |path: &&str| {
        let request = Request::get(*path).with("origin", "http://a");
        let preflight = request.clone().method("OPTIONS");
        [request, preflight.with("access-control-request-method", "GET")]
    };
    let requests = PATHS.iter().chain(&PATHS).flat_map(asked).collect();
    Case::new("filters_shared", secured(routes), requests)
        .filter(filter("cors", json!({ "@type": CORS })))
        .filter(filter("limit", limit("filters_shared", 7, json!({}))))
        .unvalidated()
}

/// A filter that is off in the chain runs where a route says more of it, and not where that says no.
fn off_in_the_chain() -> Case {
    let mut off = filter("limit", limit("filters_off", 1, json!({})));
    off["disabled"] = true.into();
    let on = filter("second", limit("filters_on", 2, json!({ "status": { "code": 503 } })));
    let per = |what: Value| json!({ "typed_per_filter_config": what });
    let disabled = json!({ "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": true });
    let routes = vec![
        with(
            route(json!({ "prefix": "/own" }), to("a")),
            per(
                json!({ "limit": limit("filters_off_own", 1, json!({})), "second": disabled.clone() }),
            ),
        ),
        with(says(json!({ "prefix": "/none" }), "none"), per(json!({ "second": disabled }))),
        all_to("a", json!({})),
    ];
    let paths = ["/own", "/none", "/own", "/none", "/none", "/x", "/x", "/x", "/own"];
    let requests = paths.into_iter().map(Request::get).collect();
    Case::new("filters_off", any_host(routes), requests).filter(off).filter(on)
}

/// Who may not upgrade is told before any filter; without a route nobody says so.
fn upgrades() -> Case {
    let upgrade = |path: &&str| {
        Request::get(*path).with("connection", "upgrade").with("upgrade", "websocket")
    };
    let requests = PATHS.iter().map(upgrade).collect();
    Case::new("filters_upgrades", secured(verdicts()), requests)
        .filter(filter("limit", limit("filters_upgrades", 1, json!({}))))
        .unvalidated()
}

const BUFFER: &str = "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer";
const TO_METADATA: &str =
    "type.googleapis.com/envoy.extensions.filters.http.header_to_metadata.v3.Config";

/// Requests wait until they are whole; longer ones are refused.
fn buffers() -> Case {
    let per = |config: Value| {
        let mut config = config;
        config["@type"] =
            "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.BufferPerRoute".into();
        json!({ "typed_per_filter_config": { "buffer": config } })
    };
    let routes = vec![
        with(route(json!({ "prefix": "/off" }), to("a")), per(json!({ "disabled": true }))),
        with(
            route(json!({ "prefix": "/small" }), to("a")),
            per(json!({ "buffer": { "max_request_bytes": 10 } })),
        ),
        says(json!({ "prefix": "/direct" }), "here"),
        all_to("a", json!({})),
    ];
    let sizes = [0, 10, 11, 1000, 1001, 5000];
    let paths = ["/off", "/small", "/direct", "/x"];
    let ask = |path: &'static str| {
        sizes.iter().flat_map(move |n| {
            let post = Request::get(path).method("POST");
            [
                post.clone().body(Body::Length(vec![b'x'; *n])),
                post.body(Body::Chunked(vec![b'x'; *n])),
            ]
        })
    };
    let second =
        |n| Request::get("/x").version("HTTP/2").method("POST").body(Body::Length(vec![b'x'; n]));
    let more = [Request::get("/x"), second(10), second(1000)];
    let requests = paths.into_iter().flat_map(ask).chain(more).collect();
    let config = json!({ "@type": BUFFER, "max_request_bytes": 1000 });
    Case::new("filters_buffers", any_host(routes), requests).filter(filter("buffer", config))
}

/// What is taken from headers and cookies is there for later steps.
fn metadata() -> Case {
    let rules = json!([
        {
            "header": "x-plain",
            "on_header_present": { "key": "plain" },
            "on_header_missing": { "key": "plain", "value": "none" },
        },
        { "header": "x-gone", "on_header_present": { "metadata_namespace": "n", "key": "gone" }, "remove": true },
        { "header": "x-number", "on_header_present": { "key": "number", "type": "NUMBER" } },
        { "header": "x-64", "on_header_present": { "key": "decoded", "encode": "BASE64" } },
        { "header": ":path", "on_header_present": {
            "key": "first",
            "regex_value_rewrite": { "pattern": { "regex": "^/([a-z]*).*" }, "substitution": "\\1" },
        } },
        { "cookie": "c", "on_header_present": { "key": "cookie" } },
    ]);
    let shown = [
        "envoy.filters.http.header_to_metadata:plain",
        "n:gone",
        "envoy.filters.http.header_to_metadata:number",
        "envoy.filters.http.header_to_metadata:decoded",
        "envoy.filters.http.header_to_metadata:first",
        "envoy.filters.http.header_to_metadata:cookie",
        "n",
        "x:y",
    ];
    let adds: Vec<Value> = shown
        .iter()
        .enumerate()
        .map(|(i, at)| {
            json!({ "header": {
            "key": format!("x-said-{i}"), "value": format!("[%DYNAMIC_METADATA({at})%]"),
        } })
        })
        .collect();
    let mut all = all_to("a", json!({}));
    all["request_headers_to_add"] = adds.into();
    let ask = |headers: &[(&str, &str)]| {
        headers.iter().fold(Request::get("/abc/d"), |r, (name, value)| r.with(name, value))
    };
    let requests = vec![
        ask(&[]),
        ask(&[("x-plain", "1"), ("x-plain", "2"), ("x-gone", "\"q\"")]),
        ask(&[("x-number", "2.5"), ("x-64", "aGk="), ("cookie", "b=1; c=2")]),
        ask(&[("x-number", "3"), ("x-64", "?"), ("cookie", "b=1")]),
        ask(&[("x-number", "three"), ("x-plain", "")]),
    ];
    let config = json!({ "@type": TO_METADATA, "request_rules": rules });
    Case::new("filters_metadata", any_host(vec![all]), requests).filter(filter("said", config))
}
