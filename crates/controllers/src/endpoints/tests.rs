use super::*;
use serde_json::json;

fn world(objects: Vec<(Resource, Value)>) -> World {
    let mut world = World::default();
    for (resource, object) in objects {
        world.observe(&resource, Arc::new(object));
    }
    world
}

fn run(world: &World) -> Vec<Action> {
    let key = Key::new(Resource::SERVICES, "default", "web");
    reconcile(world, &key, Timestamp::UNIX_EPOCH).actions
}

fn service(spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "spec": spec, "metadata":
        {"namespace": "default", "name": "web", "uid": "svc", "labels": {"team": "a"}}})
}

fn pod(name: &str, ips: &[&str], ready: bool, port: i64) -> Value {
    let ready = if ready { "True" } else { "False" };
    json!({
        "metadata": {"namespace": "default", "name": name, "uid": name, "labels": {"app": "web"}},
        "spec": {"nodeName": "lateen", "containers": [
            {"ports": [{"name": "http-web", "containerPort": port, "protocol": "TCP"}]}]},
        "status": {
            "phase": "Running", "podIP": ips[0],
            "podIPs": ips.iter().map(|ip| json!({"ip": ip})).collect::<Vec<_>>(),
            "conditions": [{"type": "Ready", "status": ready}],
        },
    })
}

fn created<'a>(actions: &'a [Action], kind: &str) -> Vec<&'a Value> {
    actions
        .iter()
        .filter_map(|action| match action {
            Action::Create { object, .. } if object["kind"] == kind => Some(object),
            _ => None,
        })
        .collect()
}

fn web() -> Value {
    service(json!({"selector": {"app": "web"}, "clusterIP": "10.96.0.9",
        "ports": [{"name": "http", "port": 80, "targetPort": 9080, "appProtocol": "http"}]}))
}

#[test]
fn pods_are_told_by_their_state() {
    let mut leaving = pod("c", &["10.0.0.3"], true, 9080);
    leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    let mut done = pod("d", &["10.0.0.4"], true, 9080);
    done["status"]["phase"] = json!("Succeeded");
    let world = world(vec![
        (Resource::SERVICES, web()),
        (Resource::PODS, pod("a", &["10.0.0.1"], true, 9080)),
        (Resource::PODS, pod("b", &["10.0.0.2"], false, 9080)),
        (Resource::PODS, leaving),
        (Resource::PODS, done),
    ]);
    let actions = run(&world);
    let slices = created(&actions, "EndpointSlice");
    let [slice] = slices[..] else { panic!("{actions:?}") };
    assert_eq!(slice["metadata"]["labels"][SERVICE_NAME], "web");
    assert_eq!(slice["metadata"]["labels"]["team"], "a");
    assert_eq!(
        slice["ports"],
        json!([{"name": "http", "port": 9080, "protocol": "TCP", "appProtocol": "http"}])
    );
    let state: Vec<(String, String)> = read::list(slice, "/endpoints")
        .iter()
        .map(|e| (e["addresses"][0].to_string(), e["conditions"].to_string()))
        .collect();
    let conditions =
        |r: bool, s: bool, t: bool| json!({"ready": r, "serving": s, "terminating": t}).to_string();
    assert_eq!(
        state,
        [
            ("\"10.0.0.1\"".to_owned(), conditions(true, true, false)),
            ("\"10.0.0.2\"".to_owned(), conditions(false, false, false)),
            ("\"10.0.0.3\"".to_owned(), conditions(false, true, true)),
        ]
    );
    let endpoints = created(&actions, "Endpoints");
    let subset = &endpoints[0]["subsets"][0];
    assert_eq!(subset["addresses"].as_array().unwrap().len(), 1);
    assert_eq!(subset["notReadyAddresses"][0]["ip"], "10.0.0.2");
}

#[test]
fn nothing_to_do_when_all_is_said() {
    let mut world = world(vec![
        (Resource::SERVICES, web()),
        (Resource::PODS, pod("a", &["10.0.0.1"], true, 9080)),
    ]);
    for action in run(&world) {
        let Action::Create { mut object, .. } = action else { panic!("{action:?}") };
        object["metadata"]["uid"] = object["metadata"]["name"].clone();
        let slice = object["kind"] == "EndpointSlice";
        let resource = if slice { Resource::ENDPOINT_SLICES } else { Resource::ENDPOINTS };
        world.observe(&resource, Arc::new(object));
    }
    assert_eq!(run(&world), []);
    // A pod that turns unready changes both in place.
    world.observe(&Resource::PODS, Arc::new(pod("a", &["10.0.0.1"], false, 9080)));
    let actions = run(&world);
    assert!(matches!(actions[..], [Action::Update(_), Action::Update(_)]), "{actions:?}");
    // Once the Service is gone, so are both.
    world.observe_deleted(&Resource::SERVICES, &web(), 99);
    let actions = run(&world);
    assert!(matches!(actions[..], [Action::Delete { .. }, Action::Delete { .. }]), "{actions:?}");
}

#[test]
fn named_target_ports_differ_by_pod() {
    let spec = json!({"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80,
        "targetPort": "http-web"}]});
    let world = world(vec![
        (Resource::SERVICES, service(spec)),
        (Resource::PODS, pod("a", &["10.0.0.1"], true, 8080)),
        (Resource::PODS, pod("b", &["10.0.0.2"], true, 8081)),
        (Resource::PODS, pod("c", &["10.0.0.3"], true, 8081)),
    ]);
    let actions = run(&world);
    let ports: Vec<(i64, usize)> = created(&actions, "EndpointSlice")
        .iter()
        .map(|s| (read::int(s, "/ports/0/port").unwrap(), read::list(s, "/endpoints").len()))
        .collect();
    assert_eq!(ports, [(8081, 2), (8080, 1)]);
}

#[test]
fn dual_stack_services_have_a_slice_per_family() {
    let spec = json!({"selector": {"app": "web"}, "ipFamilies": ["IPv6", "IPv4"],
        "publishNotReadyAddresses": true, "clusterIP": "None", "ports": []});
    let world = world(vec![
        (Resource::SERVICES, service(spec)),
        (Resource::PODS, pod("a", &["10.0.0.1", "fd00::1"], false, 8080)),
    ]);
    let actions = run(&world);
    let slices = created(&actions, "EndpointSlice");
    let said: Vec<&str> = slices
        .iter()
        .flat_map(|s| [read::text(s, "/addressType"), read::text(s, "/endpoints/0/addresses/0")])
        .collect();
    assert_eq!(said, ["IPv6", "fd00::1", "IPv4", "10.0.0.1"]);
    assert_eq!(
        slices[0]["endpoints"][0]["conditions"]["ready"], true,
        "published though not ready"
    );
    assert_eq!(slices[0]["metadata"]["labels"][HEADLESS], "");
    assert_eq!(created(&actions, "Endpoints")[0]["subsets"][0]["addresses"][0]["ip"], "fd00::1");
}

#[test]
fn large_services_are_cut_into_slices() {
    let mut objects = vec![(Resource::SERVICES, web())];
    for index in 0..250 {
        let name = format!("p{index:03}");
        let ip = format!("10.0.{}.{}", index / 200, index % 200 + 1);
        objects.push((Resource::PODS, pod(&name, &[&ip], true, 9080)));
    }
    let actions = run(&world(objects));
    let sizes: Vec<usize> = created(&actions, "EndpointSlice")
        .iter()
        .map(|s| read::list(s, "/endpoints").len())
        .collect();
    assert_eq!(sizes, [100, 100, 50]);
}

#[test]
fn a_users_endpoints_are_mirrored() {
    let endpoints = json!({"metadata": {"namespace": "default", "name": "web", "uid": "e"},
        "subsets": [{"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 5432}]}]});
    let mut world = world(vec![
        (Resource::SERVICES, service(json!({"ports": [{"port": 5432}]}))),
        (Resource::ENDPOINTS, endpoints),
    ]);
    let actions = run(&world);
    let [Action::Create { object, .. }] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(object["endpoints"][0]["addresses"][0], "192.0.2.1");
    assert_eq!(object["ports"], json!([{"port": 5432, "name": "", "protocol": "TCP"}]));
    assert_eq!(object["metadata"]["labels"][MANAGED_BY], MIRRORED);
    // Not where somebody writes slices too.
    let slice = json!({"metadata": {"namespace": "default", "name": "own", "uid": "o",
        "labels": {SERVICE_NAME: "web"}}});
    world.observe(&Resource::ENDPOINT_SLICES, Arc::new(slice));
    assert_eq!(run(&world), []);
}
