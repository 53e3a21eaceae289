//! TCP and TLS routes. Upstreams of these speak HTTP all the same, which tells which one it was.

use super::draft::Draft;
use super::stage::{Stage, WILDCARD};
use super::{Ask, Config};
use crate::dice::Dice;
use serde_json::{Value, json};

pub fn config(dice: &Dice, stage: Stage) -> Config {
    let edge = dice.chance(50);
    let (tcp, tls) = (stage.port + 1, stage.port + 2);
    let ports: &[_] = &[("tcp", tcp), ("tls", tls), ("http", stage.port)];
    let mut objects = [
        stage.service("front", ports, Some(10), &[(1, "v1"), (2, "v2")]),
        stage.service("back", ports, Some(11), &[(3, "v1")]),
        stage.service("none", ports, Some(12), &[]),
    ]
    .concat();
    let subsets = json!([{ "name": "v1", "labels": { "version": "v1" } }, { "name": "v2", "labels": { "version": "v2" } }]);
    let mut rule = json!({ "host": "front", "subsets": subsets });
    if dice.chance(50) {
        rule["trafficPolicy"] = policy(dice);
    }
    objects.push(stage.networking("DestinationRule", "front", rule));
    let mut l4 = Layer4 { dice, stage: &stage, edge, asks: Vec::new() };
    if edge {
        objects.push(l4.gateway());
    }
    objects.push(l4.virtual_service());
    let asks = std::mem::take(&mut l4.asks);
    let node = if edge { super::Node::Gateway } else { stage.sidecar() };
    let mut config = stage.config(node, objects);
    config.asks = asks;
    config
}

fn policy(dice: &Dice) -> Value {
    let mut json =
        json!({ "connectionPool": { "tcp": { "maxConnections": 50, "idleTimeout": "20s" } } });
    if dice.chance(50) {
        json["loadBalancer"] = json!({ "consistentHash": { "useSourceIp": true } });
    }
    if dice.chance(30) {
        json["proxyProtocol"] = json!({ "version": dice.one(&["V1", "V2"]) });
    }
    json
}

struct Layer4<'a> {
    dice: &'a Dice,
    stage: &'a Stage,
    edge: bool,
    asks: Vec<Ask>,
}

impl Layer4<'_> {
    fn gateway(&self) -> Value {
        let server = |number: u16, name: &str, protocol: &str| json!({ "port": { "number": number, "name": name, "protocol": protocol }, "hosts": ["*"] });
        let mut tls = server(self.stage.port + 2, "tls", "TLS");
        tls["tls"] = json!({ "mode": "PASSTHROUGH" });
        let protocol = self.dice.one(&["TCP", "MONGO", "MYSQL", "REDIS"]);
        let servers = json!([server(self.stage.port + 1, "tcp", protocol), tls]);
        let spec = json!({ "selector": { "istio": "ingressgateway" }, "servers": servers });
        self.stage.networking("Gateway", "edge", spec)
    }

    fn virtual_service(&mut self) -> Value {
        let (a, b) = (self.stage.outside("a"), self.stage.outside("b"));
        let mut tcp = Vec::new();
        if self.dice.chance(60) {
            tcp.push(json!({ "match": [self.on_connection()], "route": self.route() }));
        }
        tcp.push(json!({ "route": self.route() }));
        let names = self.dice.one(&[
            vec![a.clone()],
            vec![a.clone(), b.clone()],
            vec![format!("*.{}.example", self.stage.namespace)],
        ]);
        let mut first = json!({ "sniHosts": names, "port": self.stage.port + 2 });
        if self.dice.chance(30) {
            first["sourceLabels"] = json!({ "app": self.dice.one(&["client", "other"]) });
        }
        if self.dice.chance(20) {
            first["sourceNamespace"] =
                json!(self.dice.one(&[self.stage.namespace.as_str(), "other"]));
        }
        if self.dice.chance(20) {
            first["destinationSubnets"] = json!([self.subnet()]);
        }
        let gateway = if self.edge { "edge" } else { "mesh" };
        if self.dice.chance(30) {
            first["gateways"] = json!([gateway]);
        }
        let tls = json!([
            { "match": [first], "route": self.route() },
            { "match": [{ "sniHosts": [b] }], "route": self.route() },
        ]);
        self.ask(&a, &b);
        let hosts = if self.edge { json!(["*"]) } else { json!([self.stage.host("front"), a, b]) };
        let gateways = json!([gateway]);
        let spec = json!({ "hosts": hosts, "gateways": gateways, "tcp": tcp, "tls": tls });
        self.stage.networking("VirtualService", "front", spec)
    }

    fn on_connection(&self) -> Value {
        let mut json = json!({});
        match self.dice.below(5) {
            0 => json["port"] = json!(self.stage.port + 1),
            1 => json["destinationSubnets"] = json!([self.subnet(), "192.0.2.0/24"]),
            2 => json["sourceLabels"] = json!({ "app": self.dice.one(&["client", "other"]) }),
            3 => json["gateways"] = json!([if self.edge { "edge" } else { "mesh" }]),
            _ => {
                json["sourceNamespace"] =
                    json!(self.dice.one(&[self.stage.namespace.as_str(), "x"]))
            }
        }
        json
    }

    /// That of the listeners, or another one.
    fn subnet(&self) -> String {
        let net = self.stage.net;
        self.dice.one(&[format!("{}/24", net.listener(0)), net.listener(10), "192.0.2.0/24".into()])
    }

    fn route(&self) -> Value {
        let port = json!({ "number": self.stage.port + 1 });
        let to = |host: &str, subset: &str| {
            let mut to = json!({ "host": host, "port": port });
            if !subset.is_empty() {
                to["subset"] = json!(subset);
            }
            json!({ "destination": to })
        };
        match self.dice.below(6) {
            0 => json!([to("front", "v1")]),
            1 => json!([to("front", "v2")]),
            2 => json!([to("back", "")]),
            3 => json!([to("none", "")]),
            4 => {
                let mut all = [to("front", "v1"), to("back", "")];
                (all[0]["weight"], all[1]["weight"]) = (json!(0), json!(100));
                json!(all)
            }
            _ => json!([to("front", "")]),
        }
    }

    fn ask(&mut self, a: &str, b: &str) {
        let hosts: &[u8] = if self.edge { &[WILDCARD] } else { &[10, 11, 12] };
        let names = [Some(a), Some(b), Some("x.deep.example"), Some(""), None];
        for &host in hosts {
            for client in 1..8 {
                let draft = Draft::to("tcp").path(&format!("/{client}"));
                let port = self.stage.port + 1;
                self.asks.push(Ask { host, port, client, sni: None, request: draft.request() });
            }
            for (n, name) in names.into_iter().enumerate() {
                let draft = Draft::to(name.unwrap_or("none")).path(&format!("/tls/{n}"));
                let sni = name.map(str::to_owned);
                let port = self.stage.port + 2;
                self.asks.push(Ask { host, port, client: 1, sni, request: draft.request() });
            }
        }
        let upper = Draft::to(a).path("/upper").request();
        let port = self.stage.port + 2;
        self.asks.push(Ask {
            host: hosts[0],
            port,
            client: 1,
            sni: Some(a.to_uppercase()),
            request: upper,
        });
    }
}
