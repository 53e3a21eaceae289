//! What stands beside the data plane in a pod: identity, readiness, probes, capture, merged metrics,
//! the discovery client; our data plane in process, or real Envoy as a child.

mod capture;
mod dial;
mod fetch;
mod flags;
mod identity;
mod node;
mod status;

pub use dial::Dial;
pub use identity::{Authority, Identity, IdentityError};
pub use node::{Node, Role, Sources};
pub use status::{Application, Probes, Readiness, Scrape, Status};
