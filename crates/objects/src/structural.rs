//! A CRD's structural schema at work: defaults and validation. (Unknown fields are found and
//! pruned by the shape, see `strict`; rules in CEL are in `rules`.)

pub mod rules;

use regex::Regex;
use serde_json::{Map, Value};

use crate::meta::{items, text};
use crate::validate::Cause;

/// Errors of one object beyond which no more are collected.
const MAX_CAUSES: usize = 64;
/// Longest pattern that is compiled.
const MAX_PATTERN: usize = 4096;

/// Fills in `default` values of absent fields.
pub fn fill_defaults(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (name, property) in properties(schema) {
                if !map.contains_key(name)
                    && let Some(default) = property.get("default")
                {
                    map.insert(name.clone(), default.clone());
                }
                if let Some(child) = map.get_mut(name) {
                    fill_defaults(property, child);
                }
            }
            if let Some(additional) = schema.get("additionalProperties").filter(|a| a.is_object()) {
                map.values_mut().for_each(|v| fill_defaults(additional, v));
            }
        }
        Value::Array(list) => {
            if let Some(of) = schema.get("items") {
                list.iter_mut().for_each(|v| fill_defaults(of, v));
            }
        }
        _ => {}
    }
}

/// What is wrong with an object under its schema.
pub fn validate(schema: &Value, value: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    check(schema, value, "", &mut causes);
    causes.truncate(MAX_CAUSES);
    causes
}

fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema.get("properties").and_then(Value::as_object).into_iter().flatten()
}

fn flag(schema: &Value, key: &str) -> bool {
    schema.get(key).and_then(Value::as_bool).unwrap_or(false)
}

fn check(schema: &Value, value: &Value, path: &str, causes: &mut Vec<Cause>) {
    if value.is_null() {
        if !flag(schema, "nullable") && schema.get("type").is_some() {
            let wanted = text(schema, &["type"]).unwrap_or_default();
            causes.push(Cause::wrong_type(path, "null", wanted));
        }
        return;
    }
    if !type_fits(schema, value) {
        let wanted = text(schema, &["type"]).unwrap_or_default();
        let message = format!("{} in body must be of type {wanted}: {:?}", path, type_of(value));
        let found = format!("Invalid value: {:?}: {message}", type_of(value));
        causes.push(Cause {
            reason: "FieldValueTypeInvalid",
            field: path.to_owned(),
            message: found,
        });
        return;
    }
    if let Some(choices) = schema.get("enum").and_then(Value::as_array)
        && !choices.contains(value)
    {
        let names: Vec<&str> = choices.iter().filter_map(Value::as_str).collect();
        causes.push(Cause::unsupported(path, value.as_str().unwrap_or_default(), &names));
    }
    match value {
        Value::Object(map) => check_object(schema, map, path, causes),
        Value::Array(list) => check_list(schema, list, path, causes),
        Value::String(string) => check_string(schema, string, path, causes),
        Value::Number(number) => {
            check_number(schema, number.as_f64().unwrap_or(0.0), value, path, causes);
        }
        _ => {}
    }
    check_combinations(schema, value, path, causes);
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn type_fits(schema: &Value, value: &Value) -> bool {
    if flag(schema, "x-kubernetes-int-or-string") {
        return value.is_string() || value.is_i64() || value.is_u64();
    }
    match (text(schema, &["type"]), value) {
        (None, _) => true,
        (Some("number"), Value::Number(_)) => true,
        (Some("integer"), Value::Number(n)) => n.as_f64().is_some_and(|f| f.fract() == 0.0),
        (Some(wanted), value) => wanted == type_of(value),
    }
}

fn check_object(schema: &Value, map: &Map<String, Value>, path: &str, causes: &mut Vec<Cause>) {
    for name in items(schema, &["required"]).iter().filter_map(Value::as_str) {
        if !map.contains_key(name) {
            causes.push(Cause::required(join(path, name), ""));
        }
    }
    let bound = |key| schema.get(key).and_then(Value::as_u64);
    let count = map.len() as u64;
    if bound("minProperties").is_some_and(|min| count < min) {
        let why = "has too few properties";
        causes.push(Cause::invalid(path, &Value::Object(map.clone()), why));
    }
    if bound("maxProperties").is_some_and(|max| count > max) {
        let why = "has too many properties";
        causes.push(Cause::invalid(path, &Value::Object(map.clone()), why));
    }
    for (name, property) in properties(schema) {
        if let Some(value) = map.get(name) {
            check(property, value, &join(path, name), causes);
        }
    }
    if let Some(additional) = schema.get("additionalProperties").filter(|a| a.is_object()) {
        let declared = schema.get("properties").and_then(Value::as_object);
        for (name, value) in
            map.iter().filter(|(n, _)| declared.is_none_or(|d| !d.contains_key(*n)))
        {
            check(additional, value, &join(path, name), causes);
        }
    }
}

fn check_list(schema: &Value, list: &[Value], path: &str, causes: &mut Vec<Cause>) {
    let bound = |key| schema.get(key).and_then(Value::as_u64);
    let count = list.len() as u64;
    if let Some(min) = bound("minItems").filter(|min| count < *min) {
        let why = format!("{path} in body should have at least {min} items");
        causes.push(Cause::invalid(path, &Value::Array(list.to_vec()), &why));
    }
    if let Some(max) = bound("maxItems").filter(|max| count > *max) {
        let message = format!("Too many: {count}: must have at most {max} items");
        causes.push(Cause { reason: "FieldValueTooMany", field: path.to_owned(), message });
    }
    let keyed = text(schema, &["x-kubernetes-list-type"]);
    if matches!(keyed, Some("set" | "map")) {
        let keys = items(schema, &["x-kubernetes-list-map-keys"]);
        let id = |item: &Value| -> Value {
            if keyed == Some("set") {
                return item.clone();
            }
            keys.iter().filter_map(Value::as_str).map(|k| item.get(k).cloned()).collect()
        };
        for (index, item) in list.iter().enumerate() {
            if list[..index].iter().any(|before| id(before) == id(item)) {
                causes.push(Cause::duplicate(format!("{path}[{index}]"), item));
            }
        }
    }
    if let Some(of) = schema.get("items") {
        for (index, item) in list.iter().enumerate() {
            check(of, item, &format!("{path}[{index}]"), causes);
        }
    }
}

fn check_string(schema: &Value, string: &str, path: &str, causes: &mut Vec<Cause>) {
    let bound = |key| schema.get(key).and_then(Value::as_u64);
    let length = string.chars().count() as u64;
    let value = Value::String(string.to_owned());
    if let Some(min) = bound("minLength").filter(|min| length < *min) {
        let why = format!("{path} in body should be at least {min} chars long");
        causes.push(Cause::invalid(path, &value, &why));
    }
    if let Some(max) = bound("maxLength").filter(|max| length > *max) {
        let message = format!("Too long: may not be more than {max} bytes");
        causes.push(Cause { reason: "FieldValueTooLong", field: path.to_owned(), message });
    }
    if let Some(pattern) = text(schema, &["pattern"]).filter(|p| p.len() <= MAX_PATTERN)
        && Regex::new(pattern).is_ok_and(|regex| !regex.is_match(string))
    {
        let why = format!("{path} in body should match '{pattern}'");
        causes.push(Cause::invalid(path, &value, &why));
    }
    let fits = match text(schema, &["format"]) {
        Some("date-time") => string.parse::<jiff::Timestamp>().is_ok(),
        Some("date") => string.parse::<jiff::civil::Date>().is_ok(),
        Some("ipv4") => string.parse::<std::net::Ipv4Addr>().is_ok(),
        Some("ipv6") => string.parse::<std::net::Ipv6Addr>().is_ok(),
        _ => true,
    };
    if !fits {
        let format = text(schema, &["format"]).unwrap_or_default();
        let why = format!("{path} in body must be of type {format}: {string:?}");
        causes.push(Cause::invalid(path, &value, &why));
    }
}

fn check_number(schema: &Value, number: f64, value: &Value, path: &str, causes: &mut Vec<Cause>) {
    let bound = |key| schema.get(key).and_then(Value::as_f64);
    if let Some(min) = bound("minimum") {
        let open = flag(schema, "exclusiveMinimum");
        if number < min || (open && number == min) {
            let why = format!("{path} in body should be greater than or equal to {min}");
            causes.push(Cause::invalid(path, value, &why));
        }
    }
    if let Some(max) = bound("maximum") {
        let open = flag(schema, "exclusiveMaximum");
        if number > max || (open && number == max) {
            let why = format!("{path} in body should be less than or equal to {max}");
            causes.push(Cause::invalid(path, value, &why));
        }
    }
    if text(schema, &["format"]) == Some("int32")
        && !(-2_147_483_648.0..=2_147_483_647.0).contains(&number)
    {
        causes.push(Cause::invalid(path, value, "must be a 32-bit integer"));
    }
}

fn check_combinations(schema: &Value, value: &Value, path: &str, causes: &mut Vec<Cause>) {
    let fits = |schema: &Value| {
        let mut found = Vec::new();
        check(schema, value, path, &mut found);
        found.is_empty()
    };
    for part in items(schema, &["allOf"]) {
        check(part, value, path, causes);
    }
    let any = items(schema, &["anyOf"]);
    if !any.is_empty() && !any.iter().any(fits) {
        let why = format!("{path:?} must validate at least one schema (anyOf)");
        causes.push(Cause::invalid(path, value, &why));
    }
    let one = items(schema, &["oneOf"]);
    let matching = one.iter().filter(|s| fits(s)).count();
    if !one.is_empty() && matching != 1 {
        let found = if matching == 0 { "Found none valid" } else { "Found more than one valid" };
        let why = format!("{path:?} must validate one and only one schema (oneOf). {found}");
        causes.push(Cause::invalid(path, value, &why));
    }
    if schema.get("not").is_some_and(fits) {
        causes.push(Cause::invalid(
            path,
            value,
            &format!("{path:?} must not validate the schema (not)"),
        ));
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schema() -> Value {
        json!({"type": "object", "properties": {"spec": {"type": "object", "required": ["host"],
        "properties": {
            "host": {"type": "string", "minLength": 1, "pattern": "^[a-z.]+$"},
            "mode": {"type": "string", "enum": ["A", "B"], "default": "A"},
            "port": {"type": "integer", "maximum": 10},
            "either": {"type": "object", "properties": {"x": {"type": "string"}, "y": {"type": "string"}},
                "oneOf": [{"required": ["x"]}, {"required": ["y"]}]},
            "names": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}
        }}}})
    }

    #[test]
    fn defaults_are_filled_where_the_parent_is() {
        let mut object = json!({"spec": {"host": "a"}});
        fill_defaults(&schema(), &mut object);
        assert_eq!(object["spec"]["mode"], "A");
        let mut empty = json!({});
        fill_defaults(&schema(), &mut empty);
        assert_eq!(empty, json!({}));
    }

    #[test]
    fn errors_name_their_field() {
        for (spec, field, reason) in [
            (json!({}), "spec.host", "FieldValueRequired"),
            (json!({"host": 1}), "spec.host", "FieldValueTypeInvalid"),
            (json!({"host": "A"}), "spec.host", "FieldValueInvalid"),
            (json!({"host": "a", "mode": "C"}), "spec.mode", "FieldValueNotSupported"),
            (json!({"host": "a", "port": 11}), "spec.port", "FieldValueInvalid"),
            (
                json!({"host": "a", "either": {"x": "", "y": ""}}),
                "spec.either",
                "FieldValueInvalid",
            ),
            (json!({"host": "a", "names": ["b", "b"]}), "spec.names[1]", "FieldValueDuplicate"),
        ] {
            let causes = validate(&schema(), &json!({"spec": spec}));
            assert_eq!(causes.len(), 1, "{causes:?}");
            assert_eq!((causes[0].field.as_str(), causes[0].reason), (field, reason));
        }
        assert!(
            validate(&schema(), &json!({"spec": {"host": "a", "either": {"y": ""}}})).is_empty()
        );
    }
}
