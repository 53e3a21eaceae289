//! The rules of a CRD's schema (`x-kubernetes-validations`, in CEL): each holds where it stands, over
//! `self` and, in a change, `oldSelf`. What cannot be judged here is said and not guessed.

mod program;

use serde_json::{Map, Value};

use super::{flag, join, properties, type_of};
use crate::meta::{items, text};
use crate::validate::Cause;
use program::{Verdict, evaluate, mentions_old};

const MAX_CAUSES: usize = 64;
/// A rule is not run where its loops would take more turns than this.
const MAX_TURNS: usize = 200_000;

/// What the rules of a schema say about an object.
#[derive(Debug, Default)]
pub struct Judgement {
    pub causes: Vec<Cause>,
    /// Rules that were not applied, and why.
    pub unjudged: Vec<String>,
}

/// Judges an object that has the shape of its schema; `old` is what it replaces.
pub fn judge(schema: &Value, old: Option<&Value>, new: &Value) -> Judgement {
    let mut judgement = Judgement::default();
    descend(schema, old, new, "", &mut judgement);
    judgement.causes.truncate(MAX_CAUSES);
    judgement
}

fn descend(schema: &Value, old: Option<&Value>, new: &Value, path: &str, found: &mut Judgement) {
    if new.is_null() {
        return;
    }
    for rule in items(schema, &["x-kubernetes-validations"]) {
        apply(rule, schema, old, new, path, found);
    }
    match new {
        Value::Object(map) => {
            let declared = schema.get("properties").and_then(Value::as_object);
            let old = |name: &str| old.and_then(|o| o.get(name));
            for (name, property) in properties(schema) {
                if let Some(value) = map.get(name) {
                    descend(property, old(name), value, &join(path, name), found);
                }
            }
            let Some(additional) = schema.get("additionalProperties").filter(|a| a.is_object())
            else {
                return;
            };
            for (name, value) in map {
                if declared.is_none_or(|d| !d.contains_key(name)) {
                    descend(additional, old(name), value, &join(path, name), found);
                }
            }
        }
        Value::Array(list) => {
            let Some(of) = schema.get("items") else { return };
            for (index, item) in list.iter().enumerate() {
                let before = old.and_then(|old| counterpart(schema, old, item));
                descend(of, before, item, &format!("{path}[{index}]"), found);
            }
        }
        _ => {}
    }
}

/// The item of the old list that has the same keys; other lists have no such thing.
fn counterpart<'a>(schema: &Value, old: &'a Value, item: &Value) -> Option<&'a Value> {
    if text(schema, &["x-kubernetes-list-type"]) != Some("map") {
        return None;
    }
    let keys = items(schema, &["x-kubernetes-list-map-keys"]);
    let same = |before: &&Value| {
        keys.iter().filter_map(Value::as_str).all(|key| before.get(key) == item.get(key))
    };
    old.as_array()?.iter().find(same)
}

fn apply(
    rule: &Value,
    schema: &Value,
    old: Option<&Value>,
    new: &Value,
    path: &str,
    found: &mut Judgement,
) {
    let source = text(rule, &["rule"]).unwrap_or_default();
    let mut unjudged = |why: &str| {
        let place = if path.is_empty() { "<root>" } else { path };
        found.unjudged.push(format!("{place}: rule {source:?} was not applied: {why}"));
    };
    // A rule over a change says nothing about what is new, unless it asks to.
    let optional = flag(rule, "optionalOldSelf");
    let transition = mentions_old(source);
    if transition && optional {
        return unjudged("optionalOldSelf is not supported here");
    }
    // What was there before and has not changed is no fault of this request.
    let settled = if transition { old.is_none() } else { old == Some(new) };
    if settled {
        return;
    }
    if turns(source, new) > MAX_TURNS {
        return unjudged("the object is too large for it");
    }
    let (new_typed, old_typed) = (typed(schema, new), old.map(|o| typed(schema, o)));
    let why = match evaluate(source, &new_typed, old_typed.as_ref()) {
        Verdict::Holds => return,
        Verdict::Unknown(why) => return unjudged(&why),
        Verdict::Fails => message(rule, source, &new_typed, old_typed.as_ref()),
        Verdict::Error(error) => format!("{error} evaluating rule: {source}"),
    };
    found.causes.push(cause(rule, path, new, &why));
}

fn message(rule: &Value, source: &str, new: &Value, old: Option<&Value>) -> String {
    let made = text(rule, &["messageExpression"]).and_then(|e| program::say(e, new, old));
    let said = text(rule, &["message"]).filter(|m| !m.is_empty()).map(|m| m.trim().to_owned());
    made.or(said).unwrap_or_else(|| format!("failed rule: {}", source.trim()))
}

fn cause(rule: &Value, path: &str, new: &Value, why: &str) -> Cause {
    let below = text(rule, &["fieldPath"]).unwrap_or_default();
    let field = format!("{path}{below}").trim_start_matches('.').to_owned();
    match text(rule, &["reason"]) {
        Some("FieldValueRequired") => Cause::required(field, why),
        Some("FieldValueForbidden") => Cause::forbidden(field, why),
        _ => {
            let message = format!("Invalid value: {:?}: {why}", type_of(new));
            Cause { reason: "FieldValueInvalid", field, message }
        }
    }
}

/// At most how often the loops of a rule turn: the longest list or map for each loop in a loop.
fn turns(source: &str, value: &Value) -> usize {
    let longest = longest(value).max(1);
    (0..program::nesting(source)).fold(1_usize, |turns, _| turns.saturating_mul(longest))
}

fn longest(value: &Value) -> usize {
    match value {
        Value::Array(list) => list.iter().map(longest).max().unwrap_or(0).max(list.len()),
        Value::Object(map) => map.values().map(longest).max().unwrap_or(0).max(map.len()),
        _ => 0,
    }
}

/// A value with the types and names that rules see: a `number` is one even if it is whole, and fields
/// whose names are no words of the language are escaped.
fn typed(schema: &Value, value: &Value) -> Value {
    match value {
        Value::Number(n) if text(schema, &["type"]) == Some("number") => {
            n.as_f64().map_or_else(|| value.clone(), Value::from)
        }
        Value::Object(map) => {
            let declared = schema.get("properties").and_then(Value::as_object);
            let additional = schema.get("additionalProperties").unwrap_or(&Value::Null);
            let entries = map.iter().filter(|(_, v)| !v.is_null()).map(|(name, value)| {
                match declared.and_then(|d| d.get(name)) {
                    Some(property) => (escaped(name), typed(property, value)),
                    None => (name.clone(), typed(additional, value)),
                }
            });
            Value::Object(entries.collect::<Map<_, _>>())
        }
        Value::Array(list) => {
            let of = schema.get("items").unwrap_or(&Value::Null);
            list.iter().map(|item| typed(of, item)).collect()
        }
        _ => value.clone(),
    }
}

/// Words that cannot be names in a rule.
const RESERVED: &[&str] = &[
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

fn escaped(name: &str) -> String {
    if RESERVED.contains(&name) {
        return format!("__{name}__");
    }
    let name = name.replace("__", "__underscores__");
    name.replace('.', "__dot__").replace('-', "__dash__").replace('/', "__slash__")
}

#[cfg(test)]
mod tests;
