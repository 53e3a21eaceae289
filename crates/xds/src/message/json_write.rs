//! Message tree -> JSON in protobuf's mapping, with snake_case names as Envoy's admin port prints them.

use super::{Any, Msg, TYPE_HOST, Val};
use crate::schema::{Field, Kind, Scalar};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ir::{Str, Value};
use serde_json::{Map, Number, Value as Json};
use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) fn write_json(msg: &Msg) -> Json {
    Json::Object(object(msg, Map::new()))
}

fn object(msg: &Msg, mut map: Map<String, Json>) -> Map<String, Json> {
    for (field, val) in msg.iter() {
        map.insert(field.name.to_owned(), value(field, val));
    }
    map
}

fn value(field: &Field, val: &Val) -> Json {
    match val {
        Val::Bool(b) => Json::Bool(*b),
        Val::Int(i) => integer(field, *i),
        Val::Uint(u) if is_64_bit(field) => Json::String(u.to_string()),
        Val::Uint(u) => Json::from(*u),
        Val::Float(f) => float(*f),
        Val::Str(s) => Json::String(s.to_string()),
        Val::Bytes(b) => Json::String(STANDARD.encode(b)),
        Val::Msg(m) => write_json(m),
        Val::Any(a) => any(a),
        Val::Duration(d) => Json::String(duration(*d)),
        Val::Struct(fields) => json_of(fields),
        Val::List(items) => items.iter().map(|v| value(field, v)).collect(),
        Val::Map(map) => {
            Json::Object(map.iter().map(|(k, v)| (k.to_string(), value(field, v))).collect())
        }
    }
}

fn integer(field: &Field, i: i64) -> Json {
    match field.kind {
        Some(Kind::Enum(e)) => match i32::try_from(i).ok().and_then(|i| e.label(i)) {
            Some(name) => Json::String(name.to_owned()),
            None => Json::from(i),
        },
        _ if is_64_bit(field) => Json::String(i.to_string()),
        _ => Json::from(i),
    }
}

fn is_64_bit(field: &Field) -> bool {
    matches!(
        field.kind,
        Some(
            Kind::Scalar(Scalar::Int64 | Scalar::Uint64)
                | Kind::Wrapper(Scalar::Int64 | Scalar::Uint64)
        )
    )
}

fn any(any: &Any) -> Json {
    let mut map = Map::new();
    match any {
        Any::Known(m) => {
            map.insert("@type".to_owned(), Json::String(format!("{TYPE_HOST}{}", m.ty.name)));
            map = object(m, map);
        }
        Any::Unknown { type_url, value } => {
            map.insert("@type".to_owned(), Json::String(type_url.to_string()));
            map.insert("value".to_owned(), Json::String(STANDARD.encode(value)));
        }
    }
    Json::Object(map)
}

/// With no, three, six or nine decimals.
fn duration(d: Duration) -> String {
    let (s, n) = (d.as_secs(), d.subsec_nanos());
    match n {
        0 => format!("{s}s"),
        _ if n % 1_000_000 == 0 => format!("{s}.{:03}s", n / 1_000_000),
        _ if n % 1_000 == 0 => format!("{s}.{:06}s", n / 1_000),
        _ => format!("{s}.{n:09}s"),
    }
}

pub(crate) fn json_of(fields: &BTreeMap<Str, Value>) -> Json {
    Json::Object(fields.iter().map(|(k, v)| (k.to_string(), struct_value(v))).collect())
}

fn struct_value(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(b) => Json::Bool(*b),
        Value::Number(n) => float(*n),
        Value::String(s) => Json::String(s.to_string()),
        Value::List(items) => items.iter().map(struct_value).collect(),
        Value::Struct(fields) => json_of(fields),
    }
}

/// Whole numbers without a decimal point.
fn float(f: f64) -> Json {
    if f.fract() == 0.0 && f.abs() < 1e15 {
        return Json::from(f as i64);
    }
    match Number::from_f64(f) {
        Some(n) => Json::Number(n),
        None if f.is_nan() => Json::String("NaN".to_owned()),
        None if f > 0.0 => Json::String("Infinity".to_owned()),
        None => Json::String("-Infinity".to_owned()),
    }
}
