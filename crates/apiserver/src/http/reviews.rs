//! Kinds that are questions: they are answered and not stored.

use objects::meta::{items, text};
use serde_json::{Value, json};

use super::Context;
use crate::auth::rbac::{Attributes, authorize, rules_of};
use crate::core::{Target, User};
use crate::error::ApiError;

/// Answers a review: the object with its status.
pub fn answer(context: &Context, target: &Target, mut review: Value) -> Result<Value, ApiError> {
    let core = &context.core;
    let user = &context.caller.user;
    let status = match target.kind.kind.as_str() {
        "TokenReview" => core.review_token(&review),
        "SelfSubjectReview" => json!({"userInfo": user.info()}),
        "SelfSubjectAccessReview" => access(context, user, &review),
        "SubjectAccessReview" | "LocalSubjectAccessReview" => {
            access(context, &subject(&review), &review)
        }
        "SelfSubjectRulesReview" => {
            let namespace = text(&review, &["spec", "namespace"]).unwrap_or_default();
            rules(context, user, namespace)
        }
        _ => return Err(ApiError::method_not_allowed()),
    };
    let map = objects::meta::as_map(&mut review);
    map.insert("kind".to_owned(), target.kind.kind.clone().into());
    map.insert("apiVersion".to_owned(), target.api_version().into());
    map.insert("status".to_owned(), status);
    Ok(review)
}

fn subject(review: &Value) -> User {
    let groups = items(review, &["spec", "groups"]).iter().filter_map(Value::as_str);
    User {
        name: text(review, &["spec", "user"]).unwrap_or_default().to_owned(),
        groups: groups.map(str::to_owned).collect(),
        ..User::default()
    }
}

fn access(context: &Context, user: &User, review: &Value) -> Value {
    let spec =
        |part: &str, key: &str| text(review, &["spec", part, key]).unwrap_or_default().to_owned();
    let wanted = if review.pointer("/spec/nonResourceAttributes").is_some_and(|a| !a.is_null()) {
        Attributes {
            verb: spec("nonResourceAttributes", "verb"),
            path: Some(spec("nonResourceAttributes", "path")),
            ..Attributes::default()
        }
    } else {
        let part = |key| spec("resourceAttributes", key);
        Attributes {
            verb: part("verb"),
            group: part("group"),
            resource: part("resource"),
            subresource: part("subresource"),
            namespace: part("namespace"),
            name: part("name"),
            path: None,
        }
    };
    match authorize(&context.core, user, &wanted) {
        Ok(reason) => json!({"allowed": true, "reason": reason}),
        Err(reason) => json!({"allowed": false, "reason": reason}),
    }
}

fn rules(context: &Context, user: &User, namespace: &str) -> Value {
    let mut all: Vec<Value> =
        rules_of(&context.core, user, namespace).into_iter().flat_map(|(_, rules)| rules).collect();
    if user.is_master() {
        all.push(json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}));
        all.push(json!({"verbs": ["*"], "nonResourceURLs": ["*"]}));
    }
    let (urls, resources): (Vec<Value>, Vec<Value>) =
        all.into_iter().partition(|rule| rule.get("nonResourceURLs").is_some());
    json!({"resourceRules": resources, "nonResourceRules": urls, "incomplete": false})
}
