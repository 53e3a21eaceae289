//! Which credentials a gateway is told, and what the objects that name the others are told.

use super::super::plan::{Credentials, Planned, Planner};
use crate::settle::Settle;
use crate::world::{Loader, resource_of};
use api::Kind;
use base::Instant;
use compile::Proxy;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// A certificate and its key.
fn pair() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

fn secret(namespace: &str, name: &str, data: &[(&str, &str)]) -> Value {
    use base64::Engine;
    let base64 = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let data: BTreeMap<&str, String> = data.iter().map(|(k, v)| (*k, base64(v))).collect();
    json!({"metadata": {"name": name, "namespace": namespace}, "data": data})
}

fn server(index: u32, tls: Value) -> Value {
    json!({"port": {"number": 443, "name": format!("https-{index}"), "protocol": "HTTPS"},
        "hosts": [format!("h{index}.example")], "tls": tls})
}

/// What a gateway of istio-system is to hold, with these servers and Secrets.
fn plan(secrets: &[Value], servers: &[Value], credentials: Credentials) -> Planned {
    let mut loader = Loader::new("cluster.local", "istio-system", &[]);
    let mut apply = |kind, object: &Value| {
        let change = k8s::Change::Apply { resource: resource_of(kind), object: object.clone() };
        loader.take(change);
    };
    secrets.iter().for_each(|s| apply(Kind::Secret, s));
    let gateway = json!({"metadata": {"name": "edge", "namespace": "shop"},
        "spec": {"selector": {}, "servers": servers}});
    apply(Kind::Gateway, &gateway);
    let world = loader.world();
    let id = "router~10.0.0.1~gw-1.istio-system~istio-system.svc.cluster.local";
    let proxy = Proxy::parse(id, &Value::Null).unwrap();
    let (mut settle, now) = (Settle::default(), Instant::default());
    Planner::default().plan(&world, &proxy, credentials, &mut settle, Duration::ZERO, now)
}

/// The names of the secrets that are told, and what is said.
fn told(plan: &Planned) -> (Vec<String>, Vec<String>) {
    let of_kind = plan.resources.keys().filter(|k| k.kind == ir::Kind::Secret);
    let mut names: Vec<String> = of_kind.map(|k| k.name.to_string()).collect();
    names.sort();
    (names, plan.findings.iter().map(ToString::to_string).collect())
}

#[test]
fn a_gateway_gets_what_it_names_of_its_own_namespace_if_it_may_read_it() {
    let (chain, key) = pair();
    let secrets = [
        secret("istio-system", "web", &[("tls.crt", &chain), ("tls.key", &key)]),
        secret("istio-system", "generic", &[("cert", &chain), ("key", &key), ("cacert", &chain)]),
        secret("istio-system", "roots", &[("ca.crt", &chain)]),
        secret("istio-system", "unused", &[("tls.crt", &chain), ("tls.key", &key)]),
        secret("shop", "foreign", &[("tls.crt", &chain), ("tls.key", &key)]),
    ];
    let mutual = |name: &str| json!({"mode": "MUTUAL", "credentialName": name});
    let other = json!({"mode": "MUTUAL", "credentialName": "web", "caCertCredentialName": "roots"});
    let servers = [server(1, other), server(2, mutual("generic"))];
    let (names, said) = told(&plan(&secrets, &servers, Credentials::OfNamespace));
    let expected = ["generic", "generic-cacert", "roots-cacert", "web"];
    assert_eq!(names, expected.map(|n| format!("kubernetes://{n}")));
    assert_eq!(said, [""; 0]);

    let (names, said) = told(&plan(&secrets, &servers, Credentials::None));
    assert_eq!(names, [""; 0], "nobody vouches for it");
    assert!(said.iter().all(|s| s.contains("may not list Secrets")) && said.len() == 4, "{said:?}");

    for (name, expected) in [
        ("foreign", "there is no Secret foreign with"),
        ("kubernetes://shop/foreign", "of namespace shop is refused"),
        ("file:///etc/shadow", "is no kind of credential"),
    ] {
        let tls = json!({"mode": "SIMPLE", "credentialName": name});
        let (names, said) = told(&plan(&secrets, &[server(1, tls)], Credentials::OfNamespace));
        assert_eq!(names, [""; 0], "{name}");
        assert!(said.len() == 1 && said[0].contains(expected), "{name}: {said:?}");
        assert!(said[0].starts_with("Gateway shop/edge: spec.servers[0].tls.credentialName: "));
    }
}

#[test]
fn what_cannot_be_used_is_said_and_the_rest_is_served() {
    let (chain, key) = pair();
    let (_, foreign_key) = pair();
    let secrets = [
        secret("istio-system", "good", &[("tls.crt", &chain), ("tls.key", &key)]),
        secret("istio-system", "mixed", &[("tls.crt", &chain), ("tls.key", &foreign_key)]),
        secret("istio-system", "half", &[("tls.crt", &chain)]),
        secret("istio-system", "garbage", &[("tls.crt", "x"), ("tls.key", "y")]),
        secret("istio-system", "rootless", &[("ca.crt", "x")]),
    ];
    let simple = |name: &str| json!({"mode": "SIMPLE", "credentialName": name});
    let names = ["good", "mixed", "half", "garbage", "rootless"];
    let mut servers: Vec<Value> = (1..).zip(names).map(|(i, n)| server(i, simple(n))).collect();
    servers.push(server(9, json!({"mode": "MUTUAL", "credentialName": "good"})));
    let (names, said) = told(&plan(&secrets, &servers, Credentials::OfNamespace));
    assert_eq!(names, ["kubernetes://good"]);
    for (field, expected) in [
        ("spec.servers[1].tls", "Secret istio-system/mixed cannot be used: the certificate and"),
        ("spec.servers[2].tls", "there is no tls.key (or key) in it"),
        ("spec.servers[3].tls", "Secret istio-system/garbage cannot be used"),
        ("spec.servers[4].tls", "Secret istio-system/rootless has no certificate"),
        ("spec.servers[5].tls", "neither Secret good-cacert nor Secret good in namespace"),
    ] {
        let found = said.iter().find(|s| s.contains(field));
        assert!(found.is_some_and(|s| s.contains(expected)), "{field}: {said:#?}");
    }
    assert_eq!(said.len(), 5, "{said:#?}");
}
