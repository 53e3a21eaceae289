//! `explain` of files, as it is typed.
#![allow(clippy::unwrap_used)] // a test that cannot go on may end there

use std::process::{Command, Stdio};

const MESH: &str = "\
apiVersion: v1
kind: Service
metadata: {name: reviews}
spec:
  selector: {app: reviews}
  ports: [{name: http, port: 9080}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: productpage-v1}
spec:
  template:
    metadata:
      labels: {app: productpage}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - match:
    - headers:
        end-user: {exact: jason}
    directResponse: {status: 418}
  - match:
    - sourceLabels: {app: productpage}
    redirect: {uri: /elsewhere}
";

#[test]
fn a_request_is_traced_to_the_line_of_a_file() {
    let folder = std::env::temp_dir().join(format!("lateen-explain-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("mesh.yaml"), MESH).unwrap();
    let ask = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lateen"));
        command.args(["explain", "GET", "http://reviews:9080/x", "-f", "mesh.yaml"]).args(more);
        let output = command.current_dir(&folder).stdin(Stdio::null()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout) + &text(output.stderr))
    };
    let (code, told) = ask(&["-H", "end-user: jason"]);
    assert!(code == 0 && told.contains("verdict       418"), "{told}");
    assert!(
        told.contains("VirtualService default/reviews spec.http[0].match[0] (mesh.yaml:23)"),
        "{told}"
    );

    let (_, told) = ask(&["--from", "deploy/productpage-v1"]);
    assert!(told.contains("301 to http://reviews:9080/elsewhere"), "{told}");
    assert!(told.contains("its headers did not match"), "{told}");

    let (_, told) = ask(&[]);
    assert!(told.contains("404: no route matches"), "{told}");
    let (code, told) = ask(&["--from", "deploy/absent"]);
    assert!(code == 1 && told.contains("no deploy \"absent\""), "{told}");
    let _ = std::fs::remove_dir_all(&folder);
}
