//! The hash of a pod template, as it stands in names and in the label `pod-template-hash`.

use serde_json::Value;

/// Kubernetes' alphabet for generated names: no vowels, so no words.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// Ten letters that depend on the value alone (not on the order of its keys) and on `salt`, which
/// tells colliding values apart.
pub fn template_hash(template: &Value, salt: i64) -> String {
    let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
    hash.value(template);
    hash.bytes(&salt.to_le_bytes());
    let mut rest = hash.0;
    (0..10)
        .map(|_| {
            let letter = ALPHABET[usize::try_from(rest % 27).unwrap_or_default()];
            rest /= 27;
            char::from(letter)
        })
        .collect()
}

struct Fnv(u64);

impl Fnv {
    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Object(map) => {
                let mut keys: Vec<&String> = map.keys().collect();
                keys.sort();
                self.bytes(b"{");
                for key in keys {
                    self.bytes(key.as_bytes());
                    self.bytes(b":");
                    self.value(&map[key]);
                }
                self.bytes(b"}");
            }
            Value::Array(items) => {
                self.bytes(b"[");
                for item in items {
                    self.value(item);
                    self.bytes(b",");
                }
                self.bytes(b"]");
            }
            other => self.bytes(other.to_string().as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn depends_on_content_only() {
        let a = json!({"x": 1, "y": ["a", "b"]});
        let b = json!({"y": ["a", "b"], "x": 1});
        assert_eq!(template_hash(&a, 0), template_hash(&b, 0));
        assert_ne!(template_hash(&a, 0), template_hash(&a, 1));
        assert_ne!(template_hash(&a, 0), template_hash(&json!({"x": 1, "y": ["b", "a"]}), 0));
        assert_eq!(template_hash(&a, 0).len(), 10);
    }
}
