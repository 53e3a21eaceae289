//! Answers that do not come from an upstream, and get another status, body, fields or form.

use super::{Case, any_host, route, says, to};
use crate::bootstrap::RBAC;
use crate::client::Request;
use serde_json::{Value, json};

pub(super) fn cases() -> Vec<Case> {
    let formats = [
        ("none", Value::Null),
        ("text", text("%LOCAL_REPLY_BODY% (%RESPONSE_CODE%, %REQ(:path)%)", "")),
        ("html", text("<b>%LOCAL_REPLY_BODY%</b>", "text/html; charset=UTF-8")),
        ("empty", text("", "")),
        (
            "json",
            json!({ "json_format": {
            "status": "%RESPONSE_CODE%", "said": "%LOCAL_REPLY_BODY%", "why": "%RESPONSE_CODE_DETAILS%",
            "both": "%LOCAL_REPLY_BODY%/%RESPONSE_CODE%", "agent": "%REQ(user-agent)%",
        } }),
        ),
    ];
    formats.into_iter().map(|(name, format)| case(name, format)).collect()
}

fn text(format: &str, content_type: &str) -> Value {
    let mut value = json!({ "text_format_source": { "inline_string": format } });
    if !content_type.is_empty() {
        value["content_type"] = content_type.into();
    }
    value
}

fn of_status(op: &str, status: u32) -> Value {
    let value = json!({ "default_value": status, "runtime_key": "unused" });
    json!({ "status_code_filter": { "comparison": { "op": op, "value": value } } })
}

fn of_header(name: &str) -> Value {
    json!({ "header_filter": { "header": { "name": name, "present_match": true } } })
}

fn adds(name: &str, value: &str, action: &str) -> Value {
    json!({ "header": { "key": name, "value": value }, "append_action": action })
}

fn mappers() -> Value {
    let html = text("<%LOCAL_REPLY_BODY%>", "text/html");
    json!([
        { "filter": of_header("x-own"), "status_code": 418, "body": { "inline_string": "tea" },
            "headers_to_add": [
                adds("x-why", "%RESPONSE_CODE_DETAILS% %RESPONSE_FLAGS% %RESPONSE_CODE%", "OVERWRITE_IF_EXISTS_OR_ADD"),
                adds("x-route", "mapper", "APPEND_IF_EXISTS_OR_ADD"),
            ] },
        { "filter": of_header("x-kind"), "headers_to_add": [
            adds("content-type", "application/problem+json", "OVERWRITE_IF_EXISTS_OR_ADD") ] },
        { "filter": of_header("x-emptied"), "body": { "inline_string": "" } },
        { "filter": { "and_filter": { "filters": [of_status("GE", 500), of_header("x-html")] } },
            "body_format_override": html },
        { "filter": { "response_flag_filter": { "flags": ["UH", "UF"] } }, "status_code": 502 },
        { "filter": of_status("EQ", 403), "headers_to_add": [
            adds("x-denied", "%RESPONSE_CODE_DETAILS%", "APPEND_IF_EXISTS_OR_ADD") ] },
    ])
}

fn case(name: &str, format: Value) -> Case {
    let mut config = json!({ "mappers": mappers() });
    if !format.is_null() {
        config["body_format"] = format;
    }
    let mut said = says(json!({ "prefix": "/said" }), "here");
    said["response_headers_to_add"] =
        json!([adds("x-route", "said", "OVERWRITE_IF_EXISTS_OR_ADD")]);
    let redirect =
        json!({ "match": { "prefix": "/red" }, "redirect": { "host_redirect": "b.example" } });
    let typed = json!([adds("content-type", "text/css", "OVERWRITE_IF_EXISTS_OR_ADD")]);
    let mut kind = says(json!({ "prefix": "/kind" }), "body {}");
    kind["response_headers_to_add"] = typed;
    let routes = vec![
        said,
        kind,
        redirect,
        route(json!({ "prefix": "/dead" }), to("dead")),
        route(json!({ "prefix": "/upstream" }), to("a")),
        route(json!({ "prefix": "/denied" }), to("a")),
    ];
    let policy = json!({ "permissions": [{ "url_path": { "path": { "prefix": "/denied" } } }],
        "principals": [{ "any": true }] });
    let rbac = json!({ "name": "rbac", "typed_config": { "@type": RBAC,
        "rules": { "action": "DENY", "policies": { "ns[a]-policy[b]-rule[0]": policy } } } });
    Case::new(&format!("local_reply_{name}"), any_host(routes), requests())
        .manager(json!({ "local_reply_config": config }))
        .filter(rbac)
}

fn requests() -> Vec<Request> {
    let paths = ["/said", "/kind", "/red", "/dead", "/upstream?status=503", "/denied", "/nothing"];
    let mut all = Vec::new();
    for path in paths {
        for field in ["", "x-own", "x-kind", "x-emptied", "x-html"] {
            let request = Request::get(path).with("user-agent", "test");
            all.push(if field.is_empty() { request } else { request.with(field, "1") });
        }
        all.push(Request::get(path).method("HEAD"));
        all.push(Request::get(path).method("HEAD").with("x-own", "1"));
        let grpc = Request::get(path).method("POST").with("content-type", "application/grpc");
        all.extend([grpc.clone(), grpc.with("x-own", "1")]);
    }
    all.push(Request::get("/upstream").echo("status=403"));
    all
}
