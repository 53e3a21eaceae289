//! DestinationRules: choosing endpoints, connection pools, ejection, TLS, by host, port and subset.

use super::draft::Draft;
use super::stage::Stage;
use super::virtual_service::to_wildcard;
use super::{Ask, Config};
use crate::dice::Dice;
use serde_json::{Value, json};

pub fn config(dice: &Dice, stage: Stage) -> Config {
    let mut objects = stage.services();
    let more = &[(1, "v1"), (2, "v1"), (3, "v2"), (4, "v2"), (5, "v3"), (6, "v3")];
    objects.extend(stage.service("wide", &[("http", stage.port)], None, more));
    let theme = Theme::of(dice);
    objects.extend(rules(dice, &stage, theme));
    let routed = dice.chance(50);
    if routed {
        objects.push(by_subset(dice, &stage));
    }
    let mut asks: Vec<Ask> = Vec::new();
    for service in ["wide", "many", "one"] {
        for draft in theme.asks(dice, service) {
            let client = 1 + u8::try_from(dice.below(20)).unwrap_or_default();
            asks.push(Ask { client, ..to_wildcard(stage.port, &draft) });
            if routed && service == "wide" {
                let path = dice.one(&["/v1", "/v2"]);
                asks.push(Ask { client, ..to_wildcard(stage.port, &draft.clone().path(path)) });
            }
        }
    }
    let mut config = stage.config(stage.sidecar(), objects);
    config.asks = asks;
    config
}

/// What the policy is mostly about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Theme {
    Hash,
    Pool,
    Outliers,
    Tls,
    Other,
}

impl Theme {
    fn of(dice: &Dice) -> Self {
        dice.one(&[
            Theme::Hash,
            Theme::Hash,
            Theme::Pool,
            Theme::Outliers,
            Theme::Tls,
            Theme::Other,
        ])
    }

    fn asks(self, dice: &Dice, service: &str) -> Vec<Draft> {
        let to = || Draft::to(service);
        match self {
            Theme::Hash => keys(dice, service),
            Theme::Pool | Theme::Tls | Theme::Other => vec![
                to(),
                to().second(),
                to().post("body"),
                to().post("body").second(),
                to().echo("close"),
                to().echo("status=503;fail=1"),
                to().echo("chunked").path("/again"),
                to().host("up.example"),
            ],
            Theme::Outliers => {
                let wish = dice.one(&[
                    "status=503",
                    "status=500",
                    "status=502",
                    "status=504",
                    "status=409",
                ]);
                let user = dice.one(&["a", "b", "c", "d"]);
                let to = || Draft::to(service).with("x-user", user);
                let mut asks: Vec<Draft> =
                    (0..7).map(|n| to().path(&format!("/{n}")).echo(wish)).collect();
                asks.insert(dice.below(4), to().path("/well"));
                asks.extend((0..3).map(|n| to().path(&format!("/after/{n}"))));
                asks
            }
        }
    }
}

fn keys(dice: &Dice, service: &str) -> Vec<Draft> {
    let mut asks = Vec::new();
    for n in 0..8 {
        let key = format!("{}-{n}", dice.below(1000));
        asks.push(
            Draft::to(service)
                .with("x-user", &key)
                .with("cookie", &format!("other=1; session={key}"))
                .param("user", Some(&key)),
        );
    }
    asks.push(Draft::to(service).with("x-user", "b").with("x-user", "a").param("user", Some("")));
    asks.push(Draft::to(service).with("cookie", "session=\"quoted\"").param("user", Some("a%20b")));
    asks.push(asks[0].clone().second());
    asks
}

fn rules(dice: &Dice, stage: &Stage, theme: Theme) -> Vec<Value> {
    let subset = |name: &str, version: &str, own: bool| {
        let mut subset = json!({ "name": name, "labels": { "version": version } });
        if own {
            subset["trafficPolicy"] = with_ports(dice, stage, theme);
        }
        subset
    };
    let mut wide = json!({
        "host": dice.one(&["wide".to_owned(), stage.host("wide"), format!("*.{}.svc.cluster.local", stage.namespace)]),
        "subsets": [subset("v1", "v1", dice.chance(40)), subset("v2", "v2", dice.chance(20))],
    });
    if dice.chance(80) {
        wide["trafficPolicy"] = with_ports(dice, stage, theme);
    }
    if dice.chance(20) {
        wide["exportTo"] = json!(dice.one(&["*", ".", "elsewhere"]).split(',').collect::<Vec<_>>());
    } else if dice.chance(15) {
        let version = dice.one(&["v1", "v5"]);
        wide["workloadSelector"] =
            json!({ "matchLabels": { "app": "client", "version": version } });
    }
    let many = json!({ "host": "many", "trafficPolicy": policy(dice, theme, 50), "subsets": Stage::subsets() });
    let mut list = vec![
        stage.networking("DestinationRule", "wide", wide),
        stage.networking("DestinationRule", "many", many),
    ];
    if dice.chance(70) {
        let one = json!({ "host": stage.host("one"), "trafficPolicy": policy(dice, theme, 100) });
        list.push(stage.networking("DestinationRule", "one", one));
    }
    list
}

fn with_ports(dice: &Dice, stage: &Stage, theme: Theme) -> Value {
    let mut whole = policy(dice, theme, 20);
    if dice.chance(30) {
        let mut port = policy(dice, theme, 20);
        let fields = port.as_object_mut();
        if let Some(fields) = fields {
            fields.retain(|k, _| {
                ["loadBalancer", "connectionPool", "outlierDetection", "tls"].contains(&k.as_str())
            });
        }
        port["port"] = json!({ "number": dice.one(&[stage.port, stage.port + 1]) });
        whole["portLevelSettings"] = json!([port]);
    }
    whole
}

fn policy(dice: &Dice, theme: Theme, share: u32) -> Value {
    let about = |t: Theme, otherwise: usize| theme == t || dice.chance(otherwise);
    let mut policy = json!({});
    if theme == Theme::Outliers {
        // Whoever is asked must follow from the request, since what is ejected follows from it.
        policy["loadBalancer"] = json!({ "consistentHash": { "httpHeaderName": "x-user" } });
    } else if theme == Theme::Hash || dice.chance(40) {
        policy["loadBalancer"] = balancer(dice, theme == Theme::Hash);
    }
    if about(Theme::Pool, 25) {
        policy["connectionPool"] = pool(dice);
    }
    if theme == Theme::Outliers {
        policy["outlierDetection"] = outliers(dice, share);
    }
    if about(Theme::Tls, 4) {
        policy["tls"] = tls(dice);
    }
    if about(Theme::Other, 2) {
        match dice.below(5) {
            0 | 1 => policy["proxyProtocol"] = json!({ "version": dice.one(&["V1", "V2"]) }),
            2 => {
                policy["tunnel"] = json!({ "protocol": dice.one(&["CONNECT", "POST"]),
                    "targetHost": "there.example", "targetPort": 443 });
            }
            _ => {
                policy["retryBudget"] = json!({ "percent": dice.one(&[25.0, 100.0]),
                    "minRetryConcurrency": 3, "budgetInterval": "10s" });
            }
        }
    }
    if policy.as_object().is_some_and(serde_json::Map::is_empty) {
        policy["connectionPool"] = pool(dice);
    }
    policy
}

fn balancer(dice: &Dice, hash: bool) -> Value {
    if !hash {
        let simple =
            ["RANDOM", "ROUND_ROBIN", "LEAST_REQUEST", "LEAST_CONN", "UNSPECIFIED", "PASSTHROUGH"];
        let mut json = json!({ "simple": dice.one(&simple) });
        match dice.below(6) {
            0 => {
                json["warmup"] =
                    json!({ "duration": "1s", "minimumPercent": 20.0, "aggression": 1.5 })
            }
            1 => json["warmupDurationSecs"] = json!("1s"),
            2 => json["localityLbSetting"] = locality(dice),
            3 => json["zoneAwareLbSetting"] = zones(),
            _ => {}
        }
        return json;
    }
    let mut json = match dice.below(5) {
        0 => json!({ "httpHeaderName": dice.one(&["x-user", "X-User"]) }),
        1 => {
            let mut cookie = json!({ "name": "session" });
            if dice.chance(50) {
                cookie["ttl"] = json!(dice.one(&["0s", "60s"]));
            }
            if dice.chance(50) {
                cookie["path"] = json!("/p");
            }
            if dice.chance(50) {
                cookie["attributes"] =
                    json!([{ "name": "SameSite", "value": "Strict" }, { "name": "Secure" }]);
            }
            json!({ "httpCookie": cookie })
        }
        2 => json!({ "useSourceIp": true }),
        _ => json!({ "httpQueryParameterName": "user" }),
    };
    match dice.below(4) {
        0 => json["maglev"] = json!({ "tableSize": dice.one(&[65_537, 1009]) }),
        1 => json["ringHash"] = json!({ "minimumRingSize": dice.one(&[64, 1024, 2000]) }),
        2 => json["minimumRingSize"] = json!(512),
        _ => {}
    }
    json!({ "consistentHash": json })
}

fn locality(dice: &Dice) -> Value {
    match dice.below(3) {
        0 => {
            json!({ "enabled": true, "distribute": [{ "from": "here/*", "to": { "here/*": 80, "there/*": 20 } }] })
        }
        1 => json!({ "enabled": true, "failover": [{ "from": "here", "to": "there" }] }),
        _ => json!({ "enabled": dice.chance(50), "failoverPriority": ["version", "app=one"] }),
    }
}

fn zones() -> Value {
    json!({ "enabled": true, "minClusterSize": 3, "failover": [{ "from": "here", "to": "there" }],
        "failoverPriority": ["version"] })
}

fn pool(dice: &Dice) -> Value {
    let mut tcp = json!({});
    let mut http = json!({});
    if dice.chance(40) {
        tcp["maxConnections"] = json!(dice.one(&[1, 100]));
    }
    if dice.chance(40) {
        tcp["connectTimeout"] = json!(dice.one(&["500ms", "3s"]));
    }
    if dice.chance(30) {
        tcp["tcpKeepalive"] = json!({ "probes": 3, "time": "60s", "interval": "10s" });
    }
    if dice.chance(25) {
        tcp["maxConnectionDuration"] = json!("20s");
    }
    if dice.chance(25) {
        tcp["idleTimeout"] = json!("30s");
    }
    let mut maybe = |percent: usize, name: &str, value: Value| {
        if dice.chance(percent) {
            http[name] = value;
        }
    };
    maybe(30, "http1MaxPendingRequests", json!(dice.one(&[1, 50])));
    maybe(30, "http2MaxRequests", json!(dice.one(&[1, 50])));
    maybe(35, "maxRequestsPerConnection", json!(dice.one(&[1, 2])));
    maybe(25, "maxRetries", json!(dice.one(&[1, 5])));
    maybe(25, "idleTimeout", json!("30s"));
    maybe(35, "h2UpgradePolicy", json!(dice.one(&["UPGRADE", "DO_NOT_UPGRADE", "DEFAULT"])));
    maybe(25, "useClientProtocol", json!(dice.chance(70)));
    maybe(25, "maxConcurrentStreams", json!(dice.one(&[1, 100])));
    maybe(20, "http2KeepAlive", json!({ "interval": "30s", "timeout": "5s" }));
    let mut json = json!({ "http": http });
    if tcp.as_object().is_some_and(|t| !t.is_empty()) {
        json["tcp"] = tcp;
    }
    json
}

/// `share`: what lets one endpoint go. With a second one gone Envoy's ring goes on as after the first.
fn outliers(dice: &Dice, share: u32) -> Value {
    let mut json = json!({ "interval": "30s", "baseEjectionTime": "60s",
        "maxEjectionPercent": dice.one(&[share, share, share, 10]) });
    match dice.below(4) {
        0 => json["consecutive5xxErrors"] = json!(dice.one(&[1, 3, 0])),
        1 => json["consecutiveGatewayErrors"] = json!(dice.one(&[1, 2, 0])),
        2 => json["consecutiveErrors"] = json!(2),
        _ => json["outlierDetectionHttpErrorCodes"] = json!([409, 500]),
    }
    if dice.chance(30) {
        json["splitExternalLocalOriginErrors"] = json!(true);
        json["consecutiveLocalOriginFailures"] = json!(2);
    }
    if dice.chance(30) {
        json["minHealthPercent"] = json!(dice.one(&[0, 50]));
    }
    json
}

fn tls(dice: &Dice) -> Value {
    let mode =
        dice.one(&["SIMPLE", "SIMPLE", "SIMPLE", "MUTUAL", "MUTUAL", "DISABLE", "ISTIO_MUTUAL"]);
    let mut json = json!({ "mode": mode });
    if !["SIMPLE", "MUTUAL"].contains(&mode) {
        return json;
    }
    match dice.below(5) {
        0 => json["insecureSkipVerify"] = json!(true),
        1 => json["caCertificates"] = json!("/etc/certs/other.pem"),
        2 => {
            json["caCertificates"] = json!("/etc/certs/ca.pem");
            json["caCrl"] = json!("/etc/certs/ca.crl");
        }
        _ => json["caCertificates"] = json!("/etc/certs/ca.pem"),
    }
    if mode == "MUTUAL" {
        json["clientCertificate"] = json!("/etc/certs/client.pem");
        json["privateKey"] = json!("/etc/certs/client.key");
    }
    if dice.chance(60) {
        json["sni"] = json!(dice.one(&["up.example", "other.example"]));
    }
    if dice.chance(40) && json["insecureSkipVerify"].is_null() {
        json["subjectAltNames"] =
            json!([dice.one(&["up.example", "spiffe://up/sa", "stranger.example"])]);
    }
    json
}

/// Paths choose the subset.
fn by_subset(dice: &Dice, stage: &Stage) -> Value {
    let to = |subset: &str| json!([{ "destination": { "host": "wide", "subset": subset } }]);
    let mut last = json!({ "route": [{ "destination": { "host": "wide" } }] });
    if dice.chance(40) {
        last["rewrite"] = json!({ "authority": "up.example" });
    }
    let http = json!([
        { "match": [{ "uri": { "prefix": "/v1" } }], "route": to("v1") },
        { "match": [{ "uri": { "prefix": "/v2" } }], "route": to("v2") },
        last,
    ]);
    stage.networking("VirtualService", "wide", json!({ "hosts": ["wide"], "http": http }))
}
