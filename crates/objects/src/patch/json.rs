//! JSON patch (RFC 6902).

use serde_json::Value;

use super::PatchError;

/// Operations in one patch beyond which it is refused.
const MAX_OPERATIONS: usize = 10_000;

/// Applies all operations or none.
pub fn apply(target: &Value, patch: &Value) -> Result<Value, PatchError> {
    let operations = patch.as_array().ok_or(PatchError::NotOperations)?;
    if operations.len() > MAX_OPERATIONS {
        return Err(PatchError::NotOperations);
    }
    let mut result = target.clone();
    for (index, operation) in operations.iter().enumerate() {
        let text = |key: &str| operation.get(key).and_then(Value::as_str).unwrap_or_default();
        let (op, path) = (text("op"), text("path"));
        step(&mut result, operation, op, path).map_err(|why| PatchError::Operation {
            index,
            op: op.to_owned(),
            path: path.to_owned(),
            why,
        })?;
    }
    Ok(result)
}

fn step(target: &mut Value, operation: &Value, op: &str, path: &str) -> Result<(), String> {
    let value = || operation.get("value").cloned().ok_or("needs `value`".to_owned());
    let from = || operation.get("from").and_then(Value::as_str).ok_or("needs `from`".to_owned());
    match op {
        "add" => add(target, path, value()?),
        "remove" => remove(target, path).map(|_| ()),
        "replace" => {
            *target.pointer_mut(path).ok_or("the path does not exist")? = value()?;
            Ok(())
        }
        "test" => {
            let wanted = value()?;
            let found = target.pointer(path).unwrap_or(&Value::Null);
            if *found == wanted { Ok(()) } else { Err("testing value failed".to_owned()) }
        }
        "move" => {
            let value = remove(target, from()?)?;
            add(target, path, value)
        }
        "copy" => {
            let value = target.pointer(from()?).ok_or("`from` does not exist")?.clone();
            add(target, path, value)
        }
        _ => Err("unknown operation; use add, remove, replace, move, copy or test".to_owned()),
    }
}

fn split(path: &str) -> Result<(&str, String), String> {
    let (parent, last) = path.rsplit_once('/').ok_or("the path must begin with `/`")?;
    Ok((parent, last.replace("~1", "/").replace("~0", "~")))
}

fn add(target: &mut Value, path: &str, value: Value) -> Result<(), String> {
    if path.is_empty() {
        *target = value;
        return Ok(());
    }
    let (parent, last) = split(path)?;
    match target.pointer_mut(parent) {
        Some(Value::Object(map)) => {
            map.insert(last, value);
            Ok(())
        }
        Some(Value::Array(list)) => {
            let at = if last == "-" { Some(list.len()) } else { last.parse().ok() };
            let at = at.filter(|at| *at <= list.len()).ok_or("the index is out of bounds")?;
            list.insert(at, value);
            Ok(())
        }
        _ => Err("the parent does not exist".to_owned()),
    }
}

fn remove(target: &mut Value, path: &str) -> Result<Value, String> {
    let (parent, last) = split(path)?;
    let missing = || "the path does not exist".to_owned();
    match target.pointer_mut(parent) {
        Some(Value::Object(map)) => map.shift_remove(&last).ok_or_else(missing),
        Some(Value::Array(list)) => {
            let at = last.parse().ok().filter(|at| *at < list.len()).ok_or_else(missing)?;
            Ok(list.remove(at))
        }
        _ => Err(missing()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn operations_change_the_object() {
        let target = json!({"a": {"b": [1, 2]}, "x/y": 0});
        let result = apply(
            &target,
            &json!([
                {"op": "test", "path": "/a/b/0", "value": 1},
                {"op": "add", "path": "/a/b/-", "value": 3},
                {"op": "add", "path": "/a/b/0", "value": 0},
                {"op": "remove", "path": "/x~1y"},
                {"op": "replace", "path": "/a/b/1", "value": 9},
                {"op": "copy", "from": "/a/b", "path": "/c"},
                {"op": "move", "from": "/c", "path": "/d"}
            ]),
        );
        assert_eq!(result.unwrap(), json!({"a": {"b": [0, 9, 2, 3]}, "d": [0, 9, 2, 3]}));
    }

    #[test]
    fn a_failed_operation_names_itself() {
        for patch in [
            json!([{"op": "remove", "path": "/nope"}]),
            json!([{"op": "add", "path": "/a/b/7", "value": 1}]),
            json!([{"op": "test", "path": "/a", "value": 1}]),
            json!([{"op": "frob", "path": "/a"}]),
        ] {
            let error = apply(&json!({"a": {"b": []}}), &patch).unwrap_err();
            assert!(error.to_string().starts_with("operation 0"), "{error}");
        }
        assert_eq!(apply(&json!({}), &json!({})), Err(PatchError::NotOperations));
    }
}
