//! docs/features.md is the honest table: every row that claims something names a test, and that test
//! exists. `FILE::test_name`, where FILE is a path and `test_name` a function in it.

use super::files::Source;
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

const STATES: [&str; 3] = ["works", "partial", "not yet"];

pub fn check(root: &Path, sources: &[Source]) -> Result<Vec<String>> {
    let path = root.join("docs/features.md");
    let text = fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
    Ok(check_text(&text, sources))
}

fn check_text(text: &str, sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let cells: Vec<&str> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
        let header = cells.first().is_some_and(|c| *c == "Feature" || c.starts_with("---"));
        if !line.starts_with('|') || header {
            continue;
        }
        if let Err(why) = check_row(&cells, sources) {
            complaints.push(format!("docs/features.md:{}: {why}", number + 1));
        }
    }
    complaints
}

fn check_row(cells: &[&str], sources: &[Source]) -> Result<(), String> {
    let [feature, state, proof, ..] = cells else {
        return Err("a row is | feature | state | test | note |".into());
    };
    if !STATES.contains(state) {
        return Err(format!("{feature}: state {state:?} is none of {STATES:?}"));
    }
    if *state == "not yet" {
        return Ok(());
    }
    let mut tests =
        proof.split(',').map(|t| t.trim().trim_matches('`')).filter(|t| !t.is_empty()).peekable();
    if tests.peek().is_none() {
        return Err(format!("{feature} is said to be {state:?} and names no test"));
    }
    for test in tests {
        missing_test(test, sources).map_err(|why| format!("{feature}: {why}"))?;
    }
    Ok(())
}

/// Refuses a test that is not there.
pub(super) fn missing_test(test: &str, sources: &[Source]) -> Result<(), String> {
    let (file, name) = test.split_once("::").ok_or(format!("{test} is not FILE::test"))?;
    let source = sources
        .iter()
        .find(|s| s.path == Path::new(file))
        .ok_or(format!("there is no file {file}"))?;
    if source.text.contains(&format!("fn {name}(")) {
        return Ok(());
    }
    Err(format!("there is no test {name} in {file}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_checked_against_the_tests() {
        let sources =
            [Source { path: "crates/a/src/b.rs".into(), text: "fn it_works() {}".into() }];
        let head = "| Feature | State | Test | Note |\n|---|---|---|---|\n";
        let table = [
            ("| F | works | `crates/a/src/b.rs::it_works` | |", None),
            ("| F | not yet | | planned |", None),
            ("| F | works | | |", Some("names no test")),
            ("| F | splendid | x | |", Some("is none of")),
            ("| F | works | `crates/a/src/b.rs::gone` | |", Some("no test gone")),
            ("| F | partial | `crates/a/src/c.rs::it_works` | |", Some("no file")),
        ];
        for (row, expected) in table {
            let complaints = check_text(&format!("{head}{row}\n"), &sources).join("");
            match expected {
                None => assert_eq!(complaints, ""),
                Some(e) => assert!(complaints.contains(e), "{row}: {complaints}"),
            }
        }
    }
}
