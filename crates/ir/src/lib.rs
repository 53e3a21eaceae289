//! What one proxy must do, as plain data: listeners, filter chains, routes, clusters, endpoints.
//!
//! The control plane compiles objects to these types, the `xds` codec carries them over the wire
//! (`decode(encode(ir)) == ir`), the data plane and `lateen explain` run them. Shapes and meanings
//! are Envoy's (v3 API), so that either half can be checked against Envoy; each field says which
//! message it is where the name does not. Every node carries an [`OriginId`], which takes no part in
//! equality. Absent optional values mean Envoy's default; the accessor that gives the default stands
//! beside the field.

mod address;
mod authz;
mod cluster;
mod common;
mod compressor;
mod endpoint;
mod filter;
mod http;
mod jwt;
mod listener;
mod local_reply;
mod log;
mod metadata;
mod names;
mod rate_limit;
mod rbac;
mod resource;
mod route;
mod small_filters;
mod tls;

pub use address::{Address, Cidr};
pub use authz::*;
pub use base::OriginId;
pub use cluster::*;
pub use common::*;
pub use compressor::{Compressed, Compressor};
pub use endpoint::*;
pub use filter::*;
pub use http::*;
pub use jwt::*;
pub use listener::*;
pub use local_reply::{BodyFormat, LocalReply, ReplyMapper};
pub use log::*;
pub use metadata::*;
pub use names::*;
pub use rate_limit::*;
pub use rbac::*;
pub use resource::*;
pub use route::*;
pub use small_filters::*;
pub use tls::*;
