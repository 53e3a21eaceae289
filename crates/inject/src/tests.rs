//! What users rely on: who is injected, what the pod then holds, and that doing it twice changes nothing.

use crate::{
    Context, Decision, Outcome, ProxyConfig, Skip, Values, apply, inject, inject_document,
    nodes_run_native,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn productpage() -> Value {
    json!({
        "metadata": {
            "generateName": "productpage-v1-5f8c9-",
            "labels": {"app": "productpage", "version": "v1", "pod-template-hash": "5f8c9"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet",
                "name": "productpage-v1-5f8c9", "controller": true}]},
        "spec": {
            "serviceAccountName": "bookinfo-productpage",
            "containers": [{
                "name": "productpage", "image": "examples-bookinfo-productpage-v1",
                "ports": [{"containerPort": 9080, "name": "http"}],
                "livenessProbe": {"httpGet": {"path": "/health", "port": "http"}, "timeoutSeconds": 2},
                "readinessProbe": {"exec": {"command": ["true"]}}}]}})
}

struct World {
    namespace_labels: BTreeMap<String, String>,
    mesh: Value,
    values: Values,
    proxy_configs: Vec<ProxyConfig>,
}

impl Default for World {
    fn default() -> Self {
        Self {
            namespace_labels: labels(&[("istio-injection", "enabled")]),
            mesh: json!({}),
            values: Values::default(),
            proxy_configs: Vec::new(),
        }
    }
}

impl World {
    fn ctx(&self) -> Context<'_> {
        Context {
            namespace: "default",
            namespace_labels: Some(&self.namespace_labels),
            mesh: &self.mesh,
            values: &self.values,
            proxy_configs: &self.proxy_configs,
            nodes_run_native: false,
            revision: "default",
            owner: None,
        }
    }

    fn injected(&self, pod: &Value) -> Value {
        match inject(pod, &self.ctx()) {
            Decision::Patch(ops) => apply(pod, &ops).unwrap(),
            other => panic!("{other:?}"),
        }
    }
}

fn with(mut pod: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    pod.pointer_mut(parent).unwrap()[key.replace("~1", "/")] = value;
    pod
}

fn annotated(key: &str, value: &str) -> Value {
    with(productpage(), "/metadata/annotations", json!({ key: value }))
}

fn container<'a>(pod: &'a Value, field: &str, name: &str) -> &'a Value {
    pod["spec"][field].as_array().unwrap().iter().find(|c| c["name"] == name).unwrap()
}

fn env<'a>(container: &'a Value, name: &str) -> Option<&'a str> {
    let list = container["env"].as_array()?;
    list.iter().find(|e| e["name"] == name)?["value"].as_str()
}

fn names(pod: &Value, field: &str) -> Vec<String> {
    let list = pod["spec"][field].as_array().cloned().unwrap_or_default();
    list.iter().map(|c| c["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn who_is_injected() {
    let enabled = [("istio-injection", "enabled")];
    let disabled = [("istio-injection", "disabled")];
    let cases: [(&[(&str, &str)], Option<&str>, Option<Skip>); 13] = [
        (&enabled, None, None),
        (&enabled, Some("true"), None),
        (&enabled, Some("false"), Some(Skip::OptedOut)),
        (&enabled, Some("maybe"), None),
        (&disabled, None, Some(Skip::NamespaceDisabled)),
        (&disabled, Some("true"), Some(Skip::NamespaceDisabled)),
        (&[], None, Some(Skip::NotSelected)),
        (&[], Some("true"), None),
        (&[], Some("false"), Some(Skip::OptedOut)),
        (&[("istio.io/rev", "default")], None, None),
        (&[("istio.io/rev", "other")], None, Some(Skip::NotSelected)),
        (
            &[("istio-injection", "disabled"), ("istio.io/rev", "default")],
            None,
            Some(Skip::NamespaceDisabled),
        ),
        (&[("istio-injection", "enabled"), ("istio.io/rev", "other")], None, None),
    ];
    for (namespace, wish, expected) in cases {
        let world = World { namespace_labels: labels(namespace), ..World::default() };
        let pod = match wish {
            Some(w) => with(productpage(), "/metadata/labels/sidecar.istio.io~1inject", w.into()),
            None => productpage(),
        };
        let got = match inject(&pod, &world.ctx()) {
            Decision::Skip(skip) => Some(skip),
            Decision::Patch(_) => None,
            Decision::Refuse(findings) => panic!("{findings:?}"),
        };
        assert_eq!(got, expected, "namespace {namespace:?}, pod {wish:?}");
    }
    let host = with(productpage(), "/spec/hostNetwork", json!(true));
    assert_eq!(inject(&host, &World::default().ctx()), Decision::Skip(Skip::HostNetwork));
}

#[test]
fn the_label_of_a_pod_weighs_more_than_its_annotation() {
    let pod = with(
        annotated("sidecar.istio.io/inject", "false"),
        "/metadata/labels/sidecar.istio.io~1inject",
        "true".into(),
    );
    assert!(matches!(inject(&pod, &World::default().ctx()), Decision::Patch(_)));
}

#[test]
fn a_pod_gets_a_proxy_and_is_captured() {
    let pod = World::default().injected(&productpage());
    assert_eq!(names(&pod, "containers"), ["productpage", "istio-proxy"]);
    assert_eq!(names(&pod, "initContainers"), ["istio-init"]);
    let proxy = container(&pod, "containers", "istio-proxy");
    let args: Vec<&str> =
        proxy["args"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(args[..4], ["proxy", "sidecar", "--domain", "$(POD_NAMESPACE).svc.cluster.local"]);
    assert_eq!(env(proxy, "CA_ADDR"), Some("istiod.istio-system.svc:15012"));
    assert_eq!(env(proxy, "ISTIO_META_WORKLOAD_NAME"), Some("productpage-v1"));
    assert_eq!(
        env(proxy, "ISTIO_META_OWNER"),
        Some("kubernetes://apis/apps/v1/namespaces/default/deployments/productpage-v1")
    );
    assert_eq!(env(proxy, "TRUST_DOMAIN"), Some("cluster.local"));
    assert_eq!(
        env(proxy, "ISTIO_META_POD_PORTS"),
        Some(r#"[{"containerPort":9080,"name":"http"}]"#)
    );
    let labels = &pod["metadata"]["labels"];
    assert_eq!(labels["security.istio.io/tlsMode"], "istio");
    assert_eq!(labels["service.istio.io/canonical-name"], "productpage");
    assert_eq!(labels["service.istio.io/canonical-revision"], "v1");
    let annotations = &pod["metadata"]["annotations"];
    assert_eq!(annotations["prometheus.io/port"], "15020");
    assert_eq!(annotations["kubectl.kubernetes.io/default-container"], "productpage");
    let mounted = proxy["volumeMounts"].as_array().unwrap();
    for mount in mounted {
        let volumes = names(&pod, "volumes");
        assert!(volumes.iter().any(|v| mount["name"] == v.as_str()), "{mount}");
    }
}

#[test]
fn capture_follows_the_annotations() {
    let args = |pod: &Value| {
        let pod = World::default().injected(pod);
        let args = container(&pod, "initContainers", "istio-init")["args"].clone();
        let words: Vec<String> = serde_json::from_value(args).unwrap();
        words.join(" ")
    };
    assert_eq!(
        args(&productpage()),
        "istio-iptables -p 15001 -z 15006 -u 1337 -m REDIRECT -i * -x  -b * -d 15090,15021,15020 \
         --log_output_level=default:info"
    );
    let out = args(&annotated("traffic.sidecar.istio.io/excludeOutboundPorts", "3306,6379"));
    assert!(out.contains("-o 3306,6379"), "{out}");
    let out = args(&annotated("traffic.sidecar.istio.io/excludeInboundPorts", "8080"));
    assert!(out.contains("-d 15090,15021,15020,8080"), "{out}");
    let out = args(&annotated("traffic.sidecar.istio.io/includeOutboundIPRanges", "10.0.0.0/8"));
    assert!(out.contains("-i 10.0.0.0/8"), "{out}");
    let none = World::default().injected(&annotated("sidecar.istio.io/interceptionMode", "NONE"));
    assert_eq!(names(&none, "initContainers"), Vec::<String>::new());
}

#[test]
fn probes_go_through_the_agent_and_exec_stays() {
    let pod = World::default().injected(&productpage());
    let app = container(&pod, "containers", "productpage");
    let live = &app["livenessProbe"];
    assert_eq!(live["httpGet"], json!({"path": "/app-health/productpage/livez", "port": 15020}));
    assert_eq!(live["timeoutSeconds"], 2);
    assert!(app["readinessProbe"]["exec"].is_object());
    let proxy = container(&pod, "containers", "istio-proxy");
    let probers: Value =
        serde_json::from_str(env(proxy, "ISTIO_KUBE_APP_PROBERS").unwrap()).unwrap();
    assert_eq!(
        probers,
        json!({"/app-health/productpage/livez":
            {"httpGet": {"path": "/health", "port": 9080}, "timeoutSeconds": 2}})
    );
    let pod =
        World::default().injected(&annotated("sidecar.istio.io/rewriteAppHTTPProbers", "false"));
    let app = container(&pod, "containers", "productpage");
    assert_eq!(app["livenessProbe"]["httpGet"]["path"], "/health");
}

#[test]
fn an_injected_pod_stays_as_it_is() {
    let world = World::default();
    let pod = world.injected(&productpage());
    assert_eq!(inject(&pod, &world.ctx()), Decision::Skip(Skip::AlreadyInjected));
}

#[test]
fn sidecars_are_native_where_every_node_can() {
    let cases: [(&[&str], bool); 5] = [
        (&["v1.33.0"], true),
        (&["v1.34.1+k3s1", "v1.33.0-rc.1", "v2.0"], true),
        (&["v1.33.0", "v1.32.9"], false),
        (&["", "v1.33.0"], false),
        (&[], false),
    ];
    for (kubelets, expected) in cases {
        assert_eq!(nodes_run_native(kubelets.iter().copied()), expected, "{kubelets:?}");
    }
    let native = |setting: Value, nodes: bool| {
        let world = World {
            values: Values::from_json(
                &json!({"pilot": {"env": {"ENABLE_NATIVE_SIDECARS": setting}}}),
            ),
            ..World::default()
        };
        let ctx = Context { nodes_run_native: nodes, ..world.ctx() };
        let Decision::Patch(ops) = inject(&productpage(), &ctx) else { panic!("not injected") };
        let pod = apply(&productpage(), &ops).unwrap();
        names(&pod, "containers") == ["productpage"]
    };
    assert!(native(json!("auto"), true));
    assert!(native(Value::Null, true));
    assert!(!native(Value::Null, false));
    assert!(native(json!("true"), false));
    assert!(!native(json!(false), true));
}

#[test]
fn a_native_sidecar_runs_before_the_init_containers() {
    let init = json!([{"name": "migrate", "image": "busybox"}]);
    let pod = with(productpage(), "/spec/initContainers", init);
    let later = World::default().injected(&pod);
    assert_eq!(names(&later, "initContainers"), ["migrate", "istio-init"]);
    let native =
        with(pod, "/metadata/annotations", json!({"sidecar.istio.io/nativeSidecar": "true"}));
    let native = World::default().injected(&native);
    assert_eq!(names(&native, "initContainers"), ["istio-init", "istio-proxy", "migrate"]);
    assert_eq!(container(&native, "initContainers", "istio-proxy")["restartPolicy"], "Always");
    assert_eq!(names(&native, "containers"), ["productpage"]);
}

#[test]
fn the_application_waits_when_it_is_told_to() {
    let pod = annotated("proxy.istio.io/config", "holdApplicationUntilProxyStarts: true\n");
    let pod = World::default().injected(&pod);
    assert_eq!(names(&pod, "containers"), ["istio-proxy", "productpage"]);
    let proxy = container(&pod, "containers", "istio-proxy");
    assert_eq!(proxy["lifecycle"]["postStart"]["exec"]["command"], json!(["pilot-agent", "wait"]));
}

#[test]
fn a_gateway_keeps_its_own_wishes() {
    let pod = json!({
        "metadata": {"name": "gw", "annotations": {"inject.istio.io/templates": "gateway"}},
        "spec": {"containers": [{"name": "istio-proxy", "image": "auto",
            "ports": [{"containerPort": 8080}], "env": [{"name": "ISTIO_META_X", "value": "1"}],
            "securityContext": {"runAsUser": 5}}]}});
    let world = World::default();
    let pod = world.injected(&pod);
    let proxy = container(&pod, "containers", "istio-proxy");
    assert_eq!(proxy["image"], world.values.image);
    assert_eq!(proxy["args"][1], "router");
    assert_eq!(proxy["securityContext"]["runAsUser"], 5);
    assert_eq!(proxy["securityContext"]["runAsGroup"], 1337);
    assert_eq!(env(proxy, "ISTIO_META_X"), Some("1"));
    assert_eq!(proxy["ports"].as_array().unwrap().len(), 2);
    assert_eq!(names(&pod, "initContainers"), Vec::<String>::new());
}

#[test]
fn an_application_that_speaks_xds_itself_has_an_agent_and_no_proxy() {
    const BOOTSTRAP: &str = "/etc/istio/proxy/grpc-bootstrap.json";
    let own = json!([{"name": "GRPC_XDS_BOOTSTRAP", "value": "/elsewhere"}]);
    for (own, expected) in [(json!([]), BOOTSTRAP), (own, "/elsewhere")] {
        let pod = with(productpage(), "/spec/containers/0/env", own);
        let pod = with(
            pod,
            "/metadata/annotations",
            json!({
            "inject.istio.io/templates": "grpc-agent",
            "proxy.istio.io/config": r#"{"holdApplicationUntilProxyStarts": true}"#}),
        );
        let world = World { ..World::default() };
        let new = world.injected(&pod);
        assert_eq!(names(&new, "containers"), ["istio-proxy", "productpage"]);
        assert_eq!(names(&new, "initContainers"), [""; 0], "nothing is captured");
        let (app, agent) = (
            container(&new, "containers", "productpage"),
            container(&new, "containers", "istio-proxy"),
        );
        assert_eq!(env(app, "GRPC_XDS_BOOTSTRAP"), Some(expected));
        assert_eq!(app["livenessProbe"], pod["spec"]["containers"][0]["livenessProbe"]);
        for (name, value) in [
            ("ISTIO_META_GENERATOR", "grpc"),
            ("DISABLE_ENVOY", "true"),
            ("OUTPUT_CERTS", "/var/lib/istio/data"),
            ("GRPC_XDS_BOOTSTRAP", BOOTSTRAP),
        ] {
            assert_eq!(env(agent, name), Some(value), "{name}");
        }
        for path in ["/etc/istio/proxy", "/var/lib/istio/data"] {
            let mount = |of: &Value| {
                let mounts = of["volumeMounts"].as_array().unwrap();
                mounts.iter().find(|m| m["mountPath"] == path).unwrap().clone()
            };
            assert_eq!(mount(app)["name"], mount(agent)["name"], "{path}");
            assert_eq!(
                (&mount(app)["readOnly"], &mount(agent)["readOnly"]),
                (&true.into(), &Value::Null)
            );
            let volumes = new["spec"]["volumes"].as_array().unwrap();
            let volume = volumes.iter().find(|v| v["name"] == mount(app)["name"]).unwrap();
            assert_eq!(volume["emptyDir"]["medium"], "Memory", "{path}");
        }
        assert_eq!(new["metadata"]["labels"]["security.istio.io/tlsMode"], Value::Null);
    }
}

#[test]
fn the_mesh_speaks_through_the_default_configuration() {
    let world = World {
        mesh: json!({"trustDomain": "td1", "defaultConfig": {
            "concurrency": 2, "proxyMetadata": {"ISTIO_META_DNS_CAPTURE": "true"}}}),
        ..World::default()
    };
    let pod = annotated("proxy.istio.io/config", "proxyMetadata: {FOO: bar}");
    let pod = world.injected(&pod);
    let proxy = container(&pod, "containers", "istio-proxy");
    assert_eq!(env(proxy, "ISTIO_META_DNS_CAPTURE"), Some("true"));
    assert_eq!(env(proxy, "FOO"), Some("bar"));
    assert_eq!(env(proxy, "TRUST_DOMAIN"), Some("td1"));
    assert!(proxy["args"].to_string().contains(r#""--concurrency","2""#));
}

#[test]
fn settings_come_from_the_nearest() {
    let object = |name: &str, namespace: &str, app: &str, n: u8| {
        let selector = if app.is_empty() { json!({}) } else { json!({"app": app}) };
        let created = format!("2026-01-0{n}T00:00:00Z");
        ProxyConfig::from_json(&json!({
            "metadata": {"name": name, "namespace": namespace, "creationTimestamp": created},
            "spec": {"selector": {"matchLabels": selector}, "concurrency": n,
                "environmentVariables": {"WHO": name, name: "yes"}}}))
    };
    let mut world = World {
        mesh: json!({"defaultConfig": {"concurrency": 9, "proxyMetadata": {"WHO": "mesh", "MESH": "yes"}}}),
        ..World::default()
    };
    let said = |world: &World, pod: &Value| {
        let pod = world.injected(pod);
        let proxy = container(&pod, "containers", "istio-proxy").clone();
        let args = proxy["args"].as_array().unwrap();
        let at = args.iter().position(|a| a == "--concurrency").unwrap();
        let seen = ["MESH", "ROOT", "OWN", "YOUNGER", "POD", "OTHER"];
        let seen: Vec<_> = seen.into_iter().filter(|k| env(&proxy, k) == Some("yes")).collect();
        format!(
            "{} {} {}",
            env(&proxy, "WHO").unwrap(),
            args[at + 1].as_str().unwrap(),
            seen.join(" ")
        )
    };
    assert_eq!(said(&world, &productpage()), "mesh 9 MESH");
    world.proxy_configs.push(object("ROOT", "istio-system", "", 1));
    assert_eq!(said(&world, &productpage()), "ROOT 1 MESH ROOT");
    world.proxy_configs.push(object("YOUNGER", "default", "", 3));
    world.proxy_configs.push(object("OWN", "default", "", 2));
    world.proxy_configs.push(object("OTHER", "other", "", 2));
    assert_eq!(said(&world, &productpage()), "OWN 2 MESH ROOT OWN");
    world.proxy_configs.push(object("POD", "default", "productpage", 4));
    world.proxy_configs.push(object("OTHER", "default", "reviews", 4));
    assert_eq!(said(&world, &productpage()), "POD 4 MESH ROOT OWN POD");
    let pod = with(
        productpage(),
        "/metadata/annotations",
        json!({"proxy.istio.io/config": "{concurrency: 5, proxyMetadata: {WHO: me}, image: {imageType: debug}}"}),
    );
    assert_eq!(said(&world, &pod), "me 5 MESH ROOT OWN POD");
    world.values.image = "istio/proxyv2:1".into();
    let pod = world.injected(&pod);
    assert_eq!(container(&pod, "containers", "istio-proxy")["image"], "istio/proxyv2:1-debug");
}

/// ServiceEntry hosts simply resolve, unless somebody says that they must not.
#[test]
fn dns_is_captured_unless_it_is_switched_off() {
    let captured = |pod: &Value| {
        let pod = World::default().injected(pod);
        let of = |list: &str, name: &str| {
            let container =
                pod["spec"][list].as_array().unwrap().iter().find(|c| c["name"] == name);
            container.and_then(|c| env(c, "ISTIO_META_DNS_CAPTURE").map(str::to_owned))
        };
        (of("initContainers", "istio-init"), of("containers", "istio-proxy"))
    };
    let on = Some("true".to_owned());
    assert_eq!(captured(&productpage()), (on.clone(), on));
    for off in ["\"false\"", "false"] {
        let config = format!("proxyMetadata: {{ISTIO_META_DNS_CAPTURE: {off}}}");
        let (init, proxy) = captured(&annotated("proxy.istio.io/config", &config));
        assert_eq!((init, proxy.as_deref()), (None, Some("false")));
    }
}

#[test]
fn the_applications_own_metrics_are_remembered() {
    let pod = with(
        productpage(),
        "/metadata/annotations",
        json!({"prometheus.io/scrape": "true", "prometheus.io/port": "9080"}),
    );
    let pod = World::default().injected(&pod);
    let proxy = container(&pod, "containers", "istio-proxy");
    assert_eq!(
        env(proxy, "ISTIO_PROMETHEUS_ANNOTATIONS"),
        Some(r#"{"scrape":"true","path":"","port":"9080"}"#)
    );
    let pod = World::default().injected(&annotated("prometheus.io/scrape", "false"));
    assert_eq!(pod["metadata"]["annotations"].get("prometheus.io/port"), None);
}

#[test]
fn a_bad_annotation_refuses_the_pod() {
    for (key, value) in [
        ("traffic.sidecar.istio.io/excludeOutboundPorts", "80,http"),
        ("traffic.sidecar.istio.io/includeOutboundIPRanges", "10.0.0.0/99"),
        ("sidecar.istio.io/interceptionMode", "MAYBE"),
        ("status.sidecar.istio.io/port", "70000"),
        ("sidecar.istio.io/proxyCPU", "many"),
        ("proxy.istio.io/config", "[1, 2]"),
        ("proxy.istio.io/config", "a: b: c"),
        ("inject.istio.io/templates", "mine"),
        ("sidecar.istio.io/rewriteAppHTTPProbers", "perhaps"),
        ("lateen.dev/data-plane", "other"),
        ("sidecar.istio.io/userVolume", "[]"),
    ] {
        match inject(&annotated(key, value), &World::default().ctx()) {
            Decision::Refuse(findings) => assert!(findings[0].path.contains(key), "{findings:?}"),
            other => panic!("{key}={value}: {other:?}"),
        }
    }
}

#[test]
fn documents_are_injected_by_their_template_and_others_pass() {
    let world = World::default();
    let by_hand = Context { namespace_labels: None, ..world.ctx() };
    let template = json!({"metadata": {"labels": {"app": "sleep"}},
        "spec": {"containers": [{"name": "sleep", "image": "curl"}]}});
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "sleep", "namespace": "x"}, "spec": {"replicas": 1, "template": template}});
    let Outcome::Injected(new) = inject_document(&deployment, &by_hand) else { panic!() };
    let pod = &new["spec"]["template"];
    let proxy = container(pod, "containers", "istio-proxy");
    assert_eq!(
        env(proxy, "ISTIO_META_OWNER"),
        Some("kubernetes://apis/apps/v1/namespaces/x/deployments/sleep")
    );
    assert_eq!(new["spec"]["replicas"], 1);
    assert!(matches!(
        inject_document(&new, &by_hand),
        Outcome::Unchanged(Some(Skip::AlreadyInjected))
    ));
    let list = json!({"kind": "List", "items": [{"kind": "Service"}, deployment]});
    let Outcome::Injected(new) = inject_document(&list, &by_hand) else { panic!() };
    assert_eq!(new["items"][0], json!({"kind": "Service"}));
    for other in [json!({"kind": "Service", "spec": {"template": {}}}), json!(null), json!("x")] {
        assert_eq!(inject_document(&other, &by_hand), Outcome::Unchanged(None));
    }
}

/// A caller of the webhook need not be an API server that has looked at the pod.
#[test]
fn what_has_not_the_shape_of_a_pod_is_refused() {
    let world = World::default();
    let with = |change: &dyn Fn(&mut Value)| {
        let mut pod = productpage();
        change(&mut pod);
        pod
    };
    let volume = |text: &'static str| {
        with(&|p| p["metadata"]["annotations"] = json!({"sidecar.istio.io/userVolume": text}))
    };
    let cases = [
        (json!("pod"), ""),
        (with(&|p| p["spec"] = json!("x")), "spec"),
        (with(&|p| p["metadata"] = json!([])), "metadata"),
        (with(&|p| p["metadata"]["labels"] = json!(1)), "metadata.labels"),
        (with(&|p| p["spec"]["containers"] = json!({"a": 1})), "spec.containers"),
        (with(&|p| p["spec"]["containers"][0] = json!("a")), "spec.containers[0]"),
        (with(&|p| p["spec"]["volumes"] = json!([3])), "spec.volumes[0]"),
        (volume(r#"{"a": 3}"#), "metadata.annotations[sidecar.istio.io/userVolume]"),
    ];
    for (pod, path) in cases {
        let Decision::Refuse(findings) = inject(&pod, &world.ctx()) else { panic!("{pod}") };
        assert!(findings.iter().any(|f| f.path == path), "{pod}: {findings:?}");
    }
}
