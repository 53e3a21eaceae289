//! Message tree -> protobuf bytes, fields in the order of their numbers and maps sorted, so that
//! equal messages are equal bytes.

use super::{Any, Msg, TYPE_HOST, Val};
use crate::schema::{Field, Kind, Scalar, Shape};
use bytes::{BufMut, Bytes, BytesMut};
use ir::{Str, Value};
use prost::encoding::{WireType, encode_key, encode_varint};
use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) fn write_wire(msg: &Msg) -> Bytes {
    let mut out = BytesMut::new();
    message(msg, &mut out);
    out.freeze()
}

fn message(msg: &Msg, out: &mut BytesMut) {
    for (field, value) in msg.iter() {
        let Some(kind) = field.kind else { continue };
        match (field.shape, value) {
            (Shape::Many, Val::List(items)) => many(field, kind, items, out),
            (Shape::Map, Val::Map(map)) => {
                for (key, value) in map {
                    nested(field.number, out, |out| {
                        text(1, key, out);
                        one(2, kind, value, out);
                    });
                }
            }
            (_, value) => one(field.number, kind, value, out),
        }
    }
}

/// Numbers are packed.
fn many(field: &Field, kind: Kind, items: &[Val], out: &mut BytesMut) {
    let packed = match kind {
        Kind::Scalar(s) => !matches!(s, Scalar::String | Scalar::Bytes),
        Kind::Enum(_) => true,
        _ => false,
    };
    if packed {
        nested(field.number, out, |out| items.iter().for_each(|v| number(kind, v, out)));
    } else {
        items.iter().for_each(|v| one(field.number, kind, v, out));
    }
}

fn one(tag: u32, kind: Kind, value: &Val, out: &mut BytesMut) {
    match (kind, value) {
        (Kind::Wrapper(s), value) => nested(tag, out, |out| {
            if !value.is_default() {
                one(1, Kind::Scalar(s), value, out);
            }
        }),
        (_, Val::Str(s)) => text(tag, s, out),
        (_, Val::Bytes(b)) => blob(tag, b, out),
        (_, Val::Msg(m)) => nested(tag, out, |out| message(m, out)),
        (_, Val::Any(a)) => nested(tag, out, |out| any(a, out)),
        (_, Val::Duration(d)) => nested(tag, out, |out| duration(*d, out)),
        (_, Val::Struct(fields)) => nested(tag, out, |out| structure(fields, out)),
        _ => {
            let wire = match kind {
                Kind::Scalar(Scalar::Double) => WireType::SixtyFourBit,
                Kind::Scalar(Scalar::Float) => WireType::ThirtyTwoBit,
                _ => WireType::Varint,
            };
            encode_key(tag, wire, out);
            number(kind, value, out);
        }
    }
}

fn number(kind: Kind, value: &Val, out: &mut BytesMut) {
    match value {
        Val::Bool(b) => encode_varint(u64::from(*b), out),
        Val::Int(i) => encode_varint(*i as u64, out),
        Val::Uint(u) => encode_varint(*u, out),
        Val::Float(f) => match kind {
            Kind::Scalar(Scalar::Float) => out.put_f32_le(*f as f32),
            _ => out.put_f64_le(*f),
        },
        _ => {}
    }
}

fn any(value: &Any, out: &mut BytesMut) {
    match value {
        Any::Known(m) => {
            text(1, &format!("{TYPE_HOST}{}", m.ty.name), out);
            if !m.is_empty() {
                nested(2, out, |out| message(m, out));
            }
        }
        Any::Unknown { type_url, value } => {
            text(1, type_url, out);
            if !value.is_empty() {
                blob(2, value, out);
            }
        }
    }
}

fn duration(d: Duration, out: &mut BytesMut) {
    if d.as_secs() != 0 {
        encode_key(1, WireType::Varint, out);
        encode_varint(d.as_secs(), out);
    }
    if d.subsec_nanos() != 0 {
        encode_key(2, WireType::Varint, out);
        encode_varint(u64::from(d.subsec_nanos()), out);
    }
}

fn structure(fields: &BTreeMap<Str, Value>, out: &mut BytesMut) {
    for (key, value) in fields {
        nested(1, out, |out| {
            text(1, key, out);
            nested(2, out, |out| struct_value(value, out));
        });
    }
}

fn struct_value(value: &Value, out: &mut BytesMut) {
    match value {
        Value::Null => {
            encode_key(1, WireType::Varint, out);
            encode_varint(0, out);
        }
        Value::Number(n) => {
            encode_key(2, WireType::SixtyFourBit, out);
            out.put_f64_le(*n);
        }
        Value::String(s) => text(3, s, out),
        Value::Bool(b) => {
            encode_key(4, WireType::Varint, out);
            encode_varint(u64::from(*b), out);
        }
        Value::Struct(fields) => nested(5, out, |out| structure(fields, out)),
        Value::List(items) => nested(6, out, |out| {
            items.iter().for_each(|v| nested(1, out, |out| struct_value(v, out)));
        }),
    }
}

fn text(tag: u32, s: &str, out: &mut BytesMut) {
    blob(tag, s.as_bytes(), out);
}

fn blob(tag: u32, bytes: &[u8], out: &mut BytesMut) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(bytes.len() as u64, out);
    out.put_slice(bytes);
}

/// A length-delimited field whose body `f` writes. The body is written in place behind a one-byte
/// length, and moved only when its length needs more.
fn nested(tag: u32, out: &mut BytesMut, f: impl FnOnce(&mut BytesMut)) {
    encode_key(tag, WireType::LengthDelimited, out);
    let start = out.len();
    out.put_u8(0);
    f(out);
    let length = out.len() - start - 1;
    if let Ok(short) = u8::try_from(length)
        && short < 0x80
    {
        out[start] = short;
        return;
    }
    let mut prefix = BytesMut::with_capacity(10);
    encode_varint(length as u64, &mut prefix);
    let extra = prefix.len() - 1;
    out.put_bytes(0, extra);
    out.copy_within(start + 1..start + 1 + length, start + 1 + extra);
    out[start..start + prefix.len()].copy_from_slice(&prefix);
}
