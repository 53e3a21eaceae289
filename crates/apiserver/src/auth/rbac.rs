//! Role-based authorisation from the stored roles and bindings. Nothing is allowed that no rule
//! allows.

use std::sync::Arc;

use objects::meta::{items, text};
use serde_json::Value;

use crate::core::{Core, User};

/// What somebody wants to do.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Attributes {
    pub verb: String,
    pub group: String,
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
    /// Set for requests of paths that are no resources; the fields above but `verb` are empty.
    pub path: Option<String>,
}

const GROUP: &str = "rbac.authorization.k8s.io";

/// Whether the user may, with the binding that says so.
pub fn authorize(core: &Core, user: &User, wanted: &Attributes) -> Result<String, String> {
    if user.is_master() {
        return Ok("member of system:masters".to_owned());
    }
    let rules = rules_of(core, user, &wanted.namespace);
    for (binding, rules) in &rules {
        if rules.iter().any(|rule| allows(rule, wanted)) {
            return Ok(format!("RBAC: allowed by {binding}"));
        }
    }
    Err(describe(user, wanted))
}

/// The rules that apply to a user in a namespace (and everywhere), by binding.
pub fn rules_of(core: &Core, user: &User, namespace: &str) -> Vec<(String, Vec<Value>)> {
    let mut found = Vec::new();
    let cluster = core.store.list(GROUP, "clusterrolebindings", None, None).objects;
    collect(core, user, "ClusterRoleBinding", &cluster, &mut found);
    if !namespace.is_empty() {
        let local = core.store.list(GROUP, "rolebindings", Some(namespace), None).objects;
        collect(core, user, "RoleBinding", &local, &mut found);
    }
    found
}

fn collect(
    core: &Core,
    user: &User,
    kind: &str,
    bindings: &[Arc<Value>],
    found: &mut Vec<(String, Vec<Value>)>,
) {
    for binding in bindings {
        let namespace = objects::meta::namespace(binding).unwrap_or_default();
        if !items(binding, &["subjects"]).iter().any(|s| is_subject(s, user, namespace)) {
            continue;
        }
        let role = text(binding, &["roleRef", "name"]).unwrap_or_default();
        let cluster_wide = text(binding, &["roleRef", "kind"]) == Some("ClusterRole");
        let rules = role_rules(core, cluster_wide, namespace, role);
        found.push((format!("{kind} {:?}", objects::meta::name(binding)), rules));
    }
}

pub(super) fn role_rules(
    core: &Core,
    cluster_wide: bool,
    namespace: &str,
    name: &str,
) -> Vec<Value> {
    let (plural, namespace) =
        if cluster_wide { ("clusterroles", "") } else { ("roles", namespace) };
    let key = crate::store::Key {
        group: GROUP.to_owned(),
        plural: plural.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    let Some(role) = core.store.get(&key) else { return Vec::new() };
    let mut rules = items(&role, &["rules"]).to_vec();
    let selectors = items(&role, &["aggregationRule", "clusterRoleSelectors"]);
    if !selectors.is_empty() {
        for other in core.store.list(GROUP, "clusterroles", None, None).objects {
            let selected = selectors.iter().any(|s| {
                objects::selector::LabelSelector::from_value(s)
                    .matches(objects::meta::labels(&other))
            });
            if selected && objects::meta::name(&other) != name {
                rules.extend_from_slice(items(&other, &["rules"]));
            }
        }
    }
    rules
}

fn is_subject(subject: &Value, user: &User, binding_namespace: &str) -> bool {
    let name = text(subject, &["name"]).unwrap_or_default();
    match text(subject, &["kind"]) {
        Some("User") => user.name == name,
        Some("Group") => user.groups.iter().any(|g| g == name),
        Some("ServiceAccount") => {
            let namespace = text(subject, &["namespace"]).unwrap_or(binding_namespace);
            user.name == format!("system:serviceaccount:{namespace}:{name}")
        }
        _ => false,
    }
}

fn allows(rule: &Value, wanted: &Attributes) -> bool {
    let has = |key: &str, value: &str| {
        items(rule, &[key]).iter().filter_map(Value::as_str).any(|v| v == "*" || v == value)
    };
    if !has("verbs", &wanted.verb) {
        return false;
    }
    if let Some(path) = &wanted.path {
        let urls = items(rule, &["nonResourceURLs"]).iter().filter_map(Value::as_str);
        let mut urls = urls.map(|url| match url.strip_suffix('*') {
            Some(prefix) => path.starts_with(prefix),
            None => url == path,
        });
        return urls.any(|fits| fits);
    }
    let names = items(rule, &["resourceNames"]);
    let named = names.is_empty() || names.iter().any(|n| n.as_str() == Some(wanted.name.as_str()));
    named && has("apiGroups", &wanted.group) && has_resource(rule, wanted)
}

fn has_resource(rule: &Value, wanted: &Attributes) -> bool {
    let full = match wanted.subresource.is_empty() {
        true => wanted.resource.clone(),
        false => format!("{}/{}", wanted.resource, wanted.subresource),
    };
    items(rule, &["resources"]).iter().filter_map(Value::as_str).any(|resource| {
        resource == "*"
            || resource == full
            || resource.strip_prefix("*/").is_some_and(|s| !s.is_empty() && s == wanted.subresource)
    })
}

fn describe(user: &User, wanted: &Attributes) -> String {
    if let Some(path) = &wanted.path {
        return format!("User {:?} cannot {} path {path:?}", user.name, wanted.verb);
    }
    let resource = match wanted.subresource.is_empty() {
        true => wanted.resource.clone(),
        false => format!("{}/{}", wanted.resource, wanted.subresource),
    };
    let scope = match wanted.namespace.is_empty() {
        true => "at the cluster scope".to_owned(),
        false => format!("in the namespace {:?}", wanted.namespace),
    };
    format!(
        "User {:?} cannot {} resource {resource:?} in API group {:?} {scope}",
        user.name, wanted.verb, wanted.group
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn wanted(
        verb: &str,
        group: &str,
        resource: &str,
        subresource: &str,
        name: &str,
    ) -> Attributes {
        Attributes {
            verb: verb.to_owned(),
            group: group.to_owned(),
            resource: resource.to_owned(),
            subresource: subresource.to_owned(),
            name: name.to_owned(),
            ..Attributes::default()
        }
    }

    #[test]
    fn rules_allow_what_they_name_and_nothing_else() {
        let rule =
            json!({"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods", "pods/log"]});
        assert!(allows(&rule, &wanted("get", "", "pods", "", "a")));
        assert!(allows(&rule, &wanted("get", "", "pods", "log", "a")));
        assert!(!allows(&rule, &wanted("get", "", "pods", "exec", "a")));
        assert!(!allows(&rule, &wanted("delete", "", "pods", "", "a")));
        assert!(!allows(&rule, &wanted("get", "apps", "pods", "", "a")));
        let named =
            json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "resourceNames": ["x"]});
        assert!(allows(&named, &wanted("get", "", "secrets", "", "x")));
        assert!(!allows(&named, &wanted("get", "", "secrets", "", "y")));
        let urls = json!({"verbs": ["get"], "nonResourceURLs": ["/healthz", "/api/*"]});
        let path = |p: &str| Attributes {
            verb: "get".to_owned(),
            path: Some(p.to_owned()),
            ..Attributes::default()
        };
        assert!(allows(&urls, &path("/api/v1")));
        assert!(!allows(&urls, &path("/metrics")));
        assert!(!allows(&rule, &path("/api/v1")));
    }

    #[test]
    fn subjects_are_users_groups_and_accounts() {
        let user = User {
            name: "system:serviceaccount:ns:sa".to_owned(),
            groups: vec!["system:authenticated".to_owned()],
            ..User::default()
        };
        assert!(is_subject(
            &json!({"kind": "ServiceAccount", "name": "sa", "namespace": "ns"}),
            &user,
            ""
        ));
        assert!(is_subject(&json!({"kind": "Group", "name": "system:authenticated"}), &user, ""));
        assert!(!is_subject(&json!({"kind": "User", "name": "sa"}), &user, ""));
        assert!(!is_subject(
            &json!({"kind": "ServiceAccount", "name": "sa", "namespace": "other"}),
            &user,
            ""
        ));
    }
}
