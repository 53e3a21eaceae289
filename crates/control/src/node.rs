//! A discovery node's metadata as JSON, which is how the compiler reads it.

use proto::discovery::Node;
use proto::envoy::google::protobuf::value::Kind;
use proto::envoy::google::protobuf::{Struct, Value as Wire};
use serde_json::{Map, Number, Value};

pub(crate) fn metadata(node: &Node) -> Value {
    node.metadata.as_ref().map_or(Value::Object(Map::new()), fields)
}

fn fields(s: &Struct) -> Value {
    Value::Object(s.fields.iter().map(|(k, v)| (k.clone(), value(v))).collect())
}

fn value(v: &Wire) -> Value {
    match &v.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(b)) => Value::Bool(*b),
        Some(Kind::NumberValue(n)) => Number::from_f64(*n).map_or(Value::Null, Value::Number),
        Some(Kind::StringValue(s)) => Value::String(s.clone()),
        Some(Kind::StructValue(s)) => fields(s),
        Some(Kind::ListValue(l)) => l.values.iter().map(value).collect(),
    }
}
