//! Between a prepared object and its storing: what the system adds or forbids itself, and what
//! webhooks change or refuse.

mod builtin;
pub mod crd;
mod service;
mod webhook;
mod webhook_call;

/// What is being done to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Create,
    Update,
    Delete,
}

impl Operation {
    pub fn name(self) -> &'static str {
        match self {
            Operation::Create => "CREATE",
            Operation::Update => "UPDATE",
            Operation::Delete => "DELETE",
        }
    }
}
