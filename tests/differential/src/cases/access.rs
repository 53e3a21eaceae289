//! Access rules: the same rules and requests into both, with rules made from the seed over paths in many
//! spellings, hosts, methods, headers, addresses and ports.

use super::{Case, all_to, any_host, says};
use crate::bootstrap::RBAC;
use crate::client::Request;
use crate::dice::Dice;
use serde_json::{Map, Value, json};

const PER_ROUTE: &str = "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBACPerRoute";
const TEMPLATE: &str =
    "type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig";

/// Configurations whose rules are made from the seed.
const MADE: usize = 24;

pub(super) fn cases(dice: &Dice) -> Vec<Case> {
    let mut cases: Vec<Case> = (0..MADE).map(|i| made(dice, i)).collect();
    cases.extend([templates(), of_routes(), shadowed()]);
    cases
}

const PATHS: &[&str] = &[
    "/", "/a", "/a/", "/a/b", "/a/b/", "/A/b", "/a/B", "/a//b", "//a/b", "/a/./b", "/a/../b",
    "/a%2fb", "/a%2Fb", "/a/%62", "/a;x/b", "/a/b;x", "/a/b?c", "/a/b?/a", "/a/b/c", "/ab", "/a.b",
    "/a/b.c", "/b", "/b/a", "/a/b/c/d", "/a/~b", "/a/b%00", "/a/b%20c", "/a,b", "/a/@b:c", "/a/*",
];
const HOSTS: &[&str] =
    &["a.com", "A.com", "a.com:80", "a.com.", "b.com", "x.a.com", "a.co", "a.comm"];
const METHODS: &[&str] = &["GET", "POST", "PUT", "DELETE", "get"];
const VALUES: &[&str] = &["one", "One", "one,two", "two", "", "oneone", " one"];

pub(super) fn filter(mut config: Value) -> Value {
    config["@type"] = RBAC.into();
    json!({ "name": "rbac", "typed_config": config })
}

fn requests(dice: &Dice, number: usize) -> Vec<Request> {
    let request = |_| {
        let mut request = Request::get(dice.one(PATHS)).host(dice.one(HOSTS));
        if dice.below(3) == 0 {
            request = request.method(dice.one(METHODS));
        }
        for _ in 0..dice.below(3) {
            request = request.with("x-a", dice.one(VALUES));
        }
        if dice.below(3) == 0 {
            request = request.with("x-b", dice.one(VALUES));
        }
        request
    };
    (0..number).map(request).collect()
}

fn made(dice: &Dice, i: usize) -> Case {
    let action = dice.one(&["ALLOW", "ALLOW", "DENY", "DENY", "LOG"]);
    let policies: Map<String, Value> = (0..1 + dice.below(4))
        .map(|p| {
            let permissions: Vec<Value> =
                (0..1 + dice.below(2)).map(|_| permission(dice, 2)).collect();
            let principals: Vec<Value> =
                (0..1 + dice.below(2)).map(|_| principal(dice, 2)).collect();
            (format!("p {p}"), json!({ "permissions": permissions, "principals": principals }))
        })
        .collect();
    let rules = json!({ "rules": { "action": action, "policies": policies } });
    Case::new(&format!("access_{i}"), any_host(vec![all_to("a", json!({}))]), requests(dice, 60))
        .filter(filter(rules))
}

fn text(dice: &Dice, of: &[&str]) -> Value {
    let value = dice.one(of);
    let mut text = match dice.below(6) {
        0 | 1 => json!({ "exact": value }),
        2 if !value.is_empty() => json!({ "prefix": value }),
        3 if !value.is_empty() => json!({ "suffix": value }),
        4 if !value.is_empty() => json!({ "contains": value }),
        _ => json!({ "safe_regex": { "regex": ".+" } }),
    };
    if dice.below(3) == 0 && text.get("safe_regex").is_none() {
        text["ignore_case"] = true.into();
    }
    text
}

fn header(dice: &Dice) -> Value {
    let (name, values) = dice.one(&[
        (":authority", HOSTS),
        (":method", METHODS),
        (":path", PATHS),
        ("x-a", VALUES),
        ("x-b", VALUES),
    ]);
    let mut header = match dice.below(4) {
        0 => json!({ "name": name, "present_match": true }),
        _ => json!({ "name": name, "string_match": text(dice, values) }),
    };
    if dice.below(4) == 0 {
        header["invert_match"] = true.into();
    }
    if dice.below(6) == 0 {
        header["treat_missing_header_as_empty"] = true.into();
    }
    header
}

fn address(dice: &Dice) -> Value {
    let (prefix, length) = dice.one(&[
        ("127.0.0.0", 8),
        ("127.0.0.1", 32),
        ("10.0.0.0", 8),
        ("::1", 128),
        ("0.0.0.0", 0),
    ]);
    json!({ "address_prefix": prefix, "prefix_len": length })
}

fn permission(dice: &Dice, depth: usize) -> Value {
    let set = || {
        let list: Vec<Value> =
            (0..1 + dice.below(3)).map(|_| permission(dice, depth - 1)).collect();
        json!({ "rules": list })
    };
    match dice.below(if depth == 0 { 7 } else { 11 }) {
        0 => json!({ "any": true }),
        1 | 2 => json!({ "header": header(dice) }),
        3 | 4 => json!({ "url_path": { "path": text(dice, PATHS) } }),
        5 => json!({ "destination_ip": address(dice) }),
        6 => json!({ "destination_port_range": { "start": dice.below(30_000), "end": 65_536 } }),
        7 => json!({ "not_rule": permission(dice, depth - 1) }),
        8 => json!({ "or_rules": set() }),
        _ => json!({ "and_rules": set() }),
    }
}

fn principal(dice: &Dice, depth: usize) -> Value {
    let set = || {
        let list: Vec<Value> = (0..1 + dice.below(3)).map(|_| principal(dice, depth - 1)).collect();
        json!({ "ids": list })
    };
    match dice.below(if depth == 0 { 6 } else { 9 }) {
        0 | 1 => json!({ "any": true }),
        2 => json!({ "header": header(dice) }),
        3 => json!({ "direct_remote_ip": address(dice) }),
        4 => json!({ "remote_ip": address(dice) }),
        // Nobody has a certificate here.
        5 => json!({ "authenticated": { "principal_name": { "safe_regex": { "regex": ".*" } } } }),
        6 => json!({ "not_id": principal(dice, depth - 1) }),
        7 => json!({ "or_ids": set() }),
        _ => json!({ "and_ids": set() }),
    }
}

/// Each template is a policy of its own, and the answer's headers cannot tell which has matched: one case
/// for each would be many, so a denial says it in the log, and here each has a path of its own.
fn templates() -> Case {
    let policy = |template: &str| {
        json!({
            "permissions": [{ "uri_template": {
                "name": "uri-template",
                "typed_config": { "@type": TEMPLATE, "path_template": template },
            } }],
            "principals": [{ "any": true }],
        })
    };
    let policies = json!({
        "one": policy("/one/*"), "two": policy("/two/*/end"), "rest": policy("/rest/**"),
        "tail": policy("/tail/**/end"), "lead": policy("/**/lead"),
    });
    let paths = [
        "/one",
        "/one/",
        "/one/a",
        "/one/a/b",
        "/one/a%20b",
        "/one/a?b",
        "/one/*",
        "/one/a=b",
        "/one/ä",
        "/two/a/end",
        "/two//end",
        "/two/a/b/end",
        "/two/a/end/",
        "/rest",
        "/rest/",
        "/rest/a",
        "/rest/a/b/c",
        "/rest/a//b",
        "/tail/end",
        "/tail//end",
        "/tail/a/end",
        "/tail/a/b/end",
        "/tail/a/b/endx",
        "/lead",
        "/a/lead",
        "/a/b/lead",
        "/a/b/lead?x",
        "//lead",
        "/One/a",
    ];
    let requests = paths.iter().filter(|p| p.is_ascii()).map(|p| Request::get(*p)).collect();
    Case::new("access_templates", any_host(vec![all_to("a", json!({}))]), requests)
        .filter(filter(json!({ "rules": { "policies": policies } })))
}

/// Rules of routes stand in place of the chain's, also for those that are answered here.
fn of_routes() -> Case {
    let everybody = json!([{ "any": true }]);
    let only = |path: &str, action: &str| {
        let permissions = json!([{ "url_path": { "path": { "suffix": path } } }]);
        let policy = json!({ "permissions": permissions, "principals": everybody });
        json!({ "rules": { "action": action, "policies": { "p": policy } } })
    };
    let own = |rbac: Value| json!({ "typed_per_filter_config": { "rbac": { "@type": PER_ROUTE, "rbac": rbac } } });
    let with = |mut route: Value, extra: Value| {
        crate::bootstrap::merge(&mut route, extra);
        route
    };
    let direct = |prefix: &str| says(json!({ "prefix": prefix }), "here");
    let off = json!({ "typed_per_filter_config": { "rbac": { "@type": PER_ROUTE } } });
    let routes = vec![
        with(direct("/direct"), own(only("x", "DENY"))),
        with(direct("/open"), off),
        direct("/chain"),
    ];
    let requests =
        ["/direct/x", "/direct/y", "/open/y", "/chain/x", "/chain/y", "/nowhere/x", "/nowhere/y"]
            .iter()
            .flat_map(|p| {
                [Request::get(*p), Request::get(*p).with("content-type", "application/grpc")]
            })
            .collect();
    Case::new("access_of_routes", any_host(routes), requests).filter(filter(only("y", "DENY")))
}

/// Rules that are only observed decide nothing; what they say is for filters that come later.
fn shadowed() -> Case {
    let nobody = json!({ "action": "ALLOW", "policies": {} });
    Case::new("access_shadowed", any_host(vec![all_to("a", json!({}))]), vec![Request::get("/a")])
        .filter(filter(json!({ "shadow_rules": nobody, "shadow_rules_stat_prefix": "dry_" })))
}
