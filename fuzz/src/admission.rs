//! What people write, YAML or JSON: files that are read, objects that admission answers and the registry
//! takes, bootstrap files. All is taken or refused with findings.

use base::Level;
use registry::Store;
use serde_json::Value;

pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Err(findings) = xds::bootstrap::read(text) {
        assert!(findings.iter().any(|f| f.level == Level::Error));
    }
    for document in analyze::read(text).documents {
        object(&document.object);
    }
    if let Ok(json) = serde_json::from_str(text) {
        object(&json);
    }
}

fn object(object: &Value) {
    let kind = object["kind"].as_str().unwrap_or_default();
    let _ = api::validate(kind, object);
    let _ = envoyfilter::admission(object);
    let _ = analyze::admission(object);
    let Some(kind) = api::Kind::of(object["apiVersion"].as_str().unwrap_or_default(), kind) else {
        return;
    };
    let mut store = Store::new("cluster.local", "istio-system");
    store.apply(kind, object);
    let _ = store.snapshot();
}

pub fn seeds() -> Vec<Vec<u8>> {
    [
        include_str!("../../crates/analyze/tests/cases/destination_subset.yaml"),
        include_str!("../../crates/analyze/tests/cases/gateway_conflict.yaml"),
        include_str!("../../crates/analyze/tests/cases/entry_addresses.yaml"),
        include_str!("../../crates/analyze/tests/cases/authorization.yaml"),
        include_str!("../../crates/analyze/tests/cases/envoy_patch.yaml"),
        include_str!("../../crates/analyze/tests/cases/sidecar_selector.yaml"),
        include_str!("../../crates/xds/src/bootstrap/testdata/static.yaml"),
        r#"{"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
            "metadata": {"name": "a", "namespace": "b"}, "spec": {"host": "c.example"}}"#,
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
