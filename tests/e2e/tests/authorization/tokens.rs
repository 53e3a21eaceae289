//! Tokens, as the tutorials lead to them: a bad one is refused and none is not, then one is required, then
//! one with a claim; at a workload, whose keys are fetched, and at the ingress gateway, where claims lead to
//! routes. The tokens and their keys are the released ones.

use super::{SOON, Scene};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use e2e::eventually;
use std::fs;

const HOST: &str = "tokens.example.com";

/// What requests bear.
struct Tokens {
    demo: String,
    of_groups: String,
    keys: String,
}

pub(super) fn play(scene: &Scene<'_>) {
    let Some(tokens) = Tokens::released() else { return };
    let stage = Stage { scene, tokens };
    stage.set();
    stage.a_bad_token_is_refused();
    stage.a_token_is_required();
    stage.a_claim_is_required();
    stage.claims_lead_to_routes();
    stage.the_gateway_requires_a_token();
}

impl Tokens {
    fn released() -> Option<Tokens> {
        let folder = e2e::released_samples()?.join("master-jwt");
        let read = |name: &str| {
            let text = fs::read_to_string(folder.join(name)).expect("the released token");
            text.trim().to_owned()
        };
        Some(Tokens {
            demo: read("demo.jwt"),
            of_groups: read("groups-scope.jwt"),
            keys: read("jwks.json"),
        })
    }
}

struct Stage<'a> {
    scene: &'a Scene<'a>,
    tokens: Tokens,
}

impl Stage<'_> {
    fn set(&self) {
        let mesh = self.scene.mesh;
        mesh.kubectl(&["create", "namespace", "foo"]);
        mesh.kubectl(&["label", "namespace", "foo", "istio-injection=enabled"]);
        let httpbin = e2e::workspace().join("samples/httpbin/httpbin.yaml");
        let httpbin = httpbin.to_str().expect("a path of text");
        // Outside the mesh it stands for the issuer, and says what it is asked for.
        for namespace in ["foo", "asked"] {
            mesh.kubectl(&["-n", namespace, "apply", "-f", httpbin]);
        }
        mesh.apply_text(&routes("[{ uri: { prefix: / } }]"));
        for namespace in ["foo", "asked"] {
            mesh.wait_for_deployments(namespace);
        }
        self.gets(200, None, "all is open");
    }

    fn ask(&self, token: Option<&str>) -> e2e::Answer {
        let bearer = token.map(|t| format!("Authorization: Bearer {t}")).unwrap_or_default();
        let host = format!("Host: {HOST}");
        self.scene.mesh.curl("/headers", &["-H", &host, "-H", &bearer])
    }

    fn gets(&self, status: u16, token: Option<&str>, what: &str) {
        self.gets_body(status, token, what, |_| true);
    }

    /// Envoy drains its old chains for a while, in which one connection knows more than another.
    fn gets_body(
        &self,
        status: u16,
        token: Option<&str>,
        what: &str,
        holds: impl Fn(&str) -> bool,
    ) {
        eventually(what, SOON, || match self.ask(token) {
            a if a.status == status && holds(&a.body) => Ok(()),
            a => Err(format!("{} {}", a.status, a.body)),
        });
    }

    fn a_bad_token_is_refused(&self) {
        let keys = URL_SAFE.encode(&self.tokens.keys);
        let at = format!("jwksUri: 'http://httpbin.asked.svc.cluster.local:8000/base64/{keys}'");
        let selector = "selector: { matchLabels: { app: httpbin } }";
        self.scene.mesh.apply_text(&authentication("foo", selector, &at));
        self.gets_body(401, Some("deadbeef"), "a bad token is refused", |said| {
            said.starts_with("Jwt is not in the form of Header.Payload.Signature")
        });
        let why = "jwt_authn_access_denied{Jwt_is_not_in_the_form";
        self.scene.logged("foo", "httpbin", why);
        // What is verified is used up.
        self.gets_body(200, Some(&self.tokens.demo), "the keys are fetched", |seen| {
            !seen.contains("Bearer")
        });
        self.gets(200, None, "none is as good");
        let forged = self.tokens.demo.replace('.', ".e");
        self.gets(401, Some(&forged), "a forged one is not");
    }

    fn a_token_is_required(&self) {
        let from = "from: [{ source: { requestPrincipals:
            ['testing@secure.istio.io/testing@secure.istio.io'] } }]";
        self.require(from);
        self.gets(403, None, "a token is required");
        self.scene.logged("foo", "httpbin", "rbac_access_denied_matched_policy[none]");
        self.gets(200, Some(&self.tokens.demo), "the token will do");
    }

    fn a_claim_is_required(&self) {
        self.require("when: [{ key: 'request.auth.claims[groups]', values: [group1] }]");
        self.gets(403, Some(&self.tokens.demo), "without the claim");
        self.gets(200, Some(&self.tokens.of_groups), "with the claim");
        self.scene.forget("foo", "require-jwt");
        self.gets(200, None, "nothing is required");
    }

    fn require(&self, what: &str) {
        let spec = format!(
            "{{ selector: {{ matchLabels: {{ app: httpbin }} }}, action: ALLOW, rules: [{{ {what} }}] }}"
        );
        self.scene.policy_in("foo", "require-jwt", "{}", &spec);
    }

    fn claims_lead_to_routes(&self) {
        let keys = format!("jwks: '{}'", self.tokens.keys);
        self.scene.mesh.apply_text(&authentication("istio-system", GATEWAY, &keys));
        let group1 = "[{ uri: { prefix: / },
            headers: { '@request.auth.claims.groups': { exact: group1 } } }]";
        self.scene.mesh.apply_text(&routes(group1));
        self.gets(404, None, "no claims, no route");
        self.gets(404, Some(&self.tokens.demo), "other claims, no route");
        self.gets(200, Some(&self.tokens.of_groups), "the claim leads to httpbin");
        self.gets(401, Some("deadbeef"), "a bad token leads nowhere");
        self.scene.mesh.apply_text(&routes("[{ uri: { prefix: / } }]"));
        self.gets(200, None, "all lead there again");
    }

    fn the_gateway_requires_a_token(&self) {
        let spec = format!(
            "{{ {GATEWAY}, action: DENY, rules: [{{ from: [{{ source: {{ notRequestPrincipals: ['*'] }} }}],
                to: [{{ operation: {{ hosts: [{HOST}] }} }}] }}] }}"
        );
        self.scene.policy_in("istio-system", "frontend", "{}", &spec);
        self.gets(403, None, "the gateway requires a token");
        let why = "rbac_access_denied_matched_policy[ns[istio-system]-policy[frontend]-rule[0]]";
        self.scene.logged("istio-system", "istio-ingressgateway", why);
        self.gets(200, Some(&self.tokens.demo), "it has one");
        self.scene.forget("istio-system", "frontend");
    }
}

const GATEWAY: &str = "selector: { matchLabels: { istio: ingressgateway } }";

fn authentication(namespace: &str, selector: &str, keys: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\n\
         metadata: {{ name: jwt-example, namespace: {namespace} }}\n\
         spec:\n  {selector}\n  jwtRules:\n  - issuer: testing@secure.istio.io\n    {keys}\n"
    )
}

fn routes(matches: &str) -> String {
    format!(
        "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{ name: tokens, namespace: foo }}
spec:
  selector: {{ istio: ingressgateway }}
  servers: [{{ port: {{ number: 80, name: http, protocol: HTTP }}, hosts: [{HOST}] }}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{ name: tokens, namespace: foo }}
spec:
  hosts: [{HOST}]
  gateways: [tokens]
  http:
  - match: {matches}
    route: [{{ destination: {{ host: httpbin, port: {{ number: 8000 }} }} }}]
"
    )
}
