//! Istio's released expectations: policies, and the filters that Istio makes of them.

use super::json;
use compile::authorization::{Authorization, Carries, Reach};
use serde_json::{Map, Value, json};
use std::path::Path;

type Compile = fn(&str, &[&str], Option<Reach>, Carries) -> Authorization;

struct Case {
    input: &'static str,
    outputs: &'static [&'static str],
    domains: &'static [&'static str],
    reach: Option<Reach>,
}

const fn case(input: &'static str, outputs: &'static [&'static str]) -> Case {
    Case { input, outputs, domains: &["cluster.local"], reach: None }
}

const BOTH: Option<Reach> = Some(Reach::RequestsAndConnections);

/// Not among them: `allow-host-before-111`, for proxies older than Istio 1.11.
const HTTP: [Case; 14] = [
    case("allow-full-rule", &["allow-full-rule-out"]),
    case("allow-nil-rule", &["allow-nil-rule-out"]),
    case("allow-path", &["allow-path-out"]),
    case("custom-simple-http", &["custom-bad-out"]),
    Case {
        reach: Some(Reach::Requests),
        ..case("custom-simple-http", &["custom-http-provider-out1"])
    },
    Case { reach: BOTH, ..case("custom-simple-http", &["custom-http-provider-out1"]) },
    case("deny-and-allow", &["deny-and-allow-out1", "deny-and-allow-out2"]),
    case("dry-run-allow", &["dry-run-allow-out"]),
    case("multiple-policies", &["multiple-policies-out"]),
    Case {
        domains: &["td1", "foobar"],
        ..case(
            "simple-policy-principal-with-wildcard",
            &["simple-policy-principal-with-wildcard-out"],
        )
    },
    Case {
        domains: &["td1", "cluster.local"],
        ..case("simple-policy-td-aliases", &["simple-policy-td-aliases-out"])
    },
    case("single-policy", &["single-policy-out"]),
    Case {
        domains: &["some-td", "some-trustdomain"],
        ..case("td-aliases-source-principal", &["td-aliases-source-principal-out"])
    },
    case("trust-domains", &["trust-domains-out"]),
];

const TCP: [Case; 5] = [
    case("allow-both-http-tcp", &["allow-both-http-tcp-out"]),
    case("audit-both-http-tcp", &["audit-both-http-tcp-out"]),
    case("deny-both-http-tcp", &["deny-both-http-tcp-out"]),
    Case { reach: BOTH, ..case("custom-both-http-tcp", &["custom-both-http-tcp-out1"]) },
    Case { reach: Some(Reach::Requests), ..case("custom-only-http", &[]) },
];

pub fn all_cases(compile: Compile) {
    let Some(root) = released::folder("authz-builder") else { return };
    for (folder, carries, cases) in
        [("http", Carries::Http, &HTTP[..]), ("tcp", Carries::Tcp, &TCP[..])]
    {
        for case in cases {
            check(&root.join(folder), case, carries, compile);
        }
    }
}

fn check(folder: &Path, case: &Case, carries: Carries, compile: Compile) {
    let read = |name: &str| {
        std::fs::read_to_string(folder.join(format!("{name}.yaml"))).expect("a file of the data")
    };
    let made = compile(&read(&format!("{}-in", case.input)), case.domains, case.reach, carries);
    let choice = made.custom.iter().map(|c| &c.choice);
    let made: Vec<Value> = choice.chain(&made.filters).map(json::filter).collect();
    let wanted: Vec<Value> = case.outputs.iter().map(|name| expected(&read(name))).collect();
    assert_eq!(made.len(), wanted.len(), "{}: {made:#?}", case.input);
    for (made, wanted) in made.iter().zip(&wanted) {
        assert_eq!(made, wanted, "{}", case.input);
    }
}

fn expected(yaml: &str) -> Value {
    let mut filter: Value = serde_yaml_ng::from_str(yaml).expect("YAML");
    let mut config = filter["typedConfig"].take();
    for rules in ["rules", "shadowRules"] {
        let policies = config.get_mut(rules).and_then(|r| r["policies"].as_object_mut());
        for policy in policies.into_iter().flat_map(Map::values_mut) {
            settle(&mut policy["permissions"], "orRules", "rules");
            settle(&mut policy["principals"], "orIds", "ids");
        }
    }
    config.as_object_mut().expect("a message").remove("@type");
    config
}

/// Says the same with what our configuration has: names of headers in lower case, and a condition on
/// metadata for each value instead of one on any of several.
fn settle(value: &mut Value, or: &str, list: &str) {
    if let Value::Object(fields) = value {
        fields.remove("@type");
        if let Some(Value::String(name)) = fields.get_mut("name") {
            *name = name.to_lowercase();
        }
        if let Some(metadata) = fields.get("metadata") {
            let mut leaves = Vec::new();
            flatten(&metadata["value"], &|v| v, &mut leaves);
            if leaves.len() == 1 {
                return;
            }
            let of = |leaf| json!({"metadata": {"filter": metadata["filter"], "path": metadata["path"], "value": leaf}});
            let all: Vec<Value> = leaves.into_iter().map(of).collect();
            *value = json!({ or: {list: all} });
            return;
        }
    }
    match value {
        Value::Object(fields) => fields.values_mut().for_each(|v| settle(v, or, list)),
        Value::Array(items) => items.iter_mut().for_each(|v| settle(v, or, list)),
        _ => {}
    }
}

fn flatten(value: &Value, wrap: &dyn Fn(Value) -> Value, out: &mut Vec<Value>) {
    if let Some(any) = value["orMatch"]["valueMatchers"].as_array() {
        any.iter().for_each(|v| flatten(v, wrap, out));
    } else if let Some(inner) = value["listMatch"].get("oneOf") {
        flatten(inner, &|v| wrap(json!({"listMatch": {"oneOf": v}})), out);
    } else {
        out.push(wrap(value.clone()));
    }
}
