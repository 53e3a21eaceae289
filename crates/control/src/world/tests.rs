//! What is worth another world.

use super::*;
use registry::Change::{Endpoints, Nothing};
use serde_json::json;

#[test]
fn a_fact_that_comes_or_goes_makes_a_world() {
    let named = |name: &str, rest: Value| {
        let mut object = json!({"metadata": {"name": name, "namespace": "shop"}});
        object.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        object
    };
    let objects = [
        (Kind::Namespace, named("shop", json!({}))),
        (Kind::Node, named("n", json!({"status": {"nodeInfo": {"kubeletVersion": "v1.32.0"}}}))),
        (Kind::ProxyConfig, named("p", json!({"spec": {"concurrency": 1}}))),
        (
            Kind::Secret,
            named(
                "s",
                json!({"type": "kubernetes.io/tls", "data": {"tls.crt": "YQ==", "tls.key": "YQ=="}}),
            ),
        ),
    ];
    let mut loader = Loader::new("cluster.local", "istio-system", &[]);
    for (kind, object) in objects {
        let resource = resource_of(kind);
        let namespace = if kind.is_namespaced() { "shop" } else { "" };
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let delete =
            || Change::Delete { resource, namespace: namespace.into(), name: name.clone() };
        assert_eq!(loader.take(Change::Apply { resource, object }), Endpoints, "{kind:?} comes");
        assert_eq!(loader.take(delete()), Endpoints, "{kind:?} goes");
        if kind != Kind::ProxyConfig {
            assert_eq!(loader.take(delete()), Nothing, "{kind:?} was gone");
        }
    }
    assert!(loader.world().facts.proxy_configs.is_empty());
}
