//! Who gets in, what they may, and what becomes of bad requests.

use apiserver::DeleteOptions;
use serde_json::{Value, json};

use crate::api::{MAPS, admin, config_map, reference, with_admin};

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_in_without_a_credential() {
    let (cluster, mut http) = with_admin("access").await;
    assert_eq!(http.call("GET", MAPS, &Value::Null).await.0, 200);
    let good = http.token.take().unwrap();
    for token in [None, Some("nonsense".to_owned()), Some(format!("{good}x"))] {
        http.token = token;
        for path in [MAPS, "/", "/version", "/healthz", "/openapi/v2", "/nowhere"] {
            let (code, status) = http.call("GET", path, &Value::Null).await;
            assert_eq!((code, status["reason"].as_str()), (401, Some("Unauthorized")), "{path}");
        }
    }
    drop(cluster);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_may_do_what_roles_grant_and_no_more() {
    let (cluster, mut http) = with_admin("rbac").await;
    let client = &cluster.client;
    for object in [
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot", "namespace": "default"}}),
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "read", "namespace": "default"},
            "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}]}),
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "read", "namespace": "default"},
            "roleRef": {"kind": "Role", "name": "read", "apiGroup": "rbac.authorization.k8s.io"},
            "subjects": [{"kind": "ServiceAccount", "name": "robot"}]}),
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"},
            "spec": {"containers": [{"name": "c", "image": "i"}]}}),
    ] {
        client.create(object).await.unwrap();
    }
    let pod = client.get(&reference("pods", "p")).unwrap();
    let uid = pod["metadata"]["uid"].as_str().unwrap().to_owned();
    let token =
        client.service_account_token("default", "robot", &[], 3600, Some(("p", &uid))).unwrap();
    http.token = Some(token.clone());
    assert_eq!(http.call("GET", MAPS, &Value::Null).await.0, 200);
    for (method, path) in [
        ("GET", "/api/v1/configmaps"),
        ("GET", "/api/v1/namespaces/default/secrets"),
        ("POST", MAPS),
        ("DELETE", MAPS),
    ] {
        let body = if method == "POST" { config_map("x", json!({})) } else { Value::Null };
        let (code, status) = http.call(method, path, &body).await;
        assert_eq!((code, status["reason"].as_str()), (403, Some("Forbidden")), "{method} {path}");
    }
    // The token dies with its pod, and is no good for another audience's API.
    let other = client
        .service_account_token("default", "robot", &["elsewhere".to_owned()], 3600, None)
        .unwrap();
    http.token = Some(other.clone());
    assert_eq!(http.call("GET", MAPS, &Value::Null).await.0, 401);
    let review = |token: &str, audience: &str| {
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
        "spec": {"token": token, "audiences": [audience]}})
    };
    let admin = admin(&cluster);
    let reviews = "/apis/authentication.k8s.io/v1/tokenreviews";
    let (code, answer) = admin.call("POST", reviews, &review(&other, "elsewhere")).await;
    assert_eq!((code, &answer["status"]["authenticated"]), (201, &json!(true)), "{answer}");
    assert_eq!(answer["status"]["user"]["username"], "system:serviceaccount:default:robot");
    let (_, answer) = admin.call("POST", reviews, &review(&other, "third")).await;
    assert_eq!(answer["status"]["authenticated"], false);
    client.delete(&reference("pods", "p"), DeleteOptions::default()).await.unwrap();
    http.token = Some(token);
    assert_eq!(http.call("GET", MAPS, &Value::Null).await.0, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_body_is_a_clear_4xx() {
    let (_cluster, http) = with_admin("bodies").await;
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(300), "]".repeat(300));
    let cases: Vec<(&str, String, u16, &str)> = vec![
        ("application/json", String::new(), 400, "BadRequest"),
        ("application/json", "{".to_owned(), 400, "BadRequest"),
        ("application/json", "[]".to_owned(), 400, "BadRequest"),
        ("application/json", deep, 400, "BadRequest"),
        (
            "application/json",
            json!({"kind": "Pod", "apiVersion": "v1"}).to_string(),
            400,
            "BadRequest",
        ),
        ("application/json", json!({"metadata": 3}).to_string(), 400, "BadRequest"),
        (
            "application/json",
            json!({"metadata": {"name": "x"}, "data": {"a": 1}}).to_string(),
            400,
            "BadRequest",
        ),
        (
            "application/json",
            json!({"metadata": {"name": "x", "namespace": "other"}}).to_string(),
            400,
            "BadRequest",
        ),
        (
            "application/json",
            json!({"metadata": {"name": "x", "resourceVersion": "7"}}).to_string(),
            400,
            "BadRequest",
        ),
        ("application/json", json!({"metadata": {}}).to_string(), 422, "Invalid"),
        ("application/json", json!({"metadata": {"name": "NO"}}).to_string(), 422, "Invalid"),
        ("application/vnd.kubernetes.protobuf", "k8s".to_owned(), 400, "BadRequest"),
        ("application/cbor", "x".to_owned(), 415, "UnsupportedMediaType"),
        (
            "application/json",
            format!("\"{}\"", "x".repeat(3 * 1024 * 1024)),
            413,
            "RequestEntityTooLarge",
        ),
    ];
    for (media, body, code, reason) in cases {
        let shown: String = body.chars().take(60).collect();
        let (found, status) = http.raw("POST", MAPS, media, body).await;
        assert_eq!((found, status["reason"].as_str()), (code, Some(reason)), "{shown}: {status}");
        assert_eq!(status["kind"], "Status");
    }
    assert_eq!(
        http.call(
            "POST",
            "/api/v1/namespaces/none/configmaps",
            &json!({"metadata": {"name": "x"}})
        )
        .await
        .0,
        404
    );
    assert_eq!(http.call("PUT", MAPS, &json!({})).await.0, 405);
    assert_eq!(http.call("GET", "/apis/none/v1/things", &Value::Null).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_grants_what_they_do_not_have() {
    let (cluster, mut http) = with_admin("escalation").await;
    let rbac = "rbac.authorization.k8s.io";
    for object in [
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "sly", "namespace": "default"}}),
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "own", "namespace": "default"},
            "rules": [{"apiGroups": [rbac], "resources": ["roles", "rolebindings"], "verbs": ["create", "update"]},
                {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]}),
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "own", "namespace": "default"},
            "roleRef": {"kind": "Role", "name": "own", "apiGroup": rbac},
            "subjects": [{"kind": "ServiceAccount", "name": "sly"}]}),
    ] {
        cluster.client.create(object).await.unwrap();
    }
    http.token =
        Some(cluster.client.service_account_token("default", "sly", &[], 3600, None).unwrap());
    let path = |plural: &str| format!("/apis/{rbac}/v1/namespaces/default/{plural}");
    let role = |name: &str, resource: &str| {
        json!({"metadata": {"name": name},
        "rules": [{"apiGroups": [""], "resources": [resource], "verbs": ["get"]}]})
    };
    assert_eq!(http.call("POST", &path("roles"), &role("fair", "configmaps")).await.0, 201);
    assert_eq!(http.call("POST", &path("roles"), &role("greedy", "secrets")).await.0, 403);
    assert_eq!(http.call("POST", &path("roles"), &role("all", "*")).await.0, 403);
    let binding = |name: &str, kind: &str, role: &str| {
        json!({"metadata": {"name": name},
        "roleRef": {"kind": kind, "name": role, "apiGroup": rbac}, "subjects": [{"kind": "ServiceAccount", "name": "sly"}]})
    };
    assert_eq!(
        http.call("POST", &path("rolebindings"), &binding("fair", "Role", "fair")).await.0,
        201
    );
    let (code, status) = http
        .call("POST", &path("rolebindings"), &binding("root", "ClusterRole", "cluster-admin"))
        .await;
    assert_eq!(code, 403, "{status}");
}
