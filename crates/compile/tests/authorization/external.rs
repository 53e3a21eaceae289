//! The pair of a CUSTOM policy: the rules that choose, and the filter that asks. Istio's released
//! expectations where they are at hand, and what happens where nobody can be asked.

use crate::support::{self, apply_any};
use compile::{Compiled, compile};
use ir::{HttpFilterConfig, NetworkFilter, Terminal};
use registry::Store;
use serde_json::{Map, Value, json};

/// A workload with an HTTP and a TCP port, and the service that is asked.
const MESH: &str = "
apiVersion: v1
kind: Service
metadata: {name: httpbin, namespace: foo}
spec: {clusterIP: 10.96.0.1, ports: [{name: http, port: 80}, {name: tcp-x, port: 81}], selector: {app: httpbin}}
---
apiVersion: v1
kind: Service
metadata: {name: my-custom-ext-authz, namespace: foo}
spec: {clusterIP: 10.96.0.2, ports: [{name: grpc, port: 9000}]}
";

const HTTP: &str = "
extensionProviders:
- name: default
  envoyExtAuthzHttp:
    service: foo/my-custom-ext-authz.foo.svc.cluster.local
    port: 9000
    timeout: 10s
    failOpen: true
    statusOnError: '403'
    pathPrefix: /check
    includeRequestHeadersInCheck: [x-custom-id, x-prefix-*, '*-suffix']
    includeHeadersInCheck: [not-where-the-newer-field-stands]
    includeAdditionalHeadersInCheck: {x-header-1: value-1, x-header-2: value-2}
    includeRequestBodyInCheck: {maxRequestBytes: 2048, allowPartialMessage: true, packAsBytes: true}
    headersToUpstreamOnAllow: [Authorization, x-prefix-*, '*-suffix']
    headersToDownstreamOnDeny: [Set-cookie, x-prefix-*, '*-suffix']
    headersToDownstreamOnAllow: [Set-cookie, x-prefix-*, '*-suffix']
";

const GRPC: &str = "
extensionProviders:
- name: default
  envoyExtAuthzGrpc:
    service: my-custom-ext-authz.foo.svc.cluster.local
    port: 9000
    timeout: 2ms
    failOpen: true
    statusOnError: '503'
    clearRouteCache: true
    includeRequestBodyInCheck: {maxRequestBytes: 4096}
";

fn custom(rule: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: p, namespace: foo}}
spec: {{action: CUSTOM, provider: {{name: default}}, rules: [{rule}]}}"
    )
}

fn world(mesh: &str, policies: &str) -> Store {
    let mut store = support::store();
    support::apply(&mut store, MESH);
    mesh_config(&mut store, mesh);
    for policy in support::documents(policies) {
        apply_any(&mut store, policy);
    }
    store
}

fn mesh_config(store: &mut Store, mesh: &str) {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "istio", "namespace": "istio-system"}, "data": {"mesh": mesh}});
    let said = apply_any(store, object);
    assert_eq!(said, []);
}

fn inbound(mut store: Store) -> Compiled {
    compile(&store.snapshot(), &support::sidecar("foo", "httpbin", "v1", "10.1.0.1"))
}

/// Each filter that asks, as Envoy's JSON: those of requests, and those of connections.
fn asking(compiled: &Compiled) -> (Vec<Value>, Vec<Value>) {
    let listener = compiled.config.listeners.iter().find(|l| &*l.name == "virtualInbound");
    let listener = listener.expect("the inbound listener");
    let resource = ir::Resource::Listener(listener.clone());
    let url = "type.googleapis.com/envoy.config.listener.v3.Listener";
    let json = xds::codec::to_json(url, &xds::codec::encode(&resource)).expect("JSON");
    let mut found = (Vec::new(), Vec::new());
    collect(&json, &mut found);
    found
}

fn collect(json: &Value, found: &mut (Vec<Value>, Vec<Value>)) {
    match json.get("name").and_then(Value::as_str) {
        Some("envoy.filters.http.ext_authz") => found.0.push(json.clone()),
        Some("envoy.filters.network.ext_authz") => found.1.push(json.clone()),
        _ => match json {
            Value::Object(fields) => fields.values().for_each(|v| collect(v, found)),
            Value::Array(items) => items.iter().for_each(|v| collect(v, found)),
            _ => {}
        },
    }
}

fn released(folder: &str, name: &str) -> Option<String> {
    let path = released::folder("authz-builder")?.join(folder).join(format!("{name}.yaml"));
    Some(std::fs::read_to_string(path).expect("a file of the data"))
}

/// With the names that protobuf's own text has.
fn snake(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let renamed = fields.into_iter().map(|(name, value)| {
                let name = name.chars().fold(String::new(), |mut out, c| {
                    if c.is_ascii_uppercase() {
                        out.push('_');
                    }
                    out.push(c.to_ascii_lowercase());
                    out
                });
                (name, snake(value))
            });
            Value::Object(renamed.collect::<Map<_, _>>())
        }
        Value::Array(items) => items.into_iter().map(snake).collect(),
        other => other,
    }
}

#[test]
fn the_filters_that_ask_are_istios() {
    let cases = [
        (HTTP, "http", "custom-simple-http-in", "custom-http-provider-out2", true),
        (GRPC, "tcp", "custom-both-http-tcp-in", "custom-both-http-tcp-out2", false),
    ];
    for (mesh, folder, input, output, http) in cases {
        let Some(policies) = released(folder, input) else { return };
        let expected = released(folder, output).expect("a file of the data");
        // Ours has the number of a status, not its name.
        let expected = expected.replace("code: Forbidden", "code: 403");
        let expected = snake(serde_yaml_ng::from_str(&expected).expect("YAML"));
        let (requests, connections) = asking(&inbound(world(mesh, &policies)));
        let made = if http { &requests } else { &connections };
        assert!(!made.is_empty(), "{output}");
        made.iter().for_each(|made| assert_eq!(snake(made.clone()), expected, "{output}"));
        assert!(!http || connections.is_empty(), "HTTP providers are not asked about connections");
    }
}

#[test]
fn what_a_grpc_provider_says_is_in_the_filter() {
    let compiled = inbound(world(GRPC, &custom("{to: [{operation: {paths: [/a]}}]}")));
    let (requests, _) = asking(&compiled);
    let config = snake(requests[0]["typed_config"].clone());
    let expected = json!({
        "grpc_service": {"envoy_grpc": {
            "cluster_name": "outbound|9000||my-custom-ext-authz.foo.svc.cluster.local",
            "authority": "my-custom-ext-authz.foo.svc.cluster.local"}, "timeout": "0.002s"},
        "failure_mode_allow": true,
        "clear_route_cache": true,
        "status_on_error": {"code": 503},
        "transport_api_version": "V3",
        "with_request_body": {"max_request_bytes": 4096},
    });
    for (name, value) in expected.as_object().expect("fields") {
        assert_eq!(config[name], *value, "{name}");
    }
}

/// Where it stands: behind the rules that choose, before those that decide.
#[test]
fn the_order_is_choose_ask_decide() {
    let deny = custom("{}").replace("name: p,", "name: q,").replace("CUSTOM", "DENY");
    let deny = deny.replace(" provider: {name: default},", "");
    let policies = format!("{}\n---\n{deny}", custom("{}"));
    let compiled = inbound(world(GRPC, &policies));
    let listener = compiled.config.listeners.iter().find(|l| &*l.name == "virtualInbound");
    let mut managers = 0;
    for chain in &listener.expect("inbound").chains {
        if let Terminal::Http(manager) = &chain.terminal {
            managers += 1;
            let kinds: Vec<&str> = manager
                .filters
                .iter()
                .filter_map(|f| match &f.config {
                    HttpFilterConfig::Rbac(r) => {
                        Some(if r.shadow.is_some() { "choose" } else { "decide" })
                    }
                    HttpFilterConfig::ExtAuthz(_) => Some("ask"),
                    _ => None,
                })
                .collect();
            assert_eq!(kinds, ["choose", "ask", "decide"]);
        }
        let tcp = chain.network.iter().filter_map(|f| match f {
            NetworkFilter::Rbac(r) => Some(if r.shadow.is_some() { "choose" } else { "decide" }),
            NetworkFilter::ExtAuthz(_) => Some("ask"),
            _ => None,
        });
        let tcp: Vec<&str> = tcp.collect();
        let is_http = matches!(chain.terminal, Terminal::Http(_));
        assert!(is_http || tcp == ["choose", "ask", "decide"], "{tcp:?}");
    }
    assert!(managers > 0);
}

/// A provider that cannot be asked denies what the rules match, and says why.
#[test]
fn providers_that_cannot_be_asked_deny_with_their_reason() {
    let of = |service: &str, port: u16| {
        format!(
            "extensionProviders: [{{name: default, envoyExtAuthzGrpc: {{service: {service}, port: {port}}}}}]"
        )
    };
    let known = "my-custom-ext-authz.foo.svc.cluster.local";
    let cases = [
        ("", "not among the mesh's extensionProviders"),
        (
            "extensionProviders: [{name: default, zipkin: {service: z, port: 1}}]",
            "no external authorizer",
        ),
        (&of("nobody.foo.svc.cluster.local", 9000), "there is no service"),
        (&of(&format!("bar/{known}"), 9000), "there is no service"),
        (&of("my-custom-ext-authz", 9000), "write its full name"),
        (&of(known, 9001), "has no port 9001"),
    ];
    for (mesh, say) in cases {
        let compiled = inbound(world(mesh, &custom("{}")));
        assert_eq!(asking(&compiled), (Vec::new(), Vec::new()), "{mesh}");
        let said: Vec<String> = compiled.findings.iter().map(ToString::to_string).collect();
        assert!(said.iter().any(|s| s.contains(say)), "{mesh}: {said:?}");
        assert!(denies(&compiled), "{mesh}: what the rules match is denied");
    }
}

fn denies(compiled: &Compiled) -> bool {
    let listener = compiled.config.listeners.iter().find(|l| &*l.name == "virtualInbound");
    listener.expect("inbound").chains.iter().all(|chain| {
        let name = |r: &ir::Rbac| {
            let rules = r.rules.iter().flat_map(|r| r.policies.keys());
            rules.clone().count() == 1
                && rules.into_iter().all(|k| k.ends_with("-deny-due-to-bad-CUSTOM-action"))
        };
        match &chain.terminal {
            Terminal::Http(manager) => manager
                .filters
                .iter()
                .any(|f| matches!(&f.config, HttpFilterConfig::Rbac(r) if name(r))),
            _ => chain.network.iter().any(|f| matches!(f, NetworkFilter::Rbac(r) if name(r))),
        }
    })
}

/// The service may come later than the policy.
#[test]
fn a_provider_is_asked_as_soon_as_its_service_is_there() {
    let mut store = world(GRPC, &custom("{}"));
    let mut compiler = compile::Compiler::new();
    let proxy = support::sidecar("foo", "httpbin", "v1", "10.1.0.1");
    assert!(!asking(&compiler.compile(&store.snapshot(), &proxy)).0.is_empty());
    store.delete(api::Kind::Service, "foo", "my-custom-ext-authz");
    assert!(asking(&compiler.compile(&store.snapshot(), &proxy)).0.is_empty());
    support::apply(&mut store, MESH);
    assert!(!asking(&compiler.compile(&store.snapshot(), &proxy)).0.is_empty());
    mesh_config(&mut store, "");
    assert!(asking(&compiler.compile(&store.snapshot(), &proxy)).0.is_empty());
}

/// A gateway has the cluster of who is asked, though no route leads there.
#[test]
fn a_gateway_can_reach_who_is_asked() {
    let gateway = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gw, namespace: istio-system}
spec: {selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]}";
    let policy = custom("{}").replace("namespace: foo", "namespace: istio-system");
    let mut store = world(HTTP, &policy);
    support::apply(&mut store, gateway);
    let compiled = compile(&store.snapshot(), &support::ingress());
    let asked = "outbound|9000||my-custom-ext-authz.foo.svc.cluster.local";
    assert!(compiled.config.clusters.iter().any(|c| &*c.name == asked));
}
