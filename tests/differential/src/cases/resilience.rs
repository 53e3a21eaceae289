//! What happens when something fails: retries, timeouts, faults, limits.

use super::{Case, Dice, all_to, any_host, gets, route, to};
use crate::bootstrap::{cluster, endpoint};
use crate::client::{Body, Request};
use serde_json::{Value, json};

pub(super) fn cases(dice: &Dice) -> Vec<Case> {
    let mut cases: Vec<Case> = (0..4).map(|n| retries(dice, n)).collect();
    cases.push(timeouts());
    cases.push(unreachable());
    cases.push(overflow());
    cases.extend((0..3).map(|n| faults(dice, n)));
    cases.push(request_controlled_retries());
    cases
}

fn failing(dice: &Dice) -> Request {
    let wish = dice.one(&[
        "status=503;fail=1",
        "status=503;fail=2",
        "status=500;fail=1",
        "status=429;fail=1",
        "status=404;fail=1",
        "reset;fail=1",
        "reset;fail=3",
        "status=503",
        "status=200",
        "reset",
        "status=409;fail=1",
        "status=504;fail=1",
        "add=x-retry:1;fail=1",
        "garble",
        "garble;fail=1",
    ]);
    let request = Request::get("/").echo(wish);
    match dice.one(&[0, 1, 2]) {
        0 => request,
        1 => request.method("POST").body(Body::Length(b"body to replay".to_vec())),
        _ => request.method("PUT").body(Body::Chunked(vec![b'x'; dice.one(&[3000, 100_000])])),
    }
}

fn retries(dice: &Dice, n: usize) -> Case {
    let policy = [
        json!({ "retry_on": "5xx", "num_retries": 2 }),
        json!({ "retry_on": "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes",
                "num_retries": 2, "retriable_status_codes": [503, 409] }),
        json!({ "retry_on": "gateway-error,reset,retriable-4xx" }),
        json!({ "retry_on": "retriable-headers,reset-before-request",
                "retriable_headers": [{ "name": "x-retry", "present_match": true }] }),
    ];
    let mut policy = policy[n % policy.len()].clone();
    policy["retry_back_off"] = json!({ "base_interval": "0.001s", "max_interval": "0.002s" });
    let mut hosts = any_host(vec![all_to("fresh", json!({ "retry_policy": policy }))]);
    hosts[0]["include_request_attempt_count"] = json!(true);
    hosts[0]["include_attempt_count_in_response"] = json!(n.is_multiple_of(2));
    Case::new(&format!("retries_{n}"), hosts, (0..12).map(|_| failing(dice)).collect())
}

fn request_controlled_retries() -> Case {
    let requests =
        [("5xx", "2"), ("gateway-error", "1"), ("reset", "3"), ("retriable-4xx", "1"), ("", "")]
            .iter()
            .flat_map(|(on, max)| {
                ["status=503;fail=1", "status=409;fail=1", "reset;fail=1"].map(|wish| {
                    let request = Request::get("/").echo(wish);
                    if on.is_empty() {
                        return request;
                    }
                    request.with("x-envoy-retry-on", on).with("x-envoy-max-retries", max)
                })
            })
            .collect();
    Case::new("request_retries", any_host(vec![all_to("fresh", json!({}))]), requests)
}

fn timeouts() -> Case {
    let routes = vec![
        route(json!({ "prefix": "/short" }), json!({ "cluster": "a", "timeout": "0.15s" })),
        route(json!({ "prefix": "/none" }), json!({ "cluster": "a", "timeout": "0s" })),
        route(
            json!({ "prefix": "/try" }),
            json!({ "cluster": "a", "timeout": "2s", "retry_policy": {
                "retry_on": "5xx", "num_retries": 1, "per_try_timeout": "0.15s" } }),
        ),
        all_to("a", json!({})),
    ];
    let slow = "delay=400";
    let requests = vec![
        Request::get("/short"),
        Request::get("/short").echo(slow),
        Request::get("/none").echo(slow),
        Request::get("/try").echo("delay=400;fail=1"),
        Request::get("/try").echo(slow),
        Request::get("/other").echo(slow),
        Request::get("/").with("x-envoy-upstream-rq-timeout-ms", "100").echo(slow),
        Request::get("/none").with("x-envoy-upstream-rq-timeout-ms", "100"),
        Request::get("/try").with("x-envoy-upstream-rq-per-try-timeout-ms", "50").echo(slow),
        Request::get("/short").method("POST").body(Body::Length(vec![1; 100])).echo(slow),
    ];
    Case::new("timeouts", any_host(routes), requests)
}

fn unreachable() -> Case {
    let retry = json!({ "retry_policy": { "retry_on": "connect-failure", "num_retries": 2,
        "retry_back_off": { "base_interval": "0.001s" } } });
    let action = |prefix: &str, action: Value| route(json!({ "prefix": prefix }), action);
    let routes = vec![
        action("/dead", to("dead")),
        action("/again", {
            let mut again = to("half");
            crate::bootstrap::merge(&mut again, retry);
            again
        }),
        action("/empty", to("empty")),
        action("/header", json!({ "cluster_header": "x-cluster" })),
        action(
            "/404",
            json!({ "cluster_header": "x-cluster", "cluster_not_found_response_code": "NOT_FOUND" }),
        ),
    ];
    let half = cluster("half", &[endpoint("dead")], json!({ "lb_policy": "ROUND_ROBIN" }));
    let mut requests =
        gets(&["/dead", "/dead", "/again", "/empty", "/empty?x", "/header", "/404", "/none"]);
    for (path, name) in [
        ("/header", "a"),
        ("/header", "unknown"),
        ("/404", "unknown"),
        ("/404", "b"),
        ("/header", ""),
    ] {
        requests.push(Request::get(path).with("x-cluster", name));
    }
    requests.push(Request::get("/dead").method("POST").body(Body::Length(b"x".to_vec())));
    requests.push(
        Request::get("/dead")
            .method("POST")
            .with("content-type", "application/grpc")
            .with("te", "trailers"),
    );
    Case::new("unreachable", any_host(routes), requests).cluster(half)
}

fn overflow() -> Case {
    let closed = |name: &str, thresholds: Value| {
        cluster(
            name,
            &[endpoint("a")],
            json!({ "circuit_breakers": { "thresholds": [thresholds] } }),
        )
    };
    let routes = vec![
        route(json!({ "prefix": "/rq" }), to("no_requests")),
        route(json!({ "prefix": "/pending" }), to("no_pending")),
        route(json!({ "prefix": "/cx" }), to("no_connections")),
        all_to("a", json!({})),
    ];
    let paths =
        ["/rq", "/rq?x", "/pending", "/pending/x", "/", "/x", "/rq", "/pending", "/y", "/z"];
    Case::new("overflow", any_host(routes), gets(&paths))
        .cluster(closed("no_requests", json!({ "max_requests": 0 })))
        .cluster(closed("no_pending", json!({ "max_pending_requests": 0, "max_connections": 0 })))
        .cluster(closed("no_connections", json!({ "max_connections": 1 })))
}

fn faults(dice: &Dice, n: usize) -> Case {
    const FAULT: &str = "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault";
    let certain = json!({ "numerator": 100 });
    let never = json!({ "numerator": 0 });
    let abort =
        |status: u16, of: &Value| json!({ "abort": { "http_status": status, "percentage": of } });
    let kinds = [
        abort(418, &certain),
        abort(503, &never),
        json!({ "abort": { "grpc_status": 14, "percentage": certain } }),
        json!({ "delay": { "fixed_delay": "0.05s", "percentage": certain } }),
        json!({ "delay": { "fixed_delay": "0.02s", "percentage": certain },
                "abort": { "http_status": 555, "percentage": certain } }),
        json!({ "headers": [{ "name": "end-user", "string_match": { "exact": "jason" } }],
                "abort": { "http_status": 500, "percentage": certain } }),
    ];
    let with = |path: &str, kind: &Value| {
        let mut config = kind.clone();
        config["@type"] = json!(FAULT);
        let mut route = route(json!({ "prefix": path }), to("a"));
        route["typed_per_filter_config"] = json!({ "envoy.filters.http.fault": config });
        route
    };
    let routes = vec![
        with("/one", &kinds[n % kinds.len()]),
        with("/two", &kinds[(n + 3) % kinds.len()]),
        with("/three", &dice.one(&kinds)),
        all_to("b", json!({})),
    ];
    let mut requests = gets(&["/one", "/one?x", "/two", "/three", "/four"]);
    for path in ["/one", "/two", "/three"] {
        requests.push(Request::get(path).with("end-user", "jason"));
        requests.push(
            Request::get(path)
                .method("POST")
                .with("content-type", "application/grpc")
                .with("te", "trailers"),
        );
    }
    let filter = json!({ "name": "envoy.filters.http.fault", "typed_config": { "@type": FAULT } });
    Case::new(&format!("faults_{n}"), any_host(routes), requests).filter(filter)
}
