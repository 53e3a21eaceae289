//! Reading objects of built-in kinds in their protobuf form, which newer `kubectl create` sends.
//! The field numbers stand in the table of types; answers are always JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::schema::{Field, Shape, builtin, builtin_named};

#[derive(Debug, Error, PartialEq)]
pub enum ProtobufError {
    #[error("the body does not begin as Kubernetes' protobuf does")]
    NoMagic,
    #[error("the body ends within a field")]
    Truncated,
    #[error("the body holds {0}, which cannot be read as protobuf; send JSON")]
    UnknownKind(String),
    #[error("the body is nested too deep")]
    TooDeep,
    #[error("the body holds text that is not UTF-8")]
    NotText,
}

const MAGIC: &[u8] = b"k8s\0";
const MAX_DEPTH: usize = 64;

/// Integers whose zero means that they are absent.
const NO_ZERO: &[&str] = &[
    "count",
    "failureThreshold",
    "generation",
    "healthCheckNodePort",
    "hostPort",
    "initialDelaySeconds",
    "minReadySeconds",
    "nodePort",
    "observedGeneration",
    "periodSeconds",
    "successThreshold",
    "timeoutSeconds",
];
/// Booleans that are true where they are absent, so that false must be kept.
const KEPT_FALSE: &[&str] = &[
    "allocateLoadBalancerNodePorts",
    "allowPrivilegeEscalation",
    "automountServiceAccountToken",
    "enableServiceLinks",
    "ready",
    "serving",
    "terminating",
];
/// Messages that are always sent, filled or not.
const NO_EMPTY: &[&str] = &[
    "creationTimestamp",
    "loadBalancer",
    "metadata",
    "resources",
    "status",
    "strategy",
    "updateStrategy",
];

/// Decodes a body in its envelope.
pub fn decode(body: &[u8]) -> Result<Value, ProtobufError> {
    let envelope = body.strip_prefix(MAGIC).ok_or(ProtobufError::NoMagic)?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    for part in parts(envelope) {
        match part? {
            (1, Wire::Bytes(meta)) => {
                for part in parts(meta) {
                    match part? {
                        (1, Wire::Bytes(text)) => api_version = string(text)?,
                        (2, Wire::Bytes(text)) => kind = string(text)?,
                        _ => {}
                    }
                }
            }
            (2, Wire::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let (group, version) = crate::meta::split_api_version(&api_version);
    let shape = match kind.as_str() {
        "DeleteOptions" => builtin_named("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"),
        _ => builtin(group, version, &kind),
    };
    let shape = shape.ok_or_else(|| ProtobufError::UnknownKind(format!("{api_version} {kind}")))?;
    let mut object = message(&shape, raw, 0)?;
    let map = crate::meta::as_map(&mut object);
    map.insert("apiVersion".to_owned(), api_version.into());
    map.insert("kind".to_owned(), kind.into());
    Ok(object)
}

enum Wire<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

type Part<'a> = Result<(u32, Wire<'a>), ProtobufError>;

/// The fields of a message in their order.
fn parts(mut rest: &[u8]) -> impl Iterator<Item = Part<'_>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let part = part(&mut rest);
        if part.is_err() {
            rest = &[];
        }
        Some(part)
    })
}

fn part<'a>(rest: &mut &'a [u8]) -> Part<'a> {
    let tag = varint(rest)?;
    let number = u32::try_from(tag >> 3).map_err(|_| ProtobufError::Truncated)?;
    let value = match tag & 7 {
        0 => Wire::Number(varint(rest)?),
        1 => Wire::Bytes(take(rest, 8)?),
        2 => {
            let length = usize::try_from(varint(rest)?).map_err(|_| ProtobufError::Truncated)?;
            Wire::Bytes(take(rest, length)?)
        }
        5 => Wire::Bytes(take(rest, 4)?),
        _ => return Err(ProtobufError::Truncated),
    };
    Ok((number, value))
}

fn varint(rest: &mut &[u8]) -> Result<u64, ProtobufError> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (first, tail) = rest.split_first().ok_or(ProtobufError::Truncated)?;
        *rest = tail;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(ProtobufError::Truncated)
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], ProtobufError> {
    let (taken, tail) = rest.split_at_checked(length).ok_or(ProtobufError::Truncated)?;
    *rest = tail;
    Ok(taken)
}

fn string(bytes: &[u8]) -> Result<String, ProtobufError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| ProtobufError::NotText)
}

fn message(shape: &Shape, bytes: &[u8], depth: usize) -> Result<Value, ProtobufError> {
    let (Shape::Object(object) | Shape::AtomicObject(object)) = shape else { return Ok(json!({})) };
    let mut map = Map::new();
    let fields: Vec<&Field> = object.fields.iter().collect();
    fill(&fields, 0, bytes, depth, &mut map)?;
    Ok(Value::Object(map))
}

/// Reads a message whose fields are those with `wire[level]`; a number that several share is a
/// message without a JSON name.
fn fill(
    fields: &[&Field],
    level: usize,
    bytes: &[u8],
    depth: usize,
    map: &mut Map<String, Value>,
) -> Result<(), ProtobufError> {
    if depth > MAX_DEPTH {
        return Err(ProtobufError::TooDeep);
    }
    for part in parts(bytes) {
        let (number, value) = part?;
        let here: Vec<&Field> =
            fields.iter().copied().filter(|f| f.wire.get(level) == Some(&number)).collect();
        match (here.iter().find(|f| f.wire.len() == level + 1), value) {
            (Some(field), value) => put(field, value, depth, map)?,
            (None, Wire::Bytes(inner)) if !here.is_empty() => {
                fill(&here, level + 1, inner, depth + 1, map)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn put(
    field: &Field,
    wire: Wire<'_>,
    depth: usize,
    map: &mut Map<String, Value>,
) -> Result<(), ProtobufError> {
    match &field.shape {
        Shape::List { of, .. } => {
            let value = scalar(of, wire, depth)?;
            let list = map.entry(field.name.clone()).or_insert_with(|| json!([]));
            if let Value::Array(list) = list {
                list.push(value);
            }
        }
        Shape::Map { of, .. } => {
            let Wire::Bytes(entry) = wire else { return Ok(()) };
            let (mut key, mut value) = (String::new(), empty(of));
            for part in parts(entry) {
                match part? {
                    (1, Wire::Bytes(text)) => key = string(text)?,
                    (2, wire) => value = scalar(of, wire, depth)?,
                    _ => {}
                }
            }
            let slot = map.entry(field.name.clone()).or_insert_with(|| json!({}));
            crate::meta::as_map(slot).insert(key, value);
        }
        shape => {
            let value = scalar(shape, wire, depth)?;
            if !is_absent(&field.name, &value) {
                map.insert(field.name.clone(), value);
            }
        }
    }
    Ok(())
}

/// A map's value that was left out.
fn empty(shape: &Shape) -> Value {
    match shape {
        Shape::String | Shape::Bytes => "".into(),
        Shape::List { .. } => json!([]),
        _ => Value::Null,
    }
}

/// Go sends fields that are no pointers whether they are set or not.
fn is_absent(name: &str, value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Number(n) => n.as_i64() == Some(0) && NO_ZERO.contains(&name),
        Value::Bool(flag) => !flag && !KEPT_FALSE.contains(&name),
        Value::Object(map) => map.is_empty() && NO_EMPTY.contains(&name),
        Value::Array(_) => false,
    }
}

fn scalar(shape: &Shape, wire: Wire<'_>, depth: usize) -> Result<Value, ProtobufError> {
    Ok(match (shape, wire) {
        (Shape::Bool, Wire::Number(n)) => Value::Bool(n != 0),
        // Negative numbers are sent as their two's complement.
        (_, Wire::Number(n)) => json!(n as i64),
        (Shape::Bytes, Wire::Bytes(bytes)) => STANDARD.encode(bytes).into(),
        (Shape::Quantity, Wire::Bytes(bytes)) => inner_text(bytes, 1)?.into(),
        (Shape::Time, Wire::Bytes(bytes)) => time(bytes, false)?,
        (Shape::MicroTime, Wire::Bytes(bytes)) => time(bytes, true)?,
        (Shape::IntOrString, Wire::Bytes(bytes)) => int_or_string(bytes)?,
        (Shape::Any, Wire::Bytes(bytes)) => {
            let raw = inner_text(bytes, 1)?;
            serde_json::from_str(&raw).unwrap_or_default()
        }
        (Shape::Number, Wire::Bytes(bytes)) => {
            let bytes = bytes.try_into().map_err(|_| ProtobufError::Truncated)?;
            json!(f64::from_le_bytes(bytes))
        }
        (Shape::Object(_) | Shape::AtomicObject(_), Wire::Bytes(bytes)) => {
            message(shape, bytes, depth + 1)?
        }
        // Named lists of strings, such as the values of `extra`.
        (Shape::List { of, .. }, Wire::Bytes(bytes)) => {
            let items = parts(bytes).map(|part| scalar(of, part?.1, depth + 1));
            Value::Array(items.collect::<Result<_, _>>()?)
        }
        (_, Wire::Bytes(bytes)) => string(bytes)?.into(),
    })
}

fn inner_text(bytes: &[u8], wanted: u32) -> Result<String, ProtobufError> {
    for part in parts(bytes) {
        if let (number, Wire::Bytes(text)) = part?
            && number == wanted
        {
            return string(text);
        }
    }
    Ok(String::new())
}

fn time(bytes: &[u8], micro: bool) -> Result<Value, ProtobufError> {
    let (mut seconds, mut nanos) = (None, 0);
    for part in parts(bytes) {
        match part? {
            (1, Wire::Number(n)) => seconds = Some(n as i64),
            (2, Wire::Number(n)) => nanos = n as i32,
            _ => {}
        }
    }
    let time = seconds.and_then(|s| jiff::Timestamp::new(s, nanos).ok());
    let format = if micro { "%Y-%m-%dT%H:%M:%S%.6fZ" } else { "%Y-%m-%dT%H:%M:%SZ" };
    Ok(time.map_or(Value::Null, |t| t.strftime(format).to_string().into()))
}

fn int_or_string(bytes: &[u8]) -> Result<Value, ProtobufError> {
    let (mut is_text, mut number, mut text) = (false, 0, String::new());
    for part in parts(bytes) {
        match part? {
            (1, Wire::Number(n)) => is_text = n == 1,
            (2, Wire::Number(n)) => number = n as i64,
            (3, Wire::Bytes(bytes)) => text = string(bytes)?,
            _ => {}
        }
    }
    Ok(if is_text { text.into() } else { json!(number) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, bytes.len() as u8], bytes].concat()
    }

    fn enveloped(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
        let meta = [field(1, api_version.as_bytes()), field(2, kind.as_bytes())].concat();
        [MAGIC.to_vec(), field(1, &meta), field(2, raw)].concat()
    }

    #[test]
    fn a_config_map_is_read() {
        let meta = [field(1, b"cm"), field(3, b"ns"), field(8, b"")].concat();
        let entry = [field(1, b"key"), field(2, b"value")].concat();
        let raw = [field(1, &meta), field(2, &entry)].concat();
        let wanted = json!({"metadata": {"name": "cm", "namespace": "ns"}, "data": {"key": "value"},
            "apiVersion": "v1", "kind": "ConfigMap"});
        assert_eq!(decode(&enveloped("v1", "ConfigMap", &raw)), Ok(wanted));
    }

    #[test]
    fn a_volume_source_without_a_name_of_its_own_is_read() {
        let empty_dir = field(2, &[]);
        let volume = [field(1, b"v"), field(2, &empty_dir)].concat();
        let raw = field(2, &field(1, &volume));
        let pod = decode(&enveloped("v1", "Pod", &raw)).unwrap();
        assert_eq!(pod["spec"]["volumes"], json!([{"name": "v", "emptyDir": {}}]));
    }

    #[test]
    fn broken_bodies_are_refused() {
        assert_eq!(decode(b"{}"), Err(ProtobufError::NoMagic));
        let good = enveloped("v1", "ConfigMap", &field(1, &field(1, b"cm")));
        assert_eq!(decode(&good[..good.len() - 1]), Err(ProtobufError::Truncated));
        let unknown = enveloped("v9", "Nope", &[]);
        assert_eq!(decode(&unknown), Err(ProtobufError::UnknownKind("v9 Nope".to_owned())));
    }
}
