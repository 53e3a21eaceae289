//! Requests that try the edges of any configuration, added until there are enough.

use super::{Ask, Config};
use crate::client::{Body, Request};
use crate::dice::Dice;
use std::collections::HashSet;

/// Requests of each configuration, at least.
pub const LEAST: usize = 50;
/// And at most, taken at random where more were made.
const MOST: usize = 90;

/// Takes out what is there twice, and brings the number of requests between the two limits.
pub fn fill(dice: &Dice, config: &mut Config) {
    let mut known = HashSet::new();
    config.asks.retain(|a| known.insert(a.to_string()));
    while config.asks.len() > MOST {
        config.asks.swap_remove(dice.below(config.asks.len()));
    }
    let Some(base) = config.asks.first().cloned() else { return };
    let bases = config.asks.clone();
    // Changes run out only where a change makes no difference.
    for round in 0..1000 {
        if config.asks.len() >= LEAST {
            return;
        }
        let from = if round % 2 == 0 { &base } else { &bases[dice.below(bases.len())] };
        let changed = Ask { request: change(dice, from.request.clone()), ..from.clone() };
        if known.insert(changed.to_string()) {
            config.asks.push(changed);
        }
    }
}

fn change(dice: &Dice, request: Request) -> Request {
    match dice.below(8) {
        0 => target(dice, request),
        1 => {
            let method = dice.one(&["HEAD", "OPTIONS", "DELETE", "PATCH", "get", "M-SEARCH"]);
            request.method(method)
        }
        2 => {
            let host = request.host.clone().unwrap_or_default();
            let other = [
                format!("{host}:8080"),
                format!("{host}."),
                host.to_uppercase(),
                format!("x.{host}"),
                "stranger.example".into(),
                "[::1]:80".into(),
                "192.0.2.1".into(),
            ];
            request.host(&dice.one(&other))
        }
        3 => body(dice, request),
        4 => request.version(dice.one(&["HTTP/2", "HTTP/1.0", "HTTP/2"])),
        5 => forwarded(dice, request),
        6 => control(dice, request),
        _ => answer(dice, request),
    }
}

fn target(dice: &Dice, mut request: Request) -> Request {
    let ends = [
        "//", "/./x", "/a/../b", "/..", "%2e%2e/x", "%2Fy", "\\z", "?", "?a&b=", "#f", "%zz",
        "%00", ";p", "\u{e9}",
    ];
    request.target.push_str(dice.one(&ends));
    request
}

fn body(dice: &Dice, request: Request) -> Request {
    let request = request.method(dice.one(&["POST", "PUT", "GET"]));
    match dice.below(4) {
        0 => request.body(Body::Length(Vec::new())),
        1 => request.body(Body::Length(vec![b'l'; 10_000])),
        2 => request.body(Body::Chunked(vec![b'c'; 5_000])),
        _ => request.body(Body::Chunked(Vec::new())),
    }
}

fn forwarded(dice: &Dice, request: Request) -> Request {
    let (name, value) = dice.one(&[
        ("x-forwarded-for", "192.0.2.7"),
        ("x-forwarded-for", "10.0.0.1, 192.0.2.9"),
        ("x-forwarded-for", "nonsense"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-proto", "gopher"),
        ("x-forwarded-host", "before.example"),
        ("x-forwarded-port", "444"),
        ("x-forwarded-client-cert", "By=spiffe://x;Hash=1"),
        ("x-request-id", "my own"),
        ("x-envoy-internal", "true"),
        ("x-envoy-external-address", "192.0.2.3"),
        ("x-envoy-original-path", "/was"),
        ("x-envoy-decorator-operation", "mine"),
        ("via", "1.1 other"),
        ("forwarded", "for=192.0.2.7"),
    ]);
    request.with(name, value)
}

/// Headers that ask the proxy for something.
fn control(dice: &Dice, request: Request) -> Request {
    let (name, value) = dice.one(&[
        ("connection", "keep-alive, x-user"),
        ("connection", "close"),
        ("te", "trailers"),
        ("te", "gzip"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("expect", "100-continue"),
        ("upgrade", "h2c"),
        ("x-envoy-upstream-rq-timeout-ms", "4000"),
        ("x-envoy-upstream-rq-per-try-timeout-ms", "3000"),
        ("x-envoy-max-retries", "1"),
        ("x-envoy-upstream-alt-stat-name", "other"),
        ("x-envoy-attempt-count", "7"),
        ("x_under_score", "1"),
        ("empty", ""),
        ("x-user", "a"),
        ("content-type", "application/grpc"),
    ]);
    request.with(name, value)
}

fn answer(dice: &Dice, request: Request) -> Request {
    let wish = dice.one(&[
        "status=204",
        "status=304",
        "status=404",
        "status=500",
        "chunked",
        "trailer",
        "empty",
        "early-hints",
        "body=70000",
        "add=x-up:1;add=x-up:2",
        "add=connection:x-hop;add=x-hop:1",
        "add=server:theirs;add=date:yesterday",
        "add=location:http://x/;status=302",
        "add=x-envoy-upstream-service-time:5",
        "add=keep-alive:1",
        "add=set-cookie:a=b;add=set-cookie:c=d",
    ]);
    request.echo(wish)
}
