//! Nobody grants what they may not do themselves: whoever writes a role or a binding must hold
//! every permission in it, or be allowed to `escalate` or `bind` that role.

use objects::meta::{items, text};
use serde_json::Value;

use super::rbac::{Attributes, authorize, role_rules};
use crate::core::{Core, Target, User};
use crate::error::ApiError;

const GROUP: &str = "rbac.authorization.k8s.io";

/// Checks a role or a binding that is about to be written.
pub fn check(core: &Core, user: &User, target: &Target, object: &Value) -> Result<(), ApiError> {
    if target.kind.group != GROUP || user.is_master() {
        return Ok(());
    }
    let (verb, plural, name, rules) = match target.kind.kind.as_str() {
        "Role" | "ClusterRole" => {
            let rules = items(object, &["rules"]).to_vec();
            ("escalate", target.kind.plural.as_str(), target.name.clone(), rules)
        }
        _ => {
            let name = text(object, &["roleRef", "name"]).unwrap_or_default();
            let cluster_wide = text(object, &["roleRef", "kind"]) == Some("ClusterRole");
            let plural = if cluster_wide { "clusterroles" } else { "roles" };
            let rules = role_rules(core, cluster_wide, &target.namespace, name);
            ("bind", plural, name.to_owned(), rules)
        }
    };
    let excused = Attributes {
        verb: verb.to_owned(),
        group: GROUP.to_owned(),
        resource: plural.to_owned(),
        namespace: target.namespace.clone(),
        name,
        ..Attributes::default()
    };
    if authorize(core, user, &excused).is_ok() {
        return Ok(());
    }
    let missing = rules.iter().flat_map(|rule| permissions(rule, &target.namespace));
    for permission in missing {
        if let Err(why) = authorize(core, user, &permission) {
            let why = format!(
                "user {:?} is attempting to grant RBAC permissions not currently held: {why}",
                user.name
            );
            let kind = &target.kind;
            return Err(ApiError::forbidden(&kind.group, &kind.plural, &target.name, &why));
        }
    }
    Ok(())
}

/// Every single permission of a rule. A wildcard is only held by who has the wildcard.
fn permissions(rule: &Value, namespace: &str) -> Vec<Attributes> {
    let list = |key: &str| -> Vec<String> {
        items(rule, &[key]).iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut found = Vec::new();
    for verb in list("verbs") {
        for path in list("nonResourceURLs") {
            found.push(Attributes {
                verb: verb.clone(),
                path: Some(path),
                ..Attributes::default()
            });
        }
        for group in list("apiGroups") {
            for full in list("resources") {
                let (resource, subresource) = full.split_once('/').unwrap_or((&full, ""));
                let mut names = list("resourceNames");
                if names.is_empty() {
                    names.push(String::new());
                }
                for name in names {
                    found.push(Attributes {
                        verb: verb.clone(),
                        group: group.clone(),
                        resource: resource.to_owned(),
                        subresource: subresource.to_owned(),
                        namespace: namespace.to_owned(),
                        name,
                        path: None,
                    });
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_rule_is_all_its_combinations() {
        let rule = json!({"verbs": ["get", "list"], "apiGroups": ["", "apps"], "resources": ["pods", "pods/log"]});
        assert_eq!(permissions(&rule, "a").len(), 8);
        let urls = json!({"verbs": ["get"], "nonResourceURLs": ["/x", "/y"]});
        assert_eq!(permissions(&urls, "").len(), 2);
    }
}
