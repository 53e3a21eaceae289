//! `(Snapshot, Proxy) -> ir`: what one proxy must do, given the world as it is. Pure, and memoised by
//! the versions of what was read, so that proxies that are alike share their configuration.
//!
//! Each folder is one feature: `cluster` (how to reach a service), `route` (VirtualService rules),
//! `outbound` and `inbound` (a sidecar's two sides), `gateway`. Bad configuration is data: the result
//! is what can be served, and findings.

mod assembly;
mod authentication;
pub mod authorization;
mod build;
mod chains;
mod cluster;
mod compiler;
mod endpoints;
mod gateway;
mod half;
mod http;
mod inbound;
mod kept;
mod locality;
mod log;
mod memo;
mod mesh_tls;
mod name_table;
mod names;
mod outbound;
mod proxy;
mod route;
mod scope;
mod unsupported;
mod whole;

pub use compiler::{Compiled, Compiler, Dependencies, Missing, as_known, compile};
pub use gateway::listening_port;
pub use http::normalize;
pub use kept::Work;
pub use proxy::{Dns, InvalidNode, Proxy, ProxyKind};
pub use scope::{Visibility, visibility};
pub use whole::{List, Shared, Whole};
