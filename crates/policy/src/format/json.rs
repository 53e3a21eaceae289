//! JSON log lines: a tree whose leaves are format strings.

use super::{Info, Template};
use base::Finding;
use ir::Value;

/// A compiled JSON log format.
#[derive(Clone, Debug)]
pub struct JsonTemplate(Node);

#[derive(Clone, Debug)]
enum Node {
    /// Written as it stands.
    Constant(Box<[u8]>),
    Format(Template),
    List(Vec<Node>),
    /// Keys are written with quotes and colon.
    Struct(Vec<(Box<[u8]>, Node)>),
}

impl JsonTemplate {
    pub fn new(value: &Value, path: &str, findings: &mut Vec<Finding>) -> Self {
        Self(compile(value, path, findings))
    }

    /// Writes one line.
    pub fn write(&self, info: &Info<'_>, out: &mut Vec<u8>) {
        write(&self.0, info, out);
        out.push(b'\n');
    }
}

fn compile(value: &Value, path: &str, findings: &mut Vec<Finding>) -> Node {
    let constant = |s: String| Node::Constant(s.into_bytes().into());
    match value {
        Value::Null => constant("null".into()),
        Value::Bool(b) => constant(b.to_string()),
        Value::Number(n) => constant(n.to_string()),
        Value::String(s) => Node::Format(Template::log(s, path, findings)),
        Value::List(items) => {
            Node::List(items.iter().map(|v| compile(v, path, findings)).collect())
        }
        Value::Struct(fields) => {
            let mut entries = Vec::new();
            for (key, value) in fields {
                let mut quoted = Vec::new();
                string(key.as_bytes(), &mut quoted);
                quoted.push(b':');
                entries.push((quoted.into(), compile(value, &format!("{path}.{key}"), findings)));
            }
            Node::Struct(entries)
        }
    }
}

fn write(node: &Node, info: &Info<'_>, out: &mut Vec<u8>) {
    match node {
        Node::Constant(text) => out.extend_from_slice(text),
        Node::Format(template) => leaf(template, info, out),
        Node::List(items) => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write(item, info, out);
            }
            out.push(b']');
        }
        Node::Struct(entries) => {
            out.push(b'{');
            for (i, (key, value)) in entries.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                out.extend_from_slice(key);
                write(value, info, out);
            }
            out.push(b'}');
        }
    }
}

/// A single operator keeps its type, and is null where it has no value.
fn leaf(template: &Template, info: &Info<'_>, out: &mut Vec<u8>) {
    let mut value = Vec::new();
    match template.as_command() {
        Some(command) if !command.write(info, &mut value) => out.extend_from_slice(b"null"),
        Some(command) if command.is_number() => out.extend_from_slice(&value),
        Some(_) => string(&value, out),
        None => {
            template.write(info, &mut value);
            string(&value, out);
        }
    }
}

/// A JSON string; bytes that are not UTF-8 become the replacement character.
fn string(value: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for c in String::from_utf8_lossy(value).chars() {
        match c {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            c if (c as u32) < 0x20 => {
                out.extend_from_slice(format!("\\u{:04x}", c as u32).as_bytes());
            }
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'"');
}
