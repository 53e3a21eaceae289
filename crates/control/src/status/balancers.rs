//! Where an Ingress is reached: what the ingress gateway's Service has got stands on each Ingress that is
//! served.

use crate::world::World;
use base::ObjectRef;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The status of the Ingresses that show something else.
pub(super) fn wanted(world: &World) -> BTreeMap<ObjectRef, Value> {
    let mesh = &world.snapshot.mesh.config;
    let shown = |about: &ObjectRef| world.facts.balancers.get(about);
    let service = ObjectRef::new("Service", &mesh.root_namespace, &mesh.ingress_service);
    let Some(balancer) = shown(&service).filter(|b| !b.is_null()) else { return BTreeMap::new() };
    // Ports are the Service's own affair.
    let place = |entry: &Value| {
        let fields = ["ip", "hostname"].into_iter().filter_map(|f| Some((f, entry.get(f)?)));
        fields.map(|(f, v)| (f.to_owned(), v.clone())).collect::<Value>()
    };
    let places = balancer["ingress"].as_array().into_iter().flatten().map(place);
    let wanted = json!({"ingress": places.collect::<Vec<_>>()});
    let about = |(ns, name): &(String, String)| ObjectRef::new("Ingress", ns, name);
    let served = world.snapshot.ingresses.iter().map(about);
    let others = served.filter(|ingress| shown(ingress) != Some(&wanted));
    others.map(|ingress| (ingress, json!({"loadBalancer": wanted}))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{Loader, resource_of};
    use api::Kind;

    #[test]
    fn each_ingress_of_ours_shows_the_gateways_place() {
        let mut loader = Loader::new("cluster.local", "istio-system", &[]);
        let apply = |loader: &mut Loader, kind, object: Value| {
            loader.take(k8s::Change::Apply { resource: resource_of(kind), object });
        };
        let ingress = |name: &str, class: &str, status: Value| {
            json!({"metadata": {"name": name, "namespace": "shop",
                "annotations": {"kubernetes.io/ingress.class": class}}, "spec": {}, "status": status})
        };
        apply(&mut loader, Kind::Ingress, ingress("ours", "istio", Value::Null));
        apply(&mut loader, Kind::Ingress, ingress("others", "nginx", Value::Null));
        assert_eq!(wanted(&loader.world()), BTreeMap::new(), "there is no place yet");
        let balancer = json!({"loadBalancer": {"ingress": [{"ip": "127.77.0.1", "ports": []}]}});
        let service = json!({"metadata": {"name": "istio-ingressgateway", "namespace": "istio-system"},
            "spec": {"clusterIP": "10.0.0.1"}, "status": balancer});
        apply(&mut loader, Kind::Service, service);
        let expected = json!({"loadBalancer": {"ingress": [{"ip": "127.77.0.1"}]}});
        let about = ObjectRef::new("Ingress", "shop", "ours");
        assert_eq!(wanted(&loader.world()), BTreeMap::from([(about, expected.clone())]));
        apply(&mut loader, Kind::Ingress, ingress("ours", "istio", expected));
        assert_eq!(wanted(&loader.world()), BTreeMap::new(), "it shows it");
    }
}
