//! JSON in protobuf's mapping -> message tree: snake_case and camelCase names, `@type`, durations as
//! `"1.5s"`, wrappers as their value, 64-bit numbers as strings, enums by name or number, base64.

use super::{Any, MAX_DEPTH, Msg, Path, TYPE_HOST, Val};
use crate::schema::{self, Kind, Message, Scalar, Shape, TYPED_STRUCT, UDPA_TYPED_STRUCT};
use crate::support::Support;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use bytes::Bytes;
use ir::{Str, Value};
use serde_json::{Map, Value as Json};
use std::collections::BTreeMap;
use std::time::Duration;

/// Reads an object as a message of type `ty`.
pub(crate) fn read_json(ty: &'static Message, json: &Json, path: &Path) -> Msg {
    let mut msg = Msg::new(ty);
    match json {
        Json::Object(map) => object(&mut msg, map, path),
        Json::Null => {}
        _ => path.error("must be an object"),
    }
    msg
}

fn object(msg: &mut Msg, map: &Map<String, Json>, path: &Path) {
    if path.depth > MAX_DEPTH {
        path.error(format!("is nested more than {MAX_DEPTH} levels deep"));
        return;
    }
    for (name, json) in map {
        if name == "@type" || json.is_null() {
            continue;
        }
        match msg.ty.by_json_name(name) {
            Some(index) => field(msg, index, json, path),
            None => path.field(name).error(format!("{} has no such field", msg.ty.name)),
        }
    }
}

fn field(msg: &mut Msg, index: usize, json: &Json, path: &Path) {
    let field = &msg.ty.fields[index];
    let at = path.field(field.name);
    if field.support == Support::Refused {
        if !is_default(json) {
            at.error("is not supported; remove it");
        }
        return;
    }
    let Some(kind) = field.kind else { return };
    if field.choice != 0
        && let Some(rival) = msg.iter().find(|(f, _)| f.choice == field.choice)
    {
        at.error(format!("cannot be set together with {}", rival.0.name));
        return;
    }
    let value = match field.shape {
        Shape::One => value(kind, json, &at),
        Shape::Many => list(kind, json, &at),
        Shape::Map => map(kind, json, &at),
    };
    if let Some(value) = value
        && (field.explicit() || !value.is_default())
    {
        msg.put(index, value);
    }
}

/// What protobuf writes for a field that is not set.
fn is_default(json: &Json) -> bool {
    match json {
        Json::Null => true,
        Json::Bool(b) => !b,
        Json::Number(n) => n.as_f64() == Some(0.0),
        Json::String(s) => s.is_empty(),
        Json::Array(a) => a.is_empty(),
        Json::Object(_) => false,
    }
}

fn list(kind: Kind, json: &Json, at: &Path) -> Option<Val> {
    let Json::Array(items) = json else {
        at.error("must be a list");
        return None;
    };
    let read = items.iter().enumerate().filter_map(|(i, j)| value(kind, j, &at.index(i)));
    Some(Val::List(read.collect()))
}

fn map(kind: Kind, json: &Json, at: &Path) -> Option<Val> {
    let Json::Object(items) = json else {
        at.error("must be an object");
        return None;
    };
    let read =
        items.iter().filter_map(|(k, j)| Some((k.as_str().into(), value(kind, j, &at.key(k))?)));
    Some(Val::Map(read.collect()))
}

/// `None` after a finding.
fn value(kind: Kind, json: &Json, at: &Path) -> Option<Val> {
    let read = match kind {
        Kind::Scalar(s) | Kind::Wrapper(s) => scalar(s, json),
        Kind::Enum(e) => match json {
            Json::String(name) => match e.number(name) {
                Some(i) => Ok(Val::Int(i64::from(i))),
                None => Err("is no value of this enumeration"),
            },
            Json::Number(n) => n.as_i64().map(Val::Int).ok_or("must be a name or a number"),
            _ => Err("must be a name or a number"),
        },
        Kind::Message(ty) => return Some(Val::Msg(read_json(ty, json, at))),
        Kind::Any => return any(json, at).map(Val::Any),
        Kind::Duration => match json {
            Json::String(s) => parse_duration(s).map(Val::Duration),
            _ => Err("must be a duration such as \"1.5s\""),
        },
        Kind::Struct => match json {
            Json::Object(m) => Ok(Val::Struct(structure(m))),
            _ => Err("must be an object"),
        },
    };
    read.map_err(|what| at.error(what)).ok()
}

fn scalar(s: Scalar, json: &Json) -> Result<Val, &'static str> {
    match s {
        Scalar::Bool => json.as_bool().map(Val::Bool).ok_or("must be true or false"),
        Scalar::Int32 => integer(json)
            .filter(|i| i32::try_from(*i).is_ok())
            .map(|i| Val::Int(i as i64))
            .ok_or("must be a 32-bit integer"),
        Scalar::Int64 => integer(json)
            .and_then(|i| i64::try_from(i).ok())
            .map(Val::Int)
            .ok_or("must be a 64-bit integer"),
        Scalar::Uint32 => integer(json)
            .filter(|i| u32::try_from(*i).is_ok())
            .map(|i| Val::Uint(i as u64))
            .ok_or("must be an integer from 0 to 4294967295"),
        Scalar::Uint64 => integer(json)
            .and_then(|i| u64::try_from(i).ok())
            .map(Val::Uint)
            .ok_or("must be an integer of 64 bits that is zero or more"),
        Scalar::Double | Scalar::Float => float(json).map(Val::Float).ok_or("must be a number"),
        Scalar::String => json.as_str().map(|s| Val::Str(s.into())).ok_or("must be a string"),
        Scalar::Bytes => json
            .as_str()
            .and_then(|s| STANDARD.decode(s).or_else(|_| URL_SAFE.decode(s)).ok())
            .map(|b| Val::Bytes(Bytes::from(b)))
            .ok_or("must be base64"),
    }
}

fn integer(json: &Json) -> Option<i128> {
    match json {
        Json::Number(n) => {
            n.as_i64().map(i128::from).or_else(|| n.as_u64().map(i128::from)).or_else(|| {
                n.as_f64().filter(|f| f.fract() == 0.0 && f.abs() < 1e18).map(|f| f as i128)
            })
        }
        Json::String(s) => s.parse().ok(),
        _ => None,
    }
}

fn float(json: &Json) -> Option<f64> {
    match json {
        Json::Number(n) => n.as_f64(),
        Json::String(s) => match s.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            s => s.parse().ok(),
        },
        _ => None,
    }
}

/// `"1.5s"`, zero or more.
fn parse_duration(text: &str) -> Result<Duration, &'static str> {
    const WRONG: &str = "must be a duration such as \"1.5s\", zero or more";
    let number = text.strip_suffix('s').ok_or(WRONG)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) || fraction.len() > 9 {
        return Err(WRONG);
    }
    let seconds = whole.parse().map_err(|_| WRONG)?;
    let nanos = format!("{fraction:0<9}").parse().map_err(|_| WRONG)?;
    Ok(Duration::new(seconds, nanos))
}

fn any(json: &Json, at: &Path) -> Option<Any> {
    let Some(type_url) = json.get("@type").and_then(Json::as_str) else {
        at.error("must be an object with its type under \"@type\"");
        return None;
    };
    let name = type_url.rsplit_once('/').map_or(type_url, |(_, name)| name);
    let Some(ty) = schema::find(name) else {
        return Some(Any::Unknown {
            type_url: format!("{TYPE_HOST}{name}").into(),
            value: Bytes::new(),
        });
    };
    Some(typed_struct(read_json(ty, json, at), at))
}

/// The message itself, or, when it is a struct that stands for a typed message, that message.
pub(crate) fn typed_struct(msg: Msg, at: &Path) -> Any {
    let is_struct = std::ptr::eq(msg.ty, &TYPED_STRUCT) || std::ptr::eq(msg.ty, &UDPA_TYPED_STRUCT);
    if !is_struct {
        return Any::Known(msg);
    }
    let type_url = match msg.get("type_url") {
        Some(Val::Str(s)) => s.clone(),
        _ => "".into(),
    };
    let name = type_url.rsplit_once('/').map_or(&*type_url, |(_, name)| name);
    match (schema::find(name), msg.get("value")) {
        (Some(ty), Some(Val::Struct(fields))) => {
            let json = super::json_of(fields);
            Any::Known(read_json(ty, &json, at))
        }
        (Some(ty), _) => Any::Known(Msg::new(ty)),
        (None, _) => Any::Unknown { type_url, value: Bytes::new() },
    }
}

/// An object as a struct; anything else is an empty one.
pub(crate) fn struct_of(json: &Json) -> BTreeMap<Str, Value> {
    json.as_object().map(structure).unwrap_or_default()
}

fn structure(map: &Map<String, Json>) -> BTreeMap<Str, Value> {
    map.iter().map(|(k, v)| (k.as_str().into(), struct_value(v))).collect()
}

fn struct_value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(b) => Value::Bool(*b),
        Json::Number(n) => Value::Number(n.as_f64().unwrap_or(f64::NAN)),
        Json::String(s) => Value::String(s.as_str().into()),
        Json::Array(a) => Value::List(a.iter().map(struct_value).collect()),
        Json::Object(m) => Value::Struct(structure(m)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let table = [
            ("1.5s", Some(1_500_000_000)),
            ("0s", Some(0)),
            ("0.000000001s", Some(1)),
            ("3600s", Some(3_600_000_000_000)),
            ("1", None),
            ("s", None),
            ("-1s", None),
            ("1.0000000001s", None),
            ("1ms", None),
            ("1.+5s", None),
        ];
        for (text, nanos) in table {
            assert_eq!(parse_duration(text).ok().map(|d| d.as_nanos()), nanos, "{text}");
        }
    }
}
