//! The released cases of Istio's own analyzers, where they are at hand: exactly the same findings.
#![allow(clippy::unwrap_used)] // a test that cannot go on may end there

use analyze::{ALL, Analyzer, Settings, World};
use base::Finding;
use serde_json::Value;
use std::path::Path;

fn world(dir: &Path, case: &Value) -> World {
    let mut objects = analyze::installed("istio-system");
    for file in case["inputFiles"].as_array().unwrap() {
        let text = std::fs::read_to_string(dir.join(file.as_str().unwrap())).unwrap();
        let read = analyze::read(&text);
        assert_eq!(read.error, None);
        objects.extend(read.documents.into_iter().map(|d| d.object));
    }
    let mesh = case["meshConfigFile"].as_str();
    let mesh = mesh.map(|file| std::fs::read_to_string(dir.join(file)).unwrap());
    World::new(objects, &Settings { mesh, ..Settings::default() })
}

fn named(case: &Value) -> &'static Analyzer {
    // Theirs has one of its kind for each kind of object.
    let name = case["analyzer"].as_str().filter(|n| !n.contains("schemaValidation"));
    let name = name.unwrap_or("schema.ValidationAnalyzer");
    ALL.iter().find(|a| a.name == name).unwrap_or_else(|| panic!("no analyzer {name}"))
}

/// Their tests write no namespace where the file has none; to us it is then `default`.
fn line(code: &str, level: &str, kind: &str, namespace: &str, name: &str) -> String {
    let namespace = if namespace.is_empty() { "default" } else { namespace };
    format!("{code} {level} {kind} {namespace}/{name}")
}

fn ours(findings: &[Finding]) -> Vec<String> {
    let mut lines: Vec<String> = findings
        .iter()
        .map(|f| {
            let object = f.object.as_ref().unwrap();
            let level = format!("{:?}", f.level);
            line(f.code, &level, &object.kind, &object.namespace, &object.name)
        })
        .collect();
    lines.sort();
    lines
}

fn theirs(case: &Value) -> Vec<String> {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let mut lines: Vec<String> = case["expected"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| {
            let [code, level, kind] = ["code", "level", "kind"].map(|k| text(&e[k]));
            line(&code, &level, &kind, &text(&e["namespace"]), &text(&e["resource"]))
        })
        .collect();
    lines.sort();
    lines
}

#[test]
fn every_released_case_gives_the_released_findings() {
    let Some(dir) = released::folder("analyzers") else { return };
    let cases = std::fs::read_to_string(dir.join("cases.json")).unwrap();
    let cases: Vec<Value> = serde_json::from_str(&cases).unwrap();
    assert_eq!(cases.len(), 50);
    let mut wrong = String::new();
    for case in &cases {
        let found = analyze::analyze(&world(&dir, case), [named(case)]);
        let (ours, theirs) = (ours(&found), theirs(case));
        if ours != theirs {
            let lines: Vec<String> = found.iter().map(|f| format!("{} {f}", f.code)).collect();
            wrong += &format!(
                "{}\n  ours   {ours:#?}\n  theirs {theirs:#?}\n  {}\n",
                case["test"],
                lines.join("\n  ")
            );
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
