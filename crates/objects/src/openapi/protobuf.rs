//! The Swagger document in the protobuf form that older kubectls ask for. Message and field
//! numbers are those of the public `openapi.v2` messages.

use serde_json::Value;

/// Encodes a document made by `v2`.
pub fn encode(document: &Value) -> Vec<u8> {
    let mut out = Message::default();
    out.string(1, text(document, "swagger"));
    if let Some(info) = document.get("info") {
        let mut message = Message::default();
        message.string(1, text(info, "title"));
        message.string(2, text(info, "version"));
        out.message(2, &message);
    }
    let mut paths = Message::default();
    for (name, item) in entries(document.get("paths")) {
        paths.message(2, &named(name, &path_item(item)));
    }
    out.message(8, &paths);
    let mut definitions = Message::default();
    for (name, item) in entries(document.get("definitions")) {
        definitions.message(1, &named(name, &schema(item)));
    }
    out.message(9, &definitions);
    out.0
}

#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn string(&mut self, field: u64, text: &str) {
        if !text.is_empty() {
            self.bytes(field, text.as_bytes());
        }
    }

    fn message(&mut self, field: u64, message: &Message) {
        self.bytes(field, &message.0);
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn entries(value: Option<&Value>) -> impl Iterator<Item = (&String, &Value)> {
    value.and_then(Value::as_object).into_iter().flatten()
}

fn named(name: &str, value: &Message) -> Message {
    let mut message = Message::default();
    message.string(1, name);
    message.message(2, value);
    message
}

fn path_item(item: &Value) -> Message {
    let mut message = Message::default();
    for (verb, field) in [("get", 2), ("put", 3), ("post", 4), ("delete", 5), ("patch", 8)] {
        if let Some(one) = item.get(verb) {
            message.message(field, &operation(one));
        }
    }
    message
}

fn operation(operation: &Value) -> Message {
    let mut message = Message::default();
    message.string(5, text(operation, "operationId"));
    for one in operation.get("parameters").and_then(Value::as_array).into_iter().flatten() {
        message.message(8, &parameter(one));
    }
    let mut responses = Message::default();
    for (code, response) in entries(operation.get("responses")) {
        let mut inner = Message::default();
        inner.string(1, text(response, "description"));
        let mut value = Message::default();
        value.message(1, &inner);
        responses.message(1, &named(code, &value));
    }
    message.message(9, &responses);
    extensions(operation, 13, &mut message);
    message
}

/// A query parameter, four messages deep.
fn parameter(parameter: &Value) -> Message {
    let mut query = Message::default();
    query.string(2, text(parameter, "in"));
    query.string(4, text(parameter, "name"));
    query.string(6, text(parameter, "type"));
    let mut non_body = Message::default();
    non_body.message(3, &query);
    let mut one = Message::default();
    one.message(2, &non_body);
    let mut item = Message::default();
    item.message(1, &one);
    item
}

fn schema(schema: &Value) -> Message {
    let mut message = Message::default();
    message.string(1, text(schema, "$ref"));
    message.string(2, text(schema, "format"));
    message.string(4, text(schema, "description"));
    for name in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
        message.string(19, name.as_str().unwrap_or_default());
    }
    if let Some(additional) = schema.get("additionalProperties") {
        let mut item = Message::default();
        item.message(1, &self::schema(additional));
        message.message(21, &item);
    }
    if !text(schema, "type").is_empty() {
        let mut types = Message::default();
        types.string(1, text(schema, "type"));
        message.message(22, &types);
    }
    if let Some(items) = schema.get("items") {
        let mut item = Message::default();
        item.message(1, &self::schema(items));
        message.message(23, &item);
    }
    if schema.get("properties").is_some() {
        let mut properties = Message::default();
        for (name, property) in entries(schema.get("properties")) {
            properties.message(1, &named(name, &self::schema(property)));
        }
        message.message(25, &properties);
    }
    extensions(schema, 31, &mut message);
    message
}

/// Extensions travel as YAML text, of which JSON is a part.
fn extensions(value: &Value, field: u64, message: &mut Message) {
    for (name, extension) in entries(Some(value)).filter(|(k, _)| k.starts_with("x-")) {
        let mut any = Message::default();
        any.string(2, &format!("{extension}\n"));
        message.message(field, &named(name, &any));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_small_document_is_encoded_as_the_messages_say() {
        let bytes = encode(&json!({"swagger": "2.0", "info": {"title": "t", "version": "v"},
            "definitions": {"A": {"type": "string"}}}));
        let mut wanted: Vec<u8> = Vec::new();
        wanted.extend(b"\x0a\x032.0"); // swagger
        wanted.extend(b"\x12\x06\x0a\x01t\x12\x01v"); // info
        wanted.extend(b"\x42\x00"); // paths
        // definitions { A: { type: { "string" } } }
        wanted.extend(b"\x4a\x12\x0a\x10\x0a\x01A\x12\x0b\xb2\x01\x08\x0a\x06string");
        assert_eq!(bytes, wanted);
    }
}
