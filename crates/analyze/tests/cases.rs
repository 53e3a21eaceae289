//! One file of objects for each analyzer, in folder `cases`: its first line names the analyzer, and
//! `# <- CODE` ends each line that a finding is about. Exactly those are found, on those lines.
#![allow(clippy::unwrap_used)] // a test that cannot go on may end there

use analyze::{ALL, Settings, World};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Files by name.
fn cases() -> BTreeMap<String, String> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let files = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    let name = |p: &Path| p.file_name().unwrap().to_str().unwrap().to_owned();
    files.map(|p| (name(&p), std::fs::read_to_string(&p).unwrap())).collect()
}

fn analyzer_of(text: &str) -> &str {
    text.lines().next().unwrap().trim_start_matches("# ")
}

/// `line CODE`, in order.
fn expected(text: &str) -> Vec<String> {
    let mut all = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let codes = line.split_once("# <- ").map_or("", |(_, codes)| codes);
        all.extend(codes.split_whitespace().map(|c| format!("{:>3} {c}", index + 1)));
    }
    all
}

fn found(text: &str) -> Vec<String> {
    let read = analyze::read(text);
    assert_eq!(read.error, None);
    let world = World::new(read.documents.iter().map(|d| d.object.clone()), &Settings::default());
    let analyzer = ALL.iter().find(|a| a.name == analyzer_of(text));
    let findings = analyze::analyze(&world, analyzer);
    let mut lines: Vec<String> = findings
        .iter()
        .map(|f| {
            let object = f.object.as_ref().unwrap();
            let same = |d: &&analyze::Document| {
                let text = |v: &serde_json::Value| v.as_str().unwrap_or_default().to_owned();
                let meta = &d.object["metadata"];
                let default = if object.namespace == "default" { "" } else { &object.namespace };
                let namespace = text(&meta["namespace"]);
                text(&d.object["kind"]) == object.kind
                    && text(&meta["name"]) == object.name
                    && (namespace == object.namespace || namespace == default)
            };
            let document = read.documents.iter().find(same).unwrap();
            format!("{:>3} {}", document.lines.of(&f.path).unwrap(), f.code)
        })
        .collect();
    lines.sort();
    lines
}

#[test]
fn each_case_gives_the_findings_that_it_marks() {
    let mut wrong = String::new();
    for (file, text) in cases() {
        let (found, expected) = (found(&text), expected(&text));
        if found != expected {
            wrong += &format!("{file}\n  found    {found:?}\n  expected {expected:?}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn every_analyzer_has_a_case() {
    let cases = cases();
    let covered: BTreeSet<&str> = cases.values().map(|t| analyzer_of(t)).collect();
    let missing: Vec<&str> = ALL.iter().map(|a| a.name).filter(|n| !covered.contains(n)).collect();
    assert_eq!(missing, Vec::<&str>::new());
}

/// Messages that nothing here can find out: they need a second cluster, the sockets of pods, an upgrade,
/// what the user may do, or the Gateway API's definitions, which the mesh does not read yet.
const NOT_YET: [&str; 10] = [
    "IST0001", "IST0141", "IST0142", "IST0143", "IST0156", "IST0168", "IST0169", "IST0170",
    "IST0172", "IST0176",
];

#[test]
fn every_message_is_said_in_a_case_or_known_to_be_missing() {
    let cases = cases();
    let said = |code: &str| cases.values().any(|t| expected(t).iter().any(|e| e.ends_with(code)));
    let missing: Vec<&str> =
        analyze::catalogue::ALL.iter().map(|m| m.code).filter(|code| !said(code)).collect();
    assert_eq!(missing, NOT_YET);
}

#[test]
fn admission_says_what_does_not_depend_on_other_objects() {
    let codes = |file: &str| -> Vec<&'static str> {
        let documents = analyze::read(&cases()[file]).documents;
        documents.iter().flat_map(|d| analyze::admission(&d.object)).map(|f| f.code).collect()
    };
    assert_eq!(codes("ca_certificate.yaml"), ["IST0128", "IST0129"]);
    assert_eq!(codes("destination_host.yaml"), Vec::<&str>::new());
}
