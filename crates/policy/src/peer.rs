//! What workloads tell each other about themselves: the headers `x-envoy-peer-metadata` (a protobuf
//! `Struct` in base64) and `x-envoy-peer-metadata-id`, and the short form that endpoints carry.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ir::{Str, Value};
use std::collections::BTreeMap;

pub const METADATA: &[u8] = b"x-envoy-peer-metadata";
pub const ID: &[u8] = b"x-envoy-peer-metadata-id";

/// A workload as metrics name it. What is not known is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Workload {
    pub workload: Str,
    pub namespace: Str,
    pub canonical_service: Str,
    pub canonical_revision: Str,
    pub app: Str,
    pub version: Str,
    pub cluster: Str,
}

/// The parts of a node's metadata that peers are told.
const TOLD: [&str; 6] =
    ["NAME", "NAMESPACE", "OWNER", "WORKLOAD_NAME", "CLUSTER_ID", "PLATFORM_METADATA"];
const TOLD_LABELS: [&str; 6] = [
    "app",
    "version",
    "app.kubernetes.io/name",
    "app.kubernetes.io/version",
    "service.istio.io/canonical-name",
    "service.istio.io/canonical-revision",
];

/// Metadata larger than this is not read.
const LARGEST: usize = 16 * 1024;
/// Structs within structs that are read.
const DEPTH: u32 = 4;

impl Workload {
    /// From a node's metadata.
    pub fn from_metadata(metadata: &BTreeMap<Str, Value>) -> Self {
        let text = |key: &str| metadata.get(key).and_then(Value::as_str).unwrap_or_default();
        let label = |keys: &[&str]| -> Str {
            let labels = metadata.get("LABELS");
            let found = keys.iter().find_map(|k| labels?.get(k)?.as_str());
            found.unwrap_or_default().into()
        };
        let workload: Str = text("WORKLOAD_NAME").into();
        let or = |value: Str, other: &str| if value.is_empty() { other.into() } else { value };
        let app = label(&["app", "app.kubernetes.io/name"]);
        let version = label(&["version", "app.kubernetes.io/version"]);
        let service = label(&["service.istio.io/canonical-name"]);
        let service = or(or(service, &app), &workload);
        let revision = or(label(&["service.istio.io/canonical-revision"]), &version);
        Self {
            namespace: text("NAMESPACE").into(),
            canonical_service: service,
            canonical_revision: or(revision, "latest"),
            app,
            version,
            cluster: text("CLUSTER_ID").into(),
            workload,
        }
    }

    /// From an endpoint: `<workload>;<namespace>;<canonical name>;<canonical revision>;<cluster>`.
    pub fn from_endpoint(text: &str) -> Option<Self> {
        let mut parts = text.split(';');
        let workload = Self {
            workload: parts.next()?.into(),
            namespace: parts.next()?.into(),
            canonical_service: parts.next()?.into(),
            canonical_revision: parts.next()?.into(),
            cluster: parts.next().unwrap_or_default().into(),
            ..Self::default()
        };
        Some(Self {
            app: workload.canonical_service.clone(),
            version: workload.canonical_revision.clone(),
            ..workload
        })
    }

    /// From the header of a peer.
    pub fn from_header(value: &[u8]) -> Option<Self> {
        if value.len() > LARGEST {
            return None;
        }
        let bytes = STANDARD.decode(value).ok()?;
        match read_struct(&bytes, DEPTH)? {
            Value::Struct(fields) => Some(Self::from_metadata(&fields)),
            _ => None,
        }
    }
}

/// The header's value for a node's metadata.
pub fn header(metadata: &BTreeMap<Str, Value>) -> String {
    let mut told: BTreeMap<Str, Value> = BTreeMap::new();
    for key in TOLD {
        if let Some(value) = metadata.get(key) {
            told.insert(key.into(), value.clone());
        }
    }
    if let Some(Value::Struct(labels)) = metadata.get("LABELS") {
        let kept = labels.iter().filter(|(k, _)| TOLD_LABELS.contains(&&***k));
        told.insert(
            "LABELS".into(),
            Value::Struct(kept.map(|(k, v)| (k.clone(), v.clone())).collect()),
        );
    }
    let mut out = Vec::new();
    write_struct(&told, &mut out);
    STANDARD.encode(out)
}

/// `google.protobuf.Struct { map<string, Value> fields = 1 }`.
fn write_struct(fields: &BTreeMap<Str, Value>, out: &mut Vec<u8>) {
    for (key, value) in fields {
        let mut entry = Vec::new();
        write_bytes(1, key.as_bytes(), &mut entry);
        let mut inner = Vec::new();
        write_value(value, &mut inner);
        write_bytes(2, &inner, &mut entry);
        write_bytes(1, &entry, out);
    }
}

fn write_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(&[1 << 3, 0]),
        Value::Number(n) => {
            out.push(2 << 3 | 1);
            out.extend_from_slice(&n.to_le_bytes());
        }
        Value::String(s) => write_bytes(3, s.as_bytes(), out),
        Value::Bool(b) => out.extend_from_slice(&[4 << 3, u8::from(*b)]),
        Value::Struct(fields) => {
            let mut inner = Vec::new();
            write_struct(fields, &mut inner);
            write_bytes(5, &inner, out);
        }
        Value::List(items) => {
            let mut list = Vec::new();
            for item in items {
                let mut inner = Vec::new();
                write_value(item, &mut inner);
                write_bytes(1, &inner, &mut list);
            }
            write_bytes(6, &list, out);
        }
    }
}

fn write_bytes(field: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(field << 3 | 2);
    let mut len = bytes.len();
    while len >= 0x80 {
        out.push(len as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
    out.extend_from_slice(bytes);
}

fn read_struct(bytes: &[u8], depth: u32) -> Option<Value> {
    let mut fields = BTreeMap::new();
    let mut reader = Reader(bytes);
    while let Some((field, data)) = reader.field()? {
        if let (1, Data::Bytes(entry)) = (field, data) {
            let (mut key, mut value) = (Str::from(""), Value::Null);
            let mut entry = Reader(entry);
            while let Some((field, data)) = entry.field()? {
                match (field, data) {
                    (1, Data::Bytes(k)) => key = std::str::from_utf8(k).ok()?.into(),
                    (2, Data::Bytes(v)) => value = read_value(v, depth)?,
                    _ => {}
                }
            }
            fields.insert(key, value);
        }
    }
    Some(Value::Struct(fields))
}

fn read_value(bytes: &[u8], depth: u32) -> Option<Value> {
    let depth = depth.checked_sub(1)?;
    let mut value = Value::Null;
    let mut reader = Reader(bytes);
    while let Some((field, data)) = reader.field()? {
        value = match (field, data) {
            (2, Data::Fixed(n)) => Value::Number(f64::from_bits(n)),
            (3, Data::Bytes(s)) => Value::String(std::str::from_utf8(s).ok()?.into()),
            (4, Data::Varint(n)) => Value::Bool(n != 0),
            (5, Data::Bytes(inner)) => read_struct(inner, depth)?,
            // Lists say nothing that is asked for.
            _ => value,
        };
    }
    Some(value)
}

enum Data<'a> {
    Varint(u64),
    Fixed(u64),
    Bytes(&'a [u8]),
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The next field; the outer `None` is a malformed message, the inner one its end.
    fn field(&mut self) -> Option<Option<(u64, Data<'a>)>> {
        if self.0.is_empty() {
            return Some(None);
        }
        let key = self.varint()?;
        let data = match key & 7 {
            0 => Data::Varint(self.varint()?),
            1 => Data::Fixed(u64::from_le_bytes(self.take(8)?.try_into().ok()?)),
            2 => {
                let len = usize::try_from(self.varint()?).ok()?;
                Data::Bytes(self.take(len)?)
            }
            _ => return None,
        };
        Some(Some((key >> 3, data)))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(n)?;
        self.0 = tail;
        Some(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> BTreeMap<Str, Value> {
        let text = |s: &str| Value::String(s.into());
        let labels = [("app", "reviews"), ("version", "v1"), ("pod-template-hash", "x")];
        BTreeMap::from([
            ("NAME".into(), text("reviews-v1-abc")),
            ("NAMESPACE".into(), text("default")),
            ("WORKLOAD_NAME".into(), text("reviews-v1")),
            ("CLUSTER_ID".into(), text("Kubernetes")),
            ("SECRET".into(), text("not told")),
            (
                "LABELS".into(),
                Value::Struct(labels.map(|(k, v)| (k.into(), text(v))).into_iter().collect()),
            ),
        ])
    }

    #[test]
    fn a_peer_reads_what_a_node_says_of_itself() {
        let header = header(&node());
        let read = Workload::from_header(header.as_bytes()).unwrap();
        assert_eq!(read, Workload::from_metadata(&node()));
        assert_eq!(&*read.workload, "reviews-v1");
        assert_eq!(&*read.canonical_service, "reviews");
        assert_eq!(&*read.canonical_revision, "v1");
        let decoded = STANDARD.decode(header).unwrap();
        assert!(memchr::memmem::find(&decoded, b"not told").is_none());
        assert!(memchr::memmem::find(&decoded, b"pod-template").is_none());
    }

    #[test]
    fn endpoints_say_it_in_short() {
        let read = Workload::from_endpoint("reviews-v1;default;reviews;v1;Kubernetes").unwrap();
        assert_eq!((&*read.app, &*read.version, &*read.cluster), ("reviews", "v1", "Kubernetes"));
        assert_eq!(Workload::from_endpoint("x;y"), None);
    }

    #[test]
    fn nonsense_is_no_peer_and_no_panic() {
        use base::Env;
        assert_eq!(Workload::from_header(b"%%%"), None);
        let env = base::FixedEnv::seeded(2);
        let good = STANDARD.decode(header(&node())).unwrap();
        for _ in 0..5000 {
            let mut bytes = good.clone();
            let at = env.below(bytes.len() as u64) as usize;
            bytes[at] = env.random() as u8;
            Workload::from_header(STANDARD.encode(bytes).as_bytes());
        }
    }
}
