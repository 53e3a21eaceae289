//! `analyze` and `validate` of files, as they are typed.
#![allow(clippy::unwrap_used)] // a test that cannot go on may end there

mod typed;

use serde_json::Value;
use typed::Folder;

fn analyze(folder: &Folder, arguments: &[&str]) -> (i32, String, String) {
    folder.run(&[&["analyze", "--use-kube=false"], arguments].concat())
}

const ROUTE: &str = "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: reviews
spec:
  hosts: [reviews]
  http:
  - route:
    - destination:
        host: raviews
";

const SERVICE: &str = "\
apiVersion: v1
kind: Service
metadata: {name: raviews}
spec:
  ports:
  - name: web
    port: 80
";

#[test]
fn files_are_analyzed_with_lines_and_exit_codes() {
    let folder = Folder::new("analyze");
    folder.write("route.yaml", ROUTE);
    let (code, out, err) = analyze(&folder, &["route.yaml"]);
    let line = "Error [IST0101] (VirtualService default/reviews route.yaml:10) Referenced host not \
                found: \"raviews\"\n";
    assert_eq!((code, out.as_str()), (79, line), "{err}");
    assert!(err.starts_with("Error: Analyzers found issues when analyzing namespace: default."));

    // Below a folder only when it is asked for; a hint is no failure.
    folder.write("below/service.yaml", SERVICE);
    assert_eq!(analyze(&folder, &["."]).0, 79);
    let (code, out, _) = analyze(&folder, &["-R", "."]);
    assert_eq!(code, 0, "{out}");
    assert!(out.starts_with("Info [IST0118] (Service default/raviews ./below/service.yaml:6)"));
    assert_eq!(analyze(&folder, &["-R", ".", "--failure-threshold", "Info"]).0, 79);

    let (code, out, err) = analyze(&folder, &["-R", ".", "--output-threshold=warning"]);
    assert_eq!((code, out.as_str()), (0, ""));
    assert!(err.contains("No validation issues found when analyzing"), "{err}");
}

#[test]
fn output_is_filtered_and_formatted() {
    let folder = Folder::new("format");
    folder.write("route.yaml", ROUTE);
    let (code, out, _) = analyze(&folder, &["route.yaml", "-o", "json"]);
    let value: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, value[0]["reference"].as_str()), (79, Some("route.yaml:10")));
    let (_, out, _) = analyze(&folder, &["route.yaml", "-o", "sarif"]);
    let value: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(value["runs"][0]["results"][0]["ruleId"], "IST0101");
    let (_, out, _) = analyze(&folder, &["route.yaml", "-o", "yaml"]);
    assert!(out.starts_with("- code: IST0101\n"), "{out}");

    let quiet: [&[&str]; 4] = [
        &["-S", "IST0101=VirtualService *.default"],
        &["-n", "other"],
        &["--analyzer", "service.PortNameAnalyzer"],
        &["--output-threshold", "info", "-S", "IST0101=VirtualService default/reviews"],
    ];
    // Without a namespace of its own an object belongs to the one that is asked for.
    let pinned = ROUTE.replace("  name: reviews\n", "  name: reviews\n  namespace: default\n");
    folder.write("route.yaml", &pinned);
    for arguments in quiet {
        let (code, out, err) = analyze(&folder, &[&["route.yaml"], arguments].concat());
        assert_eq!((code, out.as_str()), (0, ""), "{arguments:?}: {err}");
    }
    assert_eq!(analyze(&folder, &["-A", "-n", "other", "route.yaml"]).0, 79);
    let (code, _, err) = analyze(&folder, &["--analyzer", "no.Such"]);
    assert!(code == 1 && err.contains("--list-analyzers"), "{code} {err}");
    let (code, out, _) = analyze(&folder, &["--list-analyzers"]);
    assert!(code == 0 && out.contains("* gateway.SecretAnalyzer:\n"), "{out}");
}

#[test]
fn what_cannot_be_read_is_a_failure() {
    let folder = Folder::new("broken");
    folder.write("a.yaml", "kind: [\n");
    let (code, _, err) = analyze(&folder, &["a.yaml"]);
    assert!(code == 1 && err.contains("a.yaml: not YAML"), "{code} {err}");
    assert_eq!(analyze(&folder, &["--ignore-unknown", "a.yaml"]).0, 0);
    assert_eq!(analyze(&folder, &["absent.yaml"]).0, 1);
}

#[test]
fn validate_says_what_admission_would() {
    let folder = Folder::new("validate");
    folder.write("good.yaml", &ROUTE.replace("raviews", "reviews"));
    let validate = |file: &str| folder.run(&["validate", "-f", file]);
    assert_eq!(validate("good.yaml"), (0, "\"good.yaml\" is valid\n".into(), String::new()));

    folder.write("bad.yaml", &format!("{ROUTE}      weight: -1\n    timeout: soon\n"));
    let (code, _, err) = validate("bad.yaml");
    let start = "Error: 1 error occurred:\n\t* VirtualService/default/reviews (bad.yaml:12): \
                 spec.http[0].timeout: ";
    assert!(code == 1 && err.starts_with(start), "{code} {err}");

    folder.write("warned.yaml", &format!("{ROUTE}    Timeout: 1s\n"));
    let (code, out, _) = validate("warned.yaml");
    let start = "\"warned.yaml\" has warnings:\n\t* VirtualService/default/reviews \
                 (warned.yaml:11): spec.http[0].Timeout: unknown field";
    assert!(code == 0 && out.starts_with(start), "{code} {out}");

    folder.write("removed.yaml", "apiVersion: config.istio.io/v1alpha2\nkind: rule\n");
    let (code, _, err) = validate("removed.yaml");
    assert!(code == 1 && err.contains("is not known"), "{err}");
}
