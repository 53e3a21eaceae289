//! Gateways: several servers, hosts by namespace, redirects to HTTPS, TLS of every kind.

use super::draft::Draft;
use super::stage::{Stage, WILDCARD};
use super::{Ask, Config, Node};
use crate::dice::Dice;
use serde_json::{Value, json};

pub fn config(dice: &Dice, stage: Stage) -> Config {
    let mut objects = stage.services();
    let rule = json!({ "host": "many", "subsets": Stage::subsets() });
    objects.push(stage.networking("DestinationRule", "many", rule));
    let (plain, tls) = (stage.port, stage.port + 1);
    objects.push(stage.networking("Gateway", "first", first(dice, &stage)));
    if dice.chance(60) {
        objects.push(stage.networking("Gateway", "second", second(dice, &stage)));
    }
    objects.extend(routes(dice, &stage));
    objects.extend(topology(dice, &stage));
    let mut asks = Vec::new();
    for name in ["a", "b", "www", "x.y", "unknown"] {
        let host = stage.outside(name);
        let to = Draft::to(&host);
        let all = [
            to.clone(),
            to.clone().path("/a/b?c=d"),
            to.clone().second(),
            to.clone().host(&format!("{host}:{plain}")),
            to.clone().with("x-forwarded-proto", "https"),
            to.clone().with("x-forwarded-client-cert", "By=spiffe://x;Hash=1"),
            to.clone().with("x-forwarded-for", "192.0.2.1, 198.51.100.2, 203.0.113.3"),
            to.clone().method("POST"),
        ];
        let ask = |port: u16, sni: Option<String>, d: &Draft, at: u8| Ask {
            host: at,
            port,
            client: 2,
            sni,
            request: d.request(),
        };
        asks.extend(all.iter().map(|d| ask(plain, None, d, WILDCARD)));
        asks.push(ask(plain, None, &to.clone().path("/bound"), 30));
        for d in &all[..4] {
            asks.push(ask(tls, Some(host.clone()), d, WILDCARD));
        }
        asks.push(ask(tls, Some(stage.outside("a")), &to.clone().path("/other-name"), WILDCARD));
        asks.push(ask(tls, Some(host.to_uppercase()), &to.clone().path("/upper"), WILDCARD));
    }
    let mut config = stage.config(Node::Gateway, objects);
    config.asks = asks;
    config
}

fn first(dice: &Dice, stage: &Stage) -> Value {
    let hosts = |list: &[&str]| {
        json!(
            list.iter()
                .map(|h| h.replace('@', &format!(".{}.example", stage.namespace)))
                .collect::<Vec<_>>()
        )
    };
    let mut http = json!({
        "port": { "number": stage.port, "name": "http", "protocol": "HTTP" },
        "hosts": dice.one(&[hosts(&["a@", "b@"]), hosts(&["*@"]), hosts(&["./*@"]), hosts(&["elsewhere/b@", "./a@"]), hosts(&["*"])]),
        "name": "plain",
    });
    if dice.chance(35) {
        http["tls"] = json!({ "httpsRedirect": true });
    }
    if dice.chance(20) {
        http["bind"] = json!(stage.net.listener(30));
    }
    if dice.chance(15) {
        http["defaultEndpoint"] = json!("127.0.0.1:1");
    }
    let mut https = json!({
        "port": { "number": stage.port + 1, "name": "https", "protocol": "HTTPS", "targetPort": 1 },
        "hosts": dice.one(&[hosts(&["a@"]), hosts(&["*@"]), hosts(&["a@", "b@"])]),
        "tls": ending(dice),
    });
    if dice.chance(30) {
        https["port"]["protocol"] = json!("TLS");
        https["port"]["name"] = json!("tls");
        if https["tls"]["caCertificates"].is_string() {
            // Envoy dials the upstream before it knows that the client is refused; we after.
            https["tls"]["caCertificates"] = json!("/etc/certs/ca.pem");
            https["tls"]["mode"] = json!("MUTUAL");
            https["tls"].as_object_mut().map(|tls| tls.remove("subjectAltNames"));
        }
    }
    json!({ "selector": { "istio": "ingressgateway" }, "servers": [http, https] })
}

/// What ends TLS, or does not.
fn ending(dice: &Dice) -> Value {
    let mode = dice.one(&["SIMPLE", "SIMPLE", "MUTUAL", "OPTIONAL_MUTUAL", "PASSTHROUGH"]);
    let mut json = json!({ "mode": mode });
    if mode == "PASSTHROUGH" {
        return json;
    }
    json["serverCertificate"] = json!("/etc/certs/server.pem");
    json["privateKey"] = json!("/etc/certs/server.key");
    if mode != "SIMPLE" {
        json["caCertificates"] = json!(dice.one(&["/etc/certs/ca.pem", "/etc/certs/other.pem"]));
        if dice.chance(30) {
            json["caCrl"] = json!("/etc/certs/ca.crl");
        }
        if dice.chance(40) {
            json["subjectAltNames"] =
                json!([dice.one(&["spiffe://up/sa", "spiffe://stranger/sa"])]);
        }
    }
    let mut maybe = |percent: usize, name: &str, value: Value| {
        if dice.chance(percent) {
            json[name] = value;
        }
    };
    maybe(20, "minProtocolVersion", json!(dice.one(&["TLSV1_2", "TLSV1_3"])));
    maybe(20, "maxProtocolVersion", json!(dice.one(&["TLSV1_2", "TLSV1_3"])));
    maybe(
        20,
        "cipherSuites",
        json!(["ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-GCM-SHA256"]),
    );
    json
}

/// Another Gateway on the same port, which may conflict with the first.
fn second(dice: &Dice, stage: &Stage) -> Value {
    let host = stage.outside(dice.one(&["www", "b", "a"]));
    let mut server = json!({ "port": { "number": stage.port, "name": "http-2", "protocol": "HTTP" }, "hosts": [host] });
    match dice.below(4) {
        0 => server["bind"] = json!(stage.net.listener(30)),
        1 => {
            server["port"] =
                json!({ "number": stage.port + 1, "name": "https-2", "protocol": "HTTPS" });
            server["tls"] = ending(dice);
        }
        2 => server["port"]["protocol"] = json!("TCP"),
        _ => {}
    }
    json!({ "selector": { "istio": "ingressgateway" }, "servers": [server] })
}

fn routes(dice: &Dice, stage: &Stage) -> Vec<Value> {
    let http = |to: &str, subset: &str| {
        let mut destination = json!({ "host": to });
        if !subset.is_empty() {
            destination["subset"] = json!(subset);
        }
        json!([{ "route": [{ "destination": destination }] }])
    };
    let gateways = json!(["first", format!("{}/second", stage.namespace)]);
    let all = format!("*.{}.example", stage.namespace);
    let tls = json!([{ "match": [{ "sniHosts": [all] }], "route": [{ "destination": { "host": "one" } }] }]);
    let tcp = json!([{ "route": [{ "destination": { "host": "many", "subset": "v3" } }] }]);
    let mut list = vec![
        json!({ "hosts": [stage.outside("a")], "gateways": gateways, "http": http("one", "") }),
    ];
    if dice.chance(70) {
        list.push(json!({ "hosts": [all], "gateways": gateways, "http": http("many", "v2"), "tls": tls, "tcp": tcp }));
    } else {
        list.push(json!({ "hosts": [stage.outside("b"), stage.outside("www")], "gateways": ["first"], "http": http("many", "v1") }));
    }
    let named = list.into_iter().enumerate();
    named.map(|(n, spec)| stage.networking("VirtualService", &format!("vs-{n}"), spec)).collect()
}

fn topology(dice: &Dice, stage: &Stage) -> Option<Value> {
    let modes =
        ["SANITIZE", "FORWARD_ONLY", "APPEND_FORWARD", "SANITIZE_SET", "ALWAYS_FORWARD_ONLY"];
    let text = format!(
        "defaultConfig: {{gatewayTopology: {{numTrustedProxies: {}, forwardClientCertDetails: {}}}}}\n",
        dice.below(3),
        dice.one(&modes)
    );
    dice.maybe(60, || stage.mesh(&text))
}
