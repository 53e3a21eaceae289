//! What analyzers say, in the order in which it is shown, and what of it is not wanted.

use crate::catalogue::Message;
use crate::world::{Resource, World};
use base::{Finding, Level, ObjectRef};
use std::cmp::Reverse;

/// Findings as they come.
#[derive(Debug, Default)]
pub struct Report {
    findings: Vec<Finding>,
}

impl Report {
    /// Says `message` of the field `path` of an object.
    pub fn say(
        &mut self,
        message: &'static Message,
        object: &ObjectRef,
        path: impl Into<String>,
        arguments: &[&str],
    ) {
        debug_assert_eq!(arguments.len(), message.arguments(), "{}", message.code);
        self.findings.push(Finding {
            level: message.level,
            code: message.code,
            object: Some(object.clone()),
            path: path.into(),
            message: message.text(arguments),
        });
    }

    /// Passes on what another part found, under the catalogue's level.
    pub fn quote(&mut self, message: &'static Message, object: &ObjectRef, finding: Finding) {
        let (level, code, object) = (message.level, message.code, Some(object.clone()));
        self.findings.push(Finding { level, code, object, ..finding });
    }

    /// The worst first, then by code and object; what is said twice of an object stands there once.
    pub fn into_findings(self) -> Vec<Finding> {
        let mut findings = self.findings;
        findings.sort_by(|a, b| {
            let key = |f: &Finding| (Reverse(f.level), f.code, f.object.clone());
            key(a).cmp(&key(b)).then_with(|| (&a.message, &a.path).cmp(&(&b.message, &b.path)))
        });
        findings.dedup();
        findings
    }
}

/// `CODE=KIND NAME.NAMESPACE`, where `*` stands for anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suppression {
    pub code: String,
    pub resource: String,
}

impl Suppression {
    /// `None`: it is not of that form.
    pub fn parse(text: &str) -> Option<Suppression> {
        let (code, resource) = text.split_once('=')?;
        if resource.contains('=') {
            return None;
        }
        Some(Suppression { code: code.to_owned(), resource: resource.to_owned() })
    }

    fn covers(&self, finding: &Finding) -> bool {
        let Some(object) = &finding.object else { return false };
        let ObjectRef { kind, namespace, name } = object;
        let names = match namespace.as_str() {
            "" => vec![format!("{kind} {name}")],
            _ => vec![format!("{kind} {name}.{namespace}"), format!("{kind} {namespace}/{name}")],
        };
        self.code == finding.code && names.iter().any(|n| glob(&self.resource, n))
    }
}

/// What is to be shown.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Findings about objects of this namespace and of none; all, when `None`.
    pub namespace: Option<String>,
    pub suppressions: Vec<Suppression>,
}

impl Filter {
    pub fn apply(&self, world: &World, findings: Vec<Finding>) -> Vec<Finding> {
        let wanted = |f: &Finding| {
            let namespace = f.object.as_ref().map_or("", |o| o.namespace.as_str());
            let here =
                self.namespace.as_deref().is_none_or(|n| namespace.is_empty() || n == namespace);
            here && !self.suppressions.iter().any(|s| s.covers(f))
                && !suppressed_by_object(world, f)
        };
        findings.into_iter().filter(wanted).collect()
    }
}

/// Annotation `galley.istio.io/analyze-suppress`: codes with commas between them, or `*`.
fn suppressed_by_object(world: &World, finding: &Finding) -> bool {
    let object = finding.object.as_ref().and_then(|o| world.find(o));
    let annotations = object.map(Resource::annotations).unwrap_or_default();
    annotations
        .get("galley.istio.io/analyze-suppress")
        .is_some_and(|codes| codes.split(',').map(str::trim).any(|c| c == "*" || c == finding.code))
}

/// The worst level among findings.
pub fn worst(findings: &[Finding]) -> Option<Level> {
    findings.iter().map(|f| f.level).max()
}

/// `*` in the pattern stands for any text.
fn glob(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, tail)) => text.strip_prefix(head).is_some_and(|rest| {
            rest.char_indices().map(|(i, _)| i).chain([rest.len()]).any(|i| glob(tail, &rest[i..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue;
    use crate::world::Settings;
    use serde_json::json;

    fn finding(kind: &str, namespace: &str, name: &str) -> Finding {
        let mut report = Report::default();
        let object = ObjectRef::new(kind, namespace, name);
        report.say(catalogue::POD_MISSING_PROXY, &object, "", &[name]);
        report.into_findings().remove(0)
    }

    #[test]
    fn suppressions_name_a_resource_with_wildcards() {
        let table = [
            ("IST0103=Pod a.ns", true),
            ("IST0103=Pod *.ns", true),
            ("IST0103=Pod ns/a", true),
            ("IST0103=*", true),
            ("IST0103=Pod b.ns", false),
            ("IST0102=Pod a.ns", false),
            ("IST0103=Deployment a.ns", false),
        ];
        for (text, covers) in table {
            let suppression = Suppression::parse(text).unwrap();
            assert_eq!(suppression.covers(&finding("Pod", "ns", "a")), covers, "{text}");
        }
        assert_eq!(Suppression::parse("IST0103"), None);
    }

    #[test]
    fn an_object_may_suppress_findings_about_itself() {
        let pod = |codes: &str| {
            let annotations = json!({"galley.istio.io/analyze-suppress": codes});
            let object = json!({"apiVersion": "v1", "kind": "Pod", "metadata":
                {"name": "a", "namespace": "ns", "annotations": annotations}});
            let world = World::new([object], &Settings::default());
            Filter::default().apply(&world, vec![finding("Pod", "ns", "a")]).len()
        };
        assert_eq!(
            [pod("IST0103"), pod("IST0001, IST0103"), pod("*"), pod("IST0104")],
            [0, 0, 0, 1]
        );
    }

    #[test]
    fn the_worst_comes_first_and_nothing_twice() {
        let mut report = Report::default();
        let object = ObjectRef::new("Gateway", "a", "b");
        report.say(catalogue::PORT_NAME, &object, "", &["a", "b", "c"]);
        report.say(catalogue::NOT_FOUND, &object, "x", &["host", "h"]);
        report.say(catalogue::NOT_FOUND, &object, "y", &["host", "h"]);
        report.say(catalogue::NOT_FOUND, &object, "x", &["host", "h"]);
        let codes: Vec<_> = report.into_findings().iter().map(|f| f.code).collect();
        assert_eq!(codes, ["IST0101", "IST0101", "IST0118"]);
    }
}
