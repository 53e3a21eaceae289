//! Options of the HTTP connection manager.

use super::{Case, Dice, all_to, any_host, gets, says};
use crate::client::Request;
use serde_json::{Value, json};

pub(super) fn cases(dice: &Dice) -> Vec<Case> {
    let mut cases = Vec::new();
    let addresses = [
        json!({}),
        json!({ "use_remote_address": true }),
        json!({ "use_remote_address": true, "xff_num_trusted_hops": 1 }),
        json!({ "use_remote_address": false, "xff_num_trusted_hops": 1 }),
        json!({ "use_remote_address": true, "skip_xff_append": true }),
    ];
    for (n, manager) in addresses.into_iter().enumerate() {
        cases.push(trust(dice, n, manager.clone()));
        cases.push(steering(n, manager));
    }
    cases.extend(request_ids());
    cases.extend(server_headers());
    cases.extend(paths());
    cases.extend(hosts());
    cases.push(limits());
    cases.extend(underscores());
    cases
}

fn plain(name: &str, manager: Value, requests: Vec<Request>) -> Case {
    Case::new(name, any_host(vec![all_to("a", json!({}))]), requests).manager(manager)
}

fn trust(dice: &Dice, n: usize, manager: Value) -> Case {
    let values = [
        "1.2.3.4",
        "10.0.0.1",
        "1.1.1.1, 2.2.2.2",
        "10.0.0.1,192.168.0.1",
        "junk",
        "1.2.3.4:80",
        "::1",
    ];
    let requests = (0..12)
        .map(|i| {
            let mut request = Request::get("/");
            if i > 0 {
                request = request.with("x-forwarded-for", dice.one(&values));
            }
            for (name, value) in [
                ("x-forwarded-proto", dice.one(&["https", "http", "ftp"])),
                ("x-envoy-internal", "true"),
                ("x-envoy-external-address", "9.9.9.9"),
                ("x-envoy-decorator-operation", "op"),
                ("x-envoy-expected-rq-timeout-ms", "7"),
                ("x-envoy-attempt-count", "5"),
                ("x-envoy-upstream-alt-stat-name", "alt"),
                ("x-forwarded-host", "other"),
                ("x-forwarded-client-cert", "By=x"),
            ] {
                if dice.one(&[true, false, false]) {
                    request = request.with(name, value);
                }
            }
            request
        })
        .collect();
    plain(&format!("trust_{n}"), manager, requests)
}

/// Headers by which proxies tell one another something, each alone, from a client that nobody knows.
fn steering(n: usize, manager: Value) -> Case {
    const NAMES: [(&str, &str); 26] = [
        ("x-envoy-original-path", "/was"),
        ("x-envoy-original-host", "was.example"),
        ("x-envoy-original-url", "http://was/"),
        ("x-envoy-original-method", "PUT"),
        ("x-envoy-original-dst-host", "10.0.0.1:80"),
        ("x-envoy-downstream-service-cluster", "me"),
        ("x-envoy-downstream-service-node", "me"),
        ("x-envoy-ip-tags", "good"),
        ("x-envoy-force-trace", "true"),
        ("x-envoy-retry-on", "5xx"),
        ("x-envoy-retry-grpc-on", "internal"),
        ("x-envoy-retriable-status-codes", "404"),
        ("x-envoy-retriable-header-names", "x-a"),
        ("x-envoy-max-retries", "2"),
        ("x-envoy-upstream-rq-timeout-ms", "9000"),
        ("x-envoy-upstream-rq-per-try-timeout-ms", "8000"),
        ("x-envoy-upstream-rq-timeout-alt-response", "1"),
        ("x-envoy-hedge-on-per-try-timeout", "true"),
        ("x-envoy-is-timeout-retry", "true"),
        ("x-envoy-overloaded", "true"),
        ("x-envoy-degraded", "true"),
        ("x-envoy-immediate-health-check-fail", "1"),
        ("x-envoy-upstream-canary", "true"),
        ("x-envoy-upstream-stream-duration-ms", "9000"),
        ("x-envoy-peer-metadata", "bWU="),
        ("x-envoy-peer-metadata-id", "me"),
    ];
    let requests = NAMES.into_iter().map(|(name, value)| Request::get("/").with(name, value));
    plain(&format!("steering_{n}"), manager, requests.collect())
}

fn request_ids() -> Vec<Case> {
    let managers = [
        json!({ "generate_request_id": false }),
        json!({ "preserve_external_request_id": true, "use_remote_address": true }),
        json!({ "always_set_request_id_in_response": true }),
        json!({ "use_remote_address": true }),
    ];
    let values = [
        "abc",
        "1f0e3dad-9990-4c23-8d1e-0b9a3c1d2e3f",
        "1F0E3DAD-9990-9C23-8D1E-0B9A3C1D2E3F",
        "",
        "x y",
    ];
    let make = |(n, manager): (usize, &Value)| {
        let mut requests = gets(&["/", "/a", "/b", "/c", "/d"]);
        requests.extend(values.iter().map(|v| Request::get("/").with("x-request-id", v)));
        plain(&format!("request_ids_{n}"), manager.clone(), requests)
    };
    managers.iter().enumerate().map(make).collect()
}

fn server_headers() -> Vec<Case> {
    let managers = [
        json!({ "server_name": "mine", "via": "1.1 v" }),
        json!({ "server_header_transformation": "APPEND_IF_ABSENT" }),
        json!({ "server_header_transformation": "PASS_THROUGH", "via": "edge" }),
        json!({ "http_filters": [{ "name": "envoy.filters.http.router", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
            "suppress_envoy_headers": true } }] }),
    ];
    let make = |(n, manager): (usize, &Value)| {
        let wishes = [
            "",
            "add=server:up",
            "add=via:1.0 x",
            "add=date:today",
            "add=x-envoy-upstream-service-time:5",
            "add=connection:close",
            "add=keep-alive:timeout=5",
            "status=404",
            "close",
            "chunked",
        ];
        let requests =
            wishes.iter().map(|w| Request::get("/").echo(w).with("via", "1.0 me")).collect();
        plain(&format!("server_headers_{n}"), manager.clone(), requests)
    };
    managers.iter().enumerate().map(make).collect()
}

fn paths() -> Vec<Case> {
    let managers = [
        json!({ "normalize_path": true }),
        json!({ "merge_slashes": true }),
        json!({ "normalize_path": true, "merge_slashes": true, "path_with_escaped_slashes_action": "UNESCAPE_AND_FORWARD" }),
        json!({ "path_with_escaped_slashes_action": "REJECT_REQUEST" }),
        json!({ "normalize_path": true, "path_with_escaped_slashes_action": "UNESCAPE_AND_REDIRECT" }),
    ];
    let targets = [
        "/a/../b",
        "/a/./b",
        "//a//b",
        "/a%2Fb",
        "/a%2fb%5Cc",
        "/%2e%2e/a",
        "/a\\b",
        "/../..",
        "/a/b/../../c",
        "/a%41",
        "/a?x=/../y",
        "/a/%2E/b?c",
        "/%",
        "/a%zz",
        "/a//",
        "/.",
    ];
    let routes = || any_host(vec![says(json!({ "path": "/b" }), "b"), all_to("a", json!({}))]);
    let make = |(n, manager): (usize, &Value)| {
        Case::new(&format!("normal_paths_{n}"), routes(), gets(&targets)).manager(manager.clone())
    };
    managers.iter().enumerate().map(make).collect()
}

fn hosts() -> Vec<Case> {
    let managers = [
        json!({ "strip_any_host_port": true }),
        json!({ "strip_matching_host_port": true }),
        json!({ "strip_trailing_host_dot": true }),
    ];
    let names = [
        "example.com",
        "example.com:80",
        "example.com:1",
        "EXAMPLE.com",
        "example.com.",
        "example.com.:80",
        "[::1]",
        "[::1]:80",
        "a:b",
        "10.0.0.1:8080",
    ];
    let make = |(n, manager): (usize, &Value)| {
        let requests = names.iter().map(|h| Request::get("/").host(h)).collect();
        plain(&format!("host_ports_{n}"), manager.clone(), requests)
    };
    managers.iter().enumerate().map(make).collect()
}

fn limits() -> Case {
    let many =
        |n: usize| (0..n).fold(Request::get("/"), |r, i| r.with(&format!("x-many-{i}"), "v"));
    let mut requests = vec![many(10), many(20), many(40)];
    for size in [100, 5_000, 9_000, 20_000] {
        requests.push(Request::get("/").with("x-large", &"v".repeat(size)));
        requests.push(Request::get(format!("/{}", "p".repeat(size))));
    }
    let manager = json!({
        "max_request_headers_kb": 8, "common_http_protocol_options": { "max_headers_count": 30 }
    });
    plain("limits", manager, requests)
}

fn underscores() -> Vec<Case> {
    let make = |action: &str| {
        let names = ["x_a", "x-a", "_x", "x_", "X_A", "a_b_c", "plain", "x-b", "content_type", "_"];
        let requests = names.iter().map(|n| Request::get("/").with(n, "v")).collect();
        let options = json!({ "headers_with_underscores_action": action });
        plain(
            &format!("underscores_{}", action.to_lowercase()),
            json!({ "common_http_protocol_options": options }),
            requests,
        )
    };
    ["ALLOW", "REJECT_REQUEST", "DROP_HEADER"].into_iter().map(make).collect()
}
