//! `lateen authz` over files, as it is typed: who may, by which rule and line, and what came nearest.
#![allow(clippy::unwrap_used)] // a test that cannot go on may end there

use std::process::{Command, Stdio};

const MESH: &str = "\
apiVersion: v1
kind: Service
metadata: {name: reviews}
spec:
  selector: {app: reviews}
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: reviews-v1}
spec:
  template:
    metadata:
      labels: {app: reviews}
    spec:
      containers: [{name: app, image: reviews, ports: [{name: http, containerPort: 9080}]}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: viewers}
spec:
  selector: {matchLabels: {app: reviews}}
  rules:
  - to: [{operation: {paths: [/health]}}]
  - from:
    - source: {principals: [cluster.local/ns/default/sa/page]}
    to:
    - operation: {methods: [GET], ports: ['9080']}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-secrets}
spec:
  action: DENY
  rules:
  - to: [{operation: {paths: [/secret*]}}]
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default}
spec: {mtls: {mode: STRICT}}
";

#[test]
fn a_decision_is_traced_to_the_line_of_a_file() {
    let folder = std::env::temp_dir().join(format!("lateen-authz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("mesh.yaml"), MESH).unwrap();
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lateen"));
        command.arg("authz").args(args).args(["-f", "mesh.yaml"]);
        let output = command.current_dir(&folder).stdin(Stdio::null()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout) + &text(output.stderr))
    };
    let can = |from: &[&str], request: [&str; 2]| {
        run(&[&["can-i", "--to", "reviews"], from, &request[..]].concat())
    };
    let viewers = "AuthorizationPolicy default/viewers spec.rules[1] (mesh.yaml:25)";
    let page = ["--from", "page"];
    let (code, told) = can(&page, ["GET", "/reviews/0"]);
    assert!(code == 0 && told.contains("yes: reviews-v1") && told.contains(viewers), "{told}");

    // Anybody may ask for what the first rule allows: that this one is anybody is not near.
    let (code, told) = can(&page, ["POST", "/reviews/0"]);
    assert!(code == 1 && told.contains("nearest  ns[default]-policy[viewers]-rule[1]"), "{told}");
    assert!(told.contains("it allows the client, not the operation"), "{told}");

    let (code, told) = can(&["--from", "other/page"], ["GET", "/secret/x"]);
    let denies = "AuthorizationPolicy default/no-secrets spec.rules[0] (mesh.yaml:36)";
    assert!(code == 1 && told.contains("a rule denies it") && told.contains(denies), "{told}");

    let (code, told) = can(&[], ["GET", "/health"]);
    assert!(code == 1 && told.contains("STRICT") && told.contains("PeerAuthentication"), "{told}");

    let (code, told) = run(&["check", "deploy/reviews-v1"]);
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(code, 0, "{told}");
    assert!(lines[0].starts_with("ACTION"), "{told}");
    assert!(lines[1].starts_with("DENY") && lines[1].contains("no-secrets.default"), "{told}");
    assert!(lines[2].starts_with("ALLOW") && lines[2].trim_end().ends_with('2'), "{told}");
    std::fs::remove_dir_all(folder).unwrap();
}
