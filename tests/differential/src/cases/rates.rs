//! Limits of the rate of requests: buckets of the chain, of routes and of descriptors. Buckets fill so
//! slowly that nothing comes back while the suite runs.

use super::{Case, all_to, any_host, route, to};
use crate::client::Request;
use serde_json::{Value, json};

const LIMIT: &str =
    "type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit";

pub(super) fn cases() -> Vec<Case> {
    vec![of_the_chain(), of_routes(), of_descriptors(), not_enforced()]
}

fn filter(config: Value) -> Value {
    json!({ "name": "limit", "typed_config": config })
}

/// A limit that is in force, with `extra` in it.
fn limit(prefix: &str, extra: Value) -> Value {
    let mut config = json!({
        "@type": LIMIT,
        "stat_prefix": prefix,
        "filter_enabled": { "default_value": { "numerator": 100 } },
        "filter_enforced": { "default_value": { "numerator": 100 } },
    });
    crate::bootstrap::merge(&mut config, extra);
    config
}

fn bucket(tokens: u32) -> Value {
    json!({ "max_tokens": tokens, "tokens_per_fill": tokens, "fill_interval": "36000s" })
}

fn of_the_chain() -> Case {
    let config = limit("rates_chain", json!({ "token_bucket": bucket(3) }));
    let grpc = Request::get("/").with("content-type", "application/grpc");
    let requests = (0..5).map(|_| Request::get("/")).chain([grpc]).collect();
    Case::new("rates_chain", any_host(vec![all_to("a", json!({}))]), requests)
        .filter(filter(config))
}

fn of_routes() -> Case {
    let own = limit(
        "rates_own",
        json!({
            "token_bucket": bucket(2),
            "status": { "code": 503 },
            "response_headers_to_add": [{
                "header": { "key": "x-limited", "value": "%REQ(:path)%" },
            }],
        }),
    );
    let mut limited = route(json!({ "prefix": "/limited" }), to("a"));
    limited["typed_per_filter_config"] = json!({ "limit": own });
    let routes = vec![limited, all_to("a", json!({}))];
    let paths = ["/limited", "/", "/limited", "/limited", "/", "/limited?x"];
    let requests = paths.into_iter().map(Request::get).collect();
    // Without a bucket, and not enabled: what the samples put into the chain.
    let chain = json!({ "@type": LIMIT, "stat_prefix": "rates_routes" });
    Case::new("rates_routes", any_host(routes), requests).filter(filter(chain))
}

fn of_descriptors() -> Case {
    let config = limit(
        "rates_descriptors",
        json!({
            "token_bucket": bucket(6),
            "enable_x_ratelimit_headers": "DRAFT_VERSION_03",
            "descriptors": [
                { "entries": [{ "key": "header_match", "value": "page" }], "token_bucket": bucket(2) },
                {
                    "entries": [{ "key": "user", "value": "a" }, { "key": "generic_key", "value": "g" }],
                    "token_bucket": bucket(1),
                },
            ],
        }),
    );
    let limits = json!({ "rate_limits": [
        { "actions": [{ "header_value_match": {
            "descriptor_value": "page",
            "headers": [{ "name": ":path", "string_match": { "prefix": "/page", "ignore_case": true } }],
        } }] },
        { "actions": [
            { "request_headers": { "header_name": "x-user", "descriptor_key": "user" } },
            { "generic_key": { "descriptor_value": "g" } },
        ] },
        { "actions": [{ "remote_address": {} }] },
    ] });
    let user = |name: &str| Request::get("/").with("x-user", name);
    let requests = vec![
        Request::get("/PAGE/1"),
        Request::get("/page/2"),
        Request::get("/page/3"),
        user("a"),
        user("b"),
        user("a"),
        Request::get("/"),
        Request::get("/"),
        Request::get("/"),
        user("a"),
    ];
    Case::new("rates_descriptors", any_host(vec![all_to("a", limits)]), requests)
        .filter(filter(config))
}

/// Requests over the limit pass, and their upstream is told.
fn not_enforced() -> Case {
    let config = limit(
        "rates_shadow",
        json!({
            "token_bucket": bucket(1),
            "filter_enforced": { "default_value": { "numerator": 0 } },
            "request_headers_to_add_when_not_enforced": [
                { "header": { "key": "x-over", "value": "yes" } },
            ],
        }),
    );
    let requests = vec![Request::get("/"), Request::get("/"), Request::get("/")];
    Case::new("rates_shadow", any_host(vec![all_to("a", json!({}))]), requests)
        .filter(filter(config))
}
