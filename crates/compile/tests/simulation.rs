//! The hard semantics of traffic management, one file each in `simulation/cases`: objects, and what
//! becomes of requests and connections in the configuration that is compiled from them. What decides
//! is the proxy's own code (`policy` the chain and the route, `balance` the endpoints); each case names
//! where its meaning is written down.

mod simulation {
    pub mod case;
    pub mod proxy;
}
mod support;

use simulation::case::Case;
use simulation::proxy::Simulated;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/simulation/cases");
    let files = std::fs::read_dir(folder).expect("the cases");
    let mut files: Vec<PathBuf> = files.map(|f| f.expect("a file").path()).collect();
    files.sort();
    files
}

#[test]
fn requests_and_connections_go_where_the_documents_say() {
    let mut wrong = Vec::new();
    let only = std::env::var("CASE").unwrap_or_default();
    for file in cases() {
        let name = file.file_stem().expect("a name").to_string_lossy().into_owned();
        if !name.contains(&only) {
            continue;
        }
        let mut case = Case::read(&std::fs::read_to_string(&file).expect("a case"));
        for ask in std::mem::take(&mut case.asks) {
            let world = case.store.snapshot();
            let seen = Simulated::new(&world, &ask).outcome();
            if seen != ask.gets {
                wrong.push(format!("{name}: {ask}\n  expected {}\n  but it gets {seen}", ask.gets));
            }
        }
        let said = case.findings();
        for warned in &case.warns {
            if !said.iter().any(|s| s.contains(warned)) {
                wrong.push(format!("{name}: nothing says {warned:?} but only {said:#?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Each names its source, asks something, and no two are about the same.
#[test]
fn there_are_enough_cases_and_each_says_where_it_is_from() {
    let mut titles = BTreeSet::new();
    for file in cases() {
        let case = Case::read(&std::fs::read_to_string(&file).expect("a case"));
        assert!(!case.source.is_empty() && !case.title.is_empty(), "{}", file.display());
        assert!(case.asks.len() > 1, "{}: one question tells nothing apart", file.display());
        assert!(titles.insert(case.title.clone()), "{} comes twice", case.title);
    }
    assert!(titles.len() >= 25, "only {} cases", titles.len());
}
