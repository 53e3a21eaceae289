//! Rules for each source file: a head that says what it is, bounded size, bounded functions, `unsafe`
//! only where it is fenced, and entry points without logic.

use anyhow::Result;
use std::fs;
use std::path::{Path, PathBuf};

/// Lines of production code in one file, and in one function. Half again as much as the aim
/// (400 and 50), so that the rule only catches what has clearly outgrown its place.
const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 80;
/// A table may be long: it says so in its head with this word.
const TABLE_MARK: &str = "tidy: table";

pub struct Source {
    /// Relative to the workspace.
    pub path: PathBuf,
    pub text: String,
}

pub fn read_sources(root: &Path) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for top in ["crates", "apps", "xtask", "tests", "fuzz"] {
        collect(root, &root.join(top), &mut sources)?;
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(sources)
}

fn collect(root: &Path, dir: &Path, into: &mut Vec<Source>) -> Result<()> {
    let Ok(entries) = fs::read_dir(dir) else { return Ok(()) };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            if path.file_name().is_some_and(|n| n != "target") {
                collect(root, &path, into)?;
            }
        } else if path.extension().is_some_and(|x| x == "rs") {
            let text = fs::read_to_string(&path)?;
            into.push(Source { path: path.strip_prefix(root)?.to_path_buf(), text });
        }
    }
    Ok(())
}

pub fn check(sources: &[Source]) -> Vec<String> {
    sources.iter().flat_map(check_one).collect()
}

fn check_one(source: &Source) -> Vec<String> {
    let path = source.path.display();
    let name = source.path.to_string_lossy();
    let is_test =
        name.contains("/tests/") || name.starts_with("tests/") || name.ends_with("tests.rs");
    let production = production_part(&source.text);
    let mut complaints = Vec::new();
    // The unit tests of a module have its head.
    let has_head = source.text.trim_start().starts_with("//!") || name.ends_with("/tests.rs");
    if !has_head {
        complaints.push(format!("{path}: no `//!` head that says what this is"));
    }
    // The suite builds no documentation: an example there would be code that nothing checks.
    if production.lines().any(begins_example) {
        complaints.push(format!("{path}: an example in a comment is not run; make it a test"));
    }
    if is_test || source.text.contains(TABLE_MARK) {
        return complaints;
    }
    let lines = production.lines().count();
    if lines > FILE_LINES_MAX {
        complaints.push(format!("{path}: {lines} lines, at most {FILE_LINES_MAX}; split it"));
    }
    for (function, line, length) in functions(production) {
        if length > FUNCTION_LINES_MAX {
            complaints.push(format!(
                "{path}:{line}: fn {function} has {length} lines, at most {FUNCTION_LINES_MAX}"
            ));
        }
    }
    let fenced = name.starts_with("crates/net/") || name.starts_with("xtask/src/tidy/");
    if !fenced
        && production
            .lines()
            .any(|l| l.trim_start().starts_with("unsafe ") || l.contains(" unsafe {"))
    {
        complaints.push(format!("{path}: `unsafe` outside of crate net"));
    }
    for word in ["todo!(", "unimplemented!(", "dbg!("] {
        if !fenced && production.contains(word) {
            complaints.push(format!("{path}: {word}...) in production code"));
        }
    }
    if name.starts_with("crates/") && name.ends_with("src/main.rs") && lines > 60 {
        complaints.push(format!("{path}: {lines} lines; an entry point holds no logic"));
    }
    complaints
}

/// A fence without a language, or of Rust, would be run by `cargo test --doc`.
fn begins_example(line: &str) -> bool {
    let comment = line.trim_start();
    let text = comment.strip_prefix("///").or_else(|| comment.strip_prefix("//!"));
    text.is_some_and(|t| matches!(t.trim(), "```" | "```rust"))
}

/// What stands before the unit tests.
fn production_part(text: &str) -> &str {
    text.split("\n#[cfg(test)]\nmod tests").next().unwrap_or(text)
}

/// Name, first line and length of each function, by indentation: rustfmt puts the closing brace
/// under the first letter of the item.
fn functions(text: &str) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    let mut open: Vec<(usize, usize, String)> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let indent = line.len() - line.trim_start().len();
        if let Some(name) = function_name(line.trim_start()) {
            open.push((indent, number, name));
        }
        if line.trim() == "}" && open.last().is_some_and(|(i, ..)| *i == indent) {
            if let Some((_, start, name)) = open.pop() {
                found.push((name, start + 1, number - start + 1));
            }
        } else if line.trim_end().ends_with(['}', ';'])
            && open.last().is_some_and(|(i, start, _)| *i == indent && *start == number)
        {
            open.pop();
        }
    }
    found
}

fn function_name(line: &str) -> Option<String> {
    let mut rest = line;
    for word in
        ["pub(crate) ", "pub(super) ", "pub ", "const ", "async ", "unsafe ", "extern \"C\" "]
    {
        rest = rest.strip_prefix(word).unwrap_or(rest);
    }
    let name = rest.strip_prefix("fn ")?;
    Some(name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source { path: path.into(), text: text.into() }
    }

    #[test]
    fn a_good_file_passes() {
        let text = "//! What it is.\n\npub fn f() {\n    g();\n}\n";
        assert_eq!(check_one(&source("crates/base/src/f.rs", text)), Vec::<String>::new());
    }

    #[test]
    fn each_breach_is_found() {
        let long_fn =
            format!("//! Head.\nfn f() {{\n{}}}\n", "    g();\n".repeat(FUNCTION_LINES_MAX));
        let long_file = format!("//! Head.\n{}", "// x\n".repeat(FILE_LINES_MAX));
        let table = [
            ("crates/base/src/a.rs", "fn f() {}\n".to_owned(), "no `//!` head"),
            ("crates/base/src/a.rs", long_fn, "fn f has"),
            ("crates/base/src/a.rs", long_file, "split it"),
            ("crates/ir/src/a.rs", "//! Head.\nfn f() {\n    unsafe { g() }\n}\n".to_owned(), ""),
            (
                "crates/ir/src/a.rs",
                "//! Head.\nunsafe fn f() {}\n".to_owned(),
                "outside of crate net",
            ),
            ("crates/ir/src/a.rs", "//! Head.\nfn f() {\n    todo!()\n}\n".to_owned(), "todo!("),
            ("crates/ir/src/a.rs", "//! Head.\n//! ```\n//! f()\n".to_owned(), "is not run"),
        ];
        for (path, text, expected) in table {
            let complaints = check_one(&source(path, &text)).join("\n");
            assert!(complaints.contains(expected), "{path}: {complaints:?} lacks {expected:?}");
        }
    }

    #[test]
    fn tests_may_be_long() {
        let text =
            format!("//! Head.\n#[cfg(test)]\nmod tests {{\n{}}}\n", "    // x\n".repeat(900));
        assert_eq!(check_one(&source("crates/base/src/a.rs", &text)), Vec::<String>::new());
    }
}
