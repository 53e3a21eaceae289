//! Protobuf bytes -> message tree. Every tag is looked at: what the schema refuses or does not know
//! becomes a finding with its path, so nothing is dropped silently.

use super::{Any, MAX_DEPTH, Msg, Path, TYPE_HOST, Val};
use crate::schema::{self, Field, Kind, Message, Scalar, Shape};
use crate::support::Support;
use bytes::{Buf, Bytes};
use ir::{Str, Value};
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use std::collections::BTreeMap;
use std::time::Duration;

/// The bytes are not what their type says; said at the path by the caller.
type Wire<T> = Result<T, &'static str>;

const TRUNCATED: &str = "the bytes end within this field";
const WRONG_TYPE: &str = "the bytes hold another type than the schema";

/// Reads a message of type `ty`.
pub(crate) fn read_wire(ty: &'static Message, bytes: Bytes, path: &Path) -> Msg {
    let mut msg = Msg::new(ty);
    merge(&mut msg, bytes, path);
    msg
}

fn merge(msg: &mut Msg, mut bytes: Bytes, path: &Path) {
    if path.depth > MAX_DEPTH {
        path.error(format!("is nested more than {MAX_DEPTH} levels deep"));
        return;
    }
    while bytes.has_remaining() {
        let Ok((number, wire)) = decode_key(&mut bytes) else {
            path.error("holds bytes that are no field");
            return;
        };
        let done = match msg.ty.by_number(number) {
            Some(index) => one_field(msg, index, wire, &mut bytes, path),
            None => {
                path.error(format!(
                    "sets field {number}, which {} does not have here",
                    msg.ty.name
                ));
                skip(number, wire, &mut bytes)
            }
        };
        if let Err(what) = done {
            match msg.ty.by_number(number) {
                Some(i) => path.field(msg.ty.fields[i].name).error(what),
                None => path.error(what),
            }
            return;
        }
    }
}

fn one_field(
    msg: &mut Msg,
    index: usize,
    wire: WireType,
    bytes: &mut Bytes,
    path: &Path,
) -> Wire<()> {
    let field = &msg.ty.fields[index];
    match field.support {
        Support::Refused => {
            path.field(field.name).error("is not supported; remove it");
            return skip(field.number, wire, bytes);
        }
        // Kept only where others may want to see it.
        Support::Harmless(_) | Support::Honoured => {}
    }
    let Some(kind) = field.kind else { return skip(field.number, wire, bytes) };
    let at = path.field(field.name);
    match field.shape {
        Shape::One => singular(msg, index, kind, wire, bytes, &at),
        Shape::Many => repeated(msg, index, kind, wire, bytes, &at),
        Shape::Map => map_entry(msg, index, kind, wire, bytes, &at),
    }
}

fn singular(
    msg: &mut Msg,
    index: usize,
    kind: Kind,
    wire: WireType,
    bytes: &mut Bytes,
    at: &Path,
) -> Wire<()> {
    if let Kind::Message(ty) = kind {
        // A message that comes twice is merged.
        let body = length_delimited(wire, bytes)?;
        if let Val::Msg(inner) = msg.entry(index, || Val::Msg(Msg::new(ty))) {
            merge(inner, body, at);
        }
        return Ok(());
    }
    let value = value(kind, wire, bytes, at)?;
    let field: &Field = &msg.ty.fields[index];
    if field.explicit() || !value.is_default() {
        msg.put(index, value);
    }
    Ok(())
}

fn repeated(
    msg: &mut Msg,
    index: usize,
    kind: Kind,
    wire: WireType,
    bytes: &mut Bytes,
    at: &Path,
) -> Wire<()> {
    let Val::List(list) = msg.entry(index, || Val::List(Vec::new())) else {
        return Err(WRONG_TYPE);
    };
    let packed = wire == WireType::LengthDelimited
        && match kind {
            Kind::Scalar(s) => !matches!(s, Scalar::String | Scalar::Bytes),
            Kind::Enum(_) => true,
            _ => false,
        };
    if !packed {
        let item = value(kind, wire, bytes, &at.index(list.len()))?;
        list.push(item);
        return Ok(());
    }
    let mut body = length_delimited(wire, bytes)?;
    let item_wire = match kind {
        Kind::Scalar(s) => wire_type(s),
        _ => WireType::Varint,
    };
    while body.has_remaining() {
        let item = value(kind, item_wire, &mut body, &at.index(list.len()))?;
        list.push(item);
    }
    Ok(())
}

/// One entry: key 1, value 2.
fn map_entry(
    msg: &mut Msg,
    index: usize,
    kind: Kind,
    wire: WireType,
    bytes: &mut Bytes,
    at: &Path,
) -> Wire<()> {
    let mut body = length_delimited(wire, bytes)?;
    let mut key = Str::from("");
    let mut raw: Option<(WireType, Bytes)> = None;
    while body.has_remaining() {
        let (number, wire) = decode_key(&mut body).map_err(|_| TRUNCATED)?;
        match number {
            1 => key = utf8(length_delimited(wire, &mut body)?)?,
            _ => raw = Some((wire, length_delimited(wire, &mut body)?)),
        }
    }
    let at = at.key(&key);
    let item = match (kind, raw) {
        (Kind::Message(ty), raw) => {
            Val::Msg(read_wire(ty, raw.map(|(_, b)| b).unwrap_or_default(), &at))
        }
        (Kind::Scalar(Scalar::String), raw) => {
            Val::Str(utf8(raw.map(|(_, b)| b).unwrap_or_default())?)
        }
        (Kind::Any, raw) => Val::Any(any(raw.map(|(_, b)| b).unwrap_or_default(), &at)?),
        (Kind::Struct, raw) => {
            Val::Struct(fields_of_struct(raw.map(|(_, b)| b).unwrap_or_default(), 0)?)
        }
        _ => return Err(WRONG_TYPE),
    };
    match msg.entry(index, || Val::Map(BTreeMap::new())) {
        Val::Map(map) => {
            map.insert(key.clone(), item);
            Ok(())
        }
        _ => Err(WRONG_TYPE),
    }
}

fn value(kind: Kind, wire: WireType, bytes: &mut Bytes, at: &Path) -> Wire<Val> {
    Ok(match kind {
        Kind::Scalar(s) => scalar(s, wire, bytes)?,
        Kind::Enum(_) => Val::Int(i64::from(varint(wire, bytes)? as i32)),
        Kind::Wrapper(s) => wrapper(s, length_delimited(wire, bytes)?)?,
        Kind::Message(ty) => Val::Msg(read_wire(ty, length_delimited(wire, bytes)?, at)),
        Kind::Any => Val::Any(any(length_delimited(wire, bytes)?, at)?),
        Kind::Duration => Val::Duration(duration(length_delimited(wire, bytes)?)?),
        Kind::Struct => Val::Struct(fields_of_struct(length_delimited(wire, bytes)?, 0)?),
    })
}

fn wire_type(s: Scalar) -> WireType {
    match s {
        Scalar::Double => WireType::SixtyFourBit,
        Scalar::Float => WireType::ThirtyTwoBit,
        Scalar::String | Scalar::Bytes => WireType::LengthDelimited,
        _ => WireType::Varint,
    }
}

fn scalar(s: Scalar, wire: WireType, bytes: &mut Bytes) -> Wire<Val> {
    Ok(match s {
        Scalar::Bool => Val::Bool(varint(wire, bytes)? != 0),
        Scalar::Int32 => Val::Int(i64::from(varint(wire, bytes)? as i32)),
        Scalar::Int64 => Val::Int(varint(wire, bytes)? as i64),
        Scalar::Uint32 => Val::Uint(u64::from(varint(wire, bytes)? as u32)),
        Scalar::Uint64 => Val::Uint(varint(wire, bytes)?),
        Scalar::Double if wire == WireType::SixtyFourBit => {
            Val::Float(bytes.try_get_f64_le().map_err(|_| TRUNCATED)?)
        }
        Scalar::Float if wire == WireType::ThirtyTwoBit => {
            Val::Float(f64::from(bytes.try_get_f32_le().map_err(|_| TRUNCATED)?))
        }
        Scalar::Double | Scalar::Float => return Err(WRONG_TYPE),
        Scalar::String => Val::Str(utf8(length_delimited(wire, bytes)?)?),
        Scalar::Bytes => Val::Bytes(length_delimited(wire, bytes)?),
    })
}

/// A message with the single field 1.
fn wrapper(s: Scalar, mut body: Bytes) -> Wire<Val> {
    let mut value = match s {
        Scalar::Bool => Val::Bool(false),
        Scalar::Int32 | Scalar::Int64 => Val::Int(0),
        Scalar::Uint32 | Scalar::Uint64 => Val::Uint(0),
        Scalar::Double | Scalar::Float => Val::Float(0.0),
        Scalar::String => Val::Str("".into()),
        Scalar::Bytes => Val::Bytes(Bytes::new()),
    };
    while body.has_remaining() {
        match decode_key(&mut body).map_err(|_| TRUNCATED)? {
            (1, wire) => value = scalar(s, wire, &mut body)?,
            (number, wire) => skip(number, wire, &mut body)?,
        }
    }
    Ok(value)
}

fn duration(mut body: Bytes) -> Wire<Duration> {
    let (mut seconds, mut nanos) = (0i64, 0i32);
    while body.has_remaining() {
        match decode_key(&mut body).map_err(|_| TRUNCATED)? {
            (1, wire) => seconds = varint(wire, &mut body)? as i64,
            (2, wire) => nanos = varint(wire, &mut body)? as i32,
            (number, wire) => skip(number, wire, &mut body)?,
        }
    }
    match (u64::try_from(seconds), u32::try_from(nanos)) {
        (Ok(s), Ok(n)) if n < 1_000_000_000 => Ok(Duration::new(s, n)),
        _ => Err("is no duration that is zero or more"),
    }
}

/// An `Any`: type URL 1, value 2.
fn any(mut body: Bytes, at: &Path) -> Wire<Any> {
    let (mut type_url, mut value) = (Str::from(""), Bytes::new());
    while body.has_remaining() {
        match decode_key(&mut body).map_err(|_| TRUNCATED)? {
            (1, wire) => type_url = utf8(length_delimited(wire, &mut body)?)?,
            (2, wire) => value = length_delimited(wire, &mut body)?,
            (number, wire) => skip(number, wire, &mut body)?,
        }
    }
    Ok(resolve_any(type_url, value, at))
}

/// Reads the value of an `Any` when its type is known; a struct that stands for a typed message is
/// read as that message.
fn resolve_any(type_url: Str, value: Bytes, at: &Path) -> Any {
    let name = type_url.strip_prefix(TYPE_HOST).unwrap_or(&type_url);
    match schema::find(name) {
        Some(ty) => super::typed_struct(read_wire(ty, value, at), at),
        None => Any::Unknown { type_url, value },
    }
}

fn fields_of_struct(mut body: Bytes, depth: u32) -> Wire<BTreeMap<Str, Value>> {
    let mut map = BTreeMap::new();
    while body.has_remaining() {
        let (number, wire) = decode_key(&mut body).map_err(|_| TRUNCATED)?;
        if number != 1 {
            skip(number, wire, &mut body)?;
            continue;
        }
        let mut entry = length_delimited(wire, &mut body)?;
        let (mut key, mut value) = (Str::from(""), Value::Null);
        while entry.has_remaining() {
            match decode_key(&mut entry).map_err(|_| TRUNCATED)? {
                (1, wire) => key = utf8(length_delimited(wire, &mut entry)?)?,
                (2, wire) => value = struct_value(length_delimited(wire, &mut entry)?, depth + 1)?,
                (number, wire) => skip(number, wire, &mut entry)?,
            }
        }
        map.insert(key, value);
    }
    Ok(map)
}

fn struct_value(mut body: Bytes, depth: u32) -> Wire<Value> {
    if depth > MAX_DEPTH {
        return Err("is nested too deep");
    }
    let mut value = Value::Null;
    while body.has_remaining() {
        let (number, wire) = decode_key(&mut body).map_err(|_| TRUNCATED)?;
        value = match number {
            1 => varint(wire, &mut body).map(|_| Value::Null)?,
            2 => match scalar(Scalar::Double, wire, &mut body)? {
                Val::Float(f) => Value::Number(f),
                _ => return Err(WRONG_TYPE),
            },
            3 => Value::String(utf8(length_delimited(wire, &mut body)?)?),
            4 => Value::Bool(varint(wire, &mut body)? != 0),
            5 => Value::Struct(fields_of_struct(length_delimited(wire, &mut body)?, depth + 1)?),
            6 => Value::List(list_value(length_delimited(wire, &mut body)?, depth + 1)?),
            _ => {
                skip(number, wire, &mut body)?;
                value
            }
        };
    }
    Ok(value)
}

fn list_value(mut body: Bytes, depth: u32) -> Wire<Vec<Value>> {
    let mut list = Vec::new();
    while body.has_remaining() {
        match decode_key(&mut body).map_err(|_| TRUNCATED)? {
            (1, wire) => list.push(struct_value(length_delimited(wire, &mut body)?, depth + 1)?),
            (number, wire) => skip(number, wire, &mut body)?,
        }
    }
    Ok(list)
}

fn varint(wire: WireType, bytes: &mut Bytes) -> Wire<u64> {
    if wire != WireType::Varint {
        return Err(WRONG_TYPE);
    }
    decode_varint(bytes).map_err(|_| TRUNCATED)
}

fn length_delimited(wire: WireType, bytes: &mut Bytes) -> Wire<Bytes> {
    if wire != WireType::LengthDelimited {
        return Err(WRONG_TYPE);
    }
    let length = decode_varint(bytes).map_err(|_| TRUNCATED)?;
    match usize::try_from(length) {
        Ok(n) if n <= bytes.len() => Ok(bytes.split_to(n)),
        _ => Err(TRUNCATED),
    }
}

fn utf8(bytes: Bytes) -> Wire<Str> {
    std::str::from_utf8(&bytes).map(Str::from).map_err(|_| "is not UTF-8")
}

fn skip(number: u32, wire: WireType, bytes: &mut Bytes) -> Wire<()> {
    skip_field(wire, number, bytes, DecodeContext::default()).map_err(|_| TRUNCATED)
}
