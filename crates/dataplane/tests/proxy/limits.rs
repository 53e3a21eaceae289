//! Rate limits: what has been counted outlives a configuration, and what becomes of requests when the
//! service that counts does not answer.

use crate::support::*;
use ir::{
    Denominator, Fraction, GlobalRateLimit, HttpFilter, HttpFilterConfig, HttpManager,
    LocalRateLimit, OriginId, RateLimit, RateLimitAction, TokenBucket,
};
use std::time::Duration;

const ALL: Fraction =
    Fraction { numerator: 100, denominator: Denominator::Hundred, runtime_key: None };

fn limited(config: HttpFilterConfig) -> HttpManager {
    let mut manager = manager(routes(vec![route("/", forward("up"))]));
    let name = "limit".into();
    manager.filters = vec![HttpFilter { name, config, disabled: false, origin: OriginId::NONE }];
    manager
}

/// So many requests, and no more within the hour.
fn bucket(max: u32) -> HttpFilterConfig {
    let bucket = TokenBucket { max, per_fill: max, interval: Duration::from_secs(3600) };
    HttpFilterConfig::LocalRateLimit(Box::new(LocalRateLimit {
        stat_prefix: "l".into(),
        status: None,
        bucket: Some(bucket),
        enabled: Some(ALL),
        enforced: Some(ALL),
        response_headers: Vec::new(),
        request_headers: Vec::new(),
        descriptors: Vec::new(),
        stage: 0,
        vh_rate_limits: Default::default(),
        always_consume_default: None,
        ratelimit_headers: false,
        resource_exhausted: false,
        rate_limits: Vec::new(),
    }))
}

#[test]
fn what_was_counted_counts_under_the_next_configuration_too() {
    let ((one, _), (two, _)) = (echo(), echo());
    let with = |max, endpoints: &[std::net::SocketAddr]| {
        http(limited(bucket(max)), vec![cluster("up", endpoints)])
    };
    let (proxy, at) = run(&with(2, &[one]));
    let mut peer = Peer::connect(at);
    let mut status = || peer.get("/").status();
    assert_eq!([status(), status(), status()], [200, 200, 429]);
    // An endpoint comes: nothing about the limit is new.
    assert_eq!(proxy.publish(&with(2, &[one, two])), []);
    assert_eq!(Peer::connect(at).get("/").status(), 429);
    // Another limit begins anew.
    assert_eq!(proxy.publish(&with(1, &[one, two])), []);
    let mut peer = Peer::connect(at);
    let mut status = || peer.get("/").status();
    assert_eq!([status(), status()], [200, 429]);
}

/// A service that counts, in a cluster without endpoints.
fn asked(cluster: &str, failure_mode_deny: bool, status_on_error: Option<u16>) -> HttpManager {
    let key = RateLimitAction::GenericKey { key: "".into(), value: "all".into() };
    limited(HttpFilterConfig::RateLimit(Box::new(GlobalRateLimit {
        domain: "d".into(),
        cluster: cluster.into(),
        stage: 0,
        timeout: None,
        failure_mode_deny,
        status: None,
        status_on_error,
        response_headers: Vec::new(),
        silent: false,
        resource_exhausted: false,
        rate_limits: vec![RateLimit { stage: 0, actions: vec![key] }],
    })))
}

#[test]
fn without_the_service_requests_pass_or_not_as_configured() {
    let (up, _) = echo();
    let dead = std::net::TcpListener::bind(ANY).unwrap().local_addr().unwrap();
    let cases = [
        ("dead", false, None, 200),
        ("dead", true, None, 500),
        ("dead", true, Some(503), 503),
        ("unknown", false, None, 200),
        ("unknown", true, None, 500),
    ];
    for (service, deny, on_error, expected) in cases {
        let mut dead = cluster("dead", &[dead]);
        dead.protocol = ir::UpstreamProtocol::Http2;
        let manager = asked(service, deny, on_error);
        let (_proxy, at) = run(&http(manager, vec![cluster("up", &[up]), dead]));
        let status = Peer::connect(at).get("/").status();
        assert_eq!(status, expected, "{service}, deny {deny}, {on_error:?}");
    }
}
