//! AuthorizationPolicies and the filters that they become: Istio's released expectations where they
//! are at hand, and our own cases, which say what is never let through.

mod authorization {
    mod external;
    pub mod json;
    pub mod shared;
}
mod support;

use api::{AuthorizationPolicy, Object};
use authorization::json::filter as as_json;
use base::ObjectRef;
use compile::authorization::{Authorization, Carries, Reach, Setting, TrustDomains, authorize};
use compile::{Compiled, Compiler, compile};
use ir::{Permission, Principal, RbacAction, RbacRules};
use registry::Item;
use serde_json::{Value, json};
use std::sync::Arc;

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
    let provider = |name: &str| reach.ok_or_else(|| format!("{name} is no provider"));
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
    for (reach, provider, say) in [(None, "p", "is no provider"), (both, "q", "several")] {
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

const MESH: &str = "
apiVersion: v1
kind: Service
metadata: {name: a, namespace: default}
spec: {clusterIP: 10.96.0.1, ports: [{name: http, port: 80}, {name: tcp-x, port: 81}], selector: {app: a}}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gw, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]
";

fn policy(namespace: &str, app: &str, rule: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: p, namespace: {namespace}}}
spec: {{selector: {{matchLabels: {{app: {app}}}}}, action: DENY, rules: [{rule}]}}"
    )
}

/// The names of the rules of each chain, by the kind of its filters.
fn enforced(compiled: &Compiled, listener: &str) -> Vec<(&'static str, String)> {
    let names = |r: &ir::Rbac| {
        let rules = r.rules.iter().flat_map(|r| r.policies.keys());
        rules.map(|k| k.to_string()).collect::<Vec<_>>().join(" ")
    };
    let listener = compiled.config.listeners.iter().find(|l| l.name.contains(listener));
    let mut all = Vec::new();
    for chain in &listener.expect("the listener").chains {
        if let ir::Terminal::Http(manager) = &chain.terminal {
            all.extend(manager.filters.iter().filter_map(|f| match &f.config {
                ir::HttpFilterConfig::Rbac(r) => Some(("http", names(r))),
                _ => None,
            }));
        }
        all.extend(chain.network.iter().filter_map(|f| match f {
            ir::NetworkFilter::Rbac(r) => Some(("tcp", names(r))),
            _ => None,
        }));
    }
    all
}

#[test]
fn every_inbound_chain_of_a_selected_workload_enforces_its_policies() {
    let mut store = support::store();
    support::apply(&mut store, MESH);
    support::apply(&mut store, &policy("default", "a", "{to: [{operation: {methods: [GET]}}]}"));
    let a = support::sidecar("default", "a", "v1", "10.1.0.1");
    let compiled = compile(&store.snapshot(), &a);
    let found = enforced(&compiled, "virtualInbound");
    let listener = compiled.config.listeners.iter().find(|l| &*l.name == "virtualInbound");
    assert_eq!(found.len(), listener.expect("inbound").chains.len(), "each has one: {found:?}");
    assert!(found.iter().all(|(_, names)| names == "ns[default]-policy[p]-rule[0]"), "{found:?}");
    assert!(found.iter().any(|f| f.0 == "http") && found.iter().any(|f| f.0 == "tcp"));
    let said: Vec<String> = compiled.findings.iter().map(ToString::to_string).collect();
    assert!(said.iter().any(|s| s.contains("is known of HTTP only")), "{said:?}");
    let b = support::sidecar("default", "b", "v1", "10.1.0.2");
    assert!(enforced(&compile(&store.snapshot(), &b), "virtualInbound").is_empty());
    let outbound = compiled.config.listeners.iter().filter(|l| &*l.name != "virtualInbound");
    outbound.for_each(|l| assert!(enforced(&compiled, &l.name).is_empty()));
}

#[test]
fn a_gateway_enforces_the_policies_that_select_it() {
    let mut store = support::store();
    support::apply(&mut store, MESH);
    let gateway = support::ingress();
    let mut compiler = Compiler::new();
    assert!(enforced(&compiler.compile(&store.snapshot(), &gateway), "0.0.0.0_").is_empty());
    support::apply(&mut store, &policy("istio-system", "istio-ingressgateway", "{}"));
    let found = enforced(&compiler.compile(&store.snapshot(), &gateway), "0.0.0.0_");
    assert_eq!(found, [("http", "ns[istio-system]-policy[p]-rule[0]".to_owned())]);
}

#[test]
fn a_change_of_a_policy_concerns_the_inbound_side_of_its_workloads_alone() {
    let mut store = support::store();
    support::apply(&mut store, MESH);
    support::apply(&mut store, &policy("default", "a", "{}"));
    let mut compiler = Compiler::new();
    let proxies = ["a", "b"].map(|app| support::sidecar("default", app, "v1", "10.1.0.1"));
    let before = proxies.each_ref().map(|p| compiler.compile(&store.snapshot(), p));
    support::apply(&mut store, &policy("default", "a", "{to: [{operation: {paths: [/x]}}]}"));
    let after = proxies.each_ref().map(|p| compiler.compile(&store.snapshot(), p));
    let listeners = |c: &Compiled| c.config.listeners.to_vec();
    for (at, (before, after)) in before.iter().zip(&after).enumerate() {
        for (old, new) in listeners(before).iter().zip(&listeners(after)) {
            let changes = at == 0 && &*old.name == "virtualInbound";
            assert_eq!(!Arc::ptr_eq(old, new), changes, "{at}: {}", old.name);
        }
    }
}

/// The managers of the inbound side and whether each tells who denied.
fn telling(compiled: &Compiled, inbound: bool) -> Vec<bool> {
    let of_side = |l: &ir::Listener| (&*l.name == "virtualInbound") == inbound;
    let listeners = compiled.config.listeners.iter().filter(|l| of_side(l));
    let managers = listeners.flat_map(|l| &l.chains).filter_map(|c| match &c.terminal {
        ir::Terminal::Http(manager) => Some(manager.local_reply.is_some()),
        _ => None,
    });
    managers.collect()
}

#[test]
fn who_asks_for_it_says_in_a_field_which_rule_denied() {
    let mut store = support::store();
    support::apply(&mut store, MESH);
    let silent = support::sidecar("default", "a", "v1", "10.1.0.1");
    let id = silent.id.clone();
    let metadata = json!({ "LABELS": silent.labels, "DENIAL_HEADER": "true" });
    let told = compile::Proxy::parse(&id, &metadata).expect("a node");
    let mut compiler = Compiler::new();
    // Both of one compiler: what proxies are alike in is shared.
    for (proxy, expected) in [(&silent, false), (&told, true), (&silent, false)] {
        let compiled = compiler.compile(&store.snapshot(), proxy);
        let inbound = telling(&compiled, true);
        assert!(!inbound.is_empty() && inbound.iter().all(|t| *t == expected), "{inbound:?}");
        assert!(telling(&compiled, false).iter().all(|t| !t), "clients are told by the server");
    }
}
