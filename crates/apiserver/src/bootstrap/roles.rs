//! The system's cluster roles and bindings.

use serde_json::{Value, json};

const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["create", "delete", "deletecollection", "patch", "update"];

/// Resources of users' namespaces, by group; what `view` reads and `edit` writes.
const NAMESPACED: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "configmaps",
            "endpoints",
            "persistentvolumeclaims",
            "pods",
            "replicationcontrollers",
            "replicationcontrollers/scale",
            "serviceaccounts",
            "services",
            "services/status",
            "pods/status",
            "replicationcontrollers/status",
            "persistentvolumeclaims/status",
        ],
    ),
    (
        "apps",
        &[
            "controllerrevisions",
            "daemonsets",
            "deployments",
            "deployments/scale",
            "replicasets",
            "replicasets/scale",
            "statefulsets",
            "statefulsets/scale",
            "daemonsets/status",
            "deployments/status",
            "replicasets/status",
            "statefulsets/status",
        ],
    ),
    ("autoscaling", &["horizontalpodautoscalers", "horizontalpodautoscalers/status"]),
    ("batch", &["cronjobs", "jobs", "cronjobs/status", "jobs/status"]),
    ("extensions", &["daemonsets", "deployments", "ingresses", "networkpolicies", "replicasets"]),
    ("policy", &["poddisruptionbudgets", "poddisruptionbudgets/status"]),
    ("networking.k8s.io", &["ingresses", "networkpolicies", "ingresses/status"]),
    ("discovery.k8s.io", &["endpointslices"]),
];

pub fn objects() -> Vec<Value> {
    let everything = json!([
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
        {"nonResourceURLs": ["*"], "verbs": ["*"]}
    ]);
    let urls = |list: &[&str]| json!([{"nonResourceURLs": list, "verbs": ["get"]}]);
    let discovery = [
        "/api",
        "/api/*",
        "/apis",
        "/apis/*",
        "/healthz",
        "/livez",
        "/openapi",
        "/openapi/*",
        "/readyz",
        "/version",
        "/version/",
    ];
    let group = |name: &str| json!([{"kind": "Group", "name": name, "apiGroup": "rbac.authorization.k8s.io"}]);
    vec![
        role("cluster-admin", everything),
        role("system:discovery", urls(&discovery)),
        role(
            "system:public-info-viewer",
            urls(&["/healthz", "/livez", "/readyz", "/version", "/version/"]),
        ),
        role(
            "system:service-account-issuer-discovery",
            urls(&[
                "/.well-known/openid-configuration",
                "/.well-known/openid-configuration/",
                "/openid/v1/jwks",
                "/openid/v1/jwks/",
            ]),
        ),
        role("system:basic-user", basic_user()),
        role(
            "system:auth-delegator",
            json!([
                {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]},
                {"apiGroups": ["authorization.k8s.io"], "resources": ["subjectaccessreviews"], "verbs": ["create"]}
            ]),
        ),
        aggregate("admin", "rbac.authorization.k8s.io/aggregate-to-admin", admin_rules()),
        aggregate("edit", "rbac.authorization.k8s.io/aggregate-to-edit", edit_rules()),
        aggregate("view", "rbac.authorization.k8s.io/aggregate-to-view", view_rules()),
        binding("cluster-admin", "cluster-admin", group("system:masters")),
        binding("system:discovery", "system:discovery", group("system:authenticated")),
        binding(
            "system:public-info-viewer",
            "system:public-info-viewer",
            group("system:authenticated"),
        ),
        binding("system:basic-user", "system:basic-user", group("system:authenticated")),
        binding(
            "system:service-account-issuer-discovery",
            "system:service-account-issuer-discovery",
            group("system:serviceaccounts"),
        ),
    ]
}

fn role(name: &str, rules: Value) -> Value {
    json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": name, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}},
        "rules": rules})
}

/// A role that also has the rules of all roles with a label.
fn aggregate(name: &str, label: &str, rules: Value) -> Value {
    let mut role = role(name, rules);
    let rule = json!({"clusterRoleSelectors": [{"matchLabels": {label: "true"}}]});
    objects::meta::as_map(&mut role).insert("aggregationRule".to_owned(), rule);
    role
}

fn binding(name: &str, role: &str, subjects: Value) -> Value {
    json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": name, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": subjects})
}

fn basic_user() -> Value {
    json!([
        {"apiGroups": ["authorization.k8s.io"],
         "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"], "verbs": ["create"]},
        {"apiGroups": ["authentication.k8s.io"], "resources": ["selfsubjectreviews"], "verbs": ["create"]}
    ])
}

fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> Value {
    json!({"apiGroups": [group], "resources": resources, "verbs": verbs})
}

fn view_rules() -> Value {
    let mut rules: Vec<Value> = NAMESPACED.iter().map(|(g, r)| rule(g, r, READ)).collect();
    rules.push(rule(
        "",
        &[
            "bindings",
            "events",
            "limitranges",
            "namespaces",
            "namespaces/status",
            "pods/log",
            "resourcequotas",
            "resourcequotas/status",
        ],
        READ,
    ));
    rules.into()
}

fn edit_rules() -> Value {
    let mut rules: Vec<Value> = view_rules().as_array().cloned().unwrap_or_default();
    rules.extend(NAMESPACED.iter().map(|(g, r)| {
        let plain: Vec<&str> = r.iter().copied().filter(|r| !r.ends_with("/status")).collect();
        rule(g, &plain, WRITE)
    }));
    rules.push(rule(
        "",
        &[
            "secrets",
            "pods/attach",
            "pods/exec",
            "pods/portforward",
            "pods/proxy",
            "services/proxy",
        ],
        READ,
    ));
    rules.push(rule(
        "",
        &[
            "secrets",
            "pods/attach",
            "pods/exec",
            "pods/portforward",
            "pods/proxy",
            "services/proxy",
            "events",
        ],
        WRITE,
    ));
    rules.push(rule("", &["pods/eviction", "serviceaccounts/token"], &["create"]));
    rules.push(rule("", &["serviceaccounts"], &["impersonate"]));
    rules.push(rule("coordination.k8s.io", &["leases"], READ));
    rules.push(rule("coordination.k8s.io", &["leases"], WRITE));
    rules.into()
}

fn admin_rules() -> Value {
    let mut rules: Vec<Value> = edit_rules().as_array().cloned().unwrap_or_default();
    rules.push(rule("rbac.authorization.k8s.io", &["rolebindings", "roles"], READ));
    rules.push(rule("rbac.authorization.k8s.io", &["rolebindings", "roles"], WRITE));
    rules.push(rule("authorization.k8s.io", &["localsubjectaccessreviews"], &["create"]));
    rules.into()
}
