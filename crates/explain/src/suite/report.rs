//! The outcome of tests: for people, for programs, and for CI systems, which read JUnit's XML.

use super::{Coverage, Outcome};
use base::Origin;
use serde_json::{Value, json};
use std::fmt::Write;

/// The tests of one document.
#[derive(Clone, Debug)]
pub struct Report {
    pub name: String,
    pub file: String,
    pub outcomes: Vec<Outcome>,
}

fn counts(reports: &[Report]) -> (usize, usize) {
    let all = || reports.iter().flat_map(|r| &r.outcomes);
    (all().count(), all().filter(|o| !o.failures.is_empty()).count())
}

pub fn as_text(
    reports: &[Report],
    coverage: &Coverage,
    place: impl Fn(&Origin) -> Option<String>,
) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    for report in reports {
        let _ = writeln!(out, "{} ({})", report.name, report.file);
        for outcome in &report.outcomes {
            let mark = if outcome.failures.is_empty() { "ok  " } else { "FAIL" };
            let _ = writeln!(out, "  {mark}  {}", outcome.name);
            for failure in &outcome.failures {
                let _ = writeln!(out, "        {failure}");
            }
            if !outcome.failures.is_empty() {
                outcome.told.lines().for_each(|line| {
                    let _ = writeln!(out, "        | {line}");
                });
            }
        }
    }
    let (all, failed) = counts(reports);
    let _ = writeln!(out, "\n{} passed, {failed} failed", all - failed);
    let _ = writeln!(
        out,
        "{} of {} rules reached ({:.0}%)",
        coverage.reached(),
        coverage.total(),
        coverage.percent()
    );
    for (origin, _) in coverage.rules_reached().filter(|(_, count)| *count == 0) {
        let at = place(&origin).map(|p| format!(" ({p})")).unwrap_or_default();
        let _ = writeln!(out, "  not reached: {} {}{at}", origin.object, origin.path);
    }
    out
}

pub fn as_json(
    reports: &[Report],
    coverage: &Coverage,
    place: impl Fn(&Origin) -> Option<String>,
) -> Value {
    let (all, failed) = counts(reports);
    let outcome = |o: &Outcome| json!({"name": o.name, "passed": o.failures.is_empty(), "failures": o.failures});
    let suite = |r: &Report| {
        json!({"name": r.name, "file": r.file,
            "tests": r.outcomes.iter().map(outcome).collect::<Vec<_>>()})
    };
    let rules = coverage.rules_reached().map(|(o, count)| {
        json!({"object": o.object.to_string(), "path": o.path, "tests": count,
            "reference": place(&o)})
    });
    json!({
        "passed": all - failed,
        "failed": failed,
        "suites": reports.iter().map(suite).collect::<Vec<_>>(),
        "coverage": {"reached": coverage.reached(), "total": coverage.total(),
            "percent": coverage.percent(), "rules": rules.collect::<Vec<_>>()},
    })
}

pub fn as_junit(reports: &[Report]) -> String {
    let (all, failed) = counts(reports);
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(out, "<testsuites tests=\"{all}\" failures=\"{failed}\">");
    for report in reports {
        let (name, file) = (escaped(&report.name), escaped(&report.file));
        let failed = report.outcomes.iter().filter(|o| !o.failures.is_empty()).count();
        let tests = report.outcomes.len();
        let _ = writeln!(
            out,
            "  <testsuite name=\"{name}\" file=\"{file}\" tests=\"{tests}\" failures=\"{failed}\">"
        );
        for outcome in &report.outcomes {
            let case = escaped(&outcome.name);
            let _ = write!(out, "    <testcase name=\"{case}\" classname=\"{name}\"");
            if outcome.failures.is_empty() {
                out.push_str("/>\n");
                continue;
            }
            let message = escaped(&outcome.failures.join("; "));
            let told = escaped(&outcome.told);
            let _ = writeln!(
                out,
                ">\n      <failure message=\"{message}\">{told}</failure>\n    </testcase>"
            );
        }
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

/// Characters that XML does not allow at all are left out.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}
