//! Which cluster and which endpoint.

use super::{Case, Choice, Dice, all_to, any_host, gets, route};
use crate::bootstrap::{cluster, endpoint};
use crate::client::Request;
use serde_json::{Value, json};

pub(super) fn cases(dice: &Dice) -> Vec<Case> {
    let mut cases = vec![
        hashed(
            "ring_hash",
            "RING_HASH",
            json!({ "ring_hash_lb_config": { "minimum_ring_size": 1024 } }),
        ),
        hashed(
            "ring_hash_small",
            "RING_HASH",
            json!({ "ring_hash_lb_config": { "minimum_ring_size": 10, "maximum_ring_size": 40 } }),
        ),
        hashed("maglev", "MAGLEV", json!({})),
        hashed("maglev_small", "MAGLEV", json!({ "maglev_lb_config": { "table_size": 1009 } })),
        in_turn("round_robin", &[1, 1, 1]),
        in_turn("weighted_round_robin", &[1, 2, 3]),
        health(),
        priorities(),
        mirrors(),
        cookies(),
        rewritten_part(),
    ];
    cases.extend((0..2).map(|n| shares(dice, n)));
    cases
}

fn hashed(name: &str, policy: &str, mut extra: Value) -> Case {
    extra["lb_policy"] = json!(policy);
    let weights = json!([1, 2, 3]);
    let endpoints: Vec<Value> = ["a", "b", "c"]
        .iter()
        .enumerate()
        .map(|(i, up)| {
            let mut endpoint = endpoint(up);
            endpoint["load_balancing_weight"] = weights[i].clone();
            endpoint
        })
        .collect();
    let name_of = format!("c_{name}");
    let hash = json!([
        { "header": { "header_name": "x-user" }, "terminal": true },
        { "query_parameter": { "name": "user" } },
        { "cookie": { "name": "session" } },
        { "connection_properties": { "source_ip": true } },
    ]);
    let route = all_to(&name_of, json!({ "hash_policy": hash }));
    let mut requests = gets(&["/", "/?user=1", "/?user=2", "/?user=3", "/?user="]);
    for user in ["one", "two", "three", "four", "five", "six", "seven", "eight"] {
        requests.push(Request::get("/").with("x-user", user));
        requests.push(Request::get("/").with("cookie", &format!("x=y; session={user}")));
    }
    requests.push(Request::get("/?user=z").with("x-user", "b").with("x-user", "a"));
    Case::new(name, any_host(vec![route]), requests).cluster(cluster(&name_of, &endpoints, extra))
}

fn in_turn(name: &str, weights: &[u32]) -> Case {
    let endpoints: Vec<Value> = ["a", "b", "c"]
        .iter()
        .zip(weights)
        .map(|(up, weight)| {
            let mut endpoint = endpoint(up);
            endpoint["load_balancing_weight"] = json!(weight);
            endpoint
        })
        .collect();
    let name_of = format!("c_{name}");
    // As many rounds as make the whole set certain.
    let turns: u32 = weights.iter().sum();
    let requests = vec![Request::get("/"); 2 * turns.max(6) as usize];
    let mut case = Case::new(name, any_host(vec![all_to(&name_of, json!({}))]), requests)
        .cluster(cluster(&name_of, &endpoints, json!({ "lb_policy": "ROUND_ROBIN" })));
    case.choice = Choice::InTurn;
    case
}

fn health() -> Case {
    let endpoints: Vec<Value> = [("a", "UNHEALTHY"), ("b", "HEALTHY"), ("c", "DRAINING")]
        .iter()
        .map(|(up, health)| {
            let mut endpoint = endpoint(up);
            endpoint["health_status"] = json!(health);
            endpoint
        })
        .collect();
    let strict = json!({ "common_lb_config": { "healthy_panic_threshold": { "value": 10 } } });
    let never = json!({ "common_lb_config": { "healthy_panic_threshold": { "value": 0 } } });
    let routes = vec![
        route(json!({ "prefix": "/none" }), json!({ "cluster": "c_sick" })),
        all_to("c_health", json!({})),
    ];
    let paths = ["/", "/a", "/b", "/c", "/d", "/e", "/none", "/none/a", "/none?b", "/f"];
    Case::new("health", any_host(routes), gets(&paths))
        .cluster(cluster("c_health", &endpoints, strict))
        .cluster(cluster("c_sick", &endpoints[..1], never))
}

fn priorities() -> Case {
    let mut sick = endpoint("a");
    sick["health_status"] = json!("UNHEALTHY");
    let assignment = json!({ "load_assignment": { "endpoints": [
        { "priority": 0, "lb_endpoints": [sick] },
        { "priority": 1, "lb_endpoints": [endpoint("b")] },
    ] } });
    let paths = ["/", "/a", "/b", "/c", "/d", "/e", "/f", "/g", "/h", "/i"];
    Case::new("priorities", any_host(vec![all_to("c_priorities", json!({}))]), gets(&paths))
        .cluster(cluster("c_priorities", &[], assignment))
}

fn shares(dice: &Dice, n: usize) -> Case {
    let mut order = ["a", "b", "c"];
    order.rotate_left(dice.one(&[0, 1, 2]));
    let clusters: Vec<Value> = order
        .iter()
        .zip([0, 100, 0])
        .map(|(name, weight)| json!({ "name": name, "weight": weight }))
        .collect();
    let routes = vec![
        route(
            json!({ "prefix": "/half", "runtime_fraction": { "default_value": { "numerator": 0 } } }),
            json!({ "cluster": "a" }),
        ),
        route(json!({ "prefix": "/" }), json!({ "weighted_clusters": { "clusters": clusters } })),
    ];
    let paths = ["/", "/half", "/a", "/half/b", "/c", "/d", "/e", "/f", "/g", "/h"];
    Case::new(&format!("shares_{n}"), any_host(routes), gets(&paths))
}

fn mirrors() -> Case {
    let mirror = json!({ "request_mirror_policies": [
        { "cluster": "b", "runtime_fraction": { "default_value": { "numerator": 100 } } },
    ] });
    let mut requests = gets(&["/", "/a", "/b?c", "/d", "/e", "/f", "/g", "/h"]);
    for host in ["example.com:8080", "10.0.0.1"] {
        requests.push(Request::get("/").host(host).method("DELETE"));
    }
    let mut case = Case::new("mirrors", any_host(vec![all_to("a", mirror)]), requests);
    case.least_arrivals = 2;
    case
}

/// A weighted cluster gives its requests another host, before the route does.
fn rewritten_part() -> Case {
    let parts = json!([
        { "name": "a", "weight": 100, "host_rewrite_literal": "part.example" },
        { "name": "b", "weight": 0 },
    ]);
    let to = |extra: Value| {
        let mut action = json!({ "weighted_clusters": { "clusters": parts } });
        crate::bootstrap::merge(&mut action, extra);
        action
    };
    let routes = vec![
        route(
            json!({ "prefix": "/route" }),
            to(json!({ "host_rewrite_literal": "route.example" })),
        ),
        route(json!({ "prefix": "/told" }), to(json!({ "append_x_forwarded_host": true }))),
        route(json!({ "prefix": "/" }), to(json!({}))),
    ];
    Case::new("rewritten_part", any_host(routes), gets(&["/", "/a", "/route", "/told"]))
}

fn cookies() -> Case {
    let hash = json!({ "hash_policy": [
        { "cookie": { "name": "made", "ttl": "60s", "path": "/p" } },
    ] });
    let endpoints = [endpoint("a"), endpoint("b"), endpoint("c")];
    let mut requests = gets(&["/", "/x"]);
    for value in ["1", "2", "3", "4", "5", "6", "7", "8"] {
        requests.push(Request::get("/").with("cookie", &format!("made={value}")));
    }
    // Which endpoint a made-up cookie leads to is random; with one that is sent it is certain.
    requests.drain(..2);
    requests.push(Request::get("/").with("cookie", "other=1; made=\"quoted\""));
    requests.push(Request::get("/").with("cookie", "made=9; made=1"));
    Case::new("cookies", any_host(vec![all_to("c_cookies", hash)]), requests).cluster(cluster(
        "c_cookies",
        &endpoints,
        json!({ "lb_policy": "RING_HASH" }),
    ))
}
