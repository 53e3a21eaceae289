//! kubectl's dialect of JSONPath, for `-o jsonpath=`: text with `{.a.b[0]}`, `{range ...}{end}`,
//! `{"literal"}`, wildcards, filters `[?(@.x=="y")]`, recursive descent `..x` and `\.` in names.

use serde_json::Value;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("jsonpath: {0}")]
pub struct Error(String);

#[derive(Debug, PartialEq)]
enum Node {
    Text(String),
    Path(Vec<Step>),
    Range(Vec<Step>, Vec<Node>),
}

#[derive(Debug, PartialEq)]
enum Step {
    Field(String),
    Descend(String),
    Wildcard,
    Slice(Option<i64>, Option<i64>),
    Index(i64),
    Filter(Vec<Step>, Option<(String, Value)>),
}

/// Fills the template from `root`. Missing fields print nothing, as with kubectl's defaults.
pub fn render(template: &str, root: &Value) -> Result<String, Error> {
    let mut rest = template;
    let nodes = parse_nodes(&mut rest, false)?;
    let mut out = String::new();
    print(&nodes, root, &mut out);
    Ok(out)
}

fn parse_nodes(rest: &mut &str, in_range: bool) -> Result<Vec<Node>, Error> {
    let mut nodes = Vec::new();
    loop {
        let open = rest.find('{');
        let text = &rest[..open.unwrap_or(rest.len())];
        if !text.is_empty() {
            nodes.push(Node::Text(text.to_owned()));
        }
        let Some(open) = open else {
            *rest = "";
            return if in_range { Err(Error("{range} without {end}".into())) } else { Ok(nodes) };
        };
        let close = closing(&rest[open..])
            .ok_or_else(|| Error(format!("no }} after {:?}", &rest[open..])))?;
        let inside = rest[open + 1..open + close].trim();
        *rest = &rest[open + close + 1..];
        if inside == "end" {
            return if in_range { Ok(nodes) } else { Err(Error("{end} without {range}".into())) };
        }
        if let Some(path) = inside.strip_prefix("range ") {
            let steps = parse_path(path.trim())?;
            let body = parse_nodes(rest, true)?;
            nodes.push(Node::Range(steps, body));
        } else if inside.starts_with(['"', '\'']) {
            nodes.push(Node::Text(unquote(inside)?));
        } else {
            nodes.push(Node::Path(parse_path(inside)?));
        }
    }
}

/// The index of the brace that closes the one at the start, quotes skipped.
fn closing(s: &str) -> Option<usize> {
    let mut quote = None;
    for (i, c) in s.char_indices() {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(q), c) if q == c => quote = None,
            (None, '}') => return Some(i),
            _ => {}
        }
    }
    None
}

fn unquote(s: &str) -> Result<String, Error> {
    let inner =
        s.get(1..s.len().saturating_sub(1)).filter(|_| s.len() >= 2 && s.ends_with(&s[..1]));
    let inner = inner.ok_or_else(|| Error(format!("unclosed quote in {s}")))?;
    Ok(inner.replace("\\n", "\n").replace("\\t", "\t").replace("\\\"", "\"").replace("\\'", "'"))
}

fn parse_path(path: &str) -> Result<Vec<Step>, Error> {
    let mut steps = Vec::new();
    let mut rest = path.trim_start_matches(['$', '@']);
    while !rest.is_empty() {
        if let Some(r) = rest.strip_prefix("..") {
            let (name, r) = field_name(r);
            steps.push(Step::Descend(name));
            rest = r;
        } else if let Some(r) = rest.strip_prefix('[') {
            let end = bracket_end(r).ok_or_else(|| Error(format!("no ] after {rest}")))?;
            steps.push(bracket(r[..end].trim())?);
            rest = &r[end + 1..];
        } else {
            let (name, r) = field_name(rest.strip_prefix('.').unwrap_or(rest));
            if name == "*" {
                steps.push(Step::Wildcard);
            } else if !name.is_empty() {
                steps.push(Step::Field(name));
            } else if r.len() == rest.len() {
                return Err(Error(format!("cannot read {rest:?}")));
            }
            rest = r;
        }
    }
    Ok(steps)
}

/// A name up to the next `.` or `[`; `\.` stands for a dot in it.
fn field_name(s: &str) -> (String, &str) {
    let mut name = String::new();
    let mut chars = s.char_indices();
    while let Some((i, c)) = chars.next() {
        match c {
            '.' | '[' => return (name, &s[i..]),
            '\\' => name.extend(chars.next().map(|(_, c)| c)),
            c => name.push(c),
        }
    }
    (name, "")
}

fn bracket_end(s: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0, None);
    for (i, c) in s.char_indices() {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(q), c) if q == c => quote = None,
            (None, '[') => depth += 1,
            (None, ']') if depth == 0 => return Some(i),
            (None, ']') => depth -= 1,
            _ => {}
        }
    }
    None
}

fn bracket(s: &str) -> Result<Step, Error> {
    if s == "*" {
        return Ok(Step::Wildcard);
    }
    if s.starts_with(['"', '\'']) {
        return Ok(Step::Field(unquote(s)?));
    }
    if let Some(filter) = s.strip_prefix("?(").and_then(|f| f.strip_suffix(')')) {
        return filter_step(filter);
    }
    let number = |n: &str| n.trim().parse::<i64>().map_err(|_| Error(format!("{n:?} is no index")));
    if let Some((from, to)) = s.split_once(':') {
        let bound = |n: &str| if n.trim().is_empty() { Ok(None) } else { number(n).map(Some) };
        return Ok(Step::Slice(bound(from)?, bound(to)?));
    }
    number(s).map(Step::Index)
}

fn filter_step(filter: &str) -> Result<Step, Error> {
    for op in ["==", "!=", ">=", "<=", ">", "<"] {
        if let Some((path, value)) = filter.split_once(op) {
            let value = value.trim();
            let value = if value.starts_with(['"', '\'']) {
                Value::String(unquote(value)?)
            } else {
                serde_json::from_str(value).map_err(|_| Error(format!("{value:?} is no value")))?
            };
            return Ok(Step::Filter(parse_path(path.trim())?, Some((op.to_owned(), value))));
        }
    }
    Ok(Step::Filter(parse_path(filter.trim())?, None))
}

fn print(nodes: &[Node], at: &Value, out: &mut String) {
    for node in nodes {
        match node {
            Node::Text(t) => out.push_str(t),
            Node::Path(steps) => {
                let found = select(steps, at);
                let words: Vec<String> = found.iter().map(|v| text_of(v)).collect();
                out.push_str(&words.join(" "));
            }
            Node::Range(steps, body) => {
                for value in select(steps, at) {
                    print(body, value, out);
                }
            }
        }
    }
}

fn text_of(v: &Value) -> String {
    match v {
        Value::String(s) => s.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn select<'v>(steps: &[Step], at: &'v Value) -> Vec<&'v Value> {
    let mut now = vec![at];
    for step in steps {
        now = now.into_iter().flat_map(|v| follow(step, v)).collect();
    }
    now
}

fn follow<'v>(step: &Step, v: &'v Value) -> Vec<&'v Value> {
    match step {
        Step::Field(name) => v.get(name).into_iter().collect(),
        Step::Descend(name) => {
            let mut found = Vec::new();
            descend(name, v, &mut found);
            found
        }
        Step::Wildcard => children(v),
        Step::Index(i) => {
            let list = v.as_array().map_or(&[][..], Vec::as_slice);
            let i = if *i < 0 { list.len() as i64 + i } else { *i };
            usize::try_from(i).ok().and_then(|i| list.get(i)).into_iter().collect()
        }
        Step::Slice(from, to) => {
            let list = v.as_array().map_or(&[][..], Vec::as_slice);
            let clamp = |n: i64| {
                (if n < 0 { list.len() as i64 + n } else { n }).clamp(0, list.len() as i64) as usize
            };
            let (from, to) = (clamp(from.unwrap_or(0)), clamp(to.unwrap_or(list.len() as i64)));
            list.get(from..to).unwrap_or_default().iter().collect()
        }
        Step::Filter(path, condition) => {
            children(v).into_iter().filter(|c| holds(path, condition.as_ref(), c)).collect()
        }
    }
}

fn children(v: &Value) -> Vec<&Value> {
    match v {
        Value::Array(list) => list.iter().collect(),
        Value::Object(map) => map.values().collect(),
        _ => Vec::new(),
    }
}

fn descend<'v>(name: &str, v: &'v Value, found: &mut Vec<&'v Value>) {
    found.extend(v.get(name));
    for child in children(v) {
        descend(name, child, found);
    }
}

fn holds(path: &[Step], condition: Option<&(String, Value)>, v: &Value) -> bool {
    let found = select(path, v);
    let Some((op, want)) = condition else { return !found.is_empty() };
    found.first().is_some_and(|have| match op.as_str() {
        "==" => *have == want,
        "!=" => *have != want,
        op => match (have.as_f64(), want.as_f64()) {
            (Some(a), Some(b)) => match op {
                ">" => a > b,
                "<" => a < b,
                ">=" => a >= b,
                _ => a <= b,
            },
            _ => false,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_tutorials_write() {
        let v = json!({
            "items": [
                { "metadata": { "name": "a", "labels": { "app.kubernetes.io/name": "x" } }, "n": 1 },
                { "metadata": { "name": "b" }, "n": 2 },
            ],
            "spec": { "ports": [{ "name": "http2", "port": 80, "nodePort": 31380 }, { "name": "https", "port": 443 }] },
        });
        let table = [
            ("{.items[0].metadata.name}", "a"),
            ("{.items[*].metadata.name}", "a b"),
            ("{.spec.ports[?(@.name==\"http2\")].port}", "80"),
            ("{.spec.ports[?(@.name=='https')].port}", "443"),
            ("{range .items[*]}{.metadata.name}{\"\\n\"}{end}", "a\nb\n"),
            ("{.items[0].metadata.labels.app\\.kubernetes\\.io/name}", "x"),
            ("{.items[-1:].metadata.name}", "b"),
            ("{..nodePort}", "31380"),
            ("{.items[?(@.n>1)].metadata.name}", "b"),
            ("{.nothing.here}", ""),
            ("x={.items[1].n}", "x=2"),
        ];
        for (template, expected) in table {
            assert_eq!(render(template, &v).as_deref(), Ok(expected), "{template}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for bad in ["{.a", "{range .a}{.b}", "{end}", "{.a[x]}"] {
            assert!(render(bad, &json!({})).is_err(), "{bad}");
        }
    }
}
