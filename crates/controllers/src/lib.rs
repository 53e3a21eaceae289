//! Reconcilers of the embedded cluster: objects -> actions, pure.
//!
//! The driver (in the cluster process) keeps a `World` up to date from the API server's changes,
//! asks `affected` which `Task`s a change gives rise to, runs `reconcile` for each, and carries out
//! the `Action`s. Time is passed in; nothing here reads a clock, a file or a socket.

mod action;
mod claim;
mod conditions;
mod cron_job;
mod daemon_set;
mod deployment;
mod disruption;
mod endpoints;
mod hash;
mod job;
mod key;
mod namespace;
mod pod;
mod pods;
mod read;
mod replica_set;
mod revisions;
mod selector;
mod stateful_set;
mod task;
mod world;

pub use action::{Action, Outcome, Propagation, Severity};
pub use key::{Key, Resource};
pub use task::{Controller, Task, affected, reconcile};
pub use world::World;

/// The one node of the embedded cluster.
pub const NODE: &str = "lateen";
