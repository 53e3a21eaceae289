//! Findings as text: Istio's lines, JSON and YAML with Istio's keys, and SARIF 2.1.0 for code hosts.

use crate::catalogue::Message;
use base::{Finding, Level};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::fmt::Write;

/// A finding, and where it was written if that was a file.
#[derive(Clone, Debug)]
pub struct Entry {
    pub finding: Finding,
    pub place: Option<Place>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub file: String,
    pub line: Option<u32>,
}

impl Place {
    fn text(&self) -> String {
        match self.line {
            Some(line) => format!("{}:{line}", self.file),
            None => self.file.clone(),
        }
    }
}

/// `Error [IST0101] (Gateway default/a a.yaml:7) Referenced ...`, a line each.
pub fn as_log(entries: &[Entry], color: bool) -> String {
    let mut out = String::new();
    for Entry { finding, place } in entries {
        let (on, off) = if color { (paint(finding.level), "\u{1b}[0m") } else { ("", "") };
        let place = place.as_ref().map(|p| format!(" {}", p.text())).unwrap_or_default();
        let (level, code, origin) = (finding.level, finding.code, origin(finding));
        let _ = writeln!(out, "{on}{level:?}{off} [{code}] ({origin}{place}) {}", finding.message);
    }
    out
}

fn paint(level: Level) -> &'static str {
    match level {
        Level::Error => "\u{1b}[1;31m",
        Level::Warning => "\u{1b}[33m",
        Level::Info => "\u{1b}[32m",
    }
}

fn origin(finding: &Finding) -> String {
    finding.object.as_ref().map(ToString::to_string).unwrap_or_default()
}

pub fn as_json(entries: &[Entry]) -> Value {
    entries.iter().map(entry).collect()
}

pub fn as_yaml(entries: &[Entry]) -> String {
    serde_yaml_ng::to_string(&as_json(entries)).unwrap_or_default()
}

fn entry(Entry { finding, place }: &Entry) -> Value {
    let mut out = Map::new();
    out.insert("code".into(), finding.code.into());
    out.insert("documentationUrl".into(), documentation(finding.code).into());
    out.insert("level".into(), format!("{:?}", finding.level).into());
    out.insert("message".into(), finding.message.as_str().into());
    out.insert("origin".into(), origin(finding).into());
    if !finding.path.is_empty() {
        out.insert("path".into(), finding.path.as_str().into());
    }
    if let Some(place) = place {
        out.insert("reference".into(), place.text().into());
    }
    Value::Object(out)
}

/// Where the meaning of a code is told at length.
fn documentation(code: &str) -> String {
    let code = code.to_ascii_lowercase();
    format!("https://istio.io/latest/docs/reference/config/analysis/{code}/")
}

pub fn as_sarif(entries: &[Entry]) -> Value {
    let codes: BTreeSet<&str> = entries.iter().map(|e| e.finding.code).collect();
    let rule = |code: &&str| {
        let message = Message::by_code(code)?;
        Some(json!({"id": code, "name": message.name, "helpUri": documentation(code),
            "shortDescription": {"text": message.name},
            "defaultConfiguration": {"level": severity(message.level)}}))
    };
    let rules: Vec<Value> = codes.iter().filter_map(rule).collect();
    let driver = json!({"name": "lateen", "version": env!("CARGO_PKG_VERSION"),
        "informationUri": "https://lateen.dev", "rules": rules});
    json!({"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results":
            entries.iter().map(result).collect::<Vec<_>>()}]})
}

fn result(Entry { finding, place }: &Entry) -> Value {
    let logical = match finding.path.as_str() {
        "" => origin(finding),
        path => format!("{} {path}", origin(finding)),
    };
    let mut location = json!({"logicalLocations": [{"fullyQualifiedName": logical}]});
    if let Some(place) = place {
        location["physicalLocation"] = json!({"artifactLocation": {"uri": place.file}});
        if let Some(line) = place.line {
            location["physicalLocation"]["region"] = json!({"startLine": line});
        }
    }
    json!({"ruleId": finding.code, "level": severity(finding.level),
        "message": {"text": finding.message}, "locations": [location]})
}

fn severity(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Info => "note",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue;
    use crate::report::Report;
    use base::ObjectRef;

    fn entries() -> Vec<Entry> {
        let mut report = Report::default();
        let object = ObjectRef::new("VirtualService", "default", "a");
        report.say(catalogue::NOT_FOUND, &object, "spec.gateways[0]", &["gateway", "g"]);
        let place = Some(Place { file: "a.yaml".into(), line: Some(7) });
        report
            .into_findings()
            .into_iter()
            .map(|f| Entry { finding: f, place: place.clone() })
            .collect()
    }

    #[test]
    fn lines_are_istios() {
        let line = "Error [IST0101] (VirtualService default/a a.yaml:7) Referenced gateway not found: \"g\"\n";
        assert_eq!(as_log(&entries(), false), line);
        assert!(as_log(&entries(), true).starts_with("\u{1b}[1;31mError\u{1b}[0m [IST0101]"));
    }

    #[test]
    fn json_has_istios_keys() {
        let value = as_json(&entries());
        let one = &value[0];
        assert_eq!(one["code"], "IST0101");
        assert_eq!(one["level"], "Error");
        assert_eq!(one["origin"], "VirtualService default/a");
        assert_eq!(one["reference"], "a.yaml:7");
        assert!(one["documentationUrl"].as_str().unwrap().ends_with("/ist0101/"));
        assert_eq!(as_json(&[]), json!([]));
        assert!(as_yaml(&entries()).starts_with("- code: IST0101\n"));
    }

    #[test]
    fn sarif_names_rule_file_and_line() {
        let value = as_sarif(&entries());
        let run = &value["runs"][0];
        assert_eq!(run["tool"]["driver"]["rules"][0]["id"], "IST0101");
        let result = &run["results"][0];
        assert_eq!((&result["ruleId"], &result["level"]), (&json!("IST0101"), &json!("error")));
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "a.yaml");
        assert_eq!(place["region"]["startLine"], 7);
    }
}
