//! VirtualServices with HTTP rules, at a sidecar and at a gateway.

use super::condition::{self, Condition, Site};
use super::draft::Draft;
use super::route::{self, Theme};
use super::stage::{Stage, WILDCARD};
use super::{Ask, Config, text};
use crate::dice::Dice;
use serde_json::{Value, json};

const THEMES: [Theme; 8] = [
    Theme::Anything,
    Theme::Headers,
    Theme::Anything,
    Theme::Rewrite,
    Theme::Retries,
    Theme::Cors,
    Theme::Fault,
    Theme::Mirror,
];

pub fn config(dice: &Dice, stage: Stage, index: usize) -> Config {
    let theme = THEMES[index % 8];
    let edge = index % 32 < 16;
    let mut made = Made { dice, stage: &stage, theme, objects: stage.services(), asks: Vec::new() };
    let subsets = json!({ "host": "many", "subsets": Stage::subsets() });
    made.objects.push(stage.networking("DestinationRule", "many", subsets));
    made.objects.extend(mesh(dice, &stage, edge));
    if edge {
        made.at_gateway();
    } else {
        made.at_sidecar();
    }
    let Made { objects, asks, .. } = made;
    let node = if edge { super::Node::Gateway } else { stage.sidecar() };
    let mut config = stage.config(node, objects);
    config.asks = asks.iter().map(|d| to_wildcard(stage.port, d)).collect();
    config
}

/// To the listener on the unspecified address.
pub fn to_wildcard(port: u16, draft: &Draft) -> Ask {
    Ask { host: WILDCARD, port, client: 1, sni: None, request: draft.request() }
}

/// Mesh-wide settings that change how requests are read, now and then.
fn mesh(dice: &Dice, stage: &Stage, edge: bool) -> Option<Value> {
    let mut yaml = String::new();
    if dice.chance(25) {
        let modes = ["NONE", "BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"];
        yaml += &format!("pathNormalization: {{normalization: {}}}\n", dice.one(&modes));
    }
    if edge && dice.chance(30) {
        let hops = dice.below(3);
        yaml += &format!("defaultConfig: {{gatewayTopology: {{numTrustedProxies: {hops}}}}}\n");
    }
    (!yaml.is_empty()).then(|| stage.mesh(&yaml))
}

struct Made<'a> {
    dice: &'a Dice,
    stage: &'a Stage,
    theme: Theme,
    objects: Vec<Value>,
    asks: Vec<Draft>,
}

impl Made<'_> {
    fn at_gateway(&mut self) {
        let (dice, stage) = (self.dice, self.stage);
        let all = format!("*.{}.example", stage.namespace);
        let written = dice.one(&[
            all.clone(),
            format!("./{all}"),
            "*".into(),
            format!("{}/*", stage.namespace),
        ]);
        let spec = json!({ "selector": { "istio": "ingressgateway" }, "servers": [{
            "port": { "number": stage.port, "name": "http", "protocol": dice.one(&["HTTP", "HTTP2", "GRPC"]) },
            "hosts": [written],
        }] });
        self.objects.push(stage.networking("Gateway", "edge", spec));
        let (a, b) = (stage.outside("a"), stage.outside("b.deep"));
        let site = |host: &str, other: Option<&String>| Site {
            host: host.to_owned(),
            other: other.cloned(),
            port: stage.port,
            gateway: "edge".into(),
            namespace: "istio-system".into(),
        };
        match dice.below(3) {
            0 => self.virtual_service("only", &[&all], &["edge"], &site(&a, Some(&b))),
            1 => {
                self.virtual_service("exact", &[&a], &["edge"], &site(&a, None));
                self.virtual_service("rest", &[&all], &["edge"], &site(&b, None));
            }
            _ => self.virtual_service("both", &[&a, &b], &["edge", "mesh"], &site(&a, Some(&b))),
        }
    }

    fn at_sidecar(&mut self) {
        let (dice, stage) = (self.dice, self.stage);
        let site = |host: String, other: Option<String>| Site {
            host,
            other,
            port: stage.port,
            gateway: "mesh".into(),
            namespace: stage.namespace.clone(),
        };
        let written =
            dice.one(&["one".to_owned(), stage.host("one"), format!("one.{}", stage.namespace)]);
        let named = site("one".into(), Some(stage.host("one")));
        // A short name is only written where it is expanded.
        let written = if written.matches('.').count() == 1 { stage.host("one") } else { written };
        let gateways: &[&str] = dice.one(&[&[][..], &["mesh"][..], &["mesh", "edge"][..]]);
        self.virtual_service("named", &[&written], gateways, &named);
        if dice.chance(50) {
            let (a, b) = (stage.outside("a"), stage.outside("b"));
            let spec = json!({ "hosts": [a, b], "resolution": "STATIC", "location": "MESH_EXTERNAL",
                "ports": [{ "number": stage.port, "name": "http", "protocol": "HTTP" }],
                "endpoints": [{ "address": stage.net.upstream(6),
                    "ports": { "http": super::UPSTREAM_PORT } }] });
            self.objects.push(stage.networking("ServiceEntry", "outside", spec));
            let all = format!("*.{}.example", stage.namespace);
            self.virtual_service("outside", &[&all], &[], &site(a, Some(b)));
        }
    }

    fn virtual_service(&mut self, name: &str, hosts: &[&str], gateways: &[&str], site: &Site) {
        let count = if self.theme == Theme::Anything { 3 + self.dice.below(3) } else { 2 };
        let mut http: Vec<Value> = (0..count).map(|n| self.rule(n, site)).collect();
        if self.dice.chance(25) {
            http.insert(0, self.delegated(name, site));
        }
        if self.dice.chance(70) {
            let any = condition::of_path(site, None);
            http.push(self.written(
                route::rule(self.dice, self.stage, &any, self.theme),
                &[any],
                site,
            ));
        }
        let mut spec = json!({ "hosts": hosts, "http": http });
        if !gateways.is_empty() {
            spec["gateways"] = json!(gateways);
        }
        if self.dice.chance(20) {
            spec["exportTo"] = json!(self.dice.one(&[["*"], ["."]]));
            if site.gateway != "mesh" {
                spec["exportTo"] = json!(["*", "istio-system"][..1]);
            }
        }
        self.objects.push(self.stage.networking("VirtualService", name, spec));
    }

    fn rule(&mut self, n: usize, site: &Site) -> Value {
        let mut conditions = vec![condition::any(self.dice, site)];
        if self.dice.chance(25) {
            conditions.push(condition::any(self.dice, site));
        }
        let rule = route::rule(self.dice, self.stage, &conditions[0], self.theme);
        let mut json = self.written(rule, &conditions, site);
        if self.dice.chance(60) {
            json["name"] = json!(format!("rule-{n}"));
        }
        json
    }

    /// Notes what is asked, and puts the conditions in.
    fn written(&mut self, rule: route::Rule, conditions: &[Condition], site: &Site) -> Value {
        for condition in conditions {
            self.asks.extend(route::asks(site, condition, &rule));
        }
        let mut json = rule.json;
        let list: Vec<&Value> = conditions.iter().map(|c| &c.json).collect();
        if list.iter().any(|c| c.as_object().is_some_and(|o| !o.is_empty())) {
            json["match"] = json!(list);
        }
        json
    }

    /// A rule that another VirtualService says the rest of.
    fn delegated(&mut self, name: &str, site: &Site) -> Value {
        let prefix = text::prefix_path("/team/");
        let root = condition::of_path(site, Some(&prefix));
        let inner = condition::of_path(site, Some(&text::prefix_path("/team/a")));
        let outer = condition::of_path(site, Some(&text::exact_path("/elsewhere")));
        let mut rules = Vec::new();
        for condition in [inner, outer] {
            let rule = route::rule(self.dice, self.stage, &condition, self.theme);
            rules.push(self.written(rule, &[condition], site));
        }
        let any = condition::of_path(site, None);
        let last = route::rule(self.dice, self.stage, &any, self.theme);
        rules.push(self.written(last, &[any], site));
        let to = format!("{name}-team");
        self.objects.push(self.stage.networking("VirtualService", &to, json!({ "http": rules })));
        self.asks.extend(root.near.iter().cloned());
        let mut json = json!({ "match": [root.json], "delegate": { "name": to } });
        if self.dice.chance(50) {
            json["delegate"]["namespace"] = json!(self.stage.namespace);
        }
        if self.dice.chance(50) {
            json["timeout"] = json!("2s");
        }
        json
    }
}
