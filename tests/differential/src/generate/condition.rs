//! One `match` of an HTTP rule, a request that meets it, and requests that just do not.

use super::draft::Draft;
use super::text::{self, Text};
use crate::dice::Dice;
use serde_json::{Value, json};

/// Where a rule is to be met.
#[derive(Clone, Debug)]
pub struct Site {
    /// A host of the virtual service.
    pub host: String,
    /// Another one that the virtual service takes, if it takes several.
    pub other: Option<String>,
    pub port: u16,
    /// `mesh`, or the name of the gateway.
    pub gateway: String,
    pub namespace: String,
}

pub struct Condition {
    pub json: Value,
    /// Meets it, unless it never applies here.
    pub met: Draft,
    pub near: Vec<Draft>,
}

/// A random condition on at least one thing.
pub fn any(dice: &Dice, site: &Site) -> Condition {
    let uri = dice.maybe(75, || text::path(dice));
    let mut condition = of_path(site, uri.as_ref());
    loop {
        condition = on_request(dice, site, condition);
        if condition.json.as_object().is_some_and(|o| !o.is_empty()) {
            break;
        }
    }
    on_place(dice, site, &mut condition);
    if dice.chance(30) {
        condition.json["name"] = json!(format!("m{}", dice.below(9)));
    }
    if dice.chance(15) {
        condition.json["statPrefix"] = json!("counted");
    }
    condition
}

/// A condition on the path alone.
pub fn of_path(site: &Site, uri: Option<&Text>) -> Condition {
    let met = Draft::to(&site.host);
    let Some(uri) = uri else { return Condition { json: json!({}), met, near: Vec::new() } };
    let met = met.path(uri.hit());
    let others = uri.hits[1..].iter().chain(&uri.near).map(|p| met.clone().path(p));
    let near = others.collect();
    Condition { json: json!({ "uri": uri.json }), met, near }
}

fn on_request(dice: &Dice, site: &Site, mut c: Condition) -> Condition {
    if c.json["uri"].is_object() && dice.chance(20) {
        c.json["ignoreUriCase"] = json!(true);
        c.near.push(c.met.clone().path(&c.met.path.to_uppercase()));
    }
    if dice.chance(20) {
        let m = text::method(dice);
        c = c.also(|d| d.method(m.hit()));
        c.near.extend(m.hits.iter().chain(&m.near).map(|x| c.met.clone().method(x)));
        c.json["method"] = m.json;
    }
    for name in dice.different(dice.below(3), &["x-user", "x-version", "end-user", "cookie"]) {
        c = c.header(dice, name);
    }
    if dice.chance(20) {
        c = c.without(dice);
    }
    for name in dice.different(dice.below(2), &["q", "debug", "a.b"]) {
        c = c.query(dice, name);
    }
    if dice.chance(10) {
        let m = text::host(dice, &site.host);
        c.near.extend(m.hits.iter().chain(&m.near).map(|x| c.met.clone().host(x)));
        c.json["authority"] = m.json;
    }
    if dice.chance(8) {
        let scheme = dice.one(&[
            json!({ "exact": "http" }),
            json!({ "prefix": "http" }),
            json!({ "regex": "https?" }),
        ]);
        for value in ["https", "http", "HTTPS"] {
            c.near.push(c.met.clone().set("x-forwarded-proto", value));
        }
        c.json["scheme"] = scheme;
    }
    c
}

/// Conditions that are decided before any request comes.
fn on_place(dice: &Dice, site: &Site, c: &mut Condition) {
    let mostly = |right: Value, wrong: Value| if dice.chance(75) { right } else { wrong };
    if dice.chance(12) {
        c.json["port"] = mostly(json!(site.port), json!(site.port + 1));
    }
    if dice.chance(10) {
        c.json["sourceLabels"] =
            mostly(json!({ "app": "client" }), json!({ "app": "client", "version": "v7" }));
    }
    if dice.chance(8) {
        c.json["sourceNamespace"] = mostly(json!(site.namespace), json!("elsewhere"));
    }
    if dice.chance(8) {
        c.json["gateways"] = mostly(json!([site.gateway, "other"]), json!(["elsewhere/other"]));
    }
}

impl Condition {
    /// What every request has from now on.
    fn also(mut self, change: impl Fn(Draft) -> Draft) -> Self {
        self.met = change(self.met);
        self.near = self.near.into_iter().map(change).collect();
        self
    }

    fn header(self, dice: &Dice, name: &str) -> Self {
        let value = text::word(dice);
        let written = if dice.chance(50) { name.to_owned() } else { name.to_uppercase() };
        let mut c = self.also(|d| d.with(&written, value.hit()));
        for other in value.hits[1..].iter().chain(&value.near) {
            c.near.push(c.met.clone().set(&written, other));
        }
        c.near.push(c.met.clone().without(&written));
        c.near.push(c.met.clone().with(name, "more"));
        c.near.push(c.met.clone().without(&written).with(name, "more").with(name, value.hit()));
        c.json["headers"][name] = value.json;
        c
    }

    fn without(mut self, dice: &Dice) -> Self {
        let value = text::word(dice);
        for other in value.hits.iter().chain(&value.near) {
            self.near.push(self.met.clone().with("x-not", other));
        }
        self.near.push(self.met.clone().with("x-not", value.hit()).with("x-not", "more"));
        self.json["withoutHeaders"]["x-not"] = value.json;
        self
    }

    fn query(self, dice: &Dice, name: &str) -> Self {
        let value = text::word(dice);
        let mut c = self.also(|d| d.param(name, Some(value.hit())));
        for other in value.hits[1..].iter().chain(&value.near) {
            c.near.push(c.met.clone().param(name, Some(other)));
        }
        c.near.push(c.met.clone().param(name, None));
        c.near.push(c.met.clone().without_param(name));
        c.near
            .push(c.met.clone().without_param(name).param(&name.to_uppercase(), Some(value.hit())));
        let mut twice = c.met.clone();
        twice.query.insert(0, (name.into(), Some("first".into())));
        c.near.push(twice);
        c.json["queryParams"][name] = value.json;
        c
    }
}
