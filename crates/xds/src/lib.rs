//! Envoy's xDS between the control plane and the proxies, and between a bootstrap file and a proxy:
//! the codec between `ir` and protobuf with its support table ([`codec`], [`support`]), the bootstrap
//! reader ([`bootstrap`]), what a server tells a client and in which order ([`server`]), what gRPC's own clients are told ([`grpc`]), and how a
//! client puts together what it is told ([`client`]). State machines and functions over plain values:
//! no I/O, no clock.

pub mod bootstrap;
pub mod client;
pub mod codec;
pub mod grpc;
mod message;
mod references;
pub mod schema;
pub mod server;
pub mod support;

pub use codec::{Refusal, decode, encode, kind_of, to_json, type_url_of, unsupported_in};
pub use references::{endpoints_of, references, secrets_elsewhere};
