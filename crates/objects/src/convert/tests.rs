use super::*;
use crate::kinds::Registry;

fn through(api_version: &str, object: Value) -> (Value, Value) {
    let registry = Registry::builtin();
    let (group, version) = crate::meta::split_api_version(api_version);
    let kind = registry.by_kind(group, crate::meta::kind(&object)).unwrap();
    let served = kind.served(group, version).unwrap();
    let stored = to_storage(kind, served, object);
    let back = from_storage(kind, served, &stored);
    (stored, back)
}

#[test]
fn an_old_deployment_gets_its_selector_from_the_template() {
    let (stored, back) = through(
        "extensions/v1beta1",
        json!({"apiVersion": "extensions/v1beta1", "kind": "Deployment",
            "spec": {"template": {"metadata": {"labels": {"app": "a"}}}, "rollbackTo": {}}}),
    );
    assert_eq!(stored["apiVersion"], "apps/v1");
    assert_eq!(stored["spec"]["selector"], json!({"matchLabels": {"app": "a"}}));
    assert_eq!(stored["spec"].get("rollbackTo"), None);
    assert_eq!(back["apiVersion"], "extensions/v1beta1");
}

#[test]
fn an_ingress_is_one_object_in_three_versions() {
    let old = json!({"apiVersion": "extensions/v1beta1", "kind": "Ingress", "spec": {
        "backend": {"serviceName": "d", "servicePort": "http"},
        "rules": [{"http": {"paths": [{"path": "/", "pathType": "Prefix",
            "backend": {"serviceName": "a", "servicePort": 80}}]}}]}});
    let (stored, back) = through("extensions/v1beta1", old.clone());
    assert_eq!(
        stored["spec"]["defaultBackend"]["service"],
        json!({"name": "d", "port": {"name": "http"}})
    );
    let path = &stored["spec"]["rules"][0]["http"]["paths"][0];
    assert_eq!(path["backend"]["service"]["port"]["number"], 80);
    assert_eq!(back, old);
}

#[test]
fn an_old_crd_has_its_schema_in_each_version() {
    let (stored, _) = through(
        "apiextensions.k8s.io/v1beta1",
        json!({"apiVersion": "apiextensions.k8s.io/v1beta1", "kind": "CustomResourceDefinition",
            "spec": {"group": "g", "version": "v1", "names": {"kind": "K", "plural": "ks"}, "scope": "Namespaced",
                "additionalPrinterColumns": [{"name": "Age", "JSONPath": ".x"}],
                "validation": {"openAPIV3Schema": {"properties": {"spec": {"type": "object"}}}}}}),
    );
    let version = &stored["spec"]["versions"][0];
    assert_eq!(version["name"], "v1");
    assert_eq!(version["additionalPrinterColumns"][0]["jsonPath"], ".x");
    assert_eq!(version["schema"]["openAPIV3Schema"]["properties"]["spec"]["type"], "object");
    assert!(crate::kinds::from_crd(&stored).is_ok());
}

#[test]
fn an_event_is_one_object_in_two_groups() {
    let (stored, back) = through(
        "events.k8s.io/v1",
        json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "note": "n", "regarding": {"name": "p"}}),
    );
    assert_eq!(
        (stored["message"].as_str(), stored["apiVersion"].as_str()),
        (Some("n"), Some("v1"))
    );
    assert_eq!(back["note"], "n");
}
