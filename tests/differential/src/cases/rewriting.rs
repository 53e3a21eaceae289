//! What the upstream and the client get instead of what was sent: rewrites, redirects, headers.

use super::{Case, Dice, all_to, any_host, gets, host, route};
use crate::bootstrap::{cluster, merge};
use crate::client::Request;
use serde_json::{Value, json};

pub(super) fn cases(dice: &Dice) -> Vec<Case> {
    let mut cases = vec![path_rewrites(), host_rewrites(), direct_responses()];
    cases.extend((0..3).map(|n| redirects(dice, n)));
    cases.push(schemes());
    cases.extend((0..4).map(|n| header_levels(dice, n)));
    cases.push(formatters());
    cases.push(cors());
    cases
}

const TARGETS: [&str; 12] = [
    "/", "/a", "/a/", "/a/b", "/a/b?x=1", "/ab", "/a?x=/a", "/A/b", "/a/b/c/d", "/b/1/2", "/b/x?y",
    "/c",
];

fn path_rewrites() -> Case {
    let rewrite = |pattern: &str, substitution: &str| json!({ "regex_rewrite": { "pattern": { "regex": pattern }, "substitution": substitution } });
    let routes = vec![
        at("/a/b/", json!({ "prefix_rewrite": "/" })),
        at("/a/", json!({ "prefix_rewrite": "/z/" })),
        route(
            json!({ "prefix": "/A", "case_sensitive": false }),
            json!({ "cluster": "b", "prefix_rewrite": "/lower" }),
        ),
        at("/b/x", rewrite("^/b", "")),
        at("/b", rewrite("/b/([0-9])/([0-9])", "/r/\\2/\\1")),
        at("/c", rewrite("c|/", "\\0\\0")),
        all_to("c", json!({ "prefix_rewrite": "/root" })),
    ];
    Case::new("path_rewrites", any_host(routes), gets(&TARGETS))
}

/// A prefix with `extra` in its action.
fn at(prefix: &str, extra: Value) -> Value {
    let mut action = json!({ "cluster": "a" });
    merge(&mut action, extra);
    route(json!({ "prefix": prefix }), action)
}

fn host_rewrites() -> Case {
    let routes = vec![
        at("/literal", json!({ "host_rewrite_literal": "new.example.com" })),
        at("/appended", json!({ "host_rewrite_literal": "n", "append_x_forwarded_host": true })),
        at("/header", json!({ "host_rewrite_header": "x-host" })),
        at(
            "/path",
            json!({ "host_rewrite_path_regex": {
                "pattern": { "regex": "^/path/(.+)$" }, "substitution": "\\1" } }),
        ),
        at("/auto", json!({ "auto_host_rewrite": true, "cluster": "named" })),
        all_to("a", json!({})),
    ];
    let named = json!({ "endpoint": { "address": "b", "hostname": "b.internal" } });
    let paths = [
        "/literal",
        "/literal?x",
        "/appended",
        "/header",
        "/path/one.two",
        "/path/",
        "/auto",
        "/auto/x",
        "/",
        "/x",
    ];
    let mut requests = gets(&paths);
    requests.push(Request::get("/header").with("x-host", "from.header"));
    requests.push(Request::get("/appended").with("x-forwarded-host", "before"));
    Case::new("host_rewrites", any_host(routes), requests).cluster(cluster(
        "named",
        &[named],
        json!({}),
    ))
}

fn direct_responses() -> Case {
    let direct = |path: &str, status: u16, body: Option<&str>| {
        let mut response = json!({ "status": status });
        if let Some(text) = body {
            response["body"] = json!({ "inline_string": text });
        }
        json!({
            "match": { "path": path }, "direct_response": response,
            "response_headers_to_add": [{ "header": { "key": "x-direct", "value": "%RESPONSE_CODE%" } }],
        })
    };
    let routes = vec![
        direct("/200", 200, Some("hello")),
        direct("/204", 204, None),
        direct("/304", 304, None),
        direct("/404", 404, None),
        direct("/418", 418, Some("{\"a\":1}")),
        direct("/503", 503, Some("down\n")),
        direct("/599", 599, Some("x")),
    ];
    let mut requests =
        gets(&["/200", "/204", "/304", "/404", "/418", "/503", "/599", "/none", "/200?x"]);
    requests.push(Request::get("/200").method("HEAD"));
    requests.push(Request::get("/404").method("POST"));
    Case::new("direct_responses", any_host(routes), requests)
}

fn redirects(dice: &Dice, n: usize) -> Case {
    let codes =
        ["MOVED_PERMANENTLY", "FOUND", "SEE_OTHER", "TEMPORARY_REDIRECT", "PERMANENT_REDIRECT"];
    let kinds = [
        json!({ "https_redirect": true }),
        json!({ "scheme_redirect": "https", "port_redirect": 8443 }),
        json!({ "host_redirect": "new.example.com" }),
        json!({ "path_redirect": "/new" }),
        json!({ "path_redirect": "/new?k=v" }),
        json!({ "prefix_rewrite": "/p" }),
        json!({ "port_redirect": 81 }),
        json!({ "regex_rewrite": { "pattern": { "regex": "^/(.*)$" }, "substitution": "/r/\\1" } }),
        json!({ "host_redirect": "h", "path_redirect": "/x", "https_redirect": true }),
    ];
    let mut routes: Vec<Value> = ["/a/b", "/a/", "/a", "/b", "/"]
        .iter()
        .map(|prefix| {
            let mut redirect = dice.one(&kinds);
            redirect["response_code"] = json!(dice.one(&codes));
            redirect["strip_query"] = json!(dice.one(&[true, false]));
            json!({ "match": { "prefix": prefix }, "redirect": redirect })
        })
        .collect();
    routes[0]["response_headers_to_add"] =
        json!([{ "header": { "key": "x-redirected", "value": "yes" } }]);
    let mut requests = gets(&TARGETS);
    requests.push(Request::get("/a").host("example.com:8080"));
    requests.push(Request::get("/b/c?d").host("[::1]:80"));
    requests.push(Request::get("/").with("x-forwarded-proto", "https"));
    Case::new(&format!("redirects_{n}"), any_host(routes), requests)
}

/// What is said of the scheme by the request, by who forwarded it, and by the route.
fn schemes() -> Case {
    let redirect = |prefix: &str, redirect: Value| json!({ "match": { "prefix": prefix }, "redirect": redirect });
    let routes = vec![
        redirect("/keep", json!({ "path_redirect": "/new" })),
        redirect("/tls", json!({ "https_redirect": true })),
        redirect("/plain", json!({ "scheme_redirect": "http" })),
        redirect("/", json!({ "scheme_redirect": "https", "port_redirect": 444 })),
    ];
    let mut requests = Vec::new();
    for path in ["/keep", "/tls", "/plain", "/"] {
        for host in ["h:80", "h:443", "h"] {
            let to = Request::get(path).host(host);
            for said in ["https", "HTTPS", "gopher"] {
                let said = to.clone().with("x-forwarded-proto", said);
                requests.extend([said.clone(), said.version("HTTP/2")]);
            }
            requests.push(to);
        }
    }
    Case::new("schemes", any_host(routes), requests)
}

fn header_ops(dice: &Dice, level: &str) -> Value {
    let actions = [
        "APPEND_IF_EXISTS_OR_ADD",
        "ADD_IF_ABSENT",
        "OVERWRITE_IF_EXISTS_OR_ADD",
        "OVERWRITE_IF_EXISTS",
    ];
    let names = ["x-a", "x-b", "x-c", "user-agent"];
    let add = |_| {
        json!({
            "header": { "key": dice.one(&names), "value": format!("{level}-%REQ(x-in)%") },
            "append_action": dice.one(&actions),
            "keep_empty_value": dice.one(&[true, false]),
        })
    };
    json!({
        "request_headers_to_add": (0..3).map(add).collect::<Vec<_>>(),
        "request_headers_to_remove": [dice.one(&["x-b", "x-gone", "accept"])],
        "response_headers_to_add": (0..3).map(add).collect::<Vec<_>>(),
        "response_headers_to_remove": [dice.one(&["x-up", "content-type", "x-gone"])],
    })
}

fn header_levels(dice: &Dice, n: usize) -> Case {
    let mut weighted = json!({ "name": "a", "weight": 1 });
    merge(&mut weighted, header_ops(dice, "cluster"));
    let mut inner =
        route(json!({ "prefix": "/" }), json!({ "weighted_clusters": { "clusters": [weighted] } }));
    merge(&mut inner, header_ops(dice, "route"));
    let mut outer = host("any", &["*"], vec![inner]);
    merge(&mut outer, header_ops(dice, "host"));
    let requests = (0..12)
        .map(|_| {
            let mut request = Request::get("/").echo("add=x-up:1;add=x-a:up;add=x-b:up2");
            for name in ["x-a", "x-b", "x-in", "accept", "x-gone"] {
                if dice.one(&[true, false]) {
                    request = request.with(name, dice.one(&["1", "two words", ""]));
                }
            }
            request
        })
        .collect();
    let mut case = Case::new(&format!("header_levels_{n}"), vec![outer], requests);
    merge(&mut case.routes, header_ops(dice, "config"));
    if n % 2 == 1 {
        merge(&mut case.routes, json!({ "most_specific_header_mutations_wins": true }));
    }
    case
}

fn formatters() -> Case {
    let formats = [
        "%REQ(x-a)%",
        "%REQ(x-none)%",
        "%REQ(x-none?x-a)%",
        "%REQ(x-a):3%",
        "%PROTOCOL%",
        "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
        "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%",
        "%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%",
        "%REQ(:METHOD)% %REQ(:PATH)%",
        "100%%",
        "%UPSTREAM_CLUSTER%",
        "%ROUTE_NAME%",
        "%PATH(NQ)%",
        "a%REQ(x-a)%b%REQ(x-b)%c",
        "%VIRTUAL_CLUSTER_NAME%",
        "%BYTES_RECEIVED%",
    ];
    let adds: Vec<Value> = formats
        .iter()
        .enumerate()
        .map(|(i, f)| json!({ "header": { "key": format!("x-f{i}"), "value": f } }))
        .collect();
    let mut only = all_to("a", json!({}));
    only["name"] = json!("the-route");
    only["request_headers_to_add"] = json!(adds);
    only["response_headers_to_add"] = json!(
        [
            "%RESPONSE_CODE%",
            "%RESP(content-type)%",
            "%RESPONSE_FLAGS%",
            "%UPSTREAM_CLUSTER%",
            "%REQ(x-a)%"
        ]
        .iter()
        .enumerate()
        .map(|(i, f)| json!({ "header": { "key": format!("x-r{i}"), "value": f } }))
        .collect::<Vec<_>>()
    );
    let mut requests = gets(&["/", "/a?b=c", "/p?q", "/x"]);
    for value in ["v", "long value", "%REQ(x-b)%", "é", "\"q\"", "a,b"] {
        requests.push(Request::get("/").with("x-a", value).with("x-b", "B"));
    }
    Case::new("formatters", any_host(vec![only]), requests)
}

fn cors() -> Case {
    const CORS: &str = "type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors";
    const POLICY: &str = "type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy";
    let mut with = all_to("a", json!({}));
    with["typed_per_filter_config"] = json!({ "envoy.filters.http.cors": {
        "@type": POLICY,
        "allow_origin_string_match": [
            { "exact": "http://one.example.com" },
            { "safe_regex": { "regex": "https://.*\\.two\\.com" } },
        ],
        "allow_methods": "GET, POST", "allow_headers": "x-a", "expose_headers": "x-b", "max_age": "10",
        "allow_credentials": true,
    } });
    let mut requests = Vec::new();
    for origin in ["http://one.example.com", "https://a.two.com", "http://other", "null", ""] {
        let preflight = Request::get("/").method("OPTIONS").with("origin", origin);
        requests.push(preflight.clone().with("access-control-request-method", "GET"));
        requests.push(preflight);
        requests.push(Request::get("/").with("origin", origin));
    }
    let filter = json!({ "name": "envoy.filters.http.cors", "typed_config": { "@type": CORS } });
    Case::new("cors", any_host(vec![with]), requests).filter(filter)
}
