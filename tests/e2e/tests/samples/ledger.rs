//! What becomes of every released file: read from `ledger.txt`, compared with what was released.

use std::collections::BTreeSet;
use std::path::Path;

/// Files that `tests/bookinfo.rs` walks through, release by release.
pub const WALK: &str = "walk";

const TEXT: &str = include_str!("ledger.txt");

/// Lines of `RELEASES PATH scene NAME`, `RELEASES PATH exempt REASON` or `RELEASES PATH later REASON`. Releases are `*` or a list with
/// commas; a path that ends with `/` means all that lies below.
pub struct Ledger {
    lines: Vec<Line>,
}

struct Line {
    number: usize,
    releases: Vec<String>,
    path: String,
    verdict: Verdict,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Scene(String),
    /// Not ours to do.
    Exempt,
    /// Ours to do, and not done yet.
    Later,
}

impl Ledger {
    pub fn read() -> Ledger {
        Ledger::parse(TEXT)
    }

    fn parse(text: &str) -> Ledger {
        let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
        let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        Ledger { lines: lines.map(|(number, line)| Line::parse(number, line)).collect() }
    }

    pub fn scenes(&self) -> BTreeSet<String> {
        let scene = |line: &Line| match &line.verdict {
            Verdict::Scene(name) => Some(name.clone()),
            Verdict::Exempt | Verdict::Later => None,
        };
        self.lines.iter().filter_map(scene).collect()
    }

    /// What becomes of one file, `RELEASE/PATH`.
    pub fn verdict(&self, file: &str) -> Option<Verdict> {
        self.lines.iter().find(|line| line.covers(file)).map(|line| line.verdict.clone())
    }

    /// Files that no line or more than one speaks of, and lines that speak of no file.
    pub fn complaints(&self, files: &[String]) -> Vec<String> {
        let mut complaints = Vec::new();
        for file in files {
            let lines: Vec<usize> =
                self.lines.iter().filter(|l| l.covers(file)).map(|l| l.number).collect();
            match lines.as_slice() {
                [_] => {}
                [] => complaints.push(format!("{file} is not in the ledger")),
                several => complaints.push(format!("{file} is on lines {several:?}")),
            }
        }
        for line in &self.lines {
            for release in &line.releases {
                let covers = |f: &String| {
                    line.covers(f) && (release == "*" || f.starts_with(&format!("{release}/")))
                };
                if !files.iter().any(covers) {
                    let (number, path) = (line.number, &line.path);
                    complaints.push(format!("line {number}: there is no {path} in {release}"));
                }
            }
        }
        complaints
    }
}

impl Line {
    fn parse(number: usize, line: &str) -> Line {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [releases, path, verdict, rest @ ..] = words.as_slice() else {
            panic!("line {number} of the ledger is not RELEASES PATH VERDICT ...: {line}")
        };
        let rest = rest.join(" ");
        assert!(!rest.is_empty(), "line {number} of the ledger ends too early: {line}");
        let verdict = match *verdict {
            "scene" => Verdict::Scene(rest),
            "exempt" => Verdict::Exempt,
            "later" => Verdict::Later,
            other => panic!("line {number} of the ledger: {other:?} is no verdict"),
        };
        let releases = releases.split(',').map(str::to_owned).collect();
        Line { number, releases, path: (*path).to_owned(), verdict }
    }

    fn covers(&self, file: &str) -> bool {
        let Some((release, path)) = file.split_once('/') else { return false };
        let of_release = self.releases.iter().any(|r| r == "*" || r == release);
        let same = match self.path.strip_suffix('/') {
            Some(folder) => {
                folder.is_empty() || path.strip_prefix(folder).is_some_and(|p| p.starts_with('/'))
            }
            None => path == self.path,
        };
        of_release && same
    }
}

/// Every file that was released, as `RELEASE/PATH`, in order.
pub fn files(samples: &Path) -> Vec<String> {
    let mut found = Vec::new();
    walk(samples, samples, &mut found);
    found.sort();
    assert!(found.len() > 400, "only {} files are in {}", found.len(), samples.display());
    found
}

fn walk(root: &Path, directory: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).expect("samples can be read").flatten() {
        let path = entry.path();
        if path.is_dir() {
            walk(root, &path, found);
        } else {
            let path = path.strip_prefix(root).expect("it lies below");
            found.push(path.display().to_string());
        }
    }
}

#[test]
fn what_is_missing_and_what_is_too_much_is_said() {
    let text = "# a remark\n* a.yaml scene one\n1,2 b/ exempt it needs the internet\n";
    let ledger = Ledger::parse(text);
    let files = ["1/a.yaml", "2/b/c.yaml", "1/b/x/y.yaml"].map(str::to_owned);
    assert_eq!(ledger.complaints(&files), Vec::<String>::new());
    assert_eq!(ledger.verdict("1/a.yaml"), Some(Verdict::Scene("one".to_owned())));
    let more = ["1/a.yaml", "2/bc.yaml"].map(str::to_owned);
    let said = [
        "2/bc.yaml is not in the ledger",
        "line 3: there is no b/ in 1",
        "line 3: there is no b/ in 2",
    ];
    assert_eq!(ledger.complaints(&more), said);
    let twice = Ledger::parse("* a.yaml scene one\n1 a.yaml scene two\n");
    assert_eq!(twice.complaints(&files[..1]), ["1/a.yaml is on lines [1, 2]"]);
}
