//! What stands beside the data plane in a pod: identity, readiness, probes, capture, merged metrics,
//! the discovery client; our data plane in process, real Envoy as a child, or none for an application that
//! speaks xDS itself.

mod capture;
mod command;
mod dial;
mod discovery;
mod dns;
mod envoy;
mod fetch;
mod flags;
mod identity;
mod node;
mod ours;
mod proxyless;
mod relay;
mod run;
mod sds;
mod secrets;
mod status;

pub use command::command;
pub use dial::Dial;
pub use discovery::{ControlPlane, News, Source, follow_source};
pub use dns::Names;
pub use identity::{Authority, Identity, IdentityError, Issued};
pub use node::{Node, Role, Sources};
pub use status::{Application, Probes, Readiness, Scrape, Status};
