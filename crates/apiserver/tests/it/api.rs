//! The API over HTTPS: lists, watches, writes, deletion, services, custom kinds.

use crate::https::{Http, Lines};
use crate::support::{Cluster, eventually};
use apiserver::{Client, DeleteOptions, Propagation, Ref};
use serde_json::{Value, json};

pub fn admin(cluster: &Cluster) -> Http {
    // A service account that is bound to cluster-admin by each test's cluster.
    let token =
        cluster.client.service_account_token("kube-system", "default", &[], 3600, None).unwrap();
    Http::new(&cluster.url, cluster.client.cluster_ca_pem(), Some(token))
}

pub async fn with_admin(name: &str) -> (Cluster, Http) {
    let cluster = Cluster::start(name).await;
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": "test-admin"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": "kube-system"}]});
    cluster.client.create(binding).await.unwrap();
    let http = admin(&cluster);
    (cluster, http)
}

pub fn config_map(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, "data": data})
}

pub fn reference(resource: &str, name: &str) -> Ref {
    Ref {
        group: String::new(),
        resource: resource.to_owned(),
        namespace: Some("default".to_owned()),
        name: name.to_owned(),
    }
}

pub const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_in_pages_and_by_selector() {
    let (cluster, http) = with_admin("pages").await;
    for n in 0..5 {
        let mut map = config_map(&format!("m{n}"), json!({}));
        map["metadata"]["labels"] = json!({"odd": (n % 2 == 1).to_string()});
        cluster.client.create(map).await.unwrap();
    }
    let (mut names, mut next) = (Vec::new(), String::new());
    loop {
        let (_, page) =
            http.call("GET", &format!("{MAPS}?limit=2&continue={next}"), &Value::Null).await;
        assert!(page["items"].as_array().unwrap().len() <= 2);
        names.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|o| o["metadata"]["name"].as_str().unwrap().to_owned()),
        );
        match page["metadata"]["continue"].as_str() {
            Some(token) => next = token.to_owned(),
            None => break,
        }
    }
    assert_eq!(names, ["kube-root-ca.crt", "m0", "m1", "m2", "m3", "m4"]);
    let (_, odd) =
        http.call("GET", &format!("{MAPS}?labelSelector=odd%3Dtrue"), &Value::Null).await;
    assert_eq!(odd["items"].as_array().unwrap().len(), 2);
    let (_, one) =
        http.call("GET", &format!("{MAPS}?fieldSelector=metadata.name%3Dm3"), &Value::Null).await;
    assert_eq!(one["items"].as_array().unwrap().len(), 1);
    assert_eq!(http.call("GET", &format!("{MAPS}?labelSelector=a%20b"), &Value::Null).await.0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_resumes_where_it_was_and_is_told_when_that_is_gone() {
    let (cluster, http) = with_admin("watch").await;
    let first = cluster.client.create(config_map("w", json!({"n": "0"}))).await.unwrap();
    let start = first["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    let path = format!("{MAPS}?watch=true&labelSelector=seen%3Dyes&resourceVersion={start}");
    let mut lines = Lines::new(http.open("GET", &path, "", "").await);
    let r = reference("configmaps", "w");
    let patch = |labels: Value| json!({"metadata": {"labels": labels}});
    cluster.client.merge_patch(&r, None, patch(json!({"seen": "yes"}))).await.unwrap();
    cluster.client.merge_patch(&r, None, json!({"data": {"n": "1"}})).await.unwrap();
    cluster.client.merge_patch(&r, None, patch(json!({"seen": null}))).await.unwrap();
    let mut kinds = Vec::new();
    for _ in 0..3 {
        kinds.push(lines.next().await["type"].as_str().unwrap().to_owned());
    }
    // An object that leaves the selection is gone for this watch.
    assert_eq!(kinds, ["ADDED", "MODIFIED", "DELETED"]);
    // The same again from the start: nothing is lost.
    let mut again = Lines::new(http.open("GET", &path, "", "").await);
    assert_eq!(again.next().await["type"], "ADDED");
    for n in 0..600 {
        cluster.client.merge_patch(&r, None, json!({"data": {"n": n.to_string()}})).await.unwrap();
    }
    let mut late = Lines::new(http.open("GET", &path, "", "").await);
    let gone = late.next().await;
    assert_eq!(
        (gone["type"].as_str(), gone["object"]["code"].as_u64()),
        (Some("ERROR"), Some(410))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_list_says_when_it_is_complete() {
    let (_cluster, http) = with_admin("watchlist").await;
    let path = "/api/v1/namespaces?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut lines = Lines::new(http.open("GET", path, "", "").await);
    for _ in 0..4 {
        assert_eq!(lines.next().await["type"], "ADDED");
    }
    let end = lines.next().await;
    assert_eq!(end["type"], "BOOKMARK");
    assert_eq!(end["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_are_optimistic_when_they_say_so() {
    let (cluster, http) = with_admin("optimistic").await;
    let first = cluster.client.create(config_map("o", json!({"a": "1"}))).await.unwrap();
    let mut stale = (*first).clone();
    cluster
        .client
        .merge_patch(&reference("configmaps", "o"), None, json!({"data": {"a": "2"}}))
        .await
        .unwrap();
    stale["data"]["a"] = json!("3");
    let path = format!("{MAPS}/o");
    let (code, status) = http.call("PUT", &path, &stale).await;
    assert_eq!((code, status["reason"].as_str()), (409, Some("Conflict")));
    stale["metadata"]["resourceVersion"] = Value::Null;
    assert_eq!(http.call("PUT", &path, &stale).await.0, 200);
    let before = cluster.client.get(&reference("configmaps", "o")).unwrap();
    // What changes nothing is no change.
    let (_, same) = http.call("PUT", &path, &before).await;
    assert_eq!(same["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn apply_conflicts_name_the_other_manager() {
    let (_cluster, http) = with_admin("apply").await;
    let media = "application/apply-patch+yaml";
    let path = |manager: &str, more: &str| format!("{MAPS}/s?fieldManager={manager}{more}");
    let body = |value: &str| {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: s}}\ndata: {{k: {value}}}\n")
    };
    assert_eq!(http.raw("PATCH", &path("one", ""), media, body("a")).await.0, 201);
    let (code, status) = http.raw("PATCH", &path("two", ""), media, body("b")).await;
    assert_eq!(code, 409);
    assert_eq!(status["details"]["causes"][0]["field"], ".data.k");
    assert!(status["message"].as_str().unwrap().contains("\"one\": .data.k"), "{status}");
    let (code, object) = http.raw("PATCH", &path("two", "&force=true"), media, body("b")).await;
    assert_eq!((code, &object["data"]["k"]), (200, &json!("b")));
    // The loser's next apply without the field leaves it alone.
    let without = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: s}\n";
    let (_, object) = http.raw("PATCH", &path("one", ""), media, without).await;
    assert_eq!(object["data"]["k"], "b");
    // The winner's takes it away.
    let (_, object) = http.raw("PATCH", &path("two", ""), media, without).await;
    assert_eq!(object.get("data"), None);
}

async fn names(client: &Client, group: &str, resource: &str) -> Vec<String> {
    let list = client.list(group, resource, Some("default"));
    list.iter().map(|o| o["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

fn owned(name: &str, owner: &Value) -> Value {
    let mut map = config_map(name, json!({}));
    map["metadata"]["ownerReferences"] = json!([{"apiVersion": owner["apiVersion"], "kind": owner["kind"],
        "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"], "blockOwnerDeletion": true}]);
    map
}

#[tokio::test(flavor = "multi_thread")]
async fn dependents_follow_their_owner_unless_orphaned() {
    let cluster = Cluster::start("gc").await;
    let client = &cluster.client;
    for (propagation, survives) in [
        (None, false),
        (Some(Propagation::Background), false),
        (Some(Propagation::Foreground), false),
        (Some(Propagation::Orphan), true),
    ] {
        let owner = client.create(config_map("owner", json!({}))).await.unwrap();
        let child = client.create(owned("child", &owner)).await.unwrap();
        client.create(owned("grandchild", &child)).await.unwrap();
        let options = DeleteOptions { propagation, ..DeleteOptions::default() };
        client.delete(&reference("configmaps", "owner"), options).await.unwrap();
        eventually("the owner goes", || client.get(&reference("configmaps", "owner")).is_none())
            .await;
        if survives {
            let child = client.get(&reference("configmaps", "child")).unwrap();
            assert_eq!(
                child["metadata"]
                    .get("ownerReferences")
                    .and_then(Value::as_array)
                    .map_or(0, Vec::len),
                0
            );
        } else {
            eventually("all dependents go", || {
                client.get(&reference("configmaps", "child")).is_none()
                    && client.get(&reference("configmaps", "grandchild")).is_none()
            })
            .await;
        }
    }
    assert!(names(client, "", "configmaps").await.contains(&"grandchild".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn finalizers_and_grace_hold_an_object() {
    let cluster = Cluster::start("finalizers").await;
    let client = &cluster.client;
    let mut held = config_map("held", json!({}));
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    client.create(held).await.unwrap();
    let r = reference("configmaps", "held");
    client.delete(&r, DeleteOptions::default()).await.unwrap();
    assert!(client.get(&r).unwrap()["metadata"]["deletionTimestamp"].is_string());
    client.merge_patch(&r, None, json!({"metadata": {"finalizers": null}})).await.unwrap();
    assert!(client.get(&r).is_none());
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"},
        "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}});
    client.create(pod).await.unwrap();
    let r = reference("pods", "p");
    client.delete(&r, DeleteOptions::default()).await.unwrap();
    let pod = client.get(&r).unwrap();
    assert_eq!(pod["metadata"]["deletionGracePeriodSeconds"], 30);
    client
        .delete(&r, DeleteOptions { grace_seconds: Some(0), ..DeleteOptions::default() })
        .await
        .unwrap();
    assert!(client.get(&r).is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn services_get_addresses_and_ports_and_keep_them() {
    let cluster = Cluster::start("services").await;
    let client = &cluster.client;
    let service = |name: &str, spec: Value| {
        json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": "default"}, "spec": spec})
    };
    let ports = json!([{"port": 80}]);
    let a = client.create(service("a", json!({"type": "NodePort", "ports": ports}))).await.unwrap();
    let address = a["spec"]["clusterIP"].as_str().unwrap();
    assert!(address.starts_with("10.96."), "{address}");
    let node_port = a["spec"]["ports"][0]["nodePort"].as_u64().unwrap();
    assert!((30000..=32767).contains(&node_port));
    let again = client
        .update(service("a", json!({"type": "NodePort", "ports": [{"port": 80, "name": "x"}]})))
        .await
        .unwrap();
    assert_eq!(
        (again["spec"]["clusterIP"].as_str(), again["spec"]["ports"][0]["nodePort"].as_u64()),
        (Some(address), Some(node_port))
    );
    for spec in [
        json!({"clusterIP": address, "ports": ports}),
        json!({"clusterIP": "192.168.0.1", "ports": ports}),
        json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": node_port}]}),
        json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 80}]}),
    ] {
        assert_eq!(
            client.create(service("b", spec.clone())).await.unwrap_err().code,
            422,
            "{spec}"
        );
    }
    let headless =
        client.create(service("h", json!({"clusterIP": "None", "ports": ports}))).await.unwrap();
    assert_eq!(headless["spec"]["clusterIPs"], json!(["None"]));
    let dual = client
        .create(service("d", json!({"ipFamilyPolicy": "PreferDualStack", "ports": ports})))
        .await
        .unwrap();
    assert_eq!(dual["spec"]["ipFamilies"], json!(["IPv4", "IPv6"]));
    assert!(dual["spec"]["clusterIPs"][1].as_str().unwrap().starts_with("fd00:10:96::"));
    let external = client
        .create(service("e", json!({"type": "ExternalName", "externalName": "x.y"})))
        .await
        .unwrap();
    assert_eq!(external["spec"].get("clusterIP"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_about_the_same_are_counted() {
    let cluster = Cluster::start("events").await;
    let client = &cluster.client;
    let map = client.create(config_map("e", json!({}))).await.unwrap();
    client.record_event(&map, "Warning", "Odd", "something is odd", "test");
    eventually("the event", || client.list("", "events", Some("default")).len() == 1).await;
    client.record_event(&map, "Warning", "Odd", "something is odd", "test");
    eventually("the count", || client.list("", "events", Some("default"))[0]["count"] == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn custom_kinds_are_served_at_once_and_checked() {
    let (cluster, http) = with_admin("crd").await;
    let crd = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "boats.sea.example"},
        "spec": {"group": "sea.example", "scope": "Namespaced", "names": {"kind": "Boat", "plural": "boats", "shortNames": ["bt"]},
            "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "additionalPrinterColumns": [{"name": "Sails", "type": "integer", "jsonPath": ".spec.sails"}],
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "required": ["name"], "properties": {
                        "name": {"type": "string"}, "sails": {"type": "integer", "minimum": 1, "default": 1}}},
                    "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}}}]}});
    let (code, made) =
        http.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &crd).await;
    assert_eq!(code, 201, "{made}");
    assert_eq!(made["status"]["acceptedNames"]["singular"], "boat");
    let boats = "/apis/sea.example/v1/namespaces/default/boats";
    let boat = |spec: Value| json!({"apiVersion": "sea.example/v1", "kind": "Boat", "metadata": {"name": "b"}, "spec": spec});
    let (_, invalid) = http.call("POST", boats, &boat(json!({"sails": 0}))).await;
    let fields: Vec<&str> = invalid["details"]["causes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["field"].as_str().unwrap())
        .collect();
    assert_eq!(fields, ["spec.name", "spec.sails"]);
    let strict = format!("{boats}?fieldValidation=Strict");
    let (code, status) = http.call("POST", &strict, &boat(json!({"name": "a", "sial": 1}))).await;
    assert_eq!(code, 400);
    assert!(
        status["message"].as_str().unwrap().contains("unknown field \"spec.sial\""),
        "{status}"
    );
    let (code, made) = http.call("POST", boats, &boat(json!({"name": "a", "sial": 1}))).await;
    assert_eq!((code, &made["spec"]), (201, &json!({"name": "a", "sails": 1})));
    // Status and spec are written apart.
    let mut changed = made.clone();
    changed["status"] = json!({"afloat": true});
    changed["spec"]["sails"] = json!(3);
    let (_, after) = http.call("PUT", &format!("{boats}/b/status"), &changed).await;
    assert_eq!(
        (&after["spec"]["sails"], &after["status"]["afloat"], &after["metadata"]["generation"]),
        (&json!(1), &json!(true), &json!(1))
    );
    let mut changed = after.clone();
    changed["spec"]["sails"] = json!(3);
    changed["status"] = json!({});
    let (_, after) = http.call("PUT", &format!("{boats}/b"), &changed).await;
    assert_eq!(
        (&after["spec"]["sails"], &after["status"]["afloat"], &after["metadata"]["generation"]),
        (&json!(3), &json!(true), &json!(2))
    );
    // The definition takes its objects with it.
    http.call(
        "DELETE",
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/boats.sea.example",
        &Value::Null,
    )
    .await;
    eventually("the kind goes", || cluster.client.list("sea.example", "boats", None).is_empty())
        .await;
    let crd = Ref {
        group: "apiextensions.k8s.io".to_owned(),
        resource: "customresourcedefinitions".to_owned(),
        namespace: None,
        name: "boats.sea.example".to_owned(),
    };
    eventually("the definition goes", || cluster.client.get(&crd).is_none()).await;
    assert_eq!(http.call("GET", boats, &Value::Null).await.0, 404);
}
