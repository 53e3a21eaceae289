//! The rows of `docs/envoy-differences.md` that a client or an upstream can see: each is pinned here,
//! on both sides, so that it is noticed when either changes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::observe;
use differential::cases::{Case, jwt, single};
use differential::client::{Body, Request};
use differential::compare::Observed;
use differential::http::header;
use serde_json::json;

/// One case through both: Envoy's observations and ours.
fn both(cluster: &str, requests: Vec<Request>) -> Option<(Vec<Observed>, Vec<Observed>)> {
    run_one(single("difference", cluster, json!({}), requests))
}

fn run_one(case: Case) -> Option<(Vec<Observed>, Vec<Observed>)> {
    Some(observe("differences", &[case], &|_| {})?.pairs.into_iter().unzip())
}

fn statuses(observed: &[Observed]) -> Vec<u16> {
    observed.iter().map(|o| o.response.status).collect()
}

/// Istio's default retries, which a mesh's routes carry.
fn default_retries() -> serde_json::Value {
    json!({ "retry_policy": {
        "retry_on": "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes",
        "num_retries": 2,
    } })
}

/// And those on the way to the application itself.
fn inbound_retries() -> serde_json::Value {
    json!({ "retry_policy": { "retry_on": "reset-before-request", "num_retries": 2 } })
}

#[test]
fn a_connection_that_was_closed_while_it_was_spare_costs_no_error() {
    for retries in [json!({}), default_retries(), inbound_retries()] {
        // The first request leaves a spare connection, on which the second finds the upstream gone.
        let requests = vec![Request::get("/"), Request::get("/").echo("reset;fail=1")];
        let case = single("difference", "a", retries.clone(), requests);
        let Some((envoy, ours)) = run_one(case) else { return };
        assert_eq!(statuses(&envoy), [200, 503], "{retries}");
        assert_eq!(statuses(&ours), [200, 200], "{retries}");
    }
}

/// With retries that cover it, both do the same.
#[test]
fn retries_on_reset_make_both_alike() {
    let retries = json!({ "retry_policy": { "retry_on": "reset", "num_retries": 2 } });
    let requests = vec![Request::get("/"), Request::get("/").echo("reset;fail=1")];
    let Some((envoy, ours)) = run_one(single("difference", "a", retries, requests)) else { return };
    assert_eq!((statuses(&envoy), statuses(&ours)), (vec![200, 200], vec![200, 200]));
}

#[test]
fn who_is_refused_for_the_length_of_a_head_is_told_which_setting_says_so() {
    let many = (0..120).fold(Request::get("/"), |r, i| r.with(&format!("x-{i}"), "v"));
    let large = Request::get("/").with("x-large", &"v".repeat(70_000));
    let Some((envoy, ours)) = both("a", vec![many, large]) else { return };
    let said = |observed: &[Observed]| -> Vec<(u16, Option<String>)> {
        let limit = |o: &Observed| header(&o.response.headers, "x-lateen-limit").map(str::to_owned);
        observed.iter().map(|o| (o.response.status, limit(o))).collect()
    };
    assert_eq!(said(&envoy), [(431, None), (431, None)]);
    let by = |setting: &str| (431, Some(setting.to_owned()));
    assert_eq!(said(&ours), [by("max_headers_count"), by("max_request_headers_kb")]);
}

#[test]
fn text_of_grpc_web_may_come_in_several_padded_pieces() {
    let buffer = json!({ "name": "buffer", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer",
        "max_request_bytes": 1000,
    } });
    let web = json!({ "name": "web", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.grpc_web.v3.GrpcWeb",
    } });
    let request = Request::get("/s/m").method("POST").body(Body::Length(b"AAAAAA==AAAA".to_vec()));
    let request = request.with("content-type", "application/grpc-web-text");
    let request = request.echo("add=content-type:application/grpc;add=grpc-status:0;empty");
    let mut case = single("difference", "second", json!({}), vec![request]);
    // All of it comes at once; piece by piece Envoy takes it, too.
    case.filters = vec![buffer, web];
    let Some((envoy, ours)) = run_one(case) else { return };
    assert_eq!((statuses(&envoy), statuses(&ours)), (vec![400], vec![200]));
}

#[test]
fn tokens_are_believed_by_what_their_keys_are_for() {
    let Some((envoy, ours)) = run_one(jwt::misread()) else { return };
    assert_eq!(statuses(&envoy), [200, 200, 200]);
    assert_eq!(statuses(&ours), [200, 401, 401]);
}

#[test]
fn parameters_beside_a_token_stay_as_they_are() {
    let Some((envoy, ours)) = run_one(jwt::in_the_query()) else { return };
    let line = |o: &[Observed]| o[0].arrivals.join(" ");
    assert!(line(&ours).ends_with("GET /a?z=%31&b=2 HTTP/1.1"), "{}", line(&ours));
    assert!(line(&envoy).ends_with("GET /a?b=2&z=1 HTTP/1.1"), "{}", line(&envoy));
}

#[test]
fn a_request_with_two_hosts_is_refused() {
    for second in ["second.example.com", "example.com"] {
        let requests = vec![Request::get("/").with("host", second)];
        let Some((envoy, ours)) = both("a", requests) else { return };
        assert_eq!(statuses(&envoy), [200]);
        let joined = format!("[\"host\",\"example.com,{second}\"]");
        let sent = String::from_utf8_lossy(&envoy[0].response.body).into_owned();
        assert!(sent.contains(&joined), "{sent}");
        assert_eq!(statuses(&ours), [400]);
    }
}

fn post(size: usize) -> Request {
    Request::get("/").method("POST").body(Body::Length(vec![b'x'; size]))
}

#[test]
fn long_bodies_are_not_mirrored() {
    let mirror = json!({ "request_mirror_policies": [{ "cluster": "b" }] });
    let requests = vec![post(1000), post(1_000_000), post(2_000_000)];
    let mut case = single("difference", "a", mirror, requests);
    case.least_arrivals = 2;
    let Some((envoy, ours)) = run_one(case) else { return };
    let arrived = |o: &[Observed]| o.iter().map(|o| o.arrivals.len()).collect::<Vec<_>>();
    assert_eq!((arrived(&envoy), arrived(&ours)), (vec![2, 2, 2], vec![2, 2, 1]));
    assert_eq!(statuses(&ours), [200; 3]);
}

/// What is too long to be kept is not tried again, by both alike.
#[test]
fn bodies_are_tried_again_up_to_the_same_limits() {
    let retries = json!({ "retry_policy": { "retry_on": "5xx", "num_retries": 1 } });
    let fails = |size| post(size).echo("status=503;fail=1");
    let requests = vec![
        fails(1_000_000),
        fails(2_000_000),
        fails(200_000).version("HTTP/2"),
        fails(1_000_000).version("HTTP/2"),
        fails(2_000_000).version("HTTP/2"),
        fails(12_000_000).version("HTTP/2"),
    ];
    let Some((envoy, ours)) = run_one(single("difference", "a", retries, requests)) else { return };
    assert_eq!(statuses(&envoy), [200, 503, 200, 200, 200, 200]);
    assert_eq!(statuses(&ours), statuses(&envoy));
}

#[test]
fn an_answer_at_once_keeps_the_connection() {
    let Some((envoy, ours)) = both("nowhere", vec![post(100)]) else { return };
    let said = |o: &[Observed]| header(&o[0].response.headers, "connection").map(str::to_owned);
    assert_eq!((statuses(&envoy), statuses(&ours)), (vec![404], vec![404]));
    assert_eq!((said(&envoy), said(&ours)), (Some("close".into()), None));
}

#[test]
fn lines_of_one_header_stay_lines() {
    let request = Request::get("/").with("accept", "a/b").with("accept", "c/d");
    let Some((envoy, ours)) = both("a", vec![request]) else { return };
    let sent = |o: &[Observed]| String::from_utf8_lossy(&o[0].response.body).into_owned();
    assert!(sent(&envoy).contains(r#"["accept","a/b,c/d"]"#), "{}", sent(&envoy));
    assert!(sent(&ours).contains(r#"["accept","a/b"],["accept","c/d"]"#), "{}", sent(&ours));
}

#[test]
fn a_body_is_too_long_by_any_protocol() {
    let mut case = single("difference", "a", json!({}), vec![post(11), post(11).version("HTTP/2")]);
    case.filters.push(json!({
        "name": "buffer",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer",
            "max_request_bytes": 10,
        },
    }));
    let Some((envoy, ours)) = run_one(case) else { return };
    assert_eq!((statuses(&envoy), statuses(&ours)), (vec![413, 200], vec![413, 413]));
}
