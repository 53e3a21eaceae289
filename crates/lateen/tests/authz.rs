//! `lateen authz` over files, as it is typed: who may, by which rule and line, and what came nearest.
#![allow(clippy::unwrap_used)] // a test that cannot go on may end there

mod typed;

use typed::Folder;

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

/// `lateen authz`
fn authz(folder: &Folder, args: &[&str]) -> (i32, String) {
    folder.ask(&[&["authz"], args].concat())
}

#[test]
fn a_decision_is_traced_to_the_line_of_a_file() {
    let folder = Folder::of("authz-lines", MESH);
    let run = |args: &[&str]| authz(&folder, args);
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
}

/// A workload with a port of each kind, and one that only plaintext gets to.
const DOUBTS: &str = "\
apiVersion: v1
kind: Service
metadata: {name: shop}
spec:
  selector: {app: shop}
  ports: [{name: http, port: 80}, {name: mysql, port: 3306}, {name: tcp, port: 9000}, {port: 7000}]
---
apiVersion: v1
kind: Pod
metadata: {name: shop-1, labels: {app: shop}}
spec: {containers: [{name: app, image: shop}]}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: shop}
spec:
  selector: {matchLabels: {app: shop}}
  portLevelMtls: {7000: {mode: DISABLE}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: may}
spec:
  selector: {matchLabels: {app: shop}}
  rules:
  - from: [{source: {principals: [cluster.local/ns/default/sa/page]}}]
    to: [{operation: {ports: ['80', '7000']}}]
  - to: [{operation: {methods: [GET], ports: ['3306']}}]
  - to: [{operation: {ports: ['9000']}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: may-not}
spec:
  selector: {matchLabels: {app: shop}}
  action: DENY
  rules:
  - to: [{operation: {paths: [/secret*], ports: ['80']}}]
  - from: [{source: {ipBlocks: [10.0.0.0/8]}}]
    to: [{operation: {paths: [/near], ports: ['80']}}]
  - from: [{source: {notIpBlocks: [10.0.0.0/8]}}]
    to: [{operation: {paths: [/far], ports: ['80']}}]
";

#[test]
fn nobody_is_promised_what_the_proxy_denies() {
    let folder = Folder::of("authz-doubts", DOUBTS);
    let (yes, no, unknown) = ("yes:", "no:", "cannot be told:");
    let table: [(&[&str], &str); 15] = [
        (&["--port", "80", "GET", "/"], yes),
        // Where only plaintext is taken nobody proves who they are.
        (&["--port", "7000", "GET", "/"], no),
        // Of a connection that is no HTTP nothing is known of methods.
        (&["--port", "3306", "GET", "/"], no),
        (&["--port", "9000", "GET", "/"], yes),
        // The path that is judged is the one that the proxy makes of it.
        (&["--port", "80", "GET", "/secret"], no),
        (&["--port", "80", "GET", "/x/../secret"], no),
        (&["--port", "80", "GET", "/%73ecret"], no),
        (&["--port", "80", "GET", "/./%2e/secret"], no),
        (&["--port", "80", "GET", "/a%00"], no),
        // An address that is not given is neither inside a range nor outside of it.
        (&["--port", "80", "GET", "/near"], unknown),
        (&["--port", "80", "GET", "/far"], unknown),
        (&["--port", "80", "--ip", "10.1.1.1", "GET", "/near"], no),
        (&["--port", "80", "--ip", "11.1.1.1", "GET", "/near"], yes),
        (&["--port", "80", "--ip", "10.1.1.1", "GET", "/far"], yes),
        (&["--port", "80", "--ip", "11.1.1.1", "GET", "/far"], no),
    ];
    for (asked, expected) in table {
        let who = ["can-i", "--from", "page", "--to", "shop"];
        let (code, told) = authz(&folder, &[&who, asked].concat());
        assert!(told.starts_with(expected), "{asked:?}: {told}");
        assert_eq!(code == 0, expected == yes, "{asked:?}: {told}");
    }
    let (_, told) = authz(&folder, &["can-i", "--from", "page", "--to", "shop", "GET", "/near"]);
    assert!(told.contains("default/may-not spec.rules[1]") && told.contains("--ip"), "{told}");
}
