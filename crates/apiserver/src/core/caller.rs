//! Who asks, and how they want to be answered.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

/// An authenticated identity.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct User {
    pub name: String,
    pub uid: String,
    pub groups: Vec<String>,
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    pub fn is_master(&self) -> bool {
        self.groups.iter().any(|g| g == "system:masters")
    }

    /// Kubernetes' `UserInfo`.
    pub fn info(&self) -> Value {
        let mut info = json!({"username": self.name, "groups": self.groups});
        let map = objects::meta::as_map(&mut info);
        if !self.uid.is_empty() {
            map.insert("uid".to_owned(), self.uid.clone().into());
        }
        if !self.extra.is_empty() {
            map.insert("extra".to_owned(), json!(self.extra));
        }
        info
    }
}

/// What happens to fields that the kind does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FieldValidation {
    Ignore,
    #[default]
    Warn,
    Strict,
}

/// Warnings to one request beyond which no more are kept.
const MAX_WARNINGS: usize = 64;

pub struct Caller {
    pub user: User,
    /// The field manager.
    pub manager: String,
    pub dry_run: bool,
    pub field_validation: FieldValidation,
    /// Server-side apply takes fields from other managers.
    pub force: bool,
    warnings: Mutex<Vec<String>>,
}

impl Caller {
    pub fn new(user: User, manager: &str) -> Caller {
        Caller {
            user,
            manager: manager.to_owned(),
            dry_run: false,
            field_validation: FieldValidation::Ignore,
            force: false,
            warnings: Mutex::default(),
        }
    }

    /// The server itself.
    pub fn system(manager: &str) -> Caller {
        let user = User {
            name: "system:apiserver".to_owned(),
            groups: vec!["system:masters".to_owned(), "system:authenticated".to_owned()],
            ..User::default()
        };
        Caller::new(user, manager)
    }

    pub fn warn(&self, warning: impl Into<String>) {
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        let warning = warning.into();
        if warnings.len() < MAX_WARNINGS && !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }

    pub fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut self.warnings.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
