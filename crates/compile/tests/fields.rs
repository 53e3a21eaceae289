//! The networking API field by field, in `fields/cases`: a field with a value, and what the configuration
//! says because of it. Each case is compiled twice, with the field and without; what it expects must hold
//! with it and must not hold without, so a field that is ignored fails its case. docs/fields.md is the list.

mod fields {
    pub mod case;
    pub mod seen;
}
mod support;

use fields::case::{Case, read};
use std::path::{Path, PathBuf};

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fields/cases");
    let files = std::fs::read_dir(folder).expect("the cases");
    let mut files: Vec<PathBuf> = files.map(|f| f.expect("a file").path()).collect();
    files.sort();
    files
}

fn cases() -> Vec<Case> {
    let only = std::env::var("FIELD").unwrap_or_default();
    let all =
        files().into_iter().flat_map(|file| read(&std::fs::read_to_string(file).expect("cases")));
    all.filter(|c| format!("{} {}", c.kind, c.field).contains(&only)).collect()
}

#[test]
fn every_field_has_the_effect_that_its_case_says() {
    let mut wrong = Vec::new();
    for case in cases() {
        let name = format!("{} {}", case.kind, case.field);
        if let Err(why) = case.holds(&case.with()) {
            wrong.push(format!("{name}: {why}"));
        } else if case.holds(&case.without()).is_ok() {
            wrong.push(format!("{name}: the same is there without the field"));
        }
    }
    assert!(wrong.is_empty(), "{} cases fail:\n{}", wrong.len(), wrong.join("\n"));
}
