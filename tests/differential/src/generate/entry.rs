//! ServiceEntries of every location and resolution, as a sidecar sees them.

use super::draft::Draft;
use super::stage::Stage;
use super::virtual_service::to_wildcard;
use super::{Ask, Config, UPSTREAM_PORT};
use crate::dice::Dice;
use serde_json::{Value, json};

pub fn config(dice: &Dice, stage: Stage) -> Config {
    let mut objects = stage.services();
    objects.push(fixed(dice, &stage));
    objects.push(named(dice, &stage));
    objects.push(addressed(dice, &stage));
    objects.extend(selecting(dice, &stage));
    if dice.chance(50) {
        let mode = dice.one(&["REGISTRY_ONLY", "ALLOW_ANY"]);
        objects.push(stage.mesh(&format!("outboundTrafficPolicy: {{mode: {mode}}}\n")));
    }
    if dice.chance(30) {
        objects.push(routed(dice, &stage));
    }
    let mut asks = Vec::new();
    for name in ["fixed", "also", "named", "own", "x.wild", "unknown"] {
        let to = Draft::to(&stage.outside(name));
        let host = to.host.clone();
        let all = [
            to.clone(),
            to.clone().host(&format!("{host}:{}", stage.port)),
            to.clone().host(&host.to_uppercase()),
            to.clone().host(&format!("{host}.")),
            to.clone().second(),
            to.clone().path("/x"),
            to.post("b"),
        ];
        asks.extend(all.iter().map(|d| to_wildcard(stage.port, d)));
    }
    let port = stage.port + 3;
    for n in 0..4 {
        let request = Draft::to("tcp").path(&format!("/{n}")).request();
        asks.push(Ask { host: 20, port, client: n + 1, sni: None, request });
    }
    let mut config = stage.config(stage.sidecar(), objects);
    config.asks = asks;
    config
}

/// Endpoints as they are written.
fn fixed(dice: &Dice, stage: &Stage) -> Value {
    let mut first = json!({ "address": stage.net.upstream(6), "ports": { "http": UPSTREAM_PORT } });
    if dice.chance(50) {
        first["labels"] = json!({ "version": "v1" });
    }
    if dice.chance(30) {
        first["locality"] = json!("here/a/b");
    }
    if dice.chance(30) {
        first["weight"] = json!(3);
    }
    if dice.chance(20) {
        first["serviceAccount"] = json!("outside");
    }
    if dice.chance(20) {
        first["network"] = json!("elsewhere");
    }
    let mut endpoints = vec![first];
    let mut ports = json!([{ "number": stage.port, "name": "http", "protocol": dice.one(&["HTTP", "HTTP2", "GRPC"]) }]);
    if dice.chance(50) {
        endpoints.push(json!({ "address": stage.net.upstream(7) }));
        ports[0]["targetPort"] = json!(UPSTREAM_PORT);
    }
    let mut spec = json!({
        "hosts": [stage.outside("fixed"), stage.outside("also")],
        "resolution": "STATIC", "ports": ports, "endpoints": endpoints,
        "location": dice.one(&["MESH_EXTERNAL", "MESH_INTERNAL"]),
    });
    if dice.chance(25) {
        spec["exportTo"] = json!([dice.one(&["*", ".", "elsewhere"])]);
    }
    if dice.chance(20) {
        spec["subjectAltNames"] = json!(["spiffe://outside/sa"]);
    }
    stage.networking("ServiceEntry", "fixed", spec)
}

/// Endpoints that a name leads to; the name is that of an address.
fn named(dice: &Dice, stage: &Stage) -> Value {
    let spec = json!({
        "hosts": [stage.outside("named")],
        "resolution": dice.one(&["DNS", "DNS_ROUND_ROBIN"]),
        "ports": [{ "number": stage.port, "name": "http", "protocol": "HTTP" }],
        "endpoints": [{ "address": stage.net.upstream(8), "ports": { "http": UPSTREAM_PORT } }],
    });
    stage.networking("ServiceEntry", "named", spec)
}

/// A TCP service with addresses of its own, and hosts by wildcard without resolution.
fn addressed(dice: &Dice, stage: &Stage) -> Value {
    let mut spec = json!({
        "hosts": [stage.outside("own")],
        "addresses": [stage.net.listener(20), "192.0.2.0/28"],
        "resolution": "STATIC",
        "ports": [
            { "number": stage.port + 3, "name": "tcp", "protocol": "TCP", "targetPort": UPSTREAM_PORT },
            { "number": stage.port, "name": "http", "protocol": "HTTP", "targetPort": UPSTREAM_PORT },
        ],
        "endpoints": [{ "address": stage.net.upstream(5) }],
    });
    if dice.chance(40) {
        spec = json!({
            "hosts": [format!("*.wild.{}.example", stage.namespace)],
            "addresses": ["192.0.2.16/28"],
            "resolution": "NONE", "location": "MESH_EXTERNAL",
            "ports": [{ "number": stage.port, "name": "http", "protocol": "HTTP" }],
        });
    }
    stage.networking("ServiceEntry", "addressed", spec)
}

/// Endpoints from pods.
fn selecting(dice: &Dice, stage: &Stage) -> Option<Value> {
    let spec = json!({
        "hosts": [stage.outside("picked")],
        "resolution": "STATIC", "location": "MESH_INTERNAL",
        "ports": [{ "number": stage.port, "name": "http", "protocol": "HTTP", "targetPort": UPSTREAM_PORT }],
        "workloadSelector": { "labels": { "app": "many" } },
    });
    dice.maybe(50, || stage.networking("ServiceEntry", "picked", spec))
}

fn routed(dice: &Dice, stage: &Stage) -> Value {
    let to = dice.one(&[stage.outside("fixed"), stage.outside("named"), "one".to_owned()]);
    let http = json!([{ "route": [{ "destination": { "host": to } }], "headers": { "request": { "set": { "x-routed": "1" } } } }]);
    let spec = json!({ "hosts": [stage.outside("fixed")], "http": http });
    stage.networking("VirtualService", "fixed", spec)
}
