//! What a reconciler wants done. Reconcilers return these as data; the driver carries them out,
//! in order, and stops at the first that fails (the item is then tried again later).

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use crate::key::Key;

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Create an object. With `reported_on`, success and failure become Events of that object
    /// (`SuccessfulCreate`, `FailedCreate`), since only the server knows a generated name.
    Create {
        object: Value,
        reported_on: Option<Arc<Value>>,
    },
    /// Replace an object; its `resourceVersion` guards against a change in between.
    Update(Value),
    /// Replace an object's status, guarded in the same way.
    UpdateStatus(Value),
    MergePatch {
        key: Key,
        subresource: Option<&'static str>,
        patch: Value,
    },
    /// Delete exactly the object with this uid.
    Delete {
        key: Key,
        uid: String,
        grace_seconds: Option<i64>,
        propagation: Propagation,
    },
    Event {
        regarding: Arc<Value>,
        severity: Severity,
        reason: &'static str,
        message: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    Normal,
    Warning,
}

/// What happens to an object's dependants when it is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    Background,
    Foreground,
}

/// The result of one reconciliation: what to do now, and when to look again without being told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    pub actions: Vec<Action>,
    pub again_at: Option<Timestamp>,
}

impl Outcome {
    pub fn push(&mut self, action: Action) {
        self.actions.push(action);
    }

    /// Looks again at `when`, or earlier if something else already asked for that.
    pub fn look_again(&mut self, when: Timestamp) {
        self.again_at = Some(self.again_at.map_or(when, |earlier| earlier.min(when)));
    }

    pub fn event(
        &mut self,
        regarding: &Arc<Value>,
        severity: Severity,
        reason: &'static str,
        message: String,
    ) {
        self.push(Action::Event { regarding: regarding.clone(), severity, reason, message });
    }
}

impl From<Vec<Action>> for Outcome {
    fn from(actions: Vec<Action>) -> Outcome {
        Outcome { actions, again_at: None }
    }
}
