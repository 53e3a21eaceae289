//! Vocabulary shared by every crate: hosts, identities, label selectors, findings, origins and the
//! injected environment. Layer 0: no I/O, no clock, no randomness of its own.

mod duration;
mod env;
mod finding;
mod host;
mod identity;
mod labels;
mod origin;
mod shards;
mod words;

pub use duration::duration;
pub use env::{Env, FixedEnv, Instant, WallTime};
pub use finding::{Finding, Level};
pub use host::{Host, InvalidHost};
pub use identity::{InvalidSpiffeId, SpiffeId, TrustDomain};
pub use labels::{LabelSelector, Labels, Operator, Requirement};
pub use origin::{ObjectRef, Origin, OriginId, OriginTable};
pub use shards::Shards;
pub use words::mistyped;
