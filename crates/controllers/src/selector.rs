//! Label selectors: `matchLabels` with `matchExpressions`, and the plain maps of Services and
//! ReplicationControllers. Built once per reconciliation, then asked for each object.

use serde_json::{Map, Value};

use crate::key::Resource;
use crate::read;

#[derive(Debug, PartialEq)]
pub struct Selector<'a> {
    terms: Vec<Term<'a>>,
}

#[derive(Debug, PartialEq)]
enum Term<'a> {
    In(&'a str, Vec<&'a str>),
    NotIn(&'a str, Vec<&'a str>),
    Exists(&'a str),
    Absent(&'a str),
}

impl<'a> Selector<'a> {
    /// A `metav1.LabelSelector`. `None` when it is absent, empty or not understood: such a
    /// selector selects nothing, since a controller that guessed would take over strangers' pods.
    pub fn parse(selector: Option<&'a Value>) -> Option<Selector<'a>> {
        let selector = selector?;
        let mut terms = equalities(selector.get("matchLabels"))?;
        for expression in read::list(selector, "/matchExpressions") {
            terms.push(Term::parse(expression)?);
        }
        (!terms.is_empty()).then_some(Selector { terms })
    }

    /// As `parse`, but an empty selector selects everything (PodDisruptionBudget).
    pub fn parse_or_everything(selector: Option<&'a Value>) -> Option<Selector<'a>> {
        match selector? {
            Value::Object(map) if map.is_empty() => Some(Selector { terms: Vec::new() }),
            other => Selector::parse(Some(other)),
        }
    }

    /// A plain map of labels (`Service.spec.selector`).
    pub fn map(selector: Option<&'a Value>) -> Option<Selector<'a>> {
        let terms = equalities(selector)?;
        (!terms.is_empty()).then_some(Selector { terms })
    }

    /// The selector with which an object of this resource selects pods.
    pub fn of(resource: &Resource, object: &'a Value) -> Option<Selector<'a>> {
        let own = object.pointer("/spec/selector").filter(|selector| !selector.is_null());
        match (resource.group.as_ref(), resource.plural.as_ref()) {
            ("", "services") => Selector::map(own),
            // Defaulted from the template.
            ("", "replicationcontrollers") => {
                Selector::map(own.or_else(|| object.pointer("/spec/template/metadata/labels")))
            }
            ("policy", "poddisruptionbudgets") => Selector::parse_or_everything(own),
            ("apps", "replicasets" | "statefulsets" | "daemonsets") => Selector::parse(own),
            _ => None,
        }
    }

    /// A label and its value without which nothing is selected, if there is one.
    pub fn exact(&self) -> Option<(&'a str, &'a str)> {
        self.terms.iter().find_map(|term| match term {
            Term::In(key, values) if values.len() == 1 => Some((*key, values[0])),
            _ => None,
        })
    }

    pub fn matches(&self, object: &Value) -> bool {
        let labels = object.pointer("/metadata/labels").and_then(Value::as_object);
        self.terms.iter().all(|term| term.matches(labels))
    }
}

fn equalities(map: Option<&Value>) -> Option<Vec<Term<'_>>> {
    let Some(map) = map.filter(|v| !v.is_null()) else { return Some(Vec::new()) };
    map.as_object()?.iter().map(|(key, value)| Some(Term::In(key, vec![value.as_str()?]))).collect()
}

impl<'a> Term<'a> {
    fn parse(expression: &'a Value) -> Option<Term<'a>> {
        let key = expression.get("key")?.as_str()?;
        let values =
            || read::list(expression, "/values").iter().filter_map(Value::as_str).collect();
        Some(match expression.get("operator")?.as_str()? {
            "In" => Term::In(key, values()),
            "NotIn" => Term::NotIn(key, values()),
            "Exists" => Term::Exists(key),
            "DoesNotExist" => Term::Absent(key),
            _ => return None,
        })
    }

    fn matches(&self, labels: Option<&Map<String, Value>>) -> bool {
        let label = |key: &str| labels.and_then(|l| l.get(key)).and_then(Value::as_str);
        match self {
            Term::In(key, values) => label(key).is_some_and(|v| values.contains(&v)),
            Term::NotIn(key, values) => label(key).is_none_or(|v| !values.contains(&v)),
            Term::Exists(key) => label(key).is_some(),
            Term::Absent(key) => label(key).is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn terms_all_hold() {
        let pod = json!({"metadata": {"labels": {"app": "reviews", "version": "v2"}}});
        let table = [
            (json!({"matchLabels": {"app": "reviews"}}), Some(true)),
            (json!({"matchLabels": {"app": "ratings"}}), Some(false)),
            (
                json!({"matchExpressions": [{"key": "version", "operator": "In", "values": ["v1", "v2"]}]}),
                Some(true),
            ),
            (
                json!({"matchExpressions": [{"key": "version", "operator": "NotIn", "values": ["v2"]}]}),
                Some(false),
            ),
            (
                json!({"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}),
                Some(true),
            ),
            (
                json!({"matchLabels": {"app": "reviews"}, "matchExpressions": [{"key": "tier", "operator": "Exists"}]}),
                Some(false),
            ),
            (json!({"matchExpressions": [{"key": "tier", "operator": "Near"}]}), None),
            (json!({}), None),
        ];
        for (selector, expected) in table {
            let found = Selector::parse(Some(&selector)).map(|s| s.matches(&pod));
            assert_eq!(found, expected, "{selector}");
        }
    }

    #[test]
    fn only_a_budget_may_select_everything() {
        let empty = json!({});
        assert_eq!(Selector::parse(Some(&empty)), None);
        assert_eq!(Selector::map(Some(&empty)), None);
        assert!(Selector::parse_or_everything(Some(&empty)).unwrap().matches(&json!({})));
        assert_eq!(Selector::parse_or_everything(None), None);
    }
}
