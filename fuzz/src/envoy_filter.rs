//! Patches of an EnvoyFilter, as YAML, carried out on resources: what comes out is what Envoy's protobuf
//! can be read as, and our own proxy takes or refuses it.

use envoyfilter::{Patched, Patcher, Resources, Target};
use ir::Resource;
use registry::Store;
use serde_json::{Value, json};
use std::sync::LazyLock;

/// A listener, a cluster, and what they refer to.
static RESOURCES: LazyLock<Vec<(Resources, String, Vec<u8>)>> = LazyLock::new(|| {
    let text = include_str!("../../crates/xds/src/bootstrap/testdata/static.yaml");
    let config = xds::bootstrap::read(text).expect("our own bootstrap").config;
    let listeners = config.listeners.into_iter().map(Resource::Listener);
    let clusters = config.clusters.into_iter().map(Resource::Cluster);
    let of = |resource: Resource, of| {
        (of, xds::type_url_of(resource.key().kind), xds::encode(&resource).to_vec())
    };
    let listeners = listeners.map(|r| of(r, Resources::Listeners));
    listeners.chain(clusters.map(|r| of(r, Resources::Clusters))).collect()
});

pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(spec) = serde_yaml_ng::from_str::<Value>(text) else { return };
    let object = json!({"apiVersion": "networking.istio.io/v1alpha3", "kind": "EnvoyFilter",
        "metadata": {"name": "a", "namespace": "default"}, "spec": spec});
    let _ = envoyfilter::admission(&object);
    let mut store = Store::new("cluster.local", "istio-system");
    store.apply(api::Kind::EnvoyFilter, &object);
    let world = store.snapshot();
    for gateway in [false, true] {
        let target = Target { namespace: "default".to_owned(), gateway, ..Target::default() };
        let mut patcher = Patcher::default();
        let selected = patcher.select(&world.envoy_filters, "istio-system", &target);
        let Some(selected) = selected else { continue };
        for (of, url, before) in RESOURCES.iter() {
            if let Patched::Changed(after) = selected.patch(*of, before) {
                let _ = xds::decode(url, &after);
            }
        }
        for of in [Resources::Clusters, Resources::Listeners, Resources::Routes] {
            selected.added(of);
        }
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    [
        "configPatches:\n- applyTo: CLUSTER\n  match: { context: ANY, cluster: { service: x } }\n  \
         patch: { operation: MERGE, value: { connect_timeout: 3s, lb_policy: MAGLEV } }\n",
        "configPatches:\n- applyTo: HTTP_FILTER\n  match: { listener: { filterChain: { filter: { \
         name: envoy.filters.network.http_connection_manager, subFilter: { name: envoy.filters.http.router } } } } }\n  \
         patch: { operation: INSERT_BEFORE, value: { name: b, typed_config: { \"@type\": \
         type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer, max_request_bytes: 9 } } }\n",
        "workloadSelector: { labels: {} }\npriority: -3\nconfigPatches:\n- applyTo: HTTP_ROUTE\n  \
         match: { routeConfiguration: { vhost: { name: all, route: { action: ANY } } } }\n  \
         patch: { operation: REMOVE }\n- applyTo: CLUSTER\n  patch: { operation: ADD, value: { name: n } }\n",
        "configPatches:\n- applyTo: NETWORK_FILTER\n  match: { listener: { portNumber: 19080 } }\n  \
         patch: { operation: MERGE, value: { typed_config: { \"@type\": type.googleapis.com/envoy.extensions.\
         filters.network.http_connection_manager.v3.HttpConnectionManager, merge_slashes: false } } }\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
