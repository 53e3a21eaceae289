//! RequestAuthentications and the filter that they become, as Istio makes it.

mod support;

use compile::{Compiled, Compiler, compile};
use ir::{HttpFilterConfig, JwtAuthn, JwtNeed, JwtRequirement, Terminal};
use registry::KeySource;

const MESH: &str = "
apiVersion: v1
kind: Service
metadata: {name: a, namespace: default}
spec:
  selector: {app: a}
  ports: [{name: http, port: 80}, {name: tcp-db, port: 90}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: g, namespace: default}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]
";

fn wants(name: &str, app: &str, rules: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\n\
         metadata: {{name: {name}, namespace: default}}\n\
         spec: {{selector: {{matchLabels: {{app: {app}}}}}, jwtRules: [{rules}]}}\n"
    )
}

/// RFC 8037, A.2.
const KEYS: &str =
    r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

/// The filter, and the names of those after it, for every chain of requests of these listeners.
fn found(compiled: &Compiled, listener: &str) -> Vec<(JwtAuthn, Vec<String>)> {
    let listeners = compiled.config.listeners.iter().filter(|l| l.name.starts_with(listener));
    let mut all = Vec::new();
    for chain in listeners.flat_map(|l| &l.chains) {
        let Terminal::Http(manager) = &chain.terminal else { continue };
        let mut filters = manager.filters.iter();
        let jwt = filters.find_map(|f| match &f.config {
            HttpFilterConfig::JwtAuthn(jwt) => Some(jwt),
            _ => None,
        });
        let after = filters.map(|f| f.name.to_string()).collect();
        all.extend(jwt.map(|jwt| ((**jwt).clone(), after)));
    }
    all
}

#[test]
fn a_rule_becomes_a_provider_and_a_token_is_optional() {
    let mut store = support::store();
    support::apply(&mut store, MESH);
    let rule = format!(
        "{{issuer: a@b, audiences: [x], jwks: '{KEYS}', fromHeaders: [{{name: X-Jwt, prefix: 'T '}}], \
         fromParams: [t], fromCookies: [c], outputPayloadToHeader: x-payload, forwardOriginalToken: true, \
         outputClaimToHeaders: [{{header: X-Sub, claim: sub}}], spaceDelimitedClaims: [roles, scope]}}"
    );
    support::apply(&mut store, &wants("r", "a", &rule));
    let policy = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
        metadata: {name: p, namespace: default}\nspec: {action: DENY, rules: [{}]}\n";
    support::apply(&mut store, policy);
    let a = support::sidecar("default", "a", "v1", "10.1.0.1");
    let compiled = compile(&store.snapshot(), &a);
    let all = found(&compiled, "virtualInbound");
    assert!(all.len() >= 2, "plain and encrypted requests");
    for (jwt, after) in all {
        assert_eq!(after[0], "envoy.filters.http.rbac", "before those that ask for claims");
        assert!(jwt.bypass_cors_preflight);
        let provider = &jwt.providers["origins-0"];
        assert_eq!((&*provider.issuer, &*provider.keys), ("a@b", KEYS));
        assert_eq!(
            (&*provider.from_headers[0].name, &*provider.from_headers[0].prefix),
            ("x-jwt", "T ")
        );
        assert_eq!([&*provider.from_params[0], &*provider.from_cookies[0]], ["t", "c"]);
        assert_eq!(
            provider.space_delimited_claims,
            ["scope", "permission", "roles"].map(ir::Str::from)
        );
        assert_eq!(&*provider.claim_to_headers[0].header, "x-sub");
        assert_eq!((&*provider.payload_in_metadata, provider.forward), ("payload", true));
        assert!(!provider.clear_route_cache);
        let one = JwtRequirement::Provider("origins-0".into());
        let optional = JwtRequirement::Any(vec![one, JwtRequirement::AllowMissing]);
        assert_eq!(jwt.rules[0].requires, JwtNeed::These(optional));
    }
    let b = support::sidecar("default", "b", "v1", "10.1.0.2");
    assert!(found(&compile(&store.snapshot(), &b), "virtualInbound").is_empty());
    let outbound = compiled.config.listeners.iter().filter(|l| &*l.name != "virtualInbound");
    outbound.for_each(|l| assert!(found(&compiled, &l.name).is_empty(), "{}", l.name));
}

#[test]
fn several_issuers_share_their_places() {
    let mut store = support::store();
    support::apply(&mut store, MESH);
    let rule = |issuer: &str| format!("{{issuer: {issuer}, jwks: '{KEYS}'}}");
    support::apply(&mut store, &wants("one", "a", &rule("z")));
    support::apply(&mut store, &wants("two", "a", &rule("b")));
    let a = support::sidecar("default", "a", "v1", "10.1.0.1");
    let (jwt, _) = found(&compile(&store.snapshot(), &a), "virtualInbound").remove(0);
    let issuers: Vec<_> = jwt.providers.values().map(|p| p.issuer.to_string()).collect();
    assert_eq!(issuers, ["b", "z"], "by name");
    let of = |i| JwtRequirement::Provider(format!("origins-{i}").into());
    let optional = |i| JwtRequirement::Any(vec![of(i), JwtRequirement::AllowMissing]);
    let all = JwtRequirement::All(vec![optional(0), optional(1)]);
    let any = JwtRequirement::Any(vec![of(0), of(1), all]);
    assert_eq!(jwt.rules[0].requires, JwtNeed::These(any));
}

#[test]
fn keys_that_nobody_has_fetched_refuse_all_tokens_until_they_are() {
    let mut store = support::store();
    support::apply(&mut store, MESH);
    let uri = "https://issuer.example/keys";
    support::apply(&mut store, &wants("r", "a", &format!("{{issuer: i, jwksUri: '{uri}'}}")));
    let a = support::sidecar("default", "a", "v1", "10.1.0.1");
    let mut compiler = Compiler::new();
    let mut keys = |store: &mut registry::Store| {
        let compiled = compiler.compile(&store.snapshot(), &a);
        let said = compiled.findings.iter().filter(|f| f.message.contains("not fetched")).count();
        let (jwt, _) = found(&compiled, "virtualInbound").remove(0);
        (jwt.providers["origins-0"].keys.to_string(), said)
    };
    let none = keys(&mut store);
    assert_eq!(none.1, 1);
    // Made of a text, so that nobody can know more of it.
    let x = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"Lateen: nobody has this key 1");
    let x = base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, x);
    let parsed: serde_json::Value = serde_json::from_str(&none.0).unwrap();
    assert_eq!((parsed["keys"].as_array().unwrap().len(), &parsed["keys"][0]["x"]), (1, &x.into()));
    assert!(jwt::Keys::parse(&none.0).is_ok(), "Envoy takes no set without a key");
    let source = || KeySource::Uri(uri.to_owned());
    store.put_keys(source(), Some(KEYS));
    assert_eq!(keys(&mut store), (KEYS.to_owned(), 0));
    store.put_keys(source(), None);
    assert_eq!(keys(&mut store), none);
    let bad = wants("r", "a", "{issuer: i, jwks: '{\"keys\":[{}]}'}");
    support::apply(&mut store, &bad);
    let compiled = compile(&store.snapshot(), &a);
    let said: Vec<String> = compiled.findings.iter().map(ToString::to_string).collect();
    assert!(said.iter().any(|s| s.contains("every token of issuer \"i\" is refused")), "{said:?}");
}

#[test]
fn at_gateways_claims_may_lead_to_other_routes() {
    let mut store = support::store();
    support::apply(&mut store, MESH);
    let rule = format!("{{issuer: i, jwks: '{KEYS}'}}");
    let wants = wants("r", "x", &rule).replace("app: x", "istio: ingressgateway");
    support::apply(&mut store, &wants.replace("namespace: default", "namespace: istio-system"));
    let rule = "{hosts: [x], gateways: [g], http: [
        {match: [{headers: {'@request.auth.claims.group': {exact: dev}}}], route: [{destination: {host: a}}]},
        {match: [{headers: {'@request.auth.claims': {exact: dev}}}], route: [{destination: {host: a}}]},
        {route: [{destination: {host: a}}]}]}";
    let object = "apiVersion: networking.istio.io/v1\nkind: VirtualService\n\
                  metadata: {name: v, namespace: default}\nspec: ";
    support::apply(&mut store, &format!("{object}{rule}\n"));
    let compiled = compile(&store.snapshot(), &support::ingress());
    let all = found(&compiled, "0.0.0.0_");
    assert_eq!(all.len(), 1);
    assert!(all[0].0.providers["origins-0"].clear_route_cache);
    let routes =
        compiled.config.routes.iter().flat_map(|r| &r.virtual_hosts).flat_map(|h| &h.routes);
    let claims: Vec<usize> = routes.map(|r| r.matches.metadata.len()).collect();
    assert_eq!(claims, [1, 0], "one that names no claim leads nowhere");
}
