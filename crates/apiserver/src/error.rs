//! What a refused request is told: Kubernetes' `Status` in our own words.

use serde_json::{Value, json};

/// A refusal. `details` holds Kubernetes' `StatusDetails` where there are any.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    pub code: u16,
    pub reason: String,
    pub message: String,
    pub details: Option<Box<Value>>,
}

impl ApiError {
    pub fn new(code: u16, reason: &str, message: impl Into<String>) -> ApiError {
        ApiError { code, reason: reason.to_owned(), message: message.into(), details: None }
    }

    pub fn with_details(mut self, details: Value) -> ApiError {
        self.details = Some(Box::new(details));
        self
    }

    pub fn not_found(group: &str, plural: &str, name: &str) -> ApiError {
        let message = format!("{} {name:?} not found", qualified(group, plural));
        ApiError::new(404, "NotFound", message).with_details(about(group, plural, name))
    }

    pub fn no_such_path() -> ApiError {
        ApiError::new(404, "NotFound", "the server could not find the requested resource")
    }

    pub fn already_exists(group: &str, plural: &str, name: &str) -> ApiError {
        let message = format!("{} {name:?} already exists", qualified(group, plural));
        ApiError::new(409, "AlreadyExists", message).with_details(about(group, plural, name))
    }

    pub fn conflict(group: &str, plural: &str, name: &str, why: &str) -> ApiError {
        let message = format!(
            "Operation cannot be fulfilled on {} {name:?}: {why}",
            qualified(group, plural)
        );
        ApiError::new(409, "Conflict", message).with_details(about(group, plural, name))
    }

    pub fn stale(group: &str, plural: &str, name: &str) -> ApiError {
        let why = "the object has been modified; please apply your changes to the latest version \
                   and try again";
        ApiError::conflict(group, plural, name, why)
    }

    pub fn forbidden(group: &str, plural: &str, name: &str, why: &str) -> ApiError {
        let message = format!("{} {name:?} is forbidden: {why}", qualified(group, plural));
        ApiError::new(403, "Forbidden", message).with_details(about(group, plural, name))
    }

    pub fn bad_request(message: impl Into<String>) -> ApiError {
        ApiError::new(400, "BadRequest", message)
    }

    pub fn internal(message: impl Into<String>) -> ApiError {
        ApiError::new(500, "InternalError", message)
    }

    pub fn expired() -> ApiError {
        ApiError::new(
            410,
            "Expired",
            "the requested resourceVersion is older than the kept history; list again",
        )
    }

    pub fn method_not_allowed() -> ApiError {
        let message = "the server does not allow this method on the requested resource";
        ApiError::new(405, "MethodNotAllowed", message)
    }

    /// The error of an object whose fields are wrong.
    pub fn invalid(
        group: &str,
        kind: &str,
        name: &str,
        causes: &[objects::validate::Cause],
    ) -> ApiError {
        let list: Vec<String> =
            causes.iter().map(|c| format!("{}: {}", c.field, c.message)).collect();
        let list = match list.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let qualified = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let causes: Vec<Value> = causes
            .iter()
            .map(|c| json!({"reason": c.reason, "message": c.message, "field": c.field}))
            .collect();
        ApiError::new(422, "Invalid", format!("{qualified} {name:?} is invalid: {list}"))
            .with_details(json!({"name": name, "group": group, "kind": kind, "causes": causes}))
    }

    /// The body of the answer.
    pub fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code
        });
        if let (Some(details), Some(map)) = (&self.details, status.as_object_mut()) {
            map.insert("details".to_owned(), (**details).clone());
        }
        status
    }
}

fn about(group: &str, plural: &str, name: &str) -> Value {
    json!({"name": name, "group": group, "kind": plural})
}

fn qualified(group: &str, plural: &str) -> String {
    if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") }
}
