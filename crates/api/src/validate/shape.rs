//! Objects against the table of fields of their kind: types, limits and what is required, as the API
//! server checks them by the CRD. Admission and files get the same answer so, and it names the field.

use super::Report;
use crate::crd::{Field, Shape, spec_is_required, spec_of};
use serde_json::{Map, Value};

/// Of an object in the form that the types read.
pub(super) fn check(kind: &str, object: &Value, report: &mut Report) {
    let Some(shape) = spec_of(kind) else { return };
    match object.get("spec") {
        Some(spec) => value(shape, &[], spec, "spec", report),
        None if spec_is_required(kind) => report.error("spec", "Required value"),
        None => {}
    }
}

type Limits<'a> = &'a [(&'static str, &'static str)];

fn value(shape: &Shape, limits: Limits<'_>, value: &Value, path: &str, report: &mut Report) {
    match (shape, value) {
        (Shape::Any, _) | (Shape::Boolean, Value::Bool(_)) => {}
        (Shape::Object(fields), Value::Object(map)) => object(fields, map, path, report),
        (Shape::List(inner), Value::Array(items)) => {
            for (index, item) in items.iter().enumerate() {
                self::value(inner, limits, item, &format!("{path}[{index}]"), report);
            }
        }
        (Shape::Map(inner), Value::Object(map)) => {
            for (key, item) in map {
                self::value(inner, limits, item, &format!("{path}[{key}]"), report);
            }
        }
        (Shape::Text, Value::String(s)) => text(s, limits, path, report),
        (Shape::Integer, Value::Number(n)) if n.is_i64() || n.is_u64() => {
            number(n.as_f64(), limits, path, report);
        }
        (Shape::Number, Value::Number(n)) => number(n.as_f64(), limits, path, report),
        (shape, value) => {
            let say = format!("Invalid value: {value}: must be {}", name_of(shape));
            report.error(path, say);
        }
    }
}

fn name_of(shape: &Shape) -> &'static str {
    match shape {
        Shape::Text => "a string",
        Shape::Integer => "a whole number",
        Shape::Number => "a number",
        Shape::Boolean => "true or false",
        Shape::Any => "anything",
        Shape::List(_) => "a list",
        Shape::Map(_) => "a map",
        Shape::Object(_) => "an object",
    }
}

fn object(fields: &[Field], map: &Map<String, Value>, path: &str, report: &mut Report) {
    for field in fields {
        let path = format!("{path}.{}", field.name);
        match map.get(field.name) {
            Some(inner) => value(&field.shape, &field.limits, inner, &path, report),
            None if field.required => report.error(&path, "Required value"),
            None => {}
        }
    }
}

fn text(text: &str, limits: Limits<'_>, path: &str, report: &mut Report) {
    let length = text.chars().count();
    for (name, limit) in limits {
        let bound = || limit.parse::<usize>().unwrap_or(0);
        match *name {
            "enum" if !limit.split('|').any(|known| known == text) => {
                let known = limit.replace('|', ", ");
                let say = format!("Unsupported value: {text:?}: supported values: {known}");
                report.error(path, say);
            }
            "minLength" if length < bound() => {
                let say = format!("Invalid value: {text:?}: must have at least {limit} characters");
                report.error(path, say);
            }
            "maxLength" if length > bound() => {
                report.error(path, format!("Too long: may not be longer than {limit} characters"));
            }
            "pattern" if !regex::Regex::new(limit).is_ok_and(|r| r.is_match(text)) => {
                report.error(path, format!("Invalid value: {text:?}: must match {limit}"));
            }
            _ => {}
        }
    }
}

fn number(number: Option<f64>, limits: Limits<'_>, path: &str, report: &mut Report) {
    let Some(number) = number else { return };
    for (name, limit) in limits {
        let Ok(bound) = limit.parse::<f64>() else { continue };
        match *name {
            "min" if number < bound => {
                report.error(path, format!("Invalid value: {number}: must be at least {limit}"));
            }
            "max" if number > bound => {
                report.error(path, format!("Invalid value: {number}: must be at most {limit}"));
            }
            _ => {}
        }
    }
}
