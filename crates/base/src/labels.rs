//! Labels and the selectors over them (Kubernetes `metav1.LabelSelector`).

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub type Labels = BTreeMap<String, String>;

/// All conditions must hold; an empty selector matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelSelector {
    #[serde(skip_serializing_if = "Labels::is_empty")]
    pub match_labels: Labels,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<Requirement>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requirement {
    pub key: String,
    pub operator: Operator,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

impl LabelSelector {
    pub fn of(labels: Labels) -> Self {
        Self { match_labels: labels, match_expressions: Vec::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.match_labels.is_empty() && self.match_expressions.is_empty()
    }

    pub fn matches(&self, labels: &Labels) -> bool {
        self.match_labels.iter().all(|(k, v)| labels.get(k) == Some(v))
            && self.match_expressions.iter().all(|r| r.matches(labels))
    }
}

impl Requirement {
    fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        match self.operator {
            Operator::In => value.is_some_and(|v| self.values.contains(v)),
            Operator::NotIn => value.is_none_or(|v| !self.values.contains(v)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
    }

    #[test]
    fn expressions_follow_kubernetes() {
        let has = labels(&[("app", "reviews"), ("version", "v1")]);
        let table = [
            ("version", Operator::In, vec!["v1", "v2"], true),
            ("version", Operator::In, vec!["v3"], false),
            ("version", Operator::NotIn, vec!["v1"], false),
            ("zone", Operator::NotIn, vec!["a"], true),
            ("app", Operator::Exists, vec![], true),
            ("zone", Operator::Exists, vec![], false),
            ("zone", Operator::DoesNotExist, vec![], true),
        ];
        for (key, operator, values, expected) in table {
            let values = values.into_iter().map(String::from).collect();
            let selector = LabelSelector {
                match_expressions: vec![Requirement { key: key.into(), operator, values }],
                ..Default::default()
            };
            assert_eq!(selector.matches(&has), expected, "{selector:?}");
        }
    }

    #[test]
    fn all_labels_must_match_and_none_matches_everything() {
        let has = labels(&[("app", "reviews"), ("version", "v1")]);
        assert!(LabelSelector::default().matches(&has));
        assert!(LabelSelector::of(labels(&[("app", "reviews")])).matches(&has));
        assert!(!LabelSelector::of(labels(&[("app", "reviews"), ("version", "v2")])).matches(&has));
    }
}
