//! The installation hangs together: what refers to something finds it, under the names users know.

use crate::{Profile, Values, manifests};
use serde_json::Value;
use std::collections::HashSet;

fn all(profile: Profile) -> Vec<Value> {
    manifests(profile, &Values::default())
}

fn find<'a>(all: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let wanted = |o: &&Value| o["kind"] == kind && o["metadata"]["name"] == name;
    all.iter().find(wanted).unwrap_or_else(|| panic!("no {kind} {name}"))
}

#[test]
fn users_find_what_they_know() {
    let all = all(Profile::Demo);
    for (kind, name) in [
        ("Namespace", "istio-system"),
        ("ServiceAccount", "istiod"),
        ("ConfigMap", "istio"),
        ("ConfigMap", "istio-sidecar-injector"),
        ("Service", "istiod"),
        ("Deployment", "istiod"),
        ("MutatingWebhookConfiguration", "istio-sidecar-injector"),
        ("ValidatingWebhookConfiguration", "istio-validator-istio-system"),
        ("Service", "istio-ingressgateway"),
        ("Deployment", "istio-ingressgateway"),
        ("Deployment", "istio-egressgateway"),
        ("CustomResourceDefinition", "virtualservices.networking.istio.io"),
    ] {
        find(&all, kind, name);
    }
}

#[test]
fn no_object_stands_twice_and_namespaced_objects_follow_their_namespace() {
    for profile in [Profile::Empty, Profile::Minimal, Profile::Default, Profile::Demo] {
        let mut seen = HashSet::new();
        for o in all(profile) {
            let key = (o["kind"].to_string(), o["metadata"]["name"].to_string());
            assert!(seen.insert(key.clone()), "{key:?} twice");
            if let Some(ns) = o["metadata"]["namespace"].as_str() {
                assert!(seen.contains(&("\"Namespace\"".into(), format!("{ns:?}"))), "{key:?}");
            }
        }
    }
}

#[test]
fn services_select_the_pods_of_their_deployments_and_ports_exist() {
    let all = all(Profile::Demo);
    for service in all.iter().filter(|o| o["kind"] == "Service") {
        let name = service["metadata"]["name"].as_str().unwrap();
        let template = &find(&all, "Deployment", name)["spec"]["template"];
        for (key, value) in service["spec"]["selector"].as_object().unwrap() {
            assert_eq!(&template["metadata"]["labels"][key], value, "{name} {key}");
        }
        let account = template["spec"]["serviceAccountName"].as_str().unwrap();
        find(&all, "ServiceAccount", account);
    }
    let gateway = &find(&all, "Deployment", "istio-ingressgateway")["spec"]["template"];
    let proxy = &gateway["spec"]["containers"][0];
    assert_eq!(proxy["args"][1], "router");
    let ports: Vec<u64> = proxy["ports"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["containerPort"].as_u64().unwrap())
        .collect();
    for port in [8080, 8443, 15021, 15090] {
        assert!(ports.contains(&port), "{ports:?}");
    }
    assert_eq!(gateway["metadata"]["labels"]["sidecar.istio.io/inject"], "false");
}

/// Ports 31400 and 15443 are what tutorials about TCP and about server names go through.
#[test]
fn the_demo_has_ways_in_for_tcp_and_a_way_out() {
    let ports = |profile: Profile, name: &str| {
        let all = all(profile);
        let ports = find(&all, "Service", name)["spec"]["ports"].clone();
        let number = |p: &Value| p["port"].as_u64().unwrap();
        ports.as_array().unwrap().iter().map(number).collect::<Vec<_>>()
    };
    assert_eq!(ports(Profile::Default, "istio-ingressgateway"), [15021, 80, 443]);
    assert_eq!(ports(Profile::Demo, "istio-ingressgateway"), [15021, 80, 443, 31400, 15443]);
    assert_eq!(ports(Profile::Demo, "istio-egressgateway"), [80, 443]);
}

#[test]
fn certificates_may_lie_in_files_of_a_gateway() {
    let all = all(Profile::Demo);
    for name in ["ingressgateway", "egressgateway"] {
        let pod = &find(&all, "Deployment", &format!("istio-{name}"))["spec"]["template"]["spec"];
        for kind in ["certs", "ca-certs"] {
            let volume = format!("{name}-{kind}");
            let find = |list: &Value| {
                let mut all = list.as_array().unwrap().iter();
                all.find(|v| v["name"] == *volume).unwrap().clone()
            };
            let mount = find(&pod["containers"][0]["volumeMounts"]);
            assert_eq!(mount["mountPath"], format!("/etc/istio/{volume}"));
            let secret = &find(&pod["volumes"])["secret"];
            assert_eq!(secret["secretName"], format!("istio-{volume}"));
            assert_eq!(secret["optional"], true);
        }
    }
}

#[test]
fn values_reach_mesh_and_injection() {
    let mut values = Values { trust_domain: "td1".into(), ..Values::default() };
    values.data_plane = "envoy".into();
    values.mesh.insert("accessLogFile".into(), "".into());
    values.ingress_node_ports = vec![("http2".into(), 31380)];
    let all = manifests(Profile::Default, &values);
    let mesh = find(&all, "ConfigMap", "istio")["data"]["mesh"].as_str().unwrap();
    assert!(mesh.contains("trustDomain: td1"), "{mesh}");
    assert!(mesh.contains("accessLogFile: ''"), "{mesh}");
    let injection = find(&all, "ConfigMap", "istio-sidecar-injector")["data"]["values"].clone();
    let injection: Value = serde_json::from_str(injection.as_str().unwrap()).unwrap();
    assert_eq!(inject::Values::from_json(&injection).data_plane, "envoy");
    let service = find(&all, "Service", "istio-ingressgateway");
    let port = |name: &str| {
        let ports = service["spec"]["ports"].as_array().unwrap();
        ports.iter().find(|p| p["name"] == name).unwrap()["nodePort"].clone()
    };
    assert_eq!(port("http2"), 31380);
    assert_eq!(port("https"), Value::Null);
}
