//! Tests of routing, themselves tested: what holds passes, what does not is named, rules are counted.

use super::support;
use explain::suite::{Coverage, Outcome, Report, Suite, as_json, as_junit, as_text, check};
use explain::{Asked, Draws, Explainer, Side};

const WORLD: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {clusterIP: 10.96.0.4, ports: [{name: http, port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: default}
spec:
  host: web
  subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: default}
spec:
  hosts: [web]
  http:
  - name: old
    match: [{uri: {prefix: /old}}, {uri: {prefix: /ancient}}]
    redirect: {uri: /new}
  - name: rest
    timeout: 2s
    rewrite: {uri: /rewritten}
    headers: {request: {set: {x-a: '1'}}, response: {set: {x-b: '2'}}}
    route:
    - {destination: {host: web, subset: v1}, weight: 75}
    - {destination: {host: web, subset: v2}, weight: 25}
";

const SUITE: &str = "
kind: RoutingTest
metadata: {name: web}
tests:
- request: GET http://web/old/1
  expect: {verdict: redirected, status: 301, location: 'http://web/new', route: old}
- name: the rest is split
  request: GET http://web/
  expect:
    route: VirtualService default/web spec.http[1]
    destinations: [{host: web, subset: v1, weight: 75}, {host: web.default, subset: v2, port: 80}]
    path: /rewritten
    requestHeaders: {x-a: '1', x-none: null}
    responseHeaders: {x-b: '2'}
    facts: {timeout: 2s}
- name: all of this is wrong
  request: GET http://web/
  expect:
    verdict: answered
    route: VirtualService default/web spec.http[0]
    destinations: [{host: web, subset: v1, weight: 50}]
    host: other
    requestHeaders: {x-a: null}
    facts: {timeout: 3s, fault: '500'}
";

fn run() -> (Report, Coverage) {
    let world = support::world(WORLD);
    let suite: Suite = serde_yaml_ng::from_str(SUITE).unwrap();
    let explainer = Explainer::new(&world, Side::Client(support::workload("default", &[])));
    let mut coverage = Coverage::of(&world);
    let outcomes = suite.tests.iter().map(|case| {
        let (method, url) = case.request.split_once(' ').unwrap();
        let told = explainer.explain(&Asked::parse(method, url).unwrap(), Draws::All);
        coverage.note(&told);
        let name = if case.name.is_empty() { &case.request } else { &case.name };
        let failures = check(&case.expect, &told);
        Outcome { name: name.clone(), failures, told: told.text(|_| None) }
    });
    let outcomes = outcomes.collect();
    (Report { name: "web".into(), file: "web.yaml".into(), outcomes }, coverage)
}

#[test]
fn what_holds_passes_and_what_does_not_is_named() {
    let (report, _) = run();
    let failures: Vec<&[String]> = report.outcomes.iter().map(|o| o.failures.as_slice()).collect();
    assert_eq!((failures[0], failures[1]), (&[][..], &[][..]));
    let wrong = failures[2].join("\n");
    for line in [
        "verdict: expected answered, found forwarded",
        "host: expected other, found web",
        "route: expected VirtualService default/web spec.http[0], found rest",
        "destination: expected web subset v1 50%, found outbound|80|v1|",
        "destination: outbound|80|v2|web.default.svc.cluster.local is not expected",
        "request header x-a: expected nothing, found 1",
        "timeout: expected 3s, found 2s",
        "fault: expected 500, found none",
    ] {
        assert!(wrong.contains(line), "{line:?} is not in\n{wrong}");
    }
}

#[test]
fn rules_that_no_test_reaches_are_listed() {
    let (report, coverage) = run();
    // Three matches or rules without any, two subsets; `/ancient` is not asked for.
    assert_eq!((coverage.reached(), coverage.total()), (4, 5));
    let text = as_text(&[report], &coverage, |_| Some("web.yaml:1".into()));
    assert!(text.contains("2 passed, 1 failed\n4 of 5 rules reached (80%)\n"), "{text}");
    let missed = "not reached: VirtualService default/web spec.http[0].match[1] (web.yaml:1)";
    assert!(text.contains(missed), "{text}");
}

#[test]
fn programs_and_ci_systems_can_read_it() {
    let (report, coverage) = run();
    let reports = [report];
    let json = as_json(&reports, &coverage, |_| None);
    assert_eq!((&json["passed"], &json["failed"]), (&2.into(), &1.into()));
    assert_eq!(json["suites"][0]["tests"][2]["passed"], false);
    assert_eq!(json["coverage"]["rules"].as_array().unwrap().len(), 5);
    let xml = as_junit(&reports);
    assert!(xml.contains("<testsuite name=\"web\" file=\"web.yaml\" tests=\"3\" failures=\"1\">"));
    assert!(xml.contains("<testcase name=\"GET http://web/old/1\" classname=\"web\"/>"), "{xml}");
    assert!(xml.contains("<failure message=\"verdict: expected answered"), "{xml}");
}

#[test]
fn a_field_that_does_not_exist_is_refused() {
    let text = "{kind: RoutingTest, tests: [{request: a, expect: {statsu: 200}}]}";
    let error = serde_yaml_ng::from_str::<Suite>(text).unwrap_err().to_string();
    assert!(error.contains("statsu"), "{error}");
}
