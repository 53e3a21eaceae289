use super::*;

#[test]
fn a_deployment_looks_as_users_know_it() {
    let mut object = json!({"metadata": {"name": "a"}, "spec": {"template": {"spec": {
        "containers": [{"name": "c", "image": "repo:5000/i", "ports": [{"containerPort": 80}],
            "readinessProbe": {"httpGet": {"port": 80}}}],
        "volumes": [{"name": "v"}, {"name": "s", "secret": {"secretName": "x"}}]}}}});
    fill("apps", "Deployment", &mut object);
    assert_eq!(object["spec"]["replicas"], 1);
    assert_eq!(object["spec"]["strategy"]["rollingUpdate"]["maxSurge"], "25%");
    let pod = &object["spec"]["template"]["spec"];
    assert_eq!(pod["restartPolicy"], "Always");
    let container = &pod["containers"][0];
    assert_eq!(container["imagePullPolicy"], "Always");
    assert_eq!(container["ports"][0]["protocol"], "TCP");
    assert_eq!(container["readinessProbe"]["periodSeconds"], 10);
    assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/");
    assert_eq!(pod["volumes"][0]["emptyDir"], json!({}));
    assert_eq!(pod["volumes"][1]["secret"]["defaultMode"], 420);
    let once = object.clone();
    fill("apps", "Deployment", &mut object);
    assert_eq!(object, once);
}

#[test]
fn a_service_targets_its_own_port() {
    let mut object = json!({"spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}});
    fill("", "Service", &mut object);
    let wanted = json!({"port": 80, "protocol": "TCP", "targetPort": 80});
    assert_eq!(object["spec"]["ports"][0], wanted);
    assert_eq!(object["spec"]["externalTrafficPolicy"], "Cluster");
}

#[test]
fn string_data_becomes_data() {
    let mut object = json!({"stringData": {"a": "b"}});
    fill("", "Secret", &mut object);
    assert_eq!(object, json!({"type": "Opaque", "data": {"a": "Yg=="}}));
}

#[test]
fn quality_of_service_follows_the_resources() {
    let full = json!({"cpu": "1", "memory": "1Gi"});
    for (resources, wanted) in [
        (json!({}), "BestEffort"),
        (json!({"requests": {"cpu": "1"}}), "Burstable"),
        (json!({"limits": full}), "Guaranteed"),
    ] {
        let mut pod = json!({"spec": {"containers": [{"name": "a", "resources": resources}]}});
        fill("", "Pod", &mut pod);
        on_create("", "Pod", &mut pod);
        assert_eq!(pod["status"]["qosClass"], wanted);
    }
}
