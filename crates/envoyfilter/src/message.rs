//! Messages whose type is known only while running: reading and writing of JSON and bytes, and short ways
//! to the fields that patches are matched by.

use crate::descriptors;
use prost::Message as _;
use prost_reflect::{
    DeserializeOptions, DynamicMessage, MessageDescriptor, ReflectMessage as _, Value,
};
use serde_json::{Map, Value as Json};

pub(crate) const TYPE_HOST: &str = "type.googleapis.com/";
const TYPED_STRUCT: &str = "type.googleapis.com/xds.type.v3.TypedStruct";
const ANY: &str = "google.protobuf.Any";
/// Deeper nesting is refused rather than followed.
const MAX_DEPTH: u32 = 64;

#[derive(Debug, thiserror::Error)]
pub(crate) enum MessageError {
    #[error("{0}")]
    Json(String),
    #[error("Envoy has no type {0:?}")]
    UnknownType(String),
    #[error("it is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
}

pub(crate) fn descriptor(name: &str) -> Result<MessageDescriptor, MessageError> {
    descriptors::find(name).ok_or_else(|| MessageError::UnknownType(name.to_owned()))
}

/// Reads JSON as a message; strictly, where an unknown field is an error.
pub(crate) fn from_json(
    of: &MessageDescriptor,
    json: &Json,
    strict: bool,
) -> Result<DynamicMessage, MessageError> {
    let mut json = json.clone();
    name_foreign_types(&mut json, 0)?;
    let options = DeserializeOptions::new().deny_unknown_fields(strict);
    DynamicMessage::deserialize_with_options(of.clone(), &json, &options)
        .map_err(|e| MessageError::Json(e.to_string()))
}

/// Configuration of a type that is not Envoy's own (an extension somebody linked in) goes to Envoy as a
/// `TypedStruct`, which Envoy itself turns into the type.
fn name_foreign_types(json: &mut Json, depth: u32) -> Result<(), MessageError> {
    if depth > MAX_DEPTH {
        return Err(MessageError::TooDeep);
    }
    match json {
        Json::Array(items) => items.iter_mut().try_for_each(|i| name_foreign_types(i, depth + 1)),
        Json::Object(fields) => {
            fields.values_mut().try_for_each(|v| name_foreign_types(v, depth + 1))?;
            let Some(url) = fields.get("@type").and_then(Json::as_str) else { return Ok(()) };
            let name = url.rsplit('/').next().unwrap_or_default();
            if descriptors::find(name).is_some() {
                return Ok(());
            }
            if ["envoy.", "udpa.", "xds.", "google."].iter().any(|p| name.starts_with(p)) {
                return Err(MessageError::UnknownType(url.to_owned()));
            }
            let url = Json::from(url);
            fields.shift_remove("@type");
            let value = std::mem::take(fields);
            *json = Json::Object(Map::from_iter([
                ("@type".to_owned(), Json::from(TYPED_STRUCT)),
                ("type_url".to_owned(), url),
                ("value".to_owned(), Json::Object(value)),
            ]));
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Reads bytes that our own encoder wrote.
pub(crate) fn from_bytes(of: &MessageDescriptor, bytes: &[u8]) -> Option<DynamicMessage> {
    DynamicMessage::decode(of.clone(), bytes).ok()
}

/// A field that holds a message.
pub(crate) fn child<'a>(of: &'a DynamicMessage, name: &str) -> Option<&'a DynamicMessage> {
    let field = of.descriptor().get_field_by_name(name)?;
    if !of.has_field(&field) {
        return None;
    }
    match of.get_field(&field) {
        std::borrow::Cow::Borrowed(Value::Message(m)) => Some(m),
        _ => None,
    }
}

pub(crate) fn child_mut<'a>(
    of: &'a mut DynamicMessage,
    name: &str,
) -> Option<&'a mut DynamicMessage> {
    if !of.has_field_by_name(name) {
        return None;
    }
    of.get_field_by_name_mut(name)?.as_message_mut()
}

pub(crate) fn text(of: &DynamicMessage, name: &str) -> String {
    let value = of.get_field_by_name(name);
    value.and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

/// A number, also one in a wrapper.
pub(crate) fn number(of: &DynamicMessage, name: &str) -> u64 {
    match of.get_field_by_name(name).as_deref() {
        Some(Value::U32(n)) => u64::from(*n),
        Some(Value::U64(n)) => *n,
        Some(Value::EnumNumber(n)) => u64::try_from(*n).unwrap_or(0),
        Some(Value::Message(m)) if m.descriptor().get_field(1).is_some() => number(m, "value"),
        _ => 0,
    }
}

pub(crate) fn texts(of: &DynamicMessage, name: &str) -> Vec<String> {
    let value = of.get_field_by_name(name);
    let list = value.as_deref().and_then(Value::as_list).unwrap_or_default();
    list.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect()
}

/// The messages of a repeated field; the field exists in the schema.
pub(crate) fn list_mut<'a>(of: &'a mut DynamicMessage, name: &str) -> Option<&'a mut Vec<Value>> {
    of.get_field_by_name_mut(name)?.as_list_mut()
}

pub(crate) fn put_text(of: &mut DynamicMessage, name: &str, value: &str) {
    of.set_field_by_name(name, Value::String(value.to_owned()));
}

/// What an `Any` holds, if its type is known.
pub(crate) fn unpack(any: &DynamicMessage) -> Option<DynamicMessage> {
    let url = text(any, "type_url");
    let of = descriptors::find(url.rsplit('/').next()?)?;
    let bytes = any.get_field_by_name("value")?;
    from_bytes(&of, bytes.as_bytes()?)
}

pub(crate) fn pack(message: &DynamicMessage) -> Option<DynamicMessage> {
    let mut any = DynamicMessage::new(descriptors::find(ANY)?);
    put_text(&mut any, "type_url", &format!("{TYPE_HOST}{}", message.descriptor().full_name()));
    any.set_field_by_name("value", Value::Bytes(message.encode_to_vec().into()));
    Some(any)
}

pub(crate) fn is_any(message: &DynamicMessage) -> bool {
    message.descriptor().full_name() == ANY
}
