//! The released documents that must be accepted or refused, where they are at hand.

use super::*;
use ::released::folder;
use serde::Deserialize;
use std::path::{Path, PathBuf};

fn documents(file: &Path) -> Vec<Value> {
    // A colon before a bracket ends a plain scalar in YAML; Go's reader lets it pass.
    let text = std::fs::read_to_string(file).unwrap().replace("001:db8::]", "\"001:db8::\"]");
    let all = serde_yaml_ng::Deserializer::from_str(&text);
    all.map(|d| Value::deserialize(d).unwrap()).filter(|d| !d.is_null()).collect()
}

/// The field that a refusal has to name, by the document's name; where a name stands for several
/// documents their expected messages tell it.
const FIELDS: [(&str, &str); 21] = [
    ("service-account-and-namespace", "spec.rules[0].from[0].source.serviceAccounts"),
    ("service-account-and-namespace-principal", "spec.rules[0].from[0].source.serviceAccounts"),
    ("bad-mode", "spec.mtls.mode"),
    ("bad-port", "spec.portLevelMtls[acd]"),
    ("port-level-global", "spec.portLevelMtls"),
    ("empty-port-level", "spec.portLevelMtls"),
    ("zero-port", "spec.portLevelMtls[0]"),
    ("high-port", "spec.portLevelMtls[42949672]"),
    ("bookinfo-ratings", "spec.trafficPolicy.loadBalancer.warmup."),
    ("no-spec", "spec"),
    ("missing-host", "spec.hosts"),
    ("bad-selector-value", "spec.workloadSelector"),
    ("selector-and-endpoints", "spec"),
    ("bad-host-wildcard", "spec.hosts[0]"),
    ("bad-cidr-resolution", "spec.addresses[0]"),
    ("duplicate-ports-name", "spec.ports[1].name"),
    ("duplicate-ports-number", "spec.ports[1]"),
    ("bad-port-target", "spec.ports[0].targetPort"),
    ("none-with-endpoints", "spec.endpoints"),
    ("dns-rr-with-multiple-endpoints", "spec.endpoints"),
    ("bad-port", "spec.ports[0].number"),
];

fn names_the_field(document: &Value, errors: &[Finding]) -> bool {
    let name = document["metadata"]["name"].as_str().unwrap();
    let said = document["_err"].as_str().unwrap();
    let field = |path: &str| errors.iter().any(|f| f.path.starts_with(path));
    // `spec.a.b: Invalid value` names it itself.
    let theirs = said.split_once(": ").map(|(path, _)| path).filter(|p| p.starts_with("spec."));
    theirs.is_none_or(field) && FIELDS.iter().any(|(n, path)| *n == name && field(path))
}

#[test]
fn released_documents_are_accepted_or_refused_by_field() {
    let Some(dir) = folder("validation") else { return };
    let mut wrong = Vec::new();
    let (mut accepted, mut refused) = (0, 0);
    for file in std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()) {
        if file.extension().is_none_or(|e| e != "yaml") {
            continue;
        }
        for document in documents(&file) {
            let kind = document["kind"].as_str().unwrap();
            let mut errors = validate(kind, &document);
            errors.retain(|f| f.level == Level::Error);
            let right = match document.get("_err") {
                None => errors.is_empty(),
                Some(_) => names_the_field(&document, &errors),
            };
            if document.get("_err").is_none() {
                accepted += 1
            } else {
                refused += 1
            }
            if !right {
                wrong.push(format!(
                    "{} {}: {errors:?}",
                    file.display(),
                    document["metadata"]["name"]
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(accepted >= 12 && refused >= 20, "{accepted} and {refused}");
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()) {
        if path.is_dir() {
            files.extend(files_below(&path));
        } else if path.extension().is_some_and(|e| e == "yaml") {
            files.push(path);
        }
    }
    files
}

/// Objects of the mesh's kinds in the samples of five releases.
#[test]
fn released_samples_are_accepted() {
    let Some(dir) = folder("a_samples") else { return };
    let (mut seen, mut wrong) = (0, Vec::new());
    for file in files_below(&dir) {
        let text = std::fs::read_to_string(&file).unwrap();
        // Some are templates.
        let all = serde_yaml_ng::Deserializer::from_str(&text).map(Value::deserialize);
        let Ok(documents) = all.collect::<Result<Vec<Value>, _>>() else { continue };
        for document in documents {
            let version = document["apiVersion"].as_str().unwrap_or_default();
            let kind = document["kind"].as_str().unwrap_or_default();
            if !version.contains("istio.io/") || crate::crd::spec_of(kind).is_none() {
                continue;
            }
            seen += 1;
            let mut errors = validate(kind, &document);
            errors.retain(|f| f.level == Level::Error);
            if !errors.is_empty() {
                wrong.push(format!(
                    "{} {}: {errors:?}",
                    file.display(),
                    document["metadata"]["name"]
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 100, "{seen}");
}
