//! Bad configuration is data: what admission, `analyze`, status and the console all say comes from
//! this one type.

use crate::ObjectRef;
use serde::Serialize;
use std::fmt;

/// How much a finding matters. `Error` means that the object, or the part named by `path`, has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Level {
    Info,
    Warning,
    Error,
}

/// One thing to say about one object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Finding {
    pub level: Level,
    /// A stable code such as `IST0101`; empty for plain validation messages.
    pub code: &'static str,
    pub object: Option<ObjectRef>,
    /// The field, as in `spec.http[0].route[1].weight`; empty for the whole object.
    pub path: String,
    /// What is wrong and what to do about it.
    pub message: String,
}

impl Finding {
    pub fn error(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Level::Error, path, message)
    }

    pub fn warning(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Level::Warning, path, message)
    }

    pub fn info(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Level::Info, path, message)
    }

    fn new(level: Level, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { level, code: "", object: None, path: path.into(), message: message.into() }
    }

    pub fn code(mut self, code: &'static str) -> Self {
        self.code = code;
        self
    }

    pub fn about(mut self, object: ObjectRef) -> Self {
        self.object = Some(object);
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(object) = &self.object {
            write!(f, "{object}: ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}
