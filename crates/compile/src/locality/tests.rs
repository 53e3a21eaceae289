use super::*;
use registry::Resolution;
use serde_json::{Value, json};

/// Endpoints as `region/zone/subzone`, each with its labels, one endpoint for each.
fn workload(place: &str, labels: &[(&str, &str)]) -> Workload {
    let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let node = format!("node-of-{place}");
    Workload { locality: Locality::parse(place), labels, node, ..Workload::default() }
}

fn client(place: &str) -> Proxy {
    let id = "sidecar~10.0.0.1~p-1.default~default.svc.cluster.local";
    let metadata = json!({"LABELS": {"version": "v1", "tier": "a"},
        "NODE_NAME": format!("node-of-{place}")});
    let Locality { region, zone, sub_zone } = Locality::parse(place);
    Proxy::parse(id, &metadata).unwrap().standing_at(&region, &zone, &sub_zone)
}

fn service(closeness: Closeness) -> Service {
    Service {
        version: 1,
        host: base::Host::parse("a.example").unwrap(),
        name: "a".into(),
        namespace: "default".into(),
        ports: Vec::new(),
        addresses: Vec::new(),
        automatic: Vec::new(),
        likely: Vec::new(),
        subject_alt_names: Vec::new(),
        resolution: Resolution::Endpoints,
        external: false,
        kubernetes: true,
        selector: Default::default(),
        publish_not_ready: false,
        closeness,
        node_local: false,
        export_to: None,
        created: String::new(),
        object: base::ObjectRef::new("Service", "default", "a"),
    }
}

/// `locality=priority:weight`, in order.
fn settled(nearness: &Nearness, from: &Proxy, endpoints: &[Workload]) -> String {
    let view = nearness.viewpoint(from);
    let mut groups: std::collections::BTreeMap<_, u32> = Default::default();
    for workload in endpoints {
        let l = &workload.locality;
        let locality = ir::Locality {
            region: l.region.as_str().into(),
            zone: l.zone.as_str().into(),
            sub_zone: l.sub_zone.as_str().into(),
        };
        *groups.entry((nearness.by_labels(&view, workload), locality)).or_default() += 1;
    }
    let mut groups: Vec<EndpointGroup> = groups
        .into_iter()
        .map(|((priority, locality), weight)| EndpointGroup {
            locality,
            priority,
            weight: Some(weight),
            endpoints: Vec::new(),
        })
        .collect();
    nearness.settle(&view, &mut groups);
    groups.sort_by_key(|g| g.locality.clone());
    let text = |g: &EndpointGroup| {
        let parts = [&*g.locality.region, &*g.locality.zone, &*g.locality.sub_zone];
        let place: Vec<&str> = parts.into_iter().filter(|p| !p.is_empty()).collect();
        format!("{}={}:{}", place.join("/"), g.priority, g.weight.unwrap_or(0))
    };
    groups.iter().map(text).collect::<Vec<_>>().join(" ")
}

fn setting(written: Value) -> LocalityLbSetting {
    serde_json::from_value(written).unwrap()
}

/// The preference of a rule with this load balancer, with outlier detection or without.
fn of_rule(lb: Value, detects: bool) -> Nearness {
    let mut policy = json!({"loadBalancer": {"localityLbSetting": lb}});
    if detects {
        policy["outlierDetection"] = json!({});
    }
    let policy: api::TrafficPolicy = serde_json::from_value(policy).unwrap();
    let policy = Policy {
        lb: policy.load_balancer.as_ref(),
        outliers: policy.outlier_detection.as_ref(),
        ..Policy::default()
    };
    Nearness::of(&LocalityLbSetting::default(), &service(Closeness::Any), &policy)
}

const PLACES: [&str; 6] = ["r1/z1/a", "r1/z1/b", "r1/z2/c", "r2/z3/d", "r3/z4/e", "r3/z5/f"];

fn everywhere() -> Vec<Workload> {
    PLACES.iter().map(|p| workload(p, &[])).collect()
}

/// The tables of "Locality failover" and "Locality weighted distribution" in Istio's tasks, and the
/// fields of LocalityLoadBalancerSetting.
#[test]
fn where_traffic_goes_by_locality() {
    let table = [
        // Nearest first: subzone, zone, region, then all the others alike.
        (
            json!({}),
            "r1/z1/a",
            "r1/z1/a=0:1 r1/z1/b=1:1 r1/z2/c=2:1 r2/z3/d=3:1 r3/z4/e=3:1 r3/z5/f=3:1",
        ),
        // Priorities have no gaps: nothing shares the client's subzone.
        (
            json!({}),
            "r3/z4/x",
            "r1/z1/a=2:1 r1/z1/b=2:1 r1/z2/c=2:1 r2/z3/d=2:1 r3/z4/e=0:1 r3/z5/f=1:1",
        ),
        (
            json!({}),
            "r9",
            "r1/z1/a=0:1 r1/z1/b=0:1 r1/z2/c=0:1 r2/z3/d=0:1 r3/z4/e=0:1 r3/z5/f=0:1",
        ),
        // One region stands in before the others.
        (
            json!({"failover": [{"from": "r1", "to": "r2"}]}),
            "r1/z1/a",
            "r1/z1/a=0:1 r1/z1/b=1:1 r1/z2/c=2:1 r2/z3/d=3:1 r3/z4/e=4:1 r3/z5/f=4:1",
        ),
        (
            json!({"failover": [{"from": "r1", "to": "r2"}]}),
            "r2/z3/d",
            "r1/z1/a=1:1 r1/z1/b=1:1 r1/z2/c=1:1 r2/z3/d=0:1 r3/z4/e=1:1 r3/z5/f=1:1",
        ),
        // Shares; what is no target gets nothing, and a pattern's share is divided.
        (
            json!({"distribute": [{"from": "r1/z1/*", "to": {"r1/z1/*": 70, "r1/z2/*": 20, "r3/*": 10}}]}),
            "r1/z1/a",
            "r1/z1/a=0:35 r1/z1/b=0:35 r1/z2/c=0:20 r3/z4/e=0:5 r3/z5/f=0:5",
        ),
        // The first rule that fits the client counts; without one all stays as it is.
        (
            json!({"distribute": [{"from": "r2/*", "to": {"r2/*": 100}}, {"from": "*", "to": {"r1/z2/c": 100}}]}),
            "r1/z1/a",
            "r1/z2/c=0:100",
        ),
        (
            json!({"distribute": [{"from": "r2/*", "to": {"r2/*": 100}}]}),
            "r1/z1/a",
            "r1/z1/a=0:1 r1/z1/b=0:1 r1/z2/c=0:1 r2/z3/d=0:1 r3/z4/e=0:1 r3/z5/f=0:1",
        ),
        (
            json!({"enabled": false, "failover": [{"from": "r1", "to": "r2"}]}),
            "r1/z1/a",
            "r1/z1/a=0:1 r1/z1/b=0:1 r1/z2/c=0:1 r2/z3/d=0:1 r3/z4/e=0:1 r3/z5/f=0:1",
        ),
        (
            json!({"failoverPriority": ["topology.kubernetes.io/region", "topology.kubernetes.io/zone"]}),
            "r1/z1/a",
            "r1/z1/a=0:1 r1/z1/b=0:1 r1/z2/c=1:1 r2/z3/d=2:1 r3/z4/e=2:1 r3/z5/f=2:1",
        ),
        // A region of one's own choice, and which stands in among the rest.
        (
            json!({"failoverPriority": ["topology.kubernetes.io/region=r3"], "failover": [{"from": "r1", "to": "r2"}]}),
            "r1/z1/a",
            "r1/z1/a=1:1 r1/z1/b=2:1 r1/z2/c=3:1 r2/z3/d=4:1 r3/z4/e=0:1 r3/z5/f=0:1",
        ),
    ];
    for (lb, from, expected) in table {
        let nearness = of_rule(lb.clone(), true);
        assert_eq!(settled(&nearness, &client(from), &everywhere()), expected, "{lb} from {from}");
    }
}

#[test]
fn labels_split_a_locality_by_the_first_that_differs() {
    let nearness = of_rule(json!({"failoverPriority": ["version", "tier"]}), true);
    let endpoints = [
        workload("r1", &[("version", "v1"), ("tier", "a")]),
        workload("r1", &[("version", "v1"), ("tier", "b")]),
        workload("r1", &[("version", "v2"), ("tier", "a")]),
        workload("r1", &[("version", "v2"), ("tier", "b")]),
    ];
    assert_eq!(settled(&nearness, &client("r1"), &endpoints), "r1=0:1 r1=1:1 r1=2:2");
}

/// Without outlier detection nothing ever fails over, so there is no order; shares need none.
#[test]
fn failover_needs_outlier_detection() {
    assert_eq!(of_rule(json!({"failover": [{"from": "a", "to": "b"}]}), false), Nearness::Nothing);
    let shares = json!({"distribute": [{"from": "a", "to": {"b": 100}}]});
    assert!(matches!(of_rule(shares, false), Nearness::Shares(_)));
}

#[test]
fn weights_of_localities_count_where_somebody_asked() {
    let table = [
        (json!({}), LocalityMode::None),
        (json!({"failover": [{"from": "a", "to": "b"}]}), LocalityMode::Weighted),
        (json!({"failoverPriority": ["version"]}), LocalityMode::Weighted),
        (json!({"distribute": [{"from": "a", "to": {"b": 100}}]}), LocalityMode::Weighted),
    ];
    for (lb, expected) in table {
        assert_eq!(of_rule(lb.clone(), true).mode(), expected, "{lb}");
    }
}

/// The rule's setting, else the service's traffic distribution, else the mesh's.
#[test]
fn who_decides() {
    let mesh = setting(json!({"failover": [{"from": "r1", "to": "r3"}]}));
    let off = setting(json!({"enabled": false}));
    let detects = api::OutlierDetection::default();
    let policy = Policy { outliers: Some(&detects), ..Policy::default() };
    let of = |mesh: &_, closeness| Nearness::of(mesh, &service(closeness), &policy);
    let from = client("r1/z1/a");
    let to = everywhere();
    let by_mesh = "r1/z1/a=0:1 r1/z1/b=1:1 r1/z2/c=2:1 r2/z3/d=4:1 r3/z4/e=3:1 r3/z5/f=3:1";
    let zone = "r1/z1/a=0:1 r1/z1/b=0:1 r1/z2/c=1:1 r2/z3/d=2:1 r3/z4/e=2:1 r3/z5/f=2:1";
    let node = "r1/z1/a=0:1 r1/z1/b=1:1 r1/z2/c=2:1 r2/z3/d=3:1 r3/z4/e=3:1 r3/z5/f=3:1";
    assert_eq!(settled(&of(&mesh, Closeness::Any), &from, &to), by_mesh);
    assert_eq!(settled(&of(&off, Closeness::SameZone), &from, &to), zone);
    assert_eq!(settled(&of(&mesh, Closeness::SameNode), &from, &to), node);
    assert_eq!(of(&off, Closeness::Any), Nearness::Nothing);
    // It asks for no outlier detection either.
    let bare = Policy::default();
    let forced = Nearness::of(&mesh, &service(Closeness::SameZone), &bare);
    assert_eq!(settled(&forced, &from, &to), zone);
}

/// Clients that cannot be told apart by what counts share their endpoints.
#[test]
fn what_of_a_client_counts() {
    let (near, far) = (client("r1/z1/a"), client("r2"));
    assert_eq!(Nearness::Nothing.viewpoint(&near), Nearness::Nothing.viewpoint(&far));
    let labels = of_rule(json!({"failoverPriority": ["version"]}), true);
    assert_eq!(labels.viewpoint(&near), labels.viewpoint(&far));
    let places = of_rule(json!({}), true);
    assert_ne!(places.viewpoint(&near), places.viewpoint(&far));
}
