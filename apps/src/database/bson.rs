//! Documents as MongoDB puts them on the wire (BSON), as far as a bookshop goes: numbers, text, truth,
//! lists and documents. A document is a JSON object; what JSON cannot say is refused.

use serde_json::{Map, Number, Value};

pub type Document = Map<String, Value>;

/// Documents in documents deeper than this are refused.
const DEEPEST: usize = 16;

pub fn encode(document: &Document) -> Vec<u8> {
    elements(document.iter().map(|(key, value)| (key.clone(), value)))
}

fn elements<'a>(all: impl Iterator<Item = (String, &'a Value)>) -> Vec<u8> {
    let mut out = vec![0; 4];
    for (key, value) in all {
        let at = out.len();
        out.push(0);
        out.extend(key.bytes().filter(|byte| *byte != 0));
        out.push(0);
        out[at] = put(value, &mut out);
    }
    out.push(0);
    let length = u32::try_from(out.len()).unwrap_or(u32::MAX).to_le_bytes();
    out[..4].copy_from_slice(&length);
    out
}

/// Writes a value and returns its type.
fn put(value: &Value, out: &mut Vec<u8>) -> u8 {
    match value {
        Value::Null => 0x0A,
        Value::Bool(truth) => {
            out.push(u8::from(*truth));
            0x08
        }
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => match i32::try_from(whole) {
                Ok(small) => {
                    out.extend(small.to_le_bytes());
                    0x10
                }
                Err(_) => {
                    out.extend(whole.to_le_bytes());
                    0x12
                }
            },
            (None, real) => {
                out.extend(real.unwrap_or_default().to_le_bytes());
                0x01
            }
        },
        Value::String(text) => {
            let length = u32::try_from(text.len() + 1).unwrap_or(u32::MAX);
            out.extend(length.to_le_bytes());
            out.extend(text.bytes());
            out.push(0);
            0x02
        }
        Value::Array(list) => {
            out.extend(elements(list.iter().enumerate().map(|(i, value)| (i.to_string(), value))));
            0x04
        }
        Value::Object(document) => {
            out.extend(encode(document));
            0x03
        }
    }
}

/// The document that starts here, and how long it is.
pub fn decode(bytes: &[u8]) -> Option<(Document, usize)> {
    let mut reader = Reader(bytes);
    let document = reader.document(DEEPEST)?;
    Some((document, bytes.len() - reader.0.len()))
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(i32::from_le_bytes(self.bytes()?)).ok()
    }

    /// Text up to a zero.
    fn name(&mut self) -> Option<String> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let name = self.take(end)?;
        self.take(1)?;
        Some(String::from_utf8_lossy(name).into_owned())
    }

    fn document(&mut self, deeper: usize) -> Option<Document> {
        let length = self.length()?;
        let mut inner = Reader(self.take(length.checked_sub(4)?)?);
        let mut document = Document::new();
        loop {
            let kind = inner.bytes::<1>()?[0];
            if kind == 0 {
                return inner.0.is_empty().then_some(document);
            }
            let key = inner.name()?;
            document.insert(key, inner.value(kind, deeper.checked_sub(1)?)?);
        }
    }

    fn value(&mut self, kind: u8, deeper: usize) -> Option<Value> {
        Some(match kind {
            0x01 => {
                let real = f64::from_le_bytes(self.bytes()?);
                // A whole number is the same whether it came as one or not.
                let whole = real as i64;
                if whole as f64 == real { whole.into() } else { Number::from_f64(real)?.into() }
            }
            0x02 => {
                let length = self.length()?;
                let text = self.take(length)?.strip_suffix(&[0])?;
                String::from_utf8_lossy(text).into_owned().into()
            }
            0x03 => Value::Object(self.document(deeper)?),
            0x04 => self.document(deeper)?.into_iter().map(|(_, value)| value).collect(),
            // Bytes: a session's identity, which nobody here reads.
            0x05 => {
                let length = self.length()?;
                self.take(length.checked_add(1)?)?;
                Value::Null
            }
            // An object's identity, as its twelve bytes in hexadecimal.
            0x07 => {
                let id = self.take(12)?;
                id.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()
            }
            0x08 => Value::Bool(self.bytes::<1>()?[0] != 0),
            0x0A => Value::Null,
            0x10 => i32::from_le_bytes(self.bytes()?).into(),
            0x09 | 0x11 | 0x12 => i64::from_le_bytes(self.bytes()?).into(),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn documents_come_back_as_they_went() {
        let value = json!({"a": 1, "b": "two", "c": [true, null, {"d": 3.5}], "e": 1_i64 << 40});
        let Value::Object(document) = value else { unreachable!() };
        let bytes = encode(&document);
        assert_eq!(decode(&bytes), Some((document, bytes.len())));
    }

    #[test]
    fn what_is_broken_is_refused() {
        let bytes = encode(&json!({"a": [1, {"b": "c"}]}).as_object().cloned().unwrap_or_default());
        for length in 0..bytes.len() {
            assert_eq!(decode(&bytes[..length]), None, "{length}");
        }
        assert_eq!(decode(&[5, 0, 0, 0, 1]), None);
        assert_eq!(decode(&[0xff, 0xff, 0xff, 0xff, 0]), None);
        let mut deep = Vec::from([5, 0, 0, 0, 0]);
        for _ in 0..40 {
            let length = (deep.len() as u32 + 8).to_le_bytes();
            deep = [&length[..], &[3, b'x', 0], &deep, &[0]].concat();
        }
        assert_eq!(decode(&deep), None, "too deep");
    }
}
