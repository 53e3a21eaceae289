//! Access control as the tutorials lead to it: Bookinfo under STRICT, nothing allowed, then opened step by
//! step; denials, addresses, connections, dry runs, external authorizers and tokens. On both data planes; what is
//! denied is denied with its status, and the log of who denies names the policy.

#[path = "authorization/tokens.rs"]
mod tokens;

use e2e::{Mesh, eventually, workspace};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);

#[test]
fn access_is_opened_step_by_step() {
    play("authorization", &[]);
}

#[test]
fn access_is_opened_step_by_step_with_envoy() {
    if e2e::envoy().is_some() {
        play("authorization-envoy", &["--data-plane", "envoy"]);
    }
}

fn play(name: &str, flags: &[&str]) {
    let Some(mesh) = Mesh::up(name, flags) else { return };
    let scene = Scene::set(&mesh);
    scene.nothing_is_allowed();
    scene.the_page_is_opened_then_what_it_asks();
    scene.a_denial_wins();
    scene.clients_are_known_by_their_address();
    scene.connections_are_judged_by_port();
    scene.a_dry_run_only_counts();
    scene.requests_wait_for_the_external_authorizer();
    scene.connections_wait_for_it_too();
    tokens::play(&scene);
}

struct Scene<'a> {
    mesh: &'a Mesh,
}

const STRICT: &str = "
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: default, namespace: istio-system }
spec: { mtls: { mode: STRICT } }
";

/// Whoever is denied is told by which rule.
const TELLING: &str = r#"{"spec": {"template": {"metadata": {"annotations":
    {"proxy.istio.io/config": "proxyMetadata: {ISTIO_META_DENIAL_HEADER: 'true'}"}}}}}"#;

impl<'a> Scene<'a> {
    fn set(mesh: &'a Mesh) -> Self {
        mesh.kubectl(&["label", "namespace", "default", "istio-injection=enabled"]);
        let samples = workspace().join("samples");
        mesh.apply(&samples.join("bookinfo/platform/kube/bookinfo.yaml"));
        mesh.apply(&samples.join("bookinfo/networking/bookinfo-gateway.yaml"));
        mesh.apply(&samples.join("tcp-echo/tcp-echo.yaml"));
        mesh.apply_text(STRICT);
        mesh.kubectl(&["patch", "deployment", "details-v1", "-p", TELLING]);
        mesh.wait_for_deployments("default");
        let scene = Scene { mesh };
        scene.page("all is open", |status, body| status == 200 && body.contains("★"));
        scene
    }

    fn policy(&self, name: &str, spec: &str) {
        self.policy_in("default", name, "{}", spec);
    }

    fn policy_in(&self, namespace: &str, name: &str, annotations: &str, spec: &str) {
        self.mesh.apply_text(&format!(
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
             metadata: {{ name: {name}, namespace: {namespace}, annotations: {annotations} }}\n\
             spec: {spec}\n"
        ));
    }

    fn forget(&self, namespace: &str, name: &str) {
        self.mesh.kubectl(&["-n", namespace, "delete", "authorizationpolicy", name]);
    }

    /// The page through the ingress gateway, until it is as it has to be; then it stays so.
    fn page(&self, what: &str, holds: impl Fn(u16, &str) -> bool) {
        self.asked("/productpage", &[], what, holds);
    }

    fn asked(&self, path: &str, args: &[&str], what: &str, holds: impl Fn(u16, &str) -> bool) {
        let ask = || self.mesh.curl(path, args);
        eventually(what, SOON, || match ask() {
            a if holds(a.status, &a.body) => Ok(()),
            a => Err(format!("{} {}", a.status, a.body)),
        });
    }

    fn logged(&self, namespace: &str, workload: &str, why: &str) {
        let pod = format!("deploy/{workload}");
        eventually(&format!("{workload} logs {why}"), SOON, || {
            let log = self.mesh.kubectl(&["-n", namespace, "logs", &pod, "-c", "istio-proxy"]);
            if log.contains(why) { Ok(()) } else { Err(log) }
        });
    }

    fn nothing_is_allowed(&self) {
        self.policy("allow-nothing", "{}");
        self.page("nothing is allowed", |status, body| {
            status == 403 && body == "RBAC: access denied"
        });
        self.logged("default", PRODUCTPAGE, "rbac_access_denied_matched_policy[none]");
    }

    fn the_page_is_opened_then_what_it_asks(&self) {
        self.policy(
            "productpage-viewer",
            &allow("productpage", "{ to: [{ operation: { methods: [GET] } }] }"),
        );
        self.page("the page without what it asks", |status, body| {
            status == 200
                && body.contains("Error fetching product details")
                && body.contains("Error fetching product reviews")
        });
        self.logged("default", "details-v1", "rbac_access_denied_matched_policy[none]");
        let to = |app: &str, by: &str| {
            let from = format!("cluster.local/ns/default/sa/bookinfo-{by}");
            allow(
                app,
                &format!(
                    "{{ from: [{{ source: {{ principals: [{from}] }} }}], to: [{{ operation: {{ methods: [GET] }} }}] }}"
                ),
            )
        };
        self.policy("details-viewer", &to("details", "productpage"));
        self.policy("reviews-viewer", &to("reviews", "productpage"));
        self.page("details and reviews, no ratings", |status, body| {
            status == 200
                && !body.contains("Error fetching")
                && body.contains("Ratings service is currently unavailable")
        });
        self.logged("default", "ratings-v1", "rbac_access_denied_matched_policy[none]");
        self.policy("ratings-viewer", &to("ratings", "reviews"));
        self.page("stars", |status, body| status == 200 && body.contains("★"));
        // Who is not the page gets nothing from details, though it is of the mesh.
        let said = self.inside("ratings-v1", "curl -s -i -m 5 http://details:9080/details/0");
        let why = "x-lateen-denied-by: rbac_access_denied_matched_policy[none]\r\n";
        assert!(said.starts_with("HTTP/1.1 403 ") && said.contains(why), "{said}");
        // Only GET is open.
        self.asked("/productpage", &["-X", "DELETE"], "other methods", |status, _| status == 403);
    }

    fn inside(&self, workload: &str, script: &str) -> String {
        let app = workload.split('-').next().unwrap_or_default();
        self.mesh.exec(&format!("deploy/{workload}"), app, &["bash", "-c", script])
    }

    fn a_denial_wins(&self) {
        let spec = "{ selector: { matchLabels: { app: productpage } }, action: DENY,
            rules: [{ to: [{ operation: { paths: [/nothing] } }] }, { to: [{ operation: { paths: [/api/*] } }] }] }";
        self.policy("no-api", spec);
        let path = "/api/v1/products";
        self.asked(path, &[], "the API is denied", |status, _| status == 403);
        let why = "rbac_access_denied_matched_policy[ns[default]-policy[no-api]-rule[1]]";
        self.logged("default", PRODUCTPAGE, why);
        self.page("the page is not", |status, _| status == 200);
        self.forget("default", "no-api");
        self.asked(path, &[], "the API is back", |status, _| status == 200);
    }

    fn clients_are_known_by_their_address(&self) {
        let spec = |blocks: &str| {
            format!(
                "{{ selector: {{ matchLabels: {{ istio: ingressgateway }} }}, action: DENY,
                rules: [{{ from: [{{ source: {{ {blocks} }} }}] }}] }}"
            )
        };
        let policy = |blocks: &str| {
            self.policy_in("istio-system", "by-address", "{}", &spec(blocks));
        };
        policy("notIpBlocks: [198.51.100.0/24]");
        self.page("from elsewhere", |status, _| status == 403);
        let why = "rbac_access_denied_matched_policy[ns[istio-system]-policy[by-address]-rule[0]]";
        self.logged("istio-system", "istio-ingressgateway", why);
        policy("ipBlocks: [198.51.100.0/24]");
        self.page("not from there", |status, _| status == 200);
        self.forget("istio-system", "by-address");
    }

    /// What a client inside the mesh gets of the echo, if anything.
    fn echoed(&self, port: u16, what: &str, expected: &str) {
        let script = format!(
            "exec 3<>/dev/tcp/tcp-echo/{port} && printf 'hi\\n' >&3 && timeout 5 head -n 1 <&3 || true"
        );
        eventually(what, SOON, || match self.inside("ratings-v1", &script) {
            said if said.trim() == expected => Ok(()),
            said => Err(said),
        });
    }

    fn connections_are_judged_by_port(&self) {
        self.echoed(9000, "nothing is allowed to connect", "");
        self.policy("tcp", &allow("tcp-echo", "{ to: [{ operation: { ports: ['9000'] } }] }"));
        self.echoed(9000, "one port is open", "hello hi");
        self.echoed(9001, "the other is not", "");
        self.logged("default", "tcp-echo", "rbac_access_denied_matched_policy[none]");
    }

    fn counted(&self, workload: &str, what: &str) {
        let pod = format!("deploy/{workload}");
        eventually(&format!("{workload} counts {what}"), SOON, || {
            let stats = self.mesh.proxy_says("default", &pod, "stats?filter=rbac");
            if counts(&stats, what) { Ok(()) } else { Err(stats) }
        });
    }

    fn a_dry_run_only_counts(&self) {
        let spec = "{ selector: { matchLabels: { app: productpage } }, action: DENY, rules: [{}] }";
        self.policy_in("default", "perhaps", "{ istio.io/dry-run: 'true' }", spec);
        eventually("a dry run counts", SOON, || {
            assert_eq!(self.mesh.curl("/productpage", &[]).status, 200);
            let pod = format!("deploy/{PRODUCTPAGE}");
            let stats = self.mesh.proxy_says("default", &pod, "stats?filter=rbac");
            if counts(&stats, "istio_dry_run_deny_") { Ok(()) } else { Err(stats) }
        });
        self.forget("default", "perhaps");
    }

    fn requests_wait_for_the_external_authorizer(&self) {
        self.mesh.apply_text(AUTHORIZER);
        self.mesh.wait_for_deployments("asked");
        let custom = |provider: &str| {
            format!(
                "{{ selector: {{ matchLabels: {{ app: productpage }} }}, action: CUSTOM,
                provider: {{ name: {provider} }},
                rules: [{{ to: [{{ operation: {{ paths: [/productpage] }} }}] }}] }}"
            )
        };
        // Nobody knows the provider yet.
        self.policy("ask", &custom("by-http"));
        self.page("there is nobody to ask", |status, _| status == 403);
        let why =
            "istio-ext-authz-by-http-ns[default]-policy[ask]-rule[0]-deny-due-to-bad-CUSTOM-action";
        self.logged("default", PRODUCTPAGE, why);
        self.say_who_is_asked();
        for provider in ["by-http", "by-grpc"] {
            self.policy("ask", &custom(provider));
            let allow = ["-H", "x-ext-authz: allow"];
            self.asked("/productpage", &allow, provider, |status, _| status == 200);
            self.page("without its header", |status, body| {
                status == 403 && body.contains("x-ext-authz: allow")
            });
            self.logged("default", PRODUCTPAGE, "ext_authz_denied");
            self.counted(PRODUCTPAGE, "istio_ext_authz_");
            // What no rule chooses is not asked about.
            self.asked("/login", &[], "another path", |status, _| status != 403);
        }
        self.forget("default", "ask");
        self.page("nobody is asked", |status, _| status == 200);
    }

    fn say_who_is_asked(&self) {
        let map = self.mesh.get(&["-n", "istio-system", "configmap", "istio"]);
        let mesh = map["data"]["mesh"].as_str().expect("the mesh configuration");
        let mesh = format!("{mesh}\n{PROVIDERS}");
        let patch = serde_json::json!({"data": {"mesh": mesh}}).to_string();
        self.mesh.kubectl(&[
            "-n",
            "istio-system",
            "patch",
            "configmap",
            "istio",
            "--type=merge",
            "-p",
            &patch,
        ]);
    }

    fn connections_wait_for_it_too(&self) {
        let spec = "{ selector: { matchLabels: { app: tcp-echo } }, action: CUSTOM,
            provider: { name: by-grpc }, rules: [{ to: [{ operation: { ports: ['9000'] } }] }] }";
        self.policy("ask", spec);
        self.echoed(9000, "the authorizer does not know who it is", "");
        self.logged("default", "tcp-echo", "UAEX");
        self.forget("default", "ask");
        self.echoed(9000, "nobody is asked", "hello hi");
    }
}

const PRODUCTPAGE: &str = "productpage-v1";

/// Whether rules of this prefix that are only observed have denied something.
fn counts(stats: &str, prefix: &str) -> bool {
    let name = format!(".rbac.{prefix}.shadow_denied: ");
    stats.lines().filter(|line| line.contains(&name)).any(|line| !line.ends_with(": 0"))
}

fn allow(app: &str, rule: &str) -> String {
    format!("{{ selector: {{ matchLabels: {{ app: {app} }} }}, action: ALLOW, rules: [{rule}] }}")
}

/// The sample's authorizer, outside the mesh.
const AUTHORIZER: &str = "
apiVersion: v1
kind: Namespace
metadata: { name: asked }
---
apiVersion: v1
kind: Service
metadata: { name: ext-authz, namespace: asked }
spec:
  selector: { app: ext-authz }
  ports:
  - { name: http, port: 8000, targetPort: 8000 }
  - { name: grpc, port: 9000, targetPort: 9000 }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: ext-authz, namespace: asked }
spec:
  selector: { matchLabels: { app: ext-authz } }
  template:
    metadata: { labels: { app: ext-authz } }
    spec:
      containers:
      - name: ext-authz
        image: registry.istio.io/testing/ext-authz:latest
        ports: [{ containerPort: 8000 }, { containerPort: 9000 }]
        readinessProbe: { tcpSocket: { port: 9000 }, periodSeconds: 1 }
";

const PROVIDERS: &str = "
extensionProviders:
- name: by-http
  envoyExtAuthzHttp:
    service: ext-authz.asked.svc.cluster.local
    port: 8000
    timeout: 5s
    includeRequestHeadersInCheck: [x-ext-authz]
- name: by-grpc
  envoyExtAuthzGrpc:
    service: ext-authz.asked.svc.cluster.local
    port: 9000
    timeout: 5s
";
