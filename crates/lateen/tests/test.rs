//! `test` of files, as it is typed.
#![allow(clippy::unwrap_used)] // a test that cannot go on may end there

use std::path::Path;
use std::process::{Command, Stdio};

fn run(folder: &Path, args: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lateen"));
    command.arg("test").args(args).current_dir(folder).stdin(Stdio::null());
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout) + &text(output.stderr))
}

const INLINE: &str = "\
kind: RoutingTest
objects:
- apiVersion: v1
  kind: Service
  metadata: {name: web}
  spec: {ports: [{name: http, port: 80}]}
from: {namespace: default, labels: {app: client}}
tests:
- request: http://web/
  expect: {status: 404}
";

#[test]
fn the_samples_tests_pass_and_a_wrong_one_fails() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples");
    let (code, told) = run(&samples, &["routing-tests"]);
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("6 passed, 0 failed"), "{told}");
    let missed = "not reached: VirtualService default/bookinfo spec.http[0].match[1] (";
    assert!(told.contains(missed) && told.contains("bookinfo-gateway.yaml:"), "{told}");
    let (code, _) = run(&samples, &["routing-tests", "--min-coverage", "90"]);
    assert_eq!(code, 2);
    let (code, told) = run(&samples, &["routing-tests", "--run", "jason"]);
    assert!(code == 0 && told.contains("2 passed, 0 failed"), "{told}");
    let (code, told) = run(&samples, &["routing-tests", "--run", "jsaon"]);
    assert!(code == 1 && told.contains("no test has \"jsaon\" in its name"), "{told}");
    let (_, xml) = run(&samples, &["routing-tests", "-o", "junit"]);
    assert!(xml.contains("<testsuites tests=\"6\" failures=\"0\">"), "{xml}");

    let folder = std::env::temp_dir().join(format!("lateen-test-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("inline.yaml"), INLINE).unwrap();
    let (code, told) = run(&folder, &["."]);
    assert_eq!(code, 2, "{told}");
    assert!(told.contains("FAIL  http://web/"), "{told}");
    assert!(told.contains("status: expected 404, found none"), "{told}");
    assert!(told.contains("| verdict       forwarded"), "{told}");
    std::fs::write(folder.join("inline.yaml"), "kind: RoutingTest\ntests: []\n").unwrap();
    let (code, told) = run(&folder, &["."]);
    assert!(code == 1 && told.contains("hold no tests"), "{told}");
    std::fs::write(folder.join("inline.yaml"), "kind: RoutingTest\ntests: [{}]\n").unwrap();
    let (code, told) = run(&folder, &["."]);
    assert!(code == 1 && told.contains("inline.yaml: not a RoutingTest"), "{told}");
    std::fs::write(folder.join("inline.yaml"), "kind: Service\n").unwrap();
    let (code, told) = run(&folder, &["."]);
    assert!(code == 1 && told.contains("there is no document of kind RoutingTest"), "{told}");
    let _ = std::fs::remove_dir_all(&folder);
}

#[test]
fn a_broken_object_beside_the_tests_does_not_break_them() {
    let folder = std::env::temp_dir().join(format!("lateen-test-broken-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let broken = "\
- {apiVersion: v1, kind: Service, metadata: {name: odd}, spec: nonsense}
from:";
    let text = INLINE.replace("from:", broken).replace("{status: 404}", "{verdict: forwarded}");
    std::fs::write(folder.join("inline.yaml"), text).unwrap();
    let (code, told) = run(&folder, &["."]);
    assert!(code == 0 && told.contains("1 passed, 0 failed"), "{told}");
    std::fs::remove_dir_all(&folder).unwrap();
}
