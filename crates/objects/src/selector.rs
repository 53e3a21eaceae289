//! Label and field selectors: the text forms of list requests and the structured form of objects.

use serde_json::{Map, Value};
use thiserror::Error;

use crate::meta::{items, text};

/// A conjunction of requirements on labels; empty selects everything.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LabelSelector(Vec<Requirement>);

#[derive(Debug, Clone, PartialEq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
    Compare(String, bool, i64),
}

/// Why a selector's text cannot be understood.
#[derive(Debug, Error, PartialEq)]
#[error("unable to parse requirement {0:?}: {1}")]
pub struct SelectorError(String, &'static str);

impl LabelSelector {
    /// `a=b,c!=d,e in (f,g),h,!i,j>3`.
    pub fn parse(text: &str) -> Result<LabelSelector, SelectorError> {
        let parts = split_top_level(text);
        parts.iter().map(|part| requirement(part)).collect::<Result<_, _>>().map(LabelSelector)
    }

    /// A `metav1.LabelSelector`; an absent one selects nothing in most places, so the caller decides.
    pub fn from_value(selector: &Value) -> LabelSelector {
        let mut all = Vec::new();
        for (key, value) in
            selector.get("matchLabels").and_then(Value::as_object).into_iter().flatten()
        {
            all.push(Requirement::In(
                key.clone(),
                vec![value.as_str().unwrap_or_default().to_owned()],
            ));
        }
        for expression in items(selector, &["matchExpressions"]) {
            let key = text(expression, &["key"]).unwrap_or_default().to_owned();
            let values = items(expression, &["values"]).iter().filter_map(Value::as_str);
            let values = values.map(str::to_owned).collect();
            match text(expression, &["operator"]) {
                Some("In") => all.push(Requirement::In(key, values)),
                Some("NotIn") => all.push(Requirement::NotIn(key, values)),
                Some("Exists") => all.push(Requirement::Exists(key)),
                Some("DoesNotExist") => all.push(Requirement::Absent(key)),
                // An operator that nobody knows selects nothing.
                _ => all.push(Requirement::In(key, Vec::new())),
            }
        }
        LabelSelector(all)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn matches(&self, labels: Option<&Map<String, Value>>) -> bool {
        let get = |key: &str| labels.and_then(|l| l.get(key)).and_then(Value::as_str);
        self.0.iter().all(|requirement| match requirement {
            Requirement::In(key, values) => get(key).is_some_and(|v| values.iter().any(|x| x == v)),
            Requirement::NotIn(key, values) => {
                get(key).is_none_or(|v| values.iter().all(|x| x != v))
            }
            Requirement::Exists(key) => get(key).is_some(),
            Requirement::Absent(key) => get(key).is_none(),
            Requirement::Compare(key, greater, bound) => get(key)
                .and_then(|v| v.parse::<i64>().ok())
                .is_some_and(|v| if *greater { v > *bound } else { v < *bound }),
        })
    }
}

fn split_top_level(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0u32;
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if c == ',' && depth == 0 {
            parts.push(String::new());
        } else if let Some(last) = parts.last_mut() {
            last.push(c);
        }
    }
    parts.retain(|p| !p.trim().is_empty());
    parts
}

fn requirement(part: &str) -> Result<Requirement, SelectorError> {
    let part = part.trim();
    let fail = |why| SelectorError(part.to_owned(), why);
    let key = |text: &str| {
        let text = text.trim();
        let legal = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        let good = !text.is_empty() && text.chars().all(legal);
        good.then(|| text.to_owned()).ok_or_else(|| fail("invalid label key"))
    };
    if let Some(rest) = part.strip_prefix('!') {
        return Ok(Requirement::Absent(key(rest)?));
    }
    if let Some(open) = part.find('(') {
        let values = part[open + 1..].strip_suffix(')').ok_or_else(|| fail("missing `)`"))?;
        let values = values.split(',').map(|v| v.trim().to_owned()).collect();
        let head = part[..open].trim_end();
        if let Some(name) = head.strip_suffix(" notin") {
            return Ok(Requirement::NotIn(key(name)?, values));
        }
        let name = head.strip_suffix(" in").ok_or_else(|| fail("expected `in` or `notin`"))?;
        return Ok(Requirement::In(key(name)?, values));
    }
    if let Some((name, value)) = part.split_once("!=") {
        return Ok(Requirement::NotIn(key(name)?, vec![value.trim().to_owned()]));
    }
    if let Some((name, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return Ok(Requirement::In(key(name)?, vec![value.trim().to_owned()]));
    }
    if let Some(at) = part.find(['>', '<']) {
        let bound = part[at + 1..].trim().parse().map_err(|_| fail("expected an integer"))?;
        return Ok(Requirement::Compare(key(&part[..at])?, part[at..].starts_with('>'), bound));
    }
    Ok(Requirement::Exists(key(part)?))
}

/// A conjunction of `path=value` and `path!=value`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FieldSelector(Vec<(Vec<String>, bool, String)>);

impl FieldSelector {
    pub fn parse(text: &str) -> Result<FieldSelector, SelectorError> {
        let mut terms = Vec::new();
        for part in text.split(',').filter(|p| !p.is_empty()) {
            let (path, equal, value) = if let Some((path, value)) = part.split_once("!=") {
                (path, false, value)
            } else if let Some((path, value)) =
                part.split_once("==").or_else(|| part.split_once('='))
            {
                (path, true, value)
            } else {
                return Err(SelectorError(part.to_owned(), "expected `path=value`"));
            };
            let path = path.trim().split('.').map(str::to_owned).collect();
            terms.push((path, equal, value.trim().to_owned()));
        }
        Ok(FieldSelector(terms))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The name or namespace that the selector pins, if it does.
    pub fn required(&self, path: &str) -> Option<&str> {
        let same = |term: &&(Vec<String>, bool, String)| term.1 && term.0.join(".") == path;
        self.0.iter().find(same).map(|term| term.2.as_str())
    }

    pub fn matches(&self, object: &Value) -> bool {
        self.0.iter().all(|(path, equal, wanted)| {
            let found = path.iter().try_fold(object, |v, key| v.get(key));
            let found = match found {
                Some(Value::String(s)) => s.clone(),
                Some(Value::Null) | None => String::new(),
                Some(other) => other.to_string(),
            };
            (found == *wanted) == *equal
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn label_selectors_select() {
        let labels = json!({"app": "web", "tier": "front", "n": "7"});
        let labels = labels.as_object();
        for (text, wanted) in [
            ("", true),
            ("app=web", true),
            ("app==web,tier!=back", true),
            ("app in (web, api),n>3", true),
            ("app notin (web)", false),
            ("tier,!zone", true),
            ("zone", false),
            ("zone!=a", true),
            ("n<7", false),
        ] {
            assert_eq!(LabelSelector::parse(text).unwrap().matches(labels), wanted, "{text}");
        }
        for text in ["a in b", "a b", "=x", "a in (b"] {
            assert!(LabelSelector::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn structured_selectors_select() {
        let selector = LabelSelector::from_value(&json!({
            "matchLabels": {"app": "web"},
            "matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["back"]}]
        }));
        assert!(selector.matches(json!({"app": "web"}).as_object()));
        assert!(!selector.matches(json!({"app": "web", "tier": "back"}).as_object()));
        assert!(!selector.matches(None));
        let odd = json!({"matchExpressions": [{"key": "a", "operator": "Near"}]});
        assert!(!LabelSelector::from_value(&odd).matches(json!({"a": "b"}).as_object()));
    }

    #[test]
    fn field_selectors_select() {
        let pod = json!({"metadata": {"name": "a"}, "spec": {"nodeName": "n"}, "status": {}});
        for (text, wanted) in [
            ("metadata.name=a", true),
            ("spec.nodeName!=n", false),
            ("status.phase!=Running,metadata.name==a", true),
        ] {
            assert_eq!(FieldSelector::parse(text).unwrap().matches(&pod), wanted, "{text}");
        }
        assert_eq!(
            FieldSelector::parse("metadata.name=a").unwrap().required("metadata.name"),
            Some("a")
        );
    }
}
