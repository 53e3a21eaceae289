//! h2spec: what an HTTP/2 server must accept, refuse and say, frame by frame.

use crate::{both, peers, program};
use differential::cases::single;
use serde_json::json;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

/// Seconds that a frame is waited for. Envoy's failures take so long each.
const WAIT: &str = "2";

/// So many cases there are at least; a suite that ran none of them proves nothing.
const LEAST: usize = 140;

#[test]
fn no_name_of_h2spec_fails_that_envoy_does_not_fail() {
    let Some(h2spec) = program("H2SPEC", "bin/h2spec") else { return };
    let dir = peers::directory("h2spec");
    let case = single("h2spec", "second", json!({}), vec![]);
    let Some([envoy, ours]) = both(&dir, case, None) else { return };
    let run = |name: &'static str, to: SocketAddr| {
        let (h2spec, report) = (h2spec.clone(), dir.join(format!("{name}.xml")));
        std::thread::spawn(move || failing(&h2spec, to, &report))
    };
    let (envoy, ours) = (run("envoy", envoy.address(0)), run("ours", ours.address(0)));
    let (envoy, ours) = (envoy.join().unwrap(), ours.join().unwrap());
    let worse: Vec<_> = ours.difference(&envoy).collect();
    println!("h2spec: Envoy fails {}, ours {}: {ours:#?}", envoy.len(), ours.len());
    assert!(worse.is_empty(), "Envoy passes: {worse:#?}");
    std::fs::remove_dir_all(&dir).unwrap();
}

/// The names of what failed.
fn failing(h2spec: &Path, to: SocketAddr, report: &Path) -> BTreeSet<String> {
    let status = Command::new(h2spec)
        .args(["--strict", "-h", "127.0.0.1", "-o", WAIT, "-p", &to.port().to_string(), "-j"])
        .arg(report)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    let text = String::from_utf8_lossy(&std::fs::read(report).unwrap()).into_owned();
    let (all, failed) = read(&text);
    assert!(all >= LEAST, "{status}: {all} cases were run");
    failed
}

/// The number of cases in a JUnit report, and the names of those that did not pass.
fn read(report: &str) -> (usize, BTreeSet<String>) {
    let cases: Vec<&str> = report.split("<testcase ").skip(1).collect();
    let failed = cases.iter().filter(|c| c.contains("<failure") || c.contains("<error"));
    let name =
        |case: &&str| format!("{} {}", attribute(case, "package"), attribute(case, "classname"));
    (cases.len(), failed.map(name).collect())
}

fn attribute<'a>(element: &'a str, name: &str) -> &'a str {
    let rest = element.split_once(&format!("{name}=\"")).map_or("", |(_, rest)| rest);
    rest.split_once('"').map_or("", |(value, _)| value)
}

#[test]
fn reports_are_read() {
    let report = r#"<testsuite name="3.5"><testcase package="http2/3.5" classname="Fine" time="0.1"></testcase>
        <testcase package="http2/3.5" classname="Not fine" time="1.0"><error>x</error></testcase></testsuite>"#;
    assert_eq!(read(report), (2, BTreeSet::from(["http2/3.5 Not fine".to_owned()])));
}
