//! docs/fields.md has a row for every field of the networking API, and only for those; what it claims is
//! proven by tests that exist and that have the field.

use super::features::missing_test;
use super::files::Source;
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const PAGE: &str = "docs/fields.md";
const STATES: [&str; 4] = ["works", "partial", "not yet", "no effect"];

/// What rows are checked against.
struct Known<'a> {
    /// `Kind path`, as rows have them.
    fields: BTreeSet<String>,
    /// Fields that are compiled with and without.
    cases: BTreeSet<String>,
    /// Fields of generated configurations.
    generated: BTreeSet<String>,
    sources: &'a [Source],
}

pub fn check(root: &Path, sources: &[Source]) -> Result<Vec<String>> {
    let read = |path: &str| fs::read_to_string(root.join(path)).with_context(|| path.to_owned());
    let mut cases = BTreeSet::new();
    for file in fs::read_dir(root.join("crates/compile/tests/fields/cases"))? {
        cases.extend(cases_of(&fs::read_to_string(file?.path())?));
    }
    let known = Known {
        fields: listed(include_str!("fields.tsv")),
        cases,
        generated: listed(&read("tests/differential/src/generate/fields.tsv")?),
        sources,
    };
    Ok(check_text(&read(PAGE)?, &known))
}

/// The fields of a list, `kind<tab>path`; a third column says why one is not there after all.
fn listed(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|l| !l.starts_with('#'));
    let pairs = lines.filter_map(|l| match l.split('\t').collect::<Vec<_>>()[..] {
        [kind, path] => Some(format!("{kind} {}", folded(path))),
        _ => None,
    });
    pairs.collect()
}

/// A policy stands once for all its places, a list or map of plain values without its brackets.
fn folded(path: &str) -> String {
    const POLICY: &str = "spec.trafficPolicy.";
    let of_subset = path.strip_prefix("spec.subsets[].trafficPolicy.");
    let path = of_subset.map_or_else(|| path.to_owned(), |rest| format!("{POLICY}{rest}"));
    let of_port = path.strip_prefix("spec.trafficPolicy.portLevelSettings[].");
    let of_port = of_port.filter(|rest| !rest.starts_with("port."));
    let path = of_port.map_or_else(|| path.clone(), |rest| format!("{POLICY}{rest}"));
    path.trim_end_matches("[]").trim_end_matches("{}").to_owned()
}

fn cases_of(yaml: &str) -> Vec<String> {
    let kind = yaml.lines().find_map(|l| l.strip_prefix("kind: ")).unwrap_or_default();
    let fields = yaml.lines().filter_map(|l| l.strip_prefix("- field: "));
    fields.map(|f| format!("{kind} {}", f.trim())).collect()
}

fn check_text(text: &str, known: &Known<'_>) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut kind = "";
    let mut seen = BTreeSet::new();
    for (number, line) in text.lines().enumerate() {
        kind = line.strip_prefix("## ").unwrap_or(kind);
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        if !line.starts_with("| `") {
            continue;
        }
        let field = format!("{kind} {}", cells[0].trim_matches('`'));
        if let Err(why) = check_row(&field, &cells, known) {
            complaints.push(format!("{PAGE}:{}: {field} {why}", number + 1));
        }
        if !seen.insert(field.clone()) {
            complaints.push(format!("{PAGE}:{}: {field} stands twice", number + 1));
        }
    }
    let missing = known.fields.difference(&seen);
    complaints.extend(missing.map(|field| format!("{PAGE}: {field} is missing")));
    complaints
}

fn check_row(field: &str, cells: &[&str], known: &Known<'_>) -> Result<(), String> {
    let [_, state, proof, ..] = cells else {
        return Err("has no row of the form | field | state | test | note |".to_owned());
    };
    if !known.fields.contains(field) {
        return Err("is no field".to_owned());
    }
    if !STATES.contains(state) {
        return Err(format!("is {state:?}, which is none of {STATES:?}"));
    }
    let proofs = || proof.split(',').map(|t| t.trim().trim_matches('`')).filter(|t| !t.is_empty());
    if proofs().next().is_none() && matches!(*state, "works" | "partial") {
        return Err(format!("is said to be {state:?} and names no test"));
    }
    for test in proofs() {
        match test {
            "fields" if known.cases.contains(field) => {}
            "fields" => return Err("has no case in crates/compile/tests/fields/cases".to_owned()),
            "envoy" if known.generated.contains(field) => {}
            "envoy" => return Err("is in no generated configuration".to_owned()),
            path => missing_test(path, known.sources)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_checked_against_the_list_and_the_tests() {
        let sources = [Source { path: "crates/a/b.rs".into(), text: "fn it_works() {}".into() }];
        let known = Known {
            fields: listed("# a comment\nK\tspec.a\n"),
            cases: cases_of("kind: K\ncases:\n- field: spec.a\n").into_iter().collect(),
            generated: listed("K\tspec.a\tleft out\n"),
            sources: &sources,
        };
        let table = [
            ("| `spec.a` | works | `fields` | |", None),
            ("| `spec.a` | works | `crates/a/b.rs::it_works` | |", None),
            ("| `spec.a` | not yet | | |", None),
            ("| `spec.a` | works | | |", Some("names no test")),
            ("| `spec.a` | fine | `fields` | |", Some("none of")),
            ("| `spec.a` | works | `envoy` | |", Some("in no generated")),
            ("| `spec.a` | works | `crates/a/b.rs::gone` | |", Some("no test gone")),
            ("| `spec.b` | works | `fields` | |", Some("is no field")),
            ("", Some("spec.a is missing")),
            ("| `spec.a` | not yet | | |\n| `spec.a` | not yet | | |", Some("stands twice")),
        ];
        for (rows, expected) in table {
            let complaints = check_text(&format!("## K\n{rows}\n"), &known).join("; ");
            match expected {
                None => assert_eq!(complaints, "", "{rows}"),
                Some(part) => assert!(complaints.contains(part), "{rows}: {complaints}"),
            }
        }
    }

    #[test]
    fn a_policy_stands_once() {
        for path in [
            "spec.trafficPolicy.tls.sni",
            "spec.subsets[].trafficPolicy.tls.sni",
            "spec.trafficPolicy.portLevelSettings[].tls.sni",
            "spec.subsets[].trafficPolicy.portLevelSettings[].tls.sni",
        ] {
            assert_eq!(folded(path), "spec.trafficPolicy.tls.sni");
        }
        let port = "spec.trafficPolicy.portLevelSettings[].port.number";
        assert_eq!(folded(port), port);
        assert_eq!(folded("spec.hosts[]"), "spec.hosts");
    }
}
