//! What is refused in an object, field by field, in Kubernetes' words for causes.

mod builtin;
mod names;

use serde_json::Value;

use crate::kinds::Kind;

/// One thing wrong with an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Cause {
    /// Kubernetes' cause type, such as `FieldValueRequired`.
    pub reason: &'static str,
    pub field: String,
    pub message: String,
}

impl Cause {
    pub fn required(field: impl Into<String>, why: &str) -> Cause {
        let message = if why.is_empty() {
            "Required value".to_owned()
        } else {
            format!("Required value: {why}")
        };
        Cause { reason: "FieldValueRequired", field: field.into(), message }
    }

    pub fn invalid(field: impl Into<String>, value: &Value, why: &str) -> Cause {
        let message = format!("Invalid value: {value}: {why}");
        Cause { reason: "FieldValueInvalid", field: field.into(), message }
    }

    pub fn unsupported(field: impl Into<String>, value: &str, choices: &[&str]) -> Cause {
        let choices: Vec<String> = choices.iter().map(|c| format!("{c:?}")).collect();
        let message =
            format!("Unsupported value: {value:?}: supported values: {}", choices.join(", "));
        Cause { reason: "FieldValueNotSupported", field: field.into(), message }
    }

    pub fn forbidden(field: impl Into<String>, why: &str) -> Cause {
        let message = format!("Forbidden: {why}");
        Cause { reason: "FieldValueForbidden", field: field.into(), message }
    }

    pub fn duplicate(field: impl Into<String>, value: &Value) -> Cause {
        let message = format!("Duplicate value: {value}");
        Cause { reason: "FieldValueDuplicate", field: field.into(), message }
    }

    pub fn wrong_type(field: impl Into<String>, found: &str, wanted: &str) -> Cause {
        let message = format!("Invalid value: {found:?}: must be of type {wanted}");
        Cause { reason: "FieldValueTypeInvalid", field: field.into(), message }
    }
}

/// What is wrong with an object (in its stored version) by the rules of its kind.
pub fn object(kind: &Kind, old: Option<&Value>, new: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    names::metadata(kind, new, &mut causes);
    if !kind.custom {
        builtin::object(kind, old, new, &mut causes);
    }
    causes
}
