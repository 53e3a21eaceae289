//! What an HTTP rule does: forward, redirect or answer; with the requests that show it.

use super::condition::{Condition, Site};
use super::draft::Draft;
use super::extras;
use super::stage::Stage;
use crate::dice::Dice;
use serde_json::{Value, json};

/// A rule without its conditions yet, and what is to be asked of it beside the plain hit.
pub struct Rule {
    pub json: Value,
    pub asks: Vec<Draft>,
}

/// What a rule is mostly about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Theme {
    Anything,
    Rewrite,
    Headers,
    Retries,
    Cors,
    Fault,
    Mirror,
}

pub fn rule(dice: &Dice, stage: &Stage, condition: &Condition, theme: Theme) -> Rule {
    let plain = theme == Theme::Anything;
    if plain && dice.chance(12) {
        return redirect(dice, condition);
    }
    if plain && dice.chance(12) {
        return direct(dice, condition);
    }
    forward(dice, stage, condition, theme)
}

fn redirect(dice: &Dice, condition: &Condition) -> Rule {
    let mut json = json!({});
    let by_prefix = condition.json["uri"]["prefix"].is_string();
    match dice.below(3) {
        0 => json["uri"] = json!(dice.one(&["/moved", "/", "/a%20b", "/x?y=z"])),
        1 if by_prefix => json["prefixRewrite"] = json!(dice.one(&["/new", "/new/", "/"])),
        _ => json["authority"] = json!(dice.one(&["elsewhere.example", "elsewhere.example:81"])),
    }
    match dice.below(4) {
        0 => json["port"] = json!(dice.one(&[8443, 80, 443])),
        1 => json["derivePort"] = json!("FROM_REQUEST_PORT"),
        2 => json["derivePort"] = json!("FROM_PROTOCOL_DEFAULT"),
        _ => {}
    }
    if dice.chance(50) {
        json["scheme"] = json!(dice.one(&["https", "http"]));
    }
    if dice.chance(60) {
        json["redirectCode"] = json!(dice.one(&[301, 302, 303, 307, 308]));
    }
    let met = &condition.met;
    let asks = vec![
        met.clone().host(&format!("{}:8080", met.host)),
        met.clone().param("keep", Some("this one")),
        met.clone().method("POST"),
        met.clone().with("x-forwarded-proto", "https"),
        met.clone().second(),
    ];
    Rule { json: json!({ "redirect": json }), asks }
}

fn direct(dice: &Dice, condition: &Condition) -> Rule {
    let status = dice.one(&[200, 204, 404, 418, 503, 599]);
    let mut json = json!({ "status": status });
    match dice.below(3) {
        0 => json["body"] = json!({ "string": "fixed\ntext %s" }),
        1 => json["body"] = json!({ "bytes": "AAEC/w==" }),
        _ => {}
    }
    let met = &condition.met;
    let asks = vec![met.clone().method("HEAD"), met.clone().post("body"), met.clone().second()];
    let mut json = json!({ "directResponse": json });
    if dice.chance(30) {
        json["headers"] =
            json!({ "response": { "set": { "x-direct": "yes" }, "remove": ["date"] } });
    }
    Rule { json, asks }
}

fn forward(dice: &Dice, stage: &Stage, condition: &Condition, theme: Theme) -> Rule {
    let mut rule = Rule { json: json!({ "route": routes(dice, stage, theme) }), asks: Vec::new() };
    let about = |what: Theme, otherwise: usize| theme == what || dice.chance(otherwise);
    if about(Theme::Rewrite, 12) {
        extras::rewrite(dice, condition, &mut rule);
    }
    if about(Theme::Headers, 15) {
        extras::headers(dice, condition, &mut rule);
    }
    if about(Theme::Retries, 10) {
        extras::retries(dice, condition, &mut rule);
        extras::timeout(dice, condition, &mut rule);
    }
    if about(Theme::Fault, 6) {
        extras::fault(dice, condition, &mut rule);
    }
    if about(Theme::Mirror, 6) {
        extras::mirrors(dice, stage, &mut rule);
    }
    if about(Theme::Cors, 8) {
        extras::cors(dice, condition, &mut rule);
    }
    rule
}

/// One destination, or several of which one has all the weight.
fn routes(dice: &Dice, stage: &Stage, theme: Theme) -> Value {
    let one = |weight: Option<u32>| {
        let mut route = json!({ "destination": destination(dice, stage) });
        if let Some(weight) = weight {
            route["weight"] = json!(weight);
        }
        if theme == Theme::Headers || dice.chance(10) {
            route["headers"] = extras::operations(dice, "to");
        }
        route
    };
    match dice.below(4) {
        0 => {
            let weight = dice.one(&[1, 100, 7]);
            let mut list = vec![one(Some(0)), one(Some(0))];
            list.insert(dice.below(3), one(Some(weight)));
            json!(list)
        }
        1 => json!([one(Some(100))]),
        _ => json!([one(None)]),
    }
}

/// Mostly one with a single endpoint; now and then none at all.
fn destination(dice: &Dice, stage: &Stage) -> Value {
    let port = json!({ "number": stage.port });
    match dice.below(20) {
        0..=4 => json!({ "host": "one" }),
        5 | 6 => json!({ "host": stage.host("one"), "port": port }),
        7..=9 => json!({ "host": "many", "subset": "v1", "port": port }),
        10..=12 => json!({ "host": stage.host("many"), "subset": "v2" }),
        13 | 14 => json!({ "host": "many", "subset": "v3" }),
        15 | 16 => json!({ "host": "second" }),
        17 => json!({ "host": "none" }),
        18 => json!({ "host": "many", "subset": dice.one(&["empty", "unwritten"]) }),
        _ => json!({ "host": stage.outside("nowhere") }),
    }
}

/// The requests that show a rule under a condition.
pub fn asks(site: &Site, condition: &Condition, rule: &Rule) -> Vec<Draft> {
    let mut all = vec![condition.met.clone()];
    if let Some(other) = &site.other {
        all.push(condition.met.clone().host(other));
    }
    all.extend(condition.near.iter().cloned());
    all.extend(rule.asks.iter().cloned());
    all
}
