//! Tables of custom kinds: name, the CRD's `additionalPrinterColumns`, and age where the CRD
//! names no columns.

use serde_json::{Value, json};

use crate::meta::text;

pub fn columns(definitions: &[Value]) -> Vec<Value> {
    let mut columns = vec![
        json!({"name": "Name", "type": "string", "format": "name", "description": "", "priority": 0}),
    ];
    if definitions.is_empty() {
        columns.push(
            json!({"name": "Age", "type": "date", "format": "", "description": "", "priority": 0}),
        );
    }
    for definition in definitions {
        columns.push(json!({
            "name": definition.get("name"), "type": definition.get("type"),
            "format": text(definition, &["format"]).unwrap_or_default(),
            "description": text(definition, &["description"]).unwrap_or_default(),
            "priority": definition.get("priority").cloned().unwrap_or(json!(0)),
        }));
    }
    columns
}

pub fn row(definitions: &[Value], object: &Value, now: i64) -> Vec<Value> {
    let mut cells = vec![super::name(object)];
    if definitions.is_empty() {
        cells.push(super::age(object, now));
    }
    for definition in definitions {
        let path = text(definition, &["jsonPath"]).unwrap_or_default();
        let found = select(object, path);
        cells.push(match (text(definition, &["type"]), found.first()) {
            (_, None) => Value::Null,
            (Some("date"), Some(time)) => super::since(time.as_str(), now),
            (Some("integer"), Some(value)) if value.is_i64() => (*value).clone(),
            (Some("boolean"), Some(value)) if value.is_boolean() => (*value).clone(),
            (Some("number"), Some(value)) if value.is_number() => (*value).clone(),
            (_, Some(Value::String(text))) if found.len() == 1 => text.clone().into(),
            (_, Some(value)) if found.len() == 1 => value.to_string().into(),
            _ => {
                let all: Vec<String> = found.iter().map(|v| plain(v)).collect();
                all.join(",").into()
            }
        });
    }
    cells
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The JSON paths of printer columns: `.a.b`, `[0]`, `[*]`, `['a.b']`, `[?(@.a=="b")]`, `\.`.
pub fn select<'a>(object: &'a Value, path: &str) -> Vec<&'a Value> {
    let mut found = vec![object];
    let mut rest = path.trim_start_matches('$');
    while !rest.is_empty() {
        if let Some(tail) = rest.strip_prefix('[') {
            let Some(end) = tail.find(']') else { return Vec::new() };
            found = index(&found, &tail[..end]);
            rest = &tail[end + 1..];
            continue;
        }
        let (key, tail) = field(rest.trim_start_matches('.'));
        rest = tail;
        if key.is_empty() {
            continue;
        }
        found = found.into_iter().filter_map(|v| v.get(&key)).collect();
    }
    found.retain(|v| !v.is_null());
    found
}

/// The next key, with `\.` for a dot inside it.
fn field(path: &str) -> (String, &str) {
    let mut key = String::new();
    let mut chars = path.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => key.extend(chars.next().map(|(_, c)| c)),
            '.' | '[' => return (key, &path[at..]),
            c => key.push(c),
        }
    }
    (key, "")
}

fn index<'a>(found: &[&'a Value], inside: &str) -> Vec<&'a Value> {
    let list = |v: &&'a Value| v.as_array().map(Vec::as_slice).unwrap_or_default();
    if inside == "*" {
        return found.iter().flat_map(list).collect();
    }
    if let Some(key) = inside.strip_prefix(['\'', '"']) {
        let key = key.trim_end_matches(['\'', '"']);
        return found.iter().filter_map(|v| v.get(key)).collect();
    }
    if let Some(condition) = inside.strip_prefix("?(").and_then(|c| c.strip_suffix(')')) {
        let Some((path, wanted)) = condition.split_once("==") else { return Vec::new() };
        let path = path.trim().trim_start_matches('@');
        let wanted = wanted.trim().trim_matches(['\'', '"']);
        let fits = |item: &&Value| select(item, path).iter().any(|v| plain(v) == wanted);
        return found.iter().flat_map(list).filter(fits).collect();
    }
    let Ok(at) = inside.parse::<usize>() else { return Vec::new() };
    found.iter().filter_map(|v| list(v).get(at)).collect()
}
