//! The tables of fields. One line is one field: its name (`!` when required), its shape, and limits;
//! the fields of an object follow, indented by one more space. `[]` is a list of, `{}` a map to; `@Name`
//! refers to the block of that name at the end of the file; `legacy` marks fields that Istio removed and
//! that keep their meaning here.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub name: &'static str,
    pub required: bool,
    pub legacy: bool,
    pub shape: Shape,
    /// Of the value, or of each value of a list or map.
    pub limits: Vec<(&'static str, &'static str)>,
}

#[derive(Clone, Debug)]
pub(crate) enum Shape {
    Text,
    Integer,
    Number,
    Boolean,
    /// Anything at all.
    Any,
    List(Box<Shape>),
    Map(Box<Shape>),
    Object(Arc<Vec<Field>>),
}

const TABLES: [(&str, &str); 15] = [
    ("AuthorizationPolicy", include_str!("fields/AuthorizationPolicy.txt")),
    ("DestinationRule", include_str!("fields/DestinationRule.txt")),
    ("EnvoyFilter", include_str!("fields/EnvoyFilter.txt")),
    ("Gateway", include_str!("fields/Gateway.txt")),
    ("PeerAuthentication", include_str!("fields/PeerAuthentication.txt")),
    ("ProxyConfig", include_str!("fields/ProxyConfig.txt")),
    ("RequestAuthentication", include_str!("fields/RequestAuthentication.txt")),
    ("ServiceEntry", include_str!("fields/ServiceEntry.txt")),
    ("Sidecar", include_str!("fields/Sidecar.txt")),
    ("Telemetry", include_str!("fields/Telemetry.txt")),
    ("TrafficExtension", include_str!("fields/TrafficExtension.txt")),
    ("VirtualService", include_str!("fields/VirtualService.txt")),
    ("WasmPlugin", include_str!("fields/WasmPlugin.txt")),
    ("WorkloadEntry", include_str!("fields/WorkloadEntry.txt")),
    ("WorkloadGroup", include_str!("fields/WorkloadGroup.txt")),
];

/// The shape of a kind's `spec`; `None` for kinds without a table.
pub(crate) fn spec_of(kind: &str) -> Option<&'static Shape> {
    static ALL: OnceLock<HashMap<&'static str, Shape>> = OnceLock::new();
    let read = || TABLES.iter().map(|(kind, text)| (*kind, read(text))).collect();
    ALL.get_or_init(read).get(kind)
}

fn read(text: &'static str) -> Shape {
    let lines: Vec<&'static str> = text.lines().filter(|l| !l.is_empty()).collect();
    let main = lines.iter().position(|l| l.starts_with('@')).unwrap_or(lines.len());
    let mut named: HashMap<&'static str, Shape> = HashMap::new();
    let mut blocks: Vec<(&'static str, &[&'static str])> = Vec::new();
    let mut rest = &lines[main..];
    while let Some((head, tail)) = rest.split_first() {
        let len = tail.iter().position(|l| l.starts_with('@')).unwrap_or(tail.len());
        blocks.push((&head[1..], &tail[..len]));
        rest = &tail[len..];
    }
    // A block may refer to others, wherever they stand: read each once all it needs is there.
    for _ in 0..blocks.len() {
        for (name, body) in &blocks {
            let needs = body.iter().filter_map(|l| reference(l));
            if !named.contains_key(name) && needs.into_iter().all(|n| named.contains_key(n)) {
                let shape = Shape::Object(Arc::new(object(&mut &body[..], 1, &named)));
                named.insert(name, shape);
            }
        }
    }
    Shape::Object(Arc::new(object(&mut &lines[..main], 0, &named)))
}

fn reference(line: &'static str) -> Option<&'static str> {
    let shape = line.trim().split(' ').nth(1)?;
    shape.split_once('@').map(|(_, name)| name)
}

/// The fields at one depth, with those below them.
fn object(
    lines: &mut &[&'static str],
    depth: usize,
    named: &HashMap<&'static str, Shape>,
) -> Vec<Field> {
    let mut fields = Vec::new();
    while let Some((line, rest)) = lines.split_first() {
        if line.len() - line.trim_start().len() != depth {
            break;
        }
        *lines = rest;
        let mut words = line.trim().split(' ');
        let name = words.next().unwrap_or_default();
        let written = words.next().unwrap_or_default();
        let shape = shape(written, lines, depth, named);
        let words: Vec<&'static str> = words.collect();
        fields.push(Field {
            name: name.trim_end_matches('!'),
            required: name.ends_with('!'),
            legacy: words.contains(&"legacy"),
            shape,
            limits: words.iter().filter_map(|w| w.split_once('=')).collect(),
        });
    }
    fields
}

fn shape(
    written: &'static str,
    lines: &mut &[&'static str],
    depth: usize,
    named: &HashMap<&'static str, Shape>,
) -> Shape {
    if let Some(inner) = written.strip_prefix("[]") {
        return Shape::List(Box::new(shape(inner, lines, depth, named)));
    }
    if let Some(inner) = written.strip_prefix("{}") {
        return Shape::Map(Box::new(shape(inner, lines, depth, named)));
    }
    match written {
        "str" => Shape::Text,
        "int" => Shape::Integer,
        "num" => Shape::Number,
        "bool" => Shape::Boolean,
        "obj" => Shape::Object(Arc::new(object(lines, depth + 1, named))),
        other => other.strip_prefix('@').and_then(|n| named.get(n)).cloned().unwrap_or(Shape::Any),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count_any(shape: &Shape, path: &str, found: &mut Vec<String>) {
        match shape {
            Shape::Any => found.push(path.to_owned()),
            Shape::List(inner) | Shape::Map(inner) => count_any(inner, path, found),
            Shape::Object(fields) => {
                for field in fields.iter() {
                    count_any(&field.shape, &format!("{path}.{}", field.name), found);
                }
            }
            _ => {}
        }
    }

    /// A misspelt shape or reference would read as "anything", so those that are meant are listed.
    #[test]
    fn only_opaque_fields_take_anything() {
        let mut found = Vec::new();
        for (kind, text) in TABLES {
            count_any(&read(text), kind, &mut found);
        }
        let expected = [
            "EnvoyFilter.configPatches.patch.value",
            "TrafficExtension.wasm.pluginConfig",
            "WasmPlugin.pluginConfig",
        ];
        assert_eq!(found, expected);
    }
}
