//! AuthorizationPolicies and the filters that they become: Istio's released expectations where they
//! are at hand, and our own cases, which say what is never let through.

mod authorization {
    pub mod json;
    pub mod shared;
}
mod support;

use api::{AuthorizationPolicy, Object};
use authorization::json::filter as as_json;
use base::ObjectRef;
use compile::authorization::{Authorization, Carries, Reach, Setting, TrustDomains, authorize};
use ir::{Permission, Principal, RbacAction, RbacRules};
use registry::Item;
use serde_json::{Value, json};

/// The policies of a YAML text.
fn policies(yaml: &str) -> Vec<Item<AuthorizationPolicy>> {
    let item = |value: Value| {
        let object: Object<AuthorizationPolicy> =
            api::decode("AuthorizationPolicy", &value).expect("a policy").object;
        let (namespace, name) = (object.metadata.namespace.clone(), object.metadata.name.clone());
        Item {
            version: 1,
            object: ObjectRef::new("AuthorizationPolicy", &namespace, &name),
            metadata: object.metadata,
            spec: object.spec,
            hosts: Vec::new(),
            export_to: None,
        }
    };
    support::documents(yaml).into_iter().map(item).collect()
}

fn compiled(yaml: &str, domains: &[&str], reach: Option<Reach>, carries: Carries) -> Authorization {
    let policies = policies(yaml);
    let aliases: Vec<String> = domains[1..].iter().map(|d| (*d).to_owned()).collect();
    let trust = TrustDomains::new(domains[0], &aliases);
    let provider = |_: &str| reach;
    authorize(&policies, Setting { trust: &trust, provider: &provider }, carries)
}

/// A policy with one rule.
fn one(action: &str, rule: &str, carries: Carries) -> Authorization {
    let yaml = format!(
        "metadata: {{name: p, namespace: foo}}\nspec: {{action: {action}, rules: [{rule}]}}"
    );
    compiled(&yaml, &["cluster.local"], None, carries)
}

fn rules(of: &Authorization) -> &RbacRules {
    of.filters[0].rules.as_ref().expect("rules that are enforced")
}

fn said(of: &Authorization) -> Vec<String> {
    of.findings.iter().map(ToString::to_string).collect()
}

#[test]
fn filters_are_those_that_istio_makes() {
    authorization::shared::all_cases(compiled);
}

#[test]
fn order_and_names_are_istios() {
    let policy = |name: &str, action: &str| {
        format!(
            "metadata: {{name: {name}, namespace: foo}}\nspec: {{action: {action}, rules: [{{}}, {{}}]}}\n"
        )
    };
    let yaml = ["ALLOW", "AUDIT", "DENY"].map(|a| policy(&a.to_lowercase(), a)).join("---\n");
    let all = compiled(&yaml, &["cluster.local"], None, Carries::Http);
    let actions: Vec<_> =
        all.filters.iter().map(|f| f.rules.as_ref().expect("rules").action).collect();
    assert_eq!(actions, [RbacAction::Deny, RbacAction::Log, RbacAction::Allow]);
    let names: Vec<&str> = rules(&all).policies.keys().map(|k| &**k).collect();
    assert_eq!(names, ["ns[foo]-policy[deny]-rule[0]", "ns[foo]-policy[deny]-rule[1]"]);
    assert!(compiled("", &["cluster.local"], None, Carries::Http).filters.is_empty());
}

#[test]
fn allow_without_rules_allows_nothing() {
    let nothing = compiled(
        "metadata: {name: allow-nothing, namespace: foo}\nspec: {}",
        &["cluster.local"],
        None,
        Carries::Tcp,
    );
    let policy = rules(&nothing).policies.values().next().expect("one that never matches");
    assert_eq!(policy.permissions, [Permission::Not(Box::new(Permission::Any))]);
    assert_eq!(policy.principals, [Principal::Not(Box::new(Principal::Any))]);
}

/// What is not understood: ALLOW allows nothing by it, DENY is wider.
#[test]
fn what_is_not_understood_never_lets_more_through() {
    let cases = [
        "{from: [{source: {principal: [a]}}]}",
        "{from: [{source: {}}]}",
        "{from: [{}]}",
        "{to: [{operation: {}}]}",
        "{form: [{source: {principals: [a]}}]}",
        "{from: [{source: {ipBlocks: [10.0.0.0/33]}}]}",
        "{from: [{source: {notIpBlocks: [nowhere]}}]}",
        "{to: [{operation: {ports: [http]}}]}",
        "{when: [{key: 'request.header[foo]', values: [bar]}]}",
        "{when: [{key: source.ip}]}",
        "{when: [{key: 'request.auth.claims[]', values: [bar]}]}",
        "{when: [{key: 'experimental.envoy.filters.a', values: [bar]}]}",
    ];
    for rule in cases {
        let allow = one("ALLOW", rule, Carries::Http);
        assert!(rules(&allow).policies.is_empty(), "{rule} allows something");
        assert!(!allow.findings.is_empty(), "{rule}: nothing is said");
        let deny = one("DENY", rule, Carries::Http);
        let policy = rules(&deny).policies.values().next().expect("a rule that denies");
        assert_eq!(policy.permissions, [Permission::All(vec![Permission::Any])], "{rule}");
        assert_eq!(policy.principals, [Principal::All(vec![Principal::Any])], "{rule}");
    }
}

#[test]
fn one_alternative_that_is_not_understood_leaves_the_others() {
    let rule = "{from: [{source: {ipBlocks: [x]}}, {source: {ipBlocks: ['::ffff:10.0.0.0/104']}}]}";
    let allow = one("ALLOW", rule, Carries::Http);
    let expected = json!([{"andIds": {"ids": [{"orIds": {"ids": [
        {"directRemoteIp": {"addressPrefix": "10.0.0.0", "prefixLen": 8}}]}}]}}]);
    let json = as_json(&allow.filters[0]);
    assert_eq!(json["rules"]["policies"]["ns[foo]-policy[p]-rule[0]"]["principals"], expected);
    let deny = one("DENY", rule, Carries::Http);
    let principals = &rules(&deny).policies.values().next().expect("a rule").principals;
    assert_eq!(principals[0], Principal::All(vec![Principal::Any]), "the first is wider");
}

#[test]
fn what_tcp_does_not_have_is_said() {
    let rule = "{from: [{source: {ipBlocks: [10.0.0.1]}}], to: [{operation: {methods: [GET]}}]}";
    let allow = one("ALLOW", rule, Carries::Tcp);
    assert!(rules(&allow).policies.is_empty());
    let say = "spec.rules[0].to[0].operation.methods: is known of HTTP only: at TCP ports what it \
               stands in allows nothing";
    assert!(said(&allow)[0].contains(say), "{:?}", said(&allow));
    let deny = one("DENY", rule, Carries::Tcp);
    assert_eq!(rules(&deny).policies.len(), 1);
    assert!(said(&deny)[0].contains("matches more"), "{:?}", said(&deny));
}

#[test]
fn where_nobody_can_be_asked_the_requests_that_are_meant_are_denied() {
    let custom = |reach, provider: &str| {
        let yaml = format!(
            "metadata: {{name: a, namespace: foo}}
spec: {{action: CUSTOM, provider: {{name: p}}, rules: [{{from: [{{source: {{principals: [x]}}}}]}}]}}
---
metadata: {{name: b, namespace: foo}}
spec: {{action: CUSTOM, provider: {{name: {provider}}}, rules: [{{}}]}}"
        );
        let all = compiled(&yaml, &["cluster.local"], reach, Carries::Http);
        let custom = all.custom.clone().expect("a choice");
        (custom, said(&all).join("\n"))
    };
    let both = Some(Reach::RequestsAndConnections);
    for (reach, provider, say) in [(None, "p", "extensionProviders"), (both, "q", "several")] {
        let (custom, said) = custom(reach, provider);
        assert_eq!(custom.provider, None);
        let rules = custom.choice.rules.expect("rules that are enforced");
        assert_eq!((rules.action, rules.policies.len()), (RbacAction::Deny, 2));
        assert!(said.contains(say), "{said}");
    }
    let (custom, said) = custom(both, "p");
    assert_eq!(custom.provider.expect("somebody").provider, "p");
    let rules = custom.choice.shadow.expect("rules that are observed");
    let first = rules.policies.values().next().expect("a rule");
    assert_eq!(
        first.principals,
        [Principal::All(vec![Principal::Any])],
        "who asks is not known yet"
    );
    assert!(said.contains("not supported with CUSTOM"), "{said}");
}

#[test]
fn a_dry_run_is_observed_and_what_cannot_be_is_enforced() {
    let of = |action: &str, dry: &str| {
        let yaml = format!(
            "metadata: {{name: p, namespace: foo, annotations: {{istio.io/dry-run: '{dry}'}}}}
spec: {{action: {action}, rules: [{{}}]}}"
        );
        let all = compiled(&yaml, &["cluster.local"], None, Carries::Http);
        let filter = all.filters[0].clone();
        (filter.rules.is_some(), filter.shadow.is_some(), filter.shadow_prefix.to_string())
    };
    let (allow, deny) = ("istio_dry_run_allow_".to_owned(), "istio_dry_run_deny_".to_owned());
    assert_eq!(of("ALLOW", "true"), (false, true, allow.clone()));
    assert_eq!(of("DENY", "1"), (false, true, deny));
    assert_eq!(of("DENY", "false"), (true, false, allow.clone()));
    assert_eq!(of("DENY", "perhaps"), (true, false, allow.clone()));
    assert_eq!(of("AUDIT", "true"), (true, false, allow));
}

/// A principal is meant under every name of its trust domain, and under no other.
#[test]
fn trust_domains_that_are_one_are_one() {
    let cases: [(&str, &[&str]); 6] = [
        ("td1/ns/a/sa/b", &["spiffe://td1/ns/a/sa/b", "spiffe://td2/ns/a/sa/b"]),
        ("td2/ns/a/sa/b", &["spiffe://td1/ns/a/sa/b", "spiffe://td2/ns/a/sa/b"]),
        ("cluster.local/ns/a/sa/b", &["spiffe://td1/ns/a/sa/b", "spiffe://td2/ns/a/sa/b"]),
        ("other/ns/a/sa/b", &["spiffe://other/ns/a/sa/b"]),
        ("*/ns/a/sa/b", &["spiffe://.*/ns/a/sa/b"]),
        ("td1/ns/a/*", &["spiffe://td1/ns/a/"]),
    ];
    for (principal, expected) in cases {
        let yaml = format!(
            "metadata: {{name: p, namespace: foo}}
spec: {{rules: [{{from: [{{source: {{principals: ['{principal}']}}}}]}}]}}"
        );
        let all = compiled(&yaml, &["td1", "td2"], None, Carries::Http);
        let json = as_json(&all.filters[0]).to_string();
        let found = json.matches("spiffe://").count();
        assert_eq!(found, expected.len(), "{json}");
        assert!(expected.iter().all(|e| json.contains(e)), "{json}");
    }
}
