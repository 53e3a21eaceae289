use super::*;
use crate::kinds::Registry;

const NOW: i64 = 1_800_000_000;

fn table(group: &str, kind: &str, object: Value) -> Vec<String> {
    let registry = Registry::builtin();
    let kind = registry.by_kind(group, kind).unwrap();
    let table = render(kind, kind.storage(), &[object], json!({}), Include::Nothing, NOW);
    let names = table["columnDefinitions"].as_array().unwrap().len();
    let cells = table["rows"][0]["cells"].as_array().unwrap();
    assert_eq!(cells.len(), names, "as many cells as columns");
    cells.iter().map(|c| c.as_str().map_or_else(|| c.to_string(), str::to_owned)).collect()
}

#[test]
fn every_kind_has_as_many_cells_as_columns() {
    for kind in Registry::builtin().all() {
        let object =
            json!({"metadata": {"name": "x", "creationTimestamp": "2027-01-15T07:59:00Z"}});
        table(&kind.group, &kind.kind, object);
    }
}

#[test]
fn durations_read_as_in_kubectl() {
    for (seconds, wanted) in [
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (125, "2m5s"),
        (3599, "59m"),
        (3600 * 5, "5h"),
        (3600 * 5 + 60, "5h1m"),
        (3600 * 30, "30h"),
        (86400 * 3 + 7200, "3d2h"),
        (86400 * 20, "20d"),
        (-5, "<invalid>"),
    ] {
        assert_eq!(duration(seconds), wanted);
    }
}

#[test]
fn a_pod_says_how_it_is() {
    let container = |state: Value, ready: bool| {
        json!({"name": "c", "ready": ready, "restartCount": 2, "state": state,
        "lastState": {"terminated": {"finishedAt": "2027-01-15T07:55:00Z"}}})
    };
    let pod = |phase: &str, status: Value| {
        json!({"metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c"}]},
        "status": {"phase": phase, "containerStatuses": [status]}})
    };
    let running = table("", "Pod", pod("Running", container(json!({"running": {}}), true)));
    assert_eq!(running[1..4], ["1/1", "Running", "2 (5m ago)"]);
    let waiting = container(json!({"waiting": {"reason": "CrashLoopBackOff"}}), false);
    assert_eq!(table("", "Pod", pod("Running", waiting))[1..3], ["0/1", "CrashLoopBackOff"]);
    let ended = container(json!({"terminated": {"exitCode": 3}}), false);
    assert_eq!(table("", "Pod", pod("Failed", ended))[2], "ExitCode:3");
    let mut going = pod("Running", container(json!({"running": {}}), true));
    going["metadata"]["deletionTimestamp"] = json!("2027-01-15T08:00:00Z");
    assert_eq!(table("", "Pod", going)[2], "Terminating");
}

#[test]
fn a_pod_with_a_native_sidecar_counts_it() {
    let pod = json!({"metadata": {"name": "p"},
        "spec": {"initContainers": [{"name": "i"}, {"name": "s", "restartPolicy": "Always"}], "containers": [{"name": "c"}]},
        "status": {"phase": "Running",
            "initContainerStatuses": [
                {"name": "i", "state": {"terminated": {"exitCode": 0}}},
                {"name": "s", "started": true, "ready": true, "state": {"running": {}}}],
            "containerStatuses": [{"name": "c", "ready": true, "state": {"running": {}}}]}});
    assert_eq!(table("", "Pod", pod)[1..3], ["2/2", "Running"]);
    let starting = json!({"metadata": {"name": "p"},
        "spec": {"initContainers": [{"name": "i"}], "containers": [{"name": "c"}]},
        "status": {"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"running": {}}}]}});
    assert_eq!(table("", "Pod", starting)[2], "Init:0/1");
}

#[test]
fn a_service_shows_its_ports() {
    let service = json!({"metadata": {"name": "s"}, "spec": {"type": "LoadBalancer", "clusterIP": "10.96.0.5",
        "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]}});
    assert_eq!(
        table("", "Service", service)[1..5],
        ["LoadBalancer", "10.96.0.5", "<pending>", "80:30080/TCP,53/UDP"]
    );
}

#[test]
fn printer_columns_select_by_path() {
    let object = json!({"spec": {"hosts": ["a", "b"], "x.y": 1}, "status": {"conditions": [
        {"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"}]}});
    for (path, wanted) in [
        (".spec.hosts", vec![json!(["a", "b"])]),
        (".spec.hosts[*]", vec![json!("a"), json!("b")]),
        (".spec.hosts[1]", vec![json!("b")]),
        (".spec.x\\.y", vec![json!(1)]),
        (".spec['x.y']", vec![json!(1)]),
        (".status.conditions[?(@.type==\"Ready\")].status", vec![json!("True")]),
        (".nope.x", vec![]),
    ] {
        let found: Vec<Value> = custom::select(&object, path).into_iter().cloned().collect();
        assert_eq!(found, wanted, "{path}");
    }
}
