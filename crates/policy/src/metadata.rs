//! What filters have said of a request, and conditions on it.

use crate::matching::Matcher;
use base::Finding;
use ir::{Metadata, MetadataMatch, Str, Value, ValueMatch};
use std::collections::BTreeMap;

/// A compiled [`MetadataMatch`].
#[derive(Clone, Debug)]
pub struct MetadataMatcher {
    filter: Str,
    path: Vec<Str>,
    value: ValueMatcher,
    invert: bool,
}

#[derive(Clone, Debug)]
enum ValueMatcher {
    Null,
    Bool(bool),
    Text(Matcher),
    Present(bool),
    OneOf(Box<ValueMatcher>),
    Any(Vec<ValueMatcher>),
}

impl MetadataMatcher {
    pub fn new(from: &MetadataMatch, path: &str, findings: &mut Vec<Finding>) -> Self {
        Self {
            filter: from.filter.clone(),
            path: from.path.clone(),
            value: ValueMatcher::new(&from.value, path, findings),
            invert: from.invert,
        }
    }

    /// Who says it, and what is looked at.
    pub fn name(&self) -> (&Str, &[Str]) {
        (&self.filter, &self.path)
    }

    pub fn matches(&self, metadata: &Metadata) -> bool {
        self.value.matches(find(metadata, &self.filter, &self.path)) != self.invert
    }
}

/// What stands at a path of what a filter has said.
pub fn find<'m>(metadata: &'m Metadata, filter: &str, path: &[Str]) -> Option<&'m Value> {
    path.iter().try_fold(metadata.get(filter)?, |value, key| value.get(key))
}

/// Adds what a filter says.
pub fn add(metadata: &mut Metadata, filter: &Str, said: BTreeMap<Str, Value>) {
    if said.is_empty() {
        return;
    }
    let before = metadata.entry(filter.clone()).or_insert_with(|| Value::Struct(BTreeMap::new()));
    match before {
        Value::Struct(fields) => fields.extend(said),
        other => *other = Value::Struct(said),
    }
}

/// Writes a value as logs show it: text as it is, whatever has parts as JSON. `false`: there is nothing.
pub fn show(value: &Value, out: &mut Vec<u8>) -> bool {
    match value {
        Value::String(text) => out.extend_from_slice(text.as_bytes()),
        Value::Null => return false,
        value => json(value, out),
    }
    true
}

fn json(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(b) => out.extend_from_slice(if *b { b"true" } else { b"false" }),
        Value::Number(n) => out.extend_from_slice(n.to_string().as_bytes()),
        Value::String(text) => quoted(text, out),
        Value::List(list) => {
            out.push(b'[');
            for (i, value) in list.iter().enumerate() {
                out.extend_from_slice(if i > 0 { b"," } else { b"" });
                json(value, out);
            }
            out.push(b']');
        }
        Value::Struct(fields) => {
            out.push(b'{');
            for (i, (key, value)) in fields.iter().enumerate() {
                out.extend_from_slice(if i > 0 { b"," } else { b"" });
                quoted(key, out);
                out.push(b':');
                json(value, out);
            }
            out.push(b'}');
        }
    }
}

fn quoted(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend_from_slice(&[b'\\', c as u8]),
            c if c < ' ' => out.extend_from_slice(format!("\\u{:04x}", c as u32).as_bytes()),
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'"');
}

impl ValueMatcher {
    fn new(from: &ValueMatch, path: &str, findings: &mut Vec<Finding>) -> Self {
        match from {
            ValueMatch::Null => ValueMatcher::Null,
            ValueMatch::Bool(b) => ValueMatcher::Bool(*b),
            ValueMatch::Text(text) => ValueMatcher::Text(Matcher::new(text, path, findings)),
            ValueMatch::Present(there) => ValueMatcher::Present(*there),
            ValueMatch::OneOf(inner) => {
                ValueMatcher::OneOf(Box::new(Self::new(inner, path, findings)))
            }
            ValueMatch::Any(list) => ValueMatcher::Any(
                list.iter().map(|inner| Self::new(inner, path, findings)).collect(),
            ),
        }
    }

    fn matches(&self, value: Option<&Value>) -> bool {
        match (self, value) {
            (ValueMatcher::Any(list), value) => list.iter().any(|inner| inner.matches(value)),
            (ValueMatcher::Present(wanted), there) => *wanted && there.is_some(),
            (ValueMatcher::Null, Some(Value::Null)) => true,
            (ValueMatcher::Bool(wanted), Some(Value::Bool(b))) => wanted == b,
            (ValueMatcher::Text(matcher), Some(Value::String(s))) => matcher.matches(s.as_bytes()),
            (ValueMatcher::OneOf(inner), Some(Value::List(list))) => {
                list.iter().any(|v| inner.matches(Some(v)))
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ir::StringMatch;

    #[test]
    fn conditions_look_at_what_a_filter_has_said() {
        let mut metadata = Metadata::new();
        let text = |s: &str| Value::String(s.into());
        let inner = Value::Struct(BTreeMap::from([("b".into(), text("x-1"))]));
        add(&mut metadata, &"f".into(), BTreeMap::from([("a".into(), inner)]));
        let list = Value::List(vec![Value::Null, Value::Bool(true)]);
        add(&mut metadata, &"f".into(), BTreeMap::from([("l".into(), list)]));
        let exact = || ValueMatch::Text(StringMatch::exact("x-1"));
        let table: [(&str, &[&str], ValueMatch, bool); 7] = [
            ("f", &["a", "b"], exact(), true),
            ("f", &["a"], exact(), false),
            ("g", &["a", "b"], exact(), false),
            ("f", &["a", "b"], ValueMatch::Present(true), true),
            ("f", &["z"], ValueMatch::Present(true), false),
            ("f", &["l"], ValueMatch::OneOf(Box::new(ValueMatch::Bool(true))), true),
            ("f", &["l"], ValueMatch::OneOf(Box::new(ValueMatch::Bool(false))), false),
        ];
        for (filter, path, value, expected) in table {
            for invert in [false, true] {
                let path = path.iter().map(|p| Str::from(*p)).collect();
                let from =
                    MetadataMatch { filter: filter.into(), path, value: value.clone(), invert };
                let matcher = MetadataMatcher::new(&from, "", &mut Vec::new());
                assert_eq!(matcher.matches(&metadata), expected != invert, "{from:?}");
            }
        }
    }
}
