//! What a rule does beside forwarding: rewriting, header operations, retries, timeouts, faults, mirrors
//! and CORS; each with the requests that show it.

use super::condition::Condition;
use super::draft::Draft;
use super::route::Rule;
use super::stage::Stage;
use crate::dice::Dice;
use serde_json::{Value, json};

pub fn rewrite(dice: &Dice, condition: &Condition, rule: &mut Rule) {
    let mut json = json!({});
    match dice.below(3) {
        0 => json["uri"] = json!(dice.one(&["/new", "/", "/new/", "/a%2Fb", "/x"])),
        1 => {
            let (find, put) = dice.one(&[
                ("^/([^/]+)/(.*)$", "/\\2/\\1"),
                ("a", "bb"),
                ("/+$", ""),
                ("^(.*)$", "/pre\\1"),
                ("([0-9]+)", "n\\0"),
            ]);
            json["uriRegexRewrite"] = json!({ "match": find, "rewrite": put });
        }
        _ => {}
    }
    if json.as_object().is_some_and(serde_json::Map::is_empty) || dice.chance(30) {
        json["authority"] = json!(dice.one(&["rewritten.example", "rewritten.example:9"]));
    }
    rule.json["rewrite"] = json;
    let met = &condition.met;
    for end in ["", "/", "/more", "?a=b", "//x", "%2F"] {
        rule.asks.push(met.clone().path(&format!("{}{end}", met.path)));
    }
    rule.asks.push(met.clone().with("x-forwarded-host", "before.example"));
    rule.asks.push(met.clone().second());
}

/// `set`, `add` and `remove` in both directions; `tag` makes the values tell the level.
pub fn operations(dice: &Dice, tag: &str) -> Value {
    let values = [
        tag.to_owned(),
        format!("{tag} %REQ(x-user)%"),
        format!("{tag}-%PROTOCOL%"),
        format!("{tag}%%"),
        format!("{tag}-%RESPONSE_CODE%"),
        format!("{tag}-%REQ(:path)%"),
        "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%".to_owned(),
        String::new(),
    ];
    let some = |names: &[&str]| {
        let pairs = dice.different(1 + dice.below(2), names);
        let pairs = pairs.into_iter().map(|n| (n.to_owned(), json!(dice.one(&values))));
        Value::Object(pairs.collect())
    };
    let mut request = json!({});
    let mut response = json!({});
    if dice.chance(70) {
        request["set"] = some(&["x-user", "x-set", "user-agent", "X-Upper"]);
    }
    if dice.chance(15) {
        request["set"]["host"] = json!(format!("{tag}.example"));
    }
    if dice.chance(60) {
        request["add"] = some(&["x-user", "x-add", "accept"]);
    }
    if dice.chance(40) {
        request["remove"] = json!(dice.different(2, &["x-user", "x-gone", "X-Version", "accept"]));
    }
    if dice.chance(60) {
        response["set"] = some(&["x-answer", "content-type", "server"]);
    }
    if dice.chance(50) {
        response["add"] = some(&["x-answer", "x-more", "set-cookie"]);
    }
    if dice.chance(40) {
        response["remove"] = json!(dice.different(2, &["x-answer", "x-up", "X-Gone"]));
    }
    json!({ "request": request, "response": response })
}

pub fn headers(dice: &Dice, condition: &Condition, rule: &mut Rule) {
    rule.json["headers"] = operations(dice, "rule");
    let met = &condition.met;
    let answer = "add=x-answer:up;add=x-up:1;add=x-gone:2;add=server:theirs";
    rule.asks.extend([
        met.clone().echo(answer),
        met.clone().with("x-set", "mine").with("X-Gone", "1").echo(answer),
        met.clone().with("x-add", "one").with("x-add", "two"),
        met.clone().with("accept", "text/html").with("user-agent", "test/1"),
        met.clone().echo("status=503;add=x-answer:a;add=x-answer:b"),
        met.clone().second().echo(answer),
        met.clone().method("HEAD"),
    ]);
}

pub fn retries(dice: &Dice, condition: &Condition, rule: &mut Rule) {
    let on = [
        "5xx",
        "gateway-error",
        "connect-failure,refused-stream",
        "retriable-4xx",
        "503,409",
        "gateway-error,retriable-4xx, 500",
        "unavailable,cancelled,resource-exhausted",
        "deadline-exceeded,internal",
        "retriable-headers,5xx",
        "envoy-ratelimited",
    ];
    let mut json = json!({ "attempts": dice.one(&[0, 1, 2, 3]) });
    if dice.chance(75) {
        json["retryOn"] = json!(dice.one(&on));
    }
    if dice.chance(30) {
        json["perTryTimeout"] = json!("400ms");
        rule.asks.push(condition.met.clone().echo("delay=1000;fail=1"));
        rule.asks.push(condition.met.clone().echo("delay=1000;fail=1").post("again"));
    }
    if dice.chance(60) {
        json["backoff"] = json!(dice.one(&["1ms", "5ms"]));
    }
    if dice.chance(30) {
        json["retryIgnorePreviousHosts"] = json!(dice.chance(50));
    }
    if dice.chance(20) {
        json["retryRemoteLocalities"] = json!(dice.chance(50));
    }
    rule.json["retries"] = json;
    let met = &condition.met;
    let wishes = [
        "status=503;fail=1",
        "status=503;fail=2",
        "status=503",
        "status=500;fail=1",
        "status=502;fail=1",
        "status=504;fail=3",
        "status=409;fail=1",
        "status=429;fail=1",
    ];
    rule.asks.extend(wishes.iter().map(|w| met.clone().echo(w)));
    let grpc = |code: u32| {
        let wish = format!("add=grpc-status:{code};add=content-type:application/grpc;empty;fail=1");
        met.clone().post("x").with("content-type", "application/grpc").echo(&wish)
    };
    rule.asks.extend([1, 4, 8, 13, 14].map(grpc));
    rule.asks.extend([
        met.clone().post("a body that is sent again").echo("status=503;fail=1"),
        met.clone().echo("status=503;fail=1").second(),
        met.clone()
            .echo("status=418;fail=1")
            .with("x-envoy-retry-on", "retriable-status-codes")
            .with("x-envoy-retriable-status-codes", "418"),
        met.clone()
            .echo("status=503;fail=4")
            .with("x-envoy-max-retries", "5")
            .with("x-envoy-retry-on", "5xx"),
        met.clone().echo("status=503;add=x-envoy-ratelimited:true;fail=1"),
    ]);
}

pub fn timeout(dice: &Dice, condition: &Condition, rule: &mut Rule) {
    let met = &condition.met;
    if dice.chance(60) {
        rule.json["timeout"] = json!(dice.one(&["700ms", "0s"]));
        rule.asks.push(met.clone().echo("delay=1400"));
    }
    rule.asks.extend([
        met.clone().with("x-envoy-upstream-rq-timeout-ms", "300").echo("delay=1000"),
        met.clone().with("x-envoy-expected-rq-timeout-ms", "1000"),
        met.clone()
            .with("grpc-timeout", "300m")
            .with("content-type", "application/grpc")
            .post("g")
            .echo("delay=1000"),
    ]);
}

pub fn fault(dice: &Dice, condition: &Condition, rule: &mut Rule) {
    let share = |json: &mut Value| match dice.below(5) {
        0..=2 => json["percentage"] = json!({ "value": 100 }),
        3 => json["percentage"] = json!({ "value": 0 }),
        _ => {}
    };
    let mut json = json!({});
    if dice.chance(50) {
        json["delay"] = json!({ "fixedDelay": "20ms" });
        share(&mut json["delay"]);
        if dice.chance(20) {
            json["delay"] = json!({ "fixedDelay": "20ms", "percent": dice.one(&[0, 100]) });
        }
    }
    if dice.chance(70) || json["delay"].is_null() {
        json["abort"] = match dice.below(3) {
            0 => json!({ "grpcStatus": dice.one(&["UNAVAILABLE", "NOT_FOUND", "OK"]) }),
            _ => json!({ "httpStatus": dice.one(&[400, 418, 500, 503, 200]) }),
        };
        share(&mut json["abort"]);
    }
    rule.json["fault"] = json;
    let met = &condition.met;
    let grpc = |d: Draft| d.with("content-type", "application/grpc").with("te", "trailers");
    rule.asks.extend([
        met.clone().second(),
        grpc(met.clone().post("x")),
        grpc(met.clone().post("x")).second(),
        met.clone().method("HEAD"),
        met.clone().with("x-envoy-fault-abort-request", "499"),
        met.clone().with("x-envoy-fault-delay-request", "5"),
        met.clone().post("thrown away"),
    ]);
}

pub fn mirrors(dice: &Dice, stage: &Stage, rule: &mut Rule) {
    let to = || match dice.below(6) {
        0 => json!({ "host": "none", "port": { "number": stage.port } }),
        1 => json!({ "host": "many", "subset": "unwritten" }),
        2 => json!({ "host": "many", "subset": "empty" }),
        _ => json!({ "host": "copies" }),
    };
    if dice.chance(50) {
        let list: Vec<Value> = (0..1 + dice.below(2))
            .map(|_| {
                let mut mirror = json!({ "destination": to() });
                if dice.chance(50) {
                    mirror["percentage"] = json!({ "value": dice.one(&[100, 0]) });
                }
                mirror
            })
            .collect();
        rule.json["mirrors"] = json!(list);
        return;
    }
    rule.json["mirror"] = to();
    match dice.below(3) {
        0 => rule.json["mirrorPercentage"] = json!({ "value": dice.one(&[100, 0]) }),
        1 => rule.json["mirrorPercent"] = json!(dice.one(&[100, 0])),
        _ => {}
    }
}

pub fn cors(dice: &Dice, condition: &Condition, rule: &mut Rule) {
    let mut json = json!({});
    if dice.chance(15) {
        json["allowOrigin"] = json!(dice.one(&[vec!["https://a.example"], vec!["*"]]));
    } else {
        let origins = [
            json!({ "exact": "https://a.example" }),
            json!({ "prefix": "https://b." }),
            json!({ "regex": "https://[a-z]+\\.example(:[0-9]+)?" }),
            json!({ "exact": "*" }),
        ];
        json["allowOrigins"] = json!(dice.different(1 + dice.below(2), &origins));
    }
    let mut maybe = |percent: usize, name: &str, value: Value| {
        if dice.chance(percent) {
            json[name] = value;
        }
    };
    maybe(
        80,
        "allowMethods",
        dice.one(&[json!(["GET"]), json!(["GET", "POST", "DELETE"]), json!(["*"])]),
    );
    maybe(60, "allowHeaders", dice.one(&[json!(["x-user", "content-type"]), json!(["*"])]));
    maybe(50, "exposeHeaders", json!(["x-answer", "x-more"]));
    maybe(50, "maxAge", json!(dice.one(&["60s", "1h", "0s"])));
    maybe(60, "allowCredentials", json!(dice.chance(60)));
    maybe(50, "unmatchedPreflights", json!(dice.one(&["FORWARD", "IGNORE", "UNSPECIFIED"])));
    rule.json["corsPolicy"] = json;
    let met = &condition.met;
    for origin in [
        "https://a.example",
        "https://b.there",
        "https://c.example:8080",
        "http://a.example",
        "null",
    ] {
        let from = met.clone().with("origin", origin);
        let preflight = from.clone().method("OPTIONS");
        rule.asks.extend([
            from.clone(),
            from.clone().echo("add=access-control-allow-origin:theirs;add=x-answer:1"),
            preflight.clone(),
            preflight.clone().with("access-control-request-method", "GET"),
            preflight
                .with("access-control-request-method", "DELETE")
                .with("access-control-request-headers", "x-user,x-other"),
        ]);
    }
}
