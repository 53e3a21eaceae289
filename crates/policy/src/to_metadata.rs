//! Fields of a request made known to what comes after: filters, limits and logs.

use crate::hash::cookie;
use crate::metadata;
use crate::rewrite::Substitution;
use base::Finding;
use base64::Engine;
use ir::{HeaderToMetadata, Metadata, MetadataEntry, MetadataSource, Str, Value};
use std::collections::BTreeMap;
use wire::{Head, Request};

/// A compiled [`HeaderToMetadata`].
#[derive(Debug)]
pub struct ToMetadata {
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    from: MetadataSource,
    present: Option<Entry>,
    missing: Option<Entry>,
    remove: bool,
}

#[derive(Debug)]
struct Entry {
    config: MetadataEntry,
    rewrite: Option<Substitution>,
}

/// Longer values are left out, as in Envoy.
const LONGEST: usize = 8 * 1024;

const NAMESPACE: &str = "envoy.filters.http.header_to_metadata";

impl ToMetadata {
    pub fn new(from: &HeaderToMetadata, path: &str, findings: &mut Vec<Finding>) -> Self {
        let mut entry = |entry: &Option<MetadataEntry>| {
            let config = entry.clone()?;
            let rewrite = config.rewrite.as_ref();
            let rewrite = rewrite.and_then(|r| Substitution::new(r, path, findings));
            Some(Entry { config, rewrite })
        };
        let rule = |rule: &ir::MetadataRule| Rule {
            from: rule.from.clone(),
            present: entry(&rule.present),
            missing: entry(&rule.missing),
            remove: rule.remove,
        };
        Self { rules: from.rules.iter().map(rule).collect() }
    }

    pub fn apply(&self, request: &mut Request, into: &mut Metadata) {
        for rule in &self.rules {
            let found = rule.value(request);
            if let (MetadataSource::Header(name), true) = (&rule.from, rule.remove) {
                request.fields.remove(name.as_bytes());
            }
            let entry = if found.is_some() { &rule.present } else { &rule.missing };
            let Some(entry) = entry else { continue };
            if let Some(value) = entry.value(found.unwrap_or_default()) {
                let namespace = match &*entry.config.namespace {
                    "" => NAMESPACE.into(),
                    _ => entry.config.namespace.clone(),
                };
                let said = BTreeMap::from([(entry.config.key.clone(), value)]);
                metadata::add(into, &namespace, said);
            }
        }
    }
}

impl Rule {
    /// Lines of one header are one value.
    fn value(&self, request: &Request) -> Option<Vec<u8>> {
        let name = match &self.from {
            MetadataSource::Cookie(name) => return cookie(request, name),
            MetadataSource::Header(name) => name,
        };
        let mut all: Option<Vec<u8>> = None;
        request.each_value(name.as_bytes(), &mut |value| match &mut all {
            Some(all) => {
                all.push(b',');
                all.extend_from_slice(value);
            }
            None => all = Some(value.to_vec()),
        });
        all
    }
}

impl Entry {
    fn value(&self, found: Vec<u8>) -> Option<Value> {
        let bytes = match (&self.rewrite, &*self.config.value) {
            (Some(rewrite), _) => rewrite.apply(&found),
            (None, "") => found,
            (None, value) => value.as_bytes().to_vec(),
        };
        if bytes.is_empty() || bytes.len() >= LONGEST {
            return None;
        }
        let bytes = match self.config.base64 {
            true => base64::engine::general_purpose::STANDARD.decode(bytes).ok()?,
            false => bytes,
        };
        let text = String::from_utf8_lossy(&bytes);
        match self.config.number {
            true => text.parse().ok().map(Value::Number),
            false => Some(Value::String(Str::from(text))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ir::{MetadataRule, RegexRewrite};

    #[test]
    fn values_are_taken_made_and_left_out() {
        let header = |name: &str| MetadataSource::Header(name.into());
        let entry = |key: &str| MetadataEntry { key: key.into(), ..MetadataEntry::default() };
        let rule = |from, present, missing| MetadataRule { from, present, missing, remove: true };
        let fixed = MetadataEntry { value: "none".into(), namespace: "n".into(), ..entry("m") };
        let number = MetadataEntry { number: true, ..entry("number") };
        let rewrite = RegexRewrite { pattern: "^v(.*)$".into(), substitution: r"\1".into() };
        let rewritten = MetadataEntry { rewrite: Some(rewrite), ..entry("rewritten") };
        let decoded = MetadataEntry { base64: true, ..entry("decoded") };
        let config = HeaderToMetadata {
            rules: vec![
                rule(header("x-a"), Some(entry("a")), None),
                rule(header("x-none"), Some(entry("b")), Some(fixed)),
                rule(header("x-n"), Some(number), None),
                rule(header("x-v"), Some(rewritten), None),
                rule(header("x-64"), Some(decoded), None),
                rule(MetadataSource::Cookie("c".into()), Some(entry("cookie")), None),
            ],
        };
        let mut findings = Vec::new();
        let rules = ToMetadata::new(&config, "", &mut findings);
        assert!(findings.is_empty(), "{findings:?}");
        let mut request = Request::new(b"GET", b"h", b"/");
        for (name, value) in [
            ("x-a", "1"),
            ("x-a", "2"),
            ("x-n", "2.5"),
            ("x-v", "v7"),
            ("x-64", "aGk="),
            ("cookie", "b=1; c=2"),
        ] {
            request.fields.push(name.as_bytes(), value.as_bytes());
        }
        let mut said = Metadata::new();
        rules.apply(&mut request, &mut said);
        let text = |s: &str| Value::String(s.into());
        let expected = [
            ("a", text("1,2")),
            ("cookie", text("2")),
            ("decoded", text("hi")),
            ("number", Value::Number(2.5)),
            ("rewritten", text("7")),
        ];
        let expected = expected.map(|(k, v)| (Str::from(k), v));
        assert_eq!(said[NAMESPACE], Value::Struct(BTreeMap::from(expected)));
        assert_eq!(said["n"], Value::Struct(BTreeMap::from([("m".into(), text("none"))])));
        assert_eq!(request.fields.len(), 1, "headers are removed, cookies are not");
    }
}
