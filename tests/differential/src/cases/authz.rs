//! External authorization: by HTTP, where the authorizer is an echo that does what `x-echo` says, and by
//! gRPC, where it does what `x-do` says.

use super::{Case, all_to, any_host, route, says, to};
use crate::client::{Body, Request};
use serde_json::{Value, json};

const AUTHZ: &str = "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz";
const PER_ROUTE: &str =
    "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute";

pub(super) fn cases() -> Vec<Case> {
    vec![
        by_http(),
        by_http_without_lists(),
        bodies_by_http("authz_bodies", false),
        bodies_by_http("authz_parts", true),
        by_grpc(),
        bodies_by_grpc(),
        of_routes(),
        again(),
        again_upgraded(),
        by_metadata(),
        failing("authz_error", json!({ "status_on_error": { "code": 503 } })),
        failing(
            "authz_open",
            json!({ "failure_mode_allow": true, "failure_mode_allow_header_add": true }),
        ),
        disabled("authz_disabled", false),
        disabled("authz_disabled_denies", true),
    ]
}

fn filter(mut config: Value) -> Value {
    config["@type"] = AUTHZ.into();
    json!({ "name": "authz", "typed_config": config })
}

fn exact(names: &[&str]) -> Value {
    json!({ "patterns": names.iter().map(|n| json!({ "exact": n })).collect::<Vec<_>>() })
}

fn merged(mut base: Value, extra: Value) -> Value {
    crate::bootstrap::merge(&mut base, extra);
    base
}

/// By HTTP, with `extra` in the service.
fn http(extra: Value) -> Value {
    let service = json!({
        "server_uri": { "uri": "http://authz", "cluster": "authz", "timeout": "1s" },
        "path_prefix": "/check",
    });
    json!({
        "http_service": merged(service, extra),
        "allowed_headers": exact(&["x-id", "x-echo", "x-more"]),
    })
}

fn grpc() -> Value {
    json!({
        "grpc_service": { "envoy_grpc": { "cluster_name": "authorizer" }, "timeout": "1s" },
        "transport_api_version": "V3",
    })
}

/// A route with a header of its own, a direct answer and a redirect.
fn routes() -> Vec<Value> {
    let mut all = all_to("a", json!({}));
    all["response_headers_to_add"] = json!([{ "header": { "key": "x-route", "value": "all" } }]);
    vec![
        says(json!({ "prefix": "/direct" }), "here"),
        json!({ "match": { "prefix": "/red" }, "redirect": { "host_redirect": "b" } }),
        all,
    ]
}

fn echoes() -> Vec<Request> {
    let wishes = [
        "",
        "add=x-user:u;add=x-group:g;add=x-cookie:c;add=x-other:o",
        "status=403;add=x-user:u;add=x-cookie:c;add=x-denied:d;add=content-type:text/html",
        "status=401;add=www-authenticate:Basic;empty",
        "status=302;add=location:http://elsewhere",
        "status=204",
        "status=429;chunked",
        "status=500",
        "status=503",
        "add=x-envoy-auth-headers-to-remove:x-more,host",
        "delay=1500",
    ];
    wishes.iter().map(|wish| Request::get("/p?q=1").echo(wish)).collect()
}

fn by_http() -> Case {
    let config = http(json!({
        "authorization_request": { "headers_to_add": [{ "key": "x-added", "value": "yes" }] },
        "authorization_response": {
            "allowed_upstream_headers": exact(&["x-user"]),
            "allowed_upstream_headers_to_append": exact(&["x-group"]),
            "allowed_client_headers": exact(&["x-denied"]),
            "allowed_client_headers_on_success": exact(&["x-cookie"]),
        },
    }));
    let more = [
        Request::get("/p")
            .with("x-user", "forged")
            .with("x-group", "mine")
            .echo("add=x-user:u;add=x-group:g"),
        Request::get("/p")
            .with("x-more", "1")
            .with("x-more", "2")
            .with("authorization", "t")
            .echo("status=403"),
        Request::get("/p").with("x-more", "1").echo("add=x-envoy-auth-headers-to-remove:x-more"),
        Request::get("/direct").echo("status=403"),
        Request::get("/direct"),
        Request::get("/red").echo("status=403"),
        Request::get("/red"),
        Request::get("/p").with("content-type", "application/grpc").echo("status=403;empty"),
        Request::get("/p").method("POST").body(Body::Length(b"hello".to_vec())).echo("status=403"),
    ];
    let requests = echoes().into_iter().chain(more).collect();
    Case::new("authz_http", any_host(routes()), requests).filter(filter(config))
}

fn by_http_without_lists() -> Case {
    Case::new("authz_http_all", any_host(routes()), echoes()).filter(filter(http(json!({}))))
}

fn posts() -> Vec<Request> {
    let post = |body| Request::get("/p").method("POST").body(body);
    vec![
        Request::get("/p"),
        post(Body::Length(b"hello".to_vec())),
        post(Body::Length(vec![b'x'; 100])),
        post(Body::Length(vec![b'x'; 101])),
        post(Body::Length(vec![b'x'; 5000])),
        post(Body::Chunked(b"hello".to_vec())),
        post(Body::Chunked(vec![b'y'; 3000])),
        post(Body::Length(b"".to_vec())),
    ]
}

fn bodies_by_http(name: &str, partial: bool) -> Case {
    let body = json!({ "max_request_bytes": 100, "allow_partial_message": partial });
    let config = merged(http(json!({})), json!({ "with_request_body": body }));
    let denied = posts().into_iter().map(|r| r.echo("status=403"));
    let requests = posts().into_iter().chain(denied).collect();
    Case::new(name, any_host(routes()), requests).filter(filter(config))
}

fn by_grpc() -> Case {
    let wishes = [
        "",
        "deny",
        "deny=401;header=www-authenticate:Basic;header=x-a:1;header=x-a:2;body=no",
        "deny=503;body=later",
        "set=x-user:u;set=x-user:v;set=x-new:n",
        "join=x-user:u;join=x-none:n",
        "action0=x-user:a;action0=x-n0:a",
        "action1=x-user:a;action1=x-n1:a",
        "action2=x-user:a;action2=x-n2:a",
        "action3=x-user:a;action3=x-n3:a",
        "remove=x-user;remove=host;remove=:path",
        "client=x-c:1;client=x-c:2;client=content-type:t",
        "client-set=content-type:t;client1=content-type:u;client1=x-c1:1",
        "client2=x-c2:2;client3=x-c3:3;client3=content-type:v",
        "query=b:2;query=a:9;unquery=z",
        "unquery=a",
        "fail",
    ];
    let ask = |wish: &&str| Request::get("/p?a=1").with("x-user", "mine").with("x-do", wish);
    let twice =
        Request::get("/p").with("x-a", "1").with("x-a", "2").with("x-envoy-auth-partial-body", "x");
    let more = [
        twice,
        Request::get("/direct").with("x-do", "deny"),
        Request::get("/p").with("content-type", "application/grpc").with("x-do", "deny;body=no"),
        Request::get("/p").version("HTTP/2").with("x-do", "deny;body=no"),
    ];
    let requests = wishes.iter().map(ask).chain(more).collect();
    Case::new("authz_grpc", any_host(routes()), requests).filter(filter(grpc()))
}

fn bodies_by_grpc() -> Case {
    let body =
        json!({ "max_request_bytes": 100, "allow_partial_message": true, "pack_as_bytes": true });
    let config = merged(grpc(), json!({ "with_request_body": body }));
    let denied = posts().into_iter().map(|r| r.with("x-do", "deny"));
    let requests = posts().into_iter().chain(denied).collect();
    Case::new("authz_grpc_bodies", any_host(routes()), requests).filter(filter(config))
}

/// What routes say of it: nothing is asked, with a context, without the body, another service.
fn of_routes() -> Case {
    let per = |route: Value, config: Value| {
        let config = merged(json!({ "@type": PER_ROUTE }), config);
        merged(route, json!({ "typed_per_filter_config": { "authz": config } }))
    };
    let prefix = |path: &str| route(json!({ "prefix": path }), to("a"));
    let settings = |what: Value| json!({ "check_settings": what });
    let routes = vec![
        per(prefix("/off"), json!({ "disabled": true })),
        per(
            prefix("/context"),
            settings(json!({ "context_extensions": { "do": "deny=410", "r": "1" } })),
        ),
        per(prefix("/bodiless"), settings(json!({ "disable_request_body_buffering": true }))),
        per(
            prefix("/short"),
            settings(
                json!({ "with_request_body": { "max_request_bytes": 3, "allow_partial_message": true } }),
            ),
        ),
        per(prefix("/http"), settings(json!({ "http_service": http(json!({}))["http_service"] }))),
        all_to("a", json!({})),
    ];
    let mut hosts = any_host(routes);
    hosts[0]["typed_per_filter_config"] = json!({ "authz": {
        "@type": PER_ROUTE,
        "check_settings": { "context_extensions": { "h": "2", "r": "0" } },
    } });
    let body = json!({ "max_request_bytes": 1000 });
    let config = merged(grpc(), json!({ "with_request_body": body }));
    let post = |path: &str| Request::get(path).method("POST").body(Body::Length(b"hello".to_vec()));
    let paths = ["/off", "/context", "/bodiless", "/short", "/http", "/x"];
    let requests = paths.into_iter().flat_map(|p| [Request::get(p).with("x-do", ""), post(p)]);
    let without = Request::get("/context");
    let requests = requests.chain([without, Request::get("/off").with("x-do", "deny")]).collect();
    Case::new("authz_routes", hosts, requests).filter(filter(config))
}

/// The authorizer decides where a request goes.
fn again() -> Case {
    let config = merged(grpc(), json!({ "clear_route_cache": true }));
    let by_header =
        json!({ "prefix": "/", "headers": [{ "name": "x-to", "string_match": { "exact": "b" } }] });
    let routes = vec![
        route(by_header, to("b")),
        says(json!({ "prefix": "/direct" }), "here"),
        all_to("a", json!({})),
    ];
    let ask = |path: &str, wish: &str| Request::get(path).with("x-do", wish);
    let requests = vec![
        ask("/", "set=x-to:b"),
        ask("/", "set=x-to:c"),
        ask("/", ""),
        ask("/", "set=:path:/direct"),
        ask("/direct", "set=:path:/elsewhere"),
        ask("/?x", "unquery=x"),
    ];
    Case::new("authz_again", any_host(routes), requests).filter(filter(config))
}

/// The authorizer sends a request that wants another protocol to a route that has its own mind of it.
fn again_upgraded() -> Case {
    let config = merged(grpc(), json!({ "clear_route_cache": true }));
    let upgrades = |enabled: bool| json!([{ "upgrade_type": "websocket", "enabled": enabled }]);
    let by_header = |value: &str, enabled: bool| {
        let exact = json!({ "name": "x-to", "string_match": { "exact": value } });
        let mut to = to("b");
        to["upgrade_configs"] = upgrades(enabled);
        route(json!({ "prefix": "/", "headers": [exact] }), to)
    };
    let mut other = to("a");
    other["upgrade_configs"] = upgrades(false);
    let routes = vec![
        by_header("yes", true),
        by_header("no", false),
        route(json!({ "prefix": "/no" }), other),
        all_to("a", json!({})),
    ];
    let ask = |path: &str, wish: &str| {
        let request = Request::get(path).with("connection", "upgrade");
        request.with("upgrade", "websocket").with("x-do", wish)
    };
    let requests = vec![
        ask("/", ""),
        ask("/", "set=x-to:yes"),
        ask("/", "set=x-to:no"),
        ask("/no", "set=x-to:yes"),
        ask("/no", ""),
    ];
    Case::new("authz_again_upgraded", any_host(routes), requests)
        .manager(json!({ "upgrade_configs": upgrades(true) }))
        .filter(filter(config))
}

/// Routes by what a filter has said, which counts when another has the route looked for again.
fn by_metadata() -> Case {
    let said = |key: &str, invert: bool, value: Value| {
        json!({ "prefix": "/", "dynamic_metadata": [{
            "filter": "claims",
            "path": [{ "key": key }],
            "value": value,
            "invert": invert,
        }] })
    };
    let exact = |text: &str| json!({ "string_match": { "exact": text } });
    let routes = vec![
        route(said("group", false, exact("b")), to("b")),
        says(said("group", false, json!({ "string_match": { "prefix": "direct" } })), "direct"),
        says(said("other", false, json!({ "present_match": true })), "other"),
        says(said("group", true, exact("a")), "not a"),
        all_to("a", json!({})),
    ];
    let rule = |header: &str, key: &str| json!({ "header": header, "on_header_present": { "metadata_namespace": "claims", "key": key } });
    let says = json!({ "name": "says", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.header_to_metadata.v3.Config",
        "request_rules": [rule("x-group", "group"), rule("x-other", "other")],
    } });
    let group = |value: &str| Request::get("/").with("x-group", value).with("x-do", "set=x-n:1");
    let requests = vec![
        Request::get("/").with("x-do", "set=x-n:1"),
        Request::get("/").with("x-group", "b").with("x-do", ""),
        group("a"),
        group("b"),
        group("direct-1"),
        group("c"),
        group("c").with("x-other", "o"),
        group("b").with("x-other", "o"),
    ];
    let config = merged(grpc(), json!({ "clear_route_cache": true }));
    Case::new("routes_by_metadata", any_host(routes), requests).filter(says).filter(filter(config))
}

/// The authorizer is not there.
fn failing(name: &str, extra: Value) -> Case {
    let config =
        merged(grpc(), json!({ "grpc_service": { "envoy_grpc": { "cluster_name": "dead" } } }));
    let requests = ["/p", "/direct"].into_iter().map(Request::get).collect();
    Case::new(name, any_host(routes()), requests).filter(filter(merged(config, extra)))
}

fn disabled(name: &str, denies: bool) -> Case {
    let config = merged(
        grpc(),
        json!({
            "filter_enabled": { "default_value": { "numerator": 0 } },
            "deny_at_disable": { "default_value": denies, "runtime_key": "deny" },
            "status_on_error": { "code": 422 },
        }),
    );
    let requests = vec![Request::get("/p").with("x-do", "deny=401"), Request::get("/direct")];
    Case::new(name, any_host(routes()), requests).filter(filter(config))
}
